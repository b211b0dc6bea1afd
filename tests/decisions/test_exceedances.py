from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from megatick_decisions.errors import TooFewCloses
from megatick_decisions.exceedances import judge_exceedances


def series(observed: int, bars: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.arange(bars) < observed


def test_kupiec_by_hand() -> None:
    # 10 of 250 at 99 %: -2·ln[0.99²⁴⁰·0.01¹⁰ / (0.96²⁴⁰·0.04¹⁰)] = 12.9555
    found = judge_exceedances(series(10, 250), level=0.99)

    claimed = 240 * math.log(0.99) + 10 * math.log(0.01)
    best = 240 * math.log(0.96) + 10 * math.log(0.04)
    assert found.coverage.statistic == pytest.approx(-2 * (claimed - best))
    assert found.coverage.statistic == pytest.approx(12.9555, abs=1e-4)
    assert found.coverage.p_value == pytest.approx(stats.chi2.sf(12.9555, 1), rel=1e-3)
    assert (found.observed, found.bars) == (10, 250)
    assert found.expected == pytest.approx(2.5)


def test_kupiec_where_no_loss_exceeded() -> None:
    found = judge_exceedances(series(0, 250), level=0.99)

    assert found.coverage.statistic == pytest.approx(-2 * 250 * math.log(0.99))


@pytest.mark.parametrize(
    ("level", "bars", "above", "below"),
    [
        (0.99, 255, None, 7),
        (0.99, 510, 1, 11),
        (0.99, 1000, 4, 17),
        (0.95, 255, 6, 21),
        (0.95, 510, 16, 36),
        (0.95, 1000, 37, 65),
    ],
)
def test_kupiecs_published_regions(
    level: float, bars: int, above: int | None, below: int
) -> None:
    """Jorion, "Value at Risk", after Kupiec: above < N < below is not rejected at 5 %."""

    def accepted(observed: int) -> bool:
        test = judge_exceedances(series(observed, bars), level=level).coverage
        return test.p_value > 0.05

    assert accepted(below - 1)
    assert not accepted(below)
    if above is not None:
        assert accepted(above + 1)
        assert not accepted(above)


def test_christoffersen_by_hand() -> None:
    # 0 0 0 0 1 1 1 0 0 0: of six 0 that are followed by something, one is by a 1; of three
    # 1, two are.  3 of 9 followers are 1.
    exceeded = np.array([0, 0, 0, 0, 1, 1, 1, 0, 0, 0], bool)

    found = judge_exceedances(exceeded, level=0.95).independence

    same = 6 * math.log(2 / 3) + 3 * math.log(1 / 3)
    after_none = 5 * math.log(5 / 6) + math.log(1 / 6)
    after_one = math.log(1 / 3) + 2 * math.log(2 / 3)
    assert found.statistic == pytest.approx(-2 * (same - after_none - after_one))
    assert found.p_value == pytest.approx(stats.chi2.sf(found.statistic, 1))


def test_losses_in_a_row_are_not_independent() -> None:
    row, spread = np.zeros((2, 250), bool)
    row[100:112] = True
    spread[5::20] = True

    assert judge_exceedances(row, level=0.95).independence.p_value < 1e-9
    assert judge_exceedances(spread, level=0.95).independence.p_value > 0.1


@pytest.mark.parametrize(
    "exceeded",
    [
        pytest.param([0, 0, 0], id="none"),
        pytest.param([0, 0, 1], id="nothing-follows-the-only-one"),
        pytest.param([1, 1, 1], id="all"),
        pytest.param([1, 0, 0], id="none-is-a-follower"),
    ],
)
def test_independence_of_too_few_shows_nothing(exceeded: list[int]) -> None:
    found = judge_exceedances(np.array(exceeded, bool), level=0.95).independence

    assert (found.statistic, found.p_value) == (0, 1)


def test_one_bar_is_too_few() -> None:
    with pytest.raises(TooFewCloses, match="at least 2, found 1"):
        judge_exceedances(np.array([True]), level=0.95)
