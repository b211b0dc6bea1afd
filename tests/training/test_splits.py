"""Splits of tables with leaks planted in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import SplitError, TimeError
from megatick_training.near_duplicates import near_duplicate_groups
from megatick_training.splits import (
    Split,
    split_by_group,
    split_by_symbol,
    split_by_time,
)

DAYS = [f"2026-01-{day:02}T12:00:00Z" for day in range(1, 11)]


def rows(*given: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array(given, np.intp)


def test_a_row_in_two_parts_is_refused() -> None:
    with pytest.raises(SplitError, match="in two parts"):
        Split(rows(0, 1), rows(1), rows(2))


def test_a_group_in_two_parts_is_refused() -> None:
    split = Split(rows(0, 1), rows(2), rows(3))

    split.refuse_leak(["a", "a", "b", "c"])
    with pytest.raises(SplitError, match=r"1 groups .* row 1 "):
        split.refuse_leak(["a", "b", "c", "b"])


def test_by_time_with_an_embargo_before_each_boundary() -> None:
    # Days 1 to 10 at noon; dev from the 5th, test from the 8th at midnight: a day and a
    # half before them ends at noon of the 3rd and of the 6th, exclusive.
    split = split_by_time(
        DAYS,
        dev_from="2026-01-05T00:00:00Z",
        test_from="2026-01-08T00:00:00Z",
        embargo=pd.Timedelta(days=1.5),
    )

    assert split.train.tolist() == [0, 1]
    assert split.dev.tolist() == [4]
    assert split.test.tolist() == [7, 8, 9]


def test_boundaries_are_moments_and_not_dates() -> None:
    # Midnight in Shanghai is 16:00 of the day before in UTC.
    split = split_by_time(
        [
            "2026-01-04T15:59:59Z",
            "2026-01-04T16:00:00Z",
            "2026-01-05T15:59:59Z",
            "2026-01-05T16:00:00Z",
        ],
        dev_from="2026-01-05T00:00:00+08:00",
        test_from="2026-01-06T00:00:00+08:00",
        embargo=pd.Timedelta(0),
    )

    assert [part.tolist() for part in split.parts()] == [[0], [1, 2], [3]]


def test_by_time_what_repeats_the_past_is_left_out() -> None:
    texts = [f"{'xyzuvwrstq'[n] * 9} reports {'abcdefghij'[n] * 12}" for n in range(10)]
    texts[5], texts[8], texts[9] = texts[0] + "!", texts[6] + " 7%", texts[9]
    groups = near_duplicate_groups(texts)

    split = split_by_time(
        DAYS,
        dev_from="2026-01-05T00:00:00Z",
        test_from="2026-01-08T00:00:00Z",
        embargo=pd.Timedelta(0),
        groups=groups,
    )

    assert split.train.tolist() == [0, 1, 2, 3]
    assert split.dev.tolist() == [4, 6]  # 5 says what 0 said
    assert split.test.tolist() == [7, 9]  # 8 says what 6 said


def test_by_time_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(TimeError, match="row 1"):
        split_by_time(
            ["2026-01-01T00:00Z", "2026-01-02"],
            dev_from="2026-01-02T00:00Z",
            test_from="2026-01-03T00:00Z",
            embargo=pd.Timedelta(0),
        )


@pytest.mark.parametrize(
    ("dev_from", "test_from", "problem"),
    [
        pytest.param("2026-01-08", "2026-01-05", "dev_from before", id="backwards"),
        pytest.param("2026-01-05", "2026-02-05", "0 in test", id="no-test"),
    ],
)
def test_by_time_refuses_what_is_no_split(
    dev_from: str, test_from: str, problem: str
) -> None:
    with pytest.raises(SplitError, match=problem):
        split_by_time(
            DAYS,
            dev_from=f"{dev_from}T00:00Z",
            test_from=f"{test_from}T00:00Z",
            embargo=pd.Timedelta(0),
        )


def test_by_group_keeps_groups_whole() -> None:
    groups = np.repeat(np.arange(40), 5)

    split = split_by_group(groups, dev=0.1, test=0.2, seed=3)

    # 4 and 8 of 40 groups of 5 rows
    assert [len(part) for part in split.parts()] == [140, 20, 40]
    sides = [set(groups[part].tolist()) for part in split.parts()]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_a_deal_is_of_its_seed() -> None:
    groups = np.arange(100)
    first, again, other = (
        split_by_group(groups, dev=0.2, test=0.2, seed=seed).test.tolist()
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_by_symbol_no_symbol_is_on_two_sides() -> None:
    names = [f"S{n}" for n in range(10)]
    symbols: list[str | list[str]] = [names[n % 10] for n in range(50)]
    symbols += [["S0", "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9"], []]

    split = split_by_symbol(symbols, dev=0.2, test=0.3, seed=0)

    # 2 and 3 of 10 symbols of 5 rows; what is of all symbols, or of none, is in no part
    assert [len(part) for part in split.parts()] == [25, 10, 15]
    split.refuse_leak([str(each) for each in symbols])


def test_by_symbol_what_repeats_another_symbol_s_news_is_left_out() -> None:
    symbols = [f"S{n % 10}" for n in range(30)]
    everywhere = np.array([*range(20), *[99] * 10])  # ten symbols told one thing

    split = split_by_symbol(symbols, dev=0.2, test=0.2, seed=0, groups=everywhere)

    assert [len(part) for part in split.parts()] == [18, 4, 4]


@pytest.mark.parametrize(
    ("dev", "test"), [(0.5, 0.5), (-0.1, 0.2), (1.0, 0.0)], ids=["all", "below", "one"]
)
def test_shares_leave_some_to_train(dev: float, test: float) -> None:
    with pytest.raises(SplitError, match="expected shares"):
        split_by_group(np.arange(10), dev=dev, test=test, seed=0)
