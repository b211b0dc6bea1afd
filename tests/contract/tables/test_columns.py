"""Columns of values of many kinds: what becomes of them where they are put together."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from megatick_contract.tables import column_of, joined


def joined_values(*columns: pa.Array) -> list[Any]:
    table = joined([pa.table({"value": column}) for column in columns])
    values: list[Any] = table["value"].to_pylist()
    return values


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(
            pa.array([2**53 + 1]),
            pa.array([0.5]),
            ["9007199254740993", "0.5"],
            id="2**53+1",
        ),
        pytest.param(
            pa.array([-1]),
            pa.array([2**64 - 1], pa.uint64()),
            ["-1", "18446744073709551615"],
            id="uint64",
        ),
        pytest.param(
            pa.array([datetime(1, 1, 1)], pa.timestamp("us")),
            pa.array([0], pa.timestamp("ns")),
            ['"0001-01-01 00:00:00"', '"1970-01-01 00:00:00"'],
            id="a-year-that-nanoseconds-cannot-say",
        ),
        pytest.param(
            pa.array([2**62]),
            pa.array([Decimal("1.5")]),
            ["4611686018427387904", '"1.5"'],
            id="decimal",
        ),
        pytest.param(
            pa.array([[2**53 + 1]]),
            pa.array([[0.5]]),
            ["[9007199254740993]", "[0.5]"],
            id="in-lists",
        ),
        pytest.param(pa.array([2**53]), pa.array([0.5]), [2.0**53, 0.5], id="2**53-fits"),
    ],
)
def test_a_value_beyond_the_common_type_makes_its_column_text(
    first: pa.Array, second: pa.Array, expected: list[Any]
) -> None:
    assert joined_values(first, second) == expected
    assert joined_values(second, first) == expected[::-1]


@pytest.mark.parametrize(
    "value", [{}, [{}], {"a": {}}], ids=["alone", "in-a-list", "in-an-object"]
)
def test_an_object_without_a_name_is_text(value: Any) -> None:
    assert column_of([value, None]).to_pylist() == [json.dumps(value), None]
