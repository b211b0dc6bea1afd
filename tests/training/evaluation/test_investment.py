from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from megatick_training.evaluation import investment
from megatick_training.evaluation.forecaster_judgement import Invested
from megatick_training.evaluation.forecaster_page import investment_table
from megatick_training.evaluation.investment import (
    Rule,
    excess,
    hold_all,
    invest,
    performance,
)

DAYS = pd.date_range("2020-01-01", periods=4)


def table(*rows: list[float]) -> pd.DataFrame:
    return pd.DataFrame(rows, DAYS[: len(rows)], columns=["A", "B"], dtype=float)


def test_positions_by_the_rule() -> None:
    p_up = table([0.61, 0.6], [0.39, 0.4], [0.5, math.nan])

    out = Rule(threshold=0.1).positions(p_up)
    short = Rule(threshold=0.1, below="short").positions(p_up)

    pd.testing.assert_frame_equal(out, table([1, 0], [0, 0], [0, math.nan]))
    pd.testing.assert_frame_equal(short, table([1, 0], [-1, 0], [0, math.nan]))


def test_a_position_earns_from_the_next_bar_on_and_pays_for_changes() -> None:
    positions = table([1, 0], [1, 1], [0, -1])
    next_returns = table([0.1, -0.5], [0.2, 0.1], [9, 0.04])

    earned, traded = invest(positions, next_returns, cost_bps=100)  # 1 %

    # Half of the wealth a symbol.  It grows by 0.1/2 less 1 % of 0.5 to 1.045, of which A
    # is 0.55, to be 0.5225; and so on.
    first, second = 1.045, 1 + 0.15 - 0.01 * (0.55 / 1.045 - 0.5 + 0.5)
    third = (0.6 + 0.55 + 0.5 * second) / second  # out of both, and B short by half
    assert traded.tolist() == pytest.approx([0.5, 0.55 / 1.045, third])
    assert (earned + 1).tolist() == pytest.approx([first, second, 0.98 - 0.01 * third])


def test_it_earns_what_an_account_of_shares_and_cash_does() -> None:
    rng = np.random.default_rng(0)
    prices = np.exp(rng.normal(scale=0.05, size=(51, 3)).cumsum(axis=0))
    positions = rng.integers(-1, 2, (50, 3)).astype(float)
    cash, shares, wealth = 1.0, np.zeros(3), []
    for now, after, position in zip(prices[:-1], prices[1:], positions, strict=True):
        bought = position / 3 * (cash + shares @ now) / now - shares
        shares = shares + bought
        cash -= bought @ now + 0.001 * np.abs(bought) @ now
        wealth.append(cash + shares @ after)

    earned, _ = invest(
        pd.DataFrame(positions), pd.DataFrame(prices[1:] / prices[:-1] - 1), cost_bps=10
    )

    np.testing.assert_allclose(np.cumprod(1 + earned), wealth, rtol=1e-12)


def test_exchanges_with_other_hours_share_the_wealth() -> None:
    none = math.nan
    positions = table([1, none], [none, 1], [1, none], [none, 1])
    next_returns = table([0.1, none], [none, 0.2], [0.1, none], [none, -0.1])

    earned, traded = invest(positions, next_returns, cost_bps=0)

    # B opens with nothing left to buy it by, until A is back at half; A has no close after.
    assert earned.tolist() == pytest.approx([0.1, 0, 0.05, -0.1])
    assert traded.tolist() == pytest.approx([1, 0, 0.5, 1 + 0.55 / 1.05])


def test_wealth_that_is_lost_whole_stays_lost() -> None:
    short = table([-1, -1], [1, 1], [1, 1])
    next_returns = table([1.2, 0.9], [0.5, 0.5], [0.5, 0.5])  # more than doubled

    earned, traded = invest(short, next_returns, cost_bps=0)

    assert earned.tolist() == [-1, 0, 0]
    assert traded.tolist() == [1, 0, 0]
    found = performance(earned, traded)
    assert (found.annual_return, found.max_drawdown) == (-1, 1)


def test_a_symbol_that_is_not_there_takes_no_wealth() -> None:
    positions = table([1, math.nan], [1, 1])
    next_returns = table([0.1, 9], [0.2, math.nan])

    earned, traded = invest(positions, next_returns, cost_bps=0)

    assert earned.tolist() == pytest.approx([0.1, 0.2])
    assert traded.tolist() == pytest.approx([1, 0])


def test_holding_is_always_in() -> None:
    held = hold_all(table([0.2, math.nan], [0.9, 0.5]))

    pd.testing.assert_frame_equal(held, table([1, math.nan], [1, 1]))


