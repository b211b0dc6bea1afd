"""Splits of tables with leaks planted in them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from megatick_training.errors import SplitError
from megatick_training.splits import (
    Split,
    split_by_group,
    split_by_symbol,
    split_by_time,
)
from megatick_training.times import utc_times

DAYS = utc_times([f"2026-01-{day:02}T12:00:00Z" for day in range(1, 11)], what="days")
APART = np.arange(10)  # no row repeats another


def rows(*given: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array(given, np.intp)


def test_a_group_on_both_sides_is_refused() -> None:
    split = Split(rows(0, 1), rows(2, 3))

    split.refuse_leak(rows(5, 5, 6, 7))
    with pytest.raises(SplitError, match=r"1 groups .* row 1 "):
        split.refuse_leak(rows(5, 6, 7, 6))


def test_by_group_keeps_groups_whole() -> None:
    groups = np.repeat(np.arange(40), 5)

    split = split_by_group(groups, share=0.2, seed=3)

    # 8 of 40 groups of 5 rows
    assert (len(split.kept), len(split.held_back)) == (160, 40)
    assert not set(groups[split.kept]) & set(groups[split.held_back])


def test_a_deal_is_of_its_seed() -> None:
    first, again, other = (
        split_by_group(np.arange(100), share=0.2, seed=seed).held_back.tolist()
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_by_time_the_latest_are_held_back() -> None:
    shuffled = rows(7, 2, 9, 0, 4, 1, 8, 3, 6, 5)

    split = split_by_time(DAYS[shuffled], APART, share=0.3)

    assert sorted(shuffled[split.held_back]) == [7, 8, 9]
    assert sorted(shuffled[split.kept]) == [0, 1, 2, 3, 4, 5, 6]


def test_by_time_with_an_embargo_before_the_boundary() -> None:
    # What is held back begins at noon of the 8th; a day and a half before, it is midnight
    # of the 7th, and noon of the 7th is later.
    split = split_by_time(DAYS, APART, share=0.3, embargo=timedelta(days=1.5))

    assert split.kept.tolist() == [0, 1, 2, 3, 4, 5]
    assert split.held_back.tolist() == [7, 8, 9]


def test_the_embargo_ends_where_it_says() -> None:
    split = split_by_time(DAYS, APART, share=0.3, embargo=timedelta(days=1))

    # Noon of the 7th is no less than a day before, and before is what is kept.
    assert split.kept.tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_of_one_time_are_on_one_side() -> None:
    twice = DAYS[[0, 1, 2, 3, 4, 5, 6, 6, 6, 7]]

    split = split_by_time(twice, APART, share=0.2)

    assert split.held_back.tolist() == [6, 7, 8, 9]


def test_by_time_what_repeats_the_past_is_left_out() -> None:
    groups = rows(0, 1, 2, 3, 4, 5, 6, 7, 2, 9)

    split = split_by_time(DAYS, groups, share=0.3)

    assert split.kept.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert split.held_back.tolist() == [7, 9]  # 8 says what 2 said


def test_by_symbol_no_symbol_is_on_both_sides() -> None:
    names = [f"S{n}" for n in range(10)]
    symbols: list[tuple[str, ...]] = [(names[n % 10],) for n in range(50)]
    symbols += [tuple(names), ()]

    split = split_by_symbol(symbols, np.arange(52), share=0.3, seed=0)

    # 3 of 10 symbols of 5 rows; what is of all symbols, or of none, is on neither side
    assert (len(split.kept), len(split.held_back)) == (35, 15)
    assert not {symbols[row] for row in split.kept} & {
        symbols[row] for row in split.held_back
    }


def test_a_row_of_two_symbols_is_where_both_are() -> None:
    symbols = [("A", "B"), ("A",), ("B",), ("C",)]

    splits = [
        split_by_symbol(symbols, np.arange(4), share=1 / 3, seed=seed) for seed in range(20)
    ]

    assert {(tuple(split.kept), tuple(split.held_back)) for split in splits} == {
        ((2, 3), (1,)),  # A is held back
        ((1, 3), (2,)),  # B
        ((0, 1, 2), (3,)),  # C
    }


def test_by_symbol_what_repeats_another_symbol_s_news_is_left_out() -> None:
    symbols = [(f"S{n % 10}",) for n in range(30)]
    everywhere = np.array([*range(20), *[99] * 10])  # ten symbols told one thing

    split = split_by_symbol(symbols, everywhere, share=0.2, seed=0)

    assert (len(split.kept), len(split.held_back)) == (24, 4)


def test_a_side_without_rows_is_refused() -> None:
    with pytest.raises(SplitError, match="found 10 kept and 0 held back, of 10"):
        split_by_symbol([("A",)] * 10, APART, share=0.2, seed=0)
    with pytest.raises(SplitError, match="found 0 kept and 10 held back, of 10"):
        split_by_time(DAYS[[0] * 10], APART, share=0.2)
    with pytest.raises(SplitError, match="all 10 rows in one"):
        split_by_group(np.zeros(10, np.intp), share=0.2, seed=0)
