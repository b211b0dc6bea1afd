"""``--candidate``: what may be forced, at which horizon."""

from __future__ import annotations

import pytest

from megatick_training.errors import CandidateError
from megatick_training.forecasting import forced_candidates


def names(*asked: str, news: bool = False) -> dict[int, str]:
    forced = forced_candidates(asked, news=news)
    return {bars: candidate.name for bars, candidate in forced.items()}


def test_nothing_is_forced_unless_asked_for() -> None:
    assert names() == {}


def test_a_name_alone_is_for_every_horizon() -> None:
    assert names("with drift") == {1: "with drift", 5: "with drift", 20: "with drift"}


def test_a_horizon_goes_before_the_name_and_the_others_are_left_to_be_chosen() -> None:
    assert names("20=scale: past moves, leverage") == {20: "scale: past moves, leverage"}


def test_the_horizon_that_is_named_wins_in_either_order() -> None:
    expected = {1: "random walk", 5: "with drift", 20: "random walk"}

    assert names("random walk", "5=with drift") == expected
    assert names("5 = with drift", "random walk") == expected


def test_what_leans_on_news_may_be_forced_where_there_is_news() -> None:
    assert names("1=scale: leverage, news", news=True) == {1: "scale: leverage, news"}


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        pytest.param(
            ["momentum"], "'momentum': expected one of 'random walk'; 'with", id="name"
        ),
        pytest.param(["scale: leverage, news"], "expected --news FILE", id="no-news"),
        pytest.param(["10=with drift"], "'10': .*, one of 1, 5, 20", id="horizon"),
        pytest.param(["x=with drift"], "'x': .*, one of 1, 5, 20", id="no-number"),
        pytest.param(["=with drift"], "'': .*, one of 1, 5, 20", id="nothing"),
        pytest.param(
            ["with drift", "random walk"], "one for all .*, 'with drift' is", id="two"
        ),
        pytest.param(
            ["5=with drift", "5=random walk"],
            "'5=random walk': expected one at 5 bars, 'with drift' is",
            id="two-at-one",
        ),
    ],
)
def test_what_cannot_be_forced_is_named_and_what_can(
    asked: list[str], problem: str
) -> None:
    with pytest.raises(CandidateError, match=problem):
        forced_candidates(asked, news=False)
