"""How the benchmark of scaling tells growth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import scaling
from exported import Exported
from mixes import rows_of
from scaling import MIX_TOKENS, mixes_of, points


@pytest.mark.parametrize(
    ("lengths", "took_s", "expected"),
    [
        pytest.param([10, 20], [[1.0], [2.0]], 2, id="linear"),
        pytest.param([10, 20], [[1.0], [1.0]], 1, id="only-overhead"),
        pytest.param([10, 40], [[1.0], [16.0]], 4, id="quadratic-over-two-doublings"),
        pytest.param(
            [10, 20],
            [[1.0, 5.0, 1.0], [2.0, 10.0, 9.0]],
            2,
            id="a-slow-turn-is-slow-for-both",
        ),
    ],
)
def test_growth_is_per_doubling(
    lengths: list[int], took_s: list[list[float]], expected: float
) -> None:
    first, second = points([rows_of([length]) for length in lengths], took_s)

    assert first["time_per_doubling"] is None
    assert second["time_per_doubling"] == pytest.approx(expected)
    assert second["us_per_token"] == pytest.approx(1e3 * second["ms"] / lengths[1])


def test_growth_is_not_told_from_a_size_that_is_near() -> None:
    sizes = [rows_of([length]) for length in (20, 25, 40)]

    near = points(sizes, [[1.0], [9.0], [3.0]])

    assert [each["time_per_doubling"] for each in near] == [None, None, pytest.approx(3)]


@pytest.mark.parametrize("window", [96, 512])
def test_mixes_have_as_many_tokens_and_fit_the_window(window: int) -> None:
    for lengths in mixes_of(window).values():
        assert sum(lengths) == pytest.approx(MIX_TOKENS, rel=0.2)
        assert max(lengths) <= window


def test_every_model_and_mix_is_told_and_a_name_keeps_another_result(
    exported: Exported, tmp_path: Path
) -> None:
    scaling.main([exported.out], rounds=1, out=tmp_path)
    first = (tmp_path / "scaling.json").read_bytes()

    scaling.main([exported.out], rounds=1, out=tmp_path, name="scaling_345m")

    assert (tmp_path / "scaling.json").read_bytes() == first
    (model,) = json.loads((tmp_path / "scaling_345m.json").read_text())["models"]
    assert len(model["mixes"]) == 3
    growths = []
    for sizes in model["mixes"].values():
        tokens = [each["tokens"] for each in sizes]
        assert tokens == [times * tokens[0] for times in (1, 2, 4, 8)]
        growths += [each["time_per_doubling"] for each in sizes[1:]]
    furthest = model["mixes_furthest_from_twice"]
    assert abs(furthest - 2) == max(abs(each - 2) for each in growths)