def test_performance_by_hand() -> None:
    days = pd.date_range("2020-01-01", periods=5, freq="91.3125D")  # four bars a year
    returns = pd.Series([0.1, -0.5, 0.2, 0.1, 0.3], days, dtype="float64")
    traded = pd.Series([1.0, 0, 0, 0, 0.5], days, dtype="float64")

    found = performance(returns, traded)

    wealth = 1.1 * 0.5 * 1.2 * 1.1 * 1.3
    assert found.annual_return == pytest.approx(wealth ** (4 / 5) - 1)
    assert found.sharpe == pytest.approx(0.04 / returns.std(ddof=0) * 2)
    assert found.max_drawdown == pytest.approx(0.5)
    assert found.turnover == pytest.approx(1.5 / 5 * 4)


def test_an_excess_is_the_difference_of_two_performances() -> None:
    days = pd.date_range("2020-01-01", periods=400)
    rng = np.random.default_rng(0)
    market = rng.normal(0.001, 0.02, 400)
    other = pd.Series(market, days)
    ours = pd.Series(market + 0.0005, days)
    traded = pd.Series(np.zeros(400), days)

    found = excess(ours, other)

    one, two = (performance(each, traded) for each in (ours, other))
    assert found.annual_return == pytest.approx(one.annual_return - two.annual_return)
    assert found.sharpe == pytest.approx(one.sharpe - two.sharpe)
    # Both rise and fall together: the difference is known far better than either.
    low, high = found.annual_return_interval
    assert low < found.annual_return < high
    assert high - low < (one.annual_return_interval[1] - one.annual_return_interval[0]) / 2


def test_its_interval_is_the_normals_of_independent_returns() -> None:
    days = pd.date_range("2020-01-01", periods=1000, freq="8766h")  # a bar a year
    values = np.random.default_rng(0).normal(0.001, 0.01, 1000)
    returns = pd.Series(values, days)

    found = performance(returns, pd.Series(np.zeros(1000), days))

    half = 1.96 * 0.01 / math.sqrt(1000)
    low, high = found.annual_return_interval
    assert (high - low) / 2 == pytest.approx(half, rel=0.2)
    assert low < found.annual_return < high


def test_intervals_of_few_bars_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(investment, "_RESAMPLES", 300)
    days = pd.date_range("2020-01-01", periods=60, freq="8766h")  # a bar a year
    rng, held = np.random.default_rng(1), 0
    for _ in range(100):
        returns = pd.Series(rng.normal(0.01, 0.02, 60), days)
        low, high = performance(returns, pd.Series(np.zeros(60), days)).sharpe_interval
        held += low <= 0.01 / 0.02 <= high

    assert held > 88  # of three blocks: percentiles as they are hold it 79 times


def test_fewer_than_two_blocks_give_no_interval() -> None:
    returns = pd.Series(
        np.random.default_rng(2).normal(size=39) / 100,
        pd.date_range("2020-01-01", periods=39),
    )

    found = performance(returns, returns)
    table = investment_table(Invested(Rule(), found, found, excess(returns, returns)))

    assert np.isnan([*found.annual_return_interval, *found.sharpe_interval]).all()
    assert table["a year, %"][0] == f"{100 * found.annual_return:.2f} (–)"


@pytest.mark.parametrize("value", [0.0, 0.001])  # of which numpy's deviation is 2e-19
def test_what_never_varies_has_no_sharpe(value: float) -> None:
    returns = pd.Series(np.full(100, value), pd.date_range("2020-01-01", periods=100))

    found = performance(returns, returns)

    assert found.annual_return == pytest.approx((1 + value) ** 365.25 - 1)
    assert found.max_drawdown == 0
    assert math.isnan(found.sharpe)
    assert all(map(math.isnan, found.sharpe_interval))


def test_a_rule_that_is_seldom_in_has_a_sharpe_without_an_interval() -> None:
    values = np.zeros(100)
    values[50] = 0.02  # in many resamples it is not
    returns = pd.Series(values, pd.date_range("2020-01-01", periods=100))

    found = performance(returns, pd.Series(np.zeros(100), returns.index))
    less = excess(returns, returns)

    # A mean of 0.0002 and a deviation of 0.02·√(0.01·0.99)
    assert found.sharpe == pytest.approx(0.01 / math.sqrt(0.0099) * math.sqrt(365.25))
    assert all(map(math.isnan, (*found.sharpe_interval, *less.sharpe_interval)))
    assert found.annual_return_interval[0] == 0
    table = investment_table(Invested(Rule(), ours=found, held=found, excess=less))
    assert table["Sharpe"].tolist() == ["1.92 (–)", "1.92 (–)", "0.00 (–)"]
