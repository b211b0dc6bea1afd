"""The profile covers what the configs let in, and is fastest at typical texts."""

from __future__ import annotations

import pytest

from megatick_contract.models import ROWS_PER_REQUEST
from megatick_export.engine import BatchLimits, Profile
from megatick_export.engine.profiles import Range, median_of_longest
from megatick_export.errors import OptionsError


def test_a_profile_covers_full_requests_of_full_rows() -> None:
    profile = Profile.of(BatchLimits(max_tokens=128, max_batch=8), [20] * 9 + [30])

    assert profile.axes == {
        # 8 requests x 8 rows x 128 tokens; typical is 8 texts of (9 x 20 + 30) / 10 = 21.
        "input_ids": Range(1, 8 * 21, 8 * 8 * 128),
        "row_lengths": Range(1, 8, 8 * 8),
        # P(all of 8 are 20) = 0.9 ** 8 = 0.43: more often than not, the longest is 30.
        "longest": Range(1, 8 * 30, 8 * 128),
        "max_seqlen": Range(1, 30, 128),
    }


def test_no_axis_is_shorter_than_the_batch_that_triton_is_told_of() -> None:
    # Triton refuses a max_batch_size above the largest first axis of any input.
    profile = Profile.of(BatchLimits(max_tokens=3, max_batch=8), [2])

    assert min(axis.largest for axis in profile.axes.values()) == 8


def test_where_attention_takes_the_whole_window_its_length_is_fixed() -> None:
    profile = Profile.of(BatchLimits(128, 8, whole_window=True), [20] * 9 + [30])

    assert profile.axes == {
        "input_ids": Range(1, 8 * 21, 8 * 8 * 128),
        "row_lengths": Range(1, 8, 8 * 8),
        "longest": Range(1, 8 * 128, 8 * 128),
        "max_seqlen": Range(128, 128, 128),
    }


def test_texts_beyond_the_window_are_cut() -> None:
    profile = Profile.of(BatchLimits(max_tokens=16, max_batch=2), [400])

    assert profile.axes["max_seqlen"] == Range(1, 16, 16)
    assert profile.axes["input_ids"] == Range(1, 32, 64)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(1, 10, id="3/4-of-one"),
        pytest.param(2, 10, id="9/16-of-two"),
        pytest.param(3, 50, id="27/64-of-three-is-below-half"),
    ],
)
def test_median_of_the_longest(rows: int, expected: int) -> None:
    assert median_of_longest({10: 3, 50: 1}, rows) == expected


def test_the_default_batch_takes_what_the_sdk_sends() -> None:
    assert BatchLimits(max_tokens=1).max_batch == ROWS_PER_REQUEST


@pytest.mark.parametrize("lengths", [[], [0, 5]], ids=["none", "zero"])
def test_lengths_that_say_nothing_are_refused(lengths: list[int]) -> None:
    with pytest.raises(OptionsError, match="at least one length, each ≥ 1"):
        Profile.of(BatchLimits(max_tokens=8), lengths)


@pytest.mark.parametrize("limits", [(0, 1), (1, 0)], ids=["tokens", "batch"])
def test_limits_below_one_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(OptionsError, match="at least 1, found 0"):
        BatchLimits(*limits)
