"""Which turns of a run say something of the server."""

from __future__ import annotations

import math

import pytest
from throughput import HELD, ratios

from megatick_client.load.sweep import Level


def turn(rows_per_s: float, *, stable: bool = True) -> Level:
    return Level(64.0, stable, rows_per_s, *[math.nan] * 6)


def test_a_turn_is_set_beside_the_engine_before_and_after_it() -> None:
    assert ratios([turn(60.0), turn(66.0)], [60.0, 60.0, 72.0]) == pytest.approx([1.0, 1.0])


def test_what_says_little_is_left_out() -> None:
    turns = [turn(59.0), turn(61.0, stable=False), turn(70.0), turn(69.0)]
    engine = [60.0, 60.0, 60.0, 72.0, 71.0]

    found = ratios(turns, engine, moved=HELD)

    assert found == pytest.approx([59 / 60, 69 / 71.5])
