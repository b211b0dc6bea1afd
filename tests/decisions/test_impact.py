from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_decisions import clustered
from megatick_decisions.clustered import Days, clustered_rank_correlation
from megatick_decisions.errors import EventStudyError
from megatick_decisions.impact import RETURNS, EventStudy, event_study, largest
from megatick_training.forecasting.news import News, Story, states_at

NAN = float("nan")


def daily(logs: Mapping[str, npt.NDArray[np.float64]]) -> pd.DataFrame:
    """Closes at 21:00 of each day from 1 January 2020, from their logarithms."""
    closes = pd.DataFrame({name: np.exp(log) for name, log in logs.items()})
    at = pd.date_range("2020-01-01 21:00", periods=len(closes), tz="UTC")
    return closes.set_axis(at)


def news(**texts: Sequence[tuple[str, float]]) -> News:
    return News(
        {
            symbol: Story(
                at=np.array([at for at, _ in story], "datetime64[ns]"),
                scores=np.array([score for _, score in story], np.float32),
            )
            for symbol, story in texts.items()
        }
    )


BARS = np.arange(25)
THREE = daily({"A": 0.01 * BARS**2, "B": 0.002 * BARS, "C": 0.004 * BARS})
"""To A the market is B and C, which rise by 0.003 a bar."""

FROM_BAR_2 = (
    0.01 * (4 - 1) - 0.003,
    0.01 * (9 - 4) - 0.003,
    0.01 * (49 - 4) - 5 * 0.003,
    0.01 * (22**2 - 4) - 20 * 0.003,
)
"""Abnormal returns of a text about A between the closes of bars 1 and 2."""

FROM_BAR_3 = (
    FROM_BAR_2[1],
    0.01 * (16 - 9) - 0.003,
    0.01 * (64 - 9) - 5 * 0.003,
    0.01 * (23**2 - 9) - 20 * 0.003,
)


def returns_of(study: EventStudy, row: int = 0) -> list[float]:
    return [float(study.events[name].iloc[row]) for name in RETURNS]


@pytest.mark.parametrize(
    ("at", "closes_on", "expected"),
    [
        pytest.param("2020-01-03T12:00", "2020-01-03 21:00", FROM_BAR_2, id="at-noon"),
        pytest.param(
            "2020-01-03T20:59:59", "2020-01-03 21:00", FROM_BAR_2, id="just-before"
        ),
        pytest.param("2020-01-02T21:00", "2020-01-03 21:00", FROM_BAR_2, id="at-a-close"),
        pytest.param("2020-01-04T12:00", "2020-01-04 21:00", FROM_BAR_3, id="a-day-later"),
    ],
)
def test_returns_by_hand(at: str, closes_on: str, expected: tuple[float, ...]) -> None:
    study = event_study(THREE, news(A=[(at, 0.5)]))

    assert study.market_adjusted
    assert study.events["reaction_close"].iloc[0] == pd.Timestamp(closes_on, tz="UTC")
    np.testing.assert_allclose(returns_of(study), expected, atol=1e-12)
    np.testing.assert_allclose(study.texts[list(RETURNS)], [expected], atol=1e-12)


def test_the_reaction_is_to_the_first_bar_whose_state_has_the_text() -> None:
    rng = np.random.default_rng(0)
    stamps = pd.DatetimeIndex(THREE.index).tz_localize(None).to_numpy("datetime64[ns]")
    seconds = np.concatenate([rng.integers(1, 24 * 86400, 50), np.arange(20) * 86400])
    at = stamps[0] + np.sort(seconds).astype("timedelta64[s]")
    story = Story(at=at, scores=np.zeros(70, np.float32))

    texts = event_study(THREE, News({"A": story})).texts

    counts = states_at(story, stamps, half_life_s=3600)[0][:, 3]
    expected = [THREE.index[counts > text][0] for text in range(70)]
    assert texts["reaction_close"].tolist() == expected


def test_a_missing_close_is_no_bar_and_no_end_of_a_peers_move() -> None:
    closes = THREE.copy()
    closes.iloc[3, 0] = NAN  # A's holiday
    closes.iloc[4, 1] = NAN  # B's

    study = event_study(closes, news(A=[("2020-01-04T12:00", 0.5)]))

    # bars 2 to 4, 4 to 5 and 4 to 9, and of C alone, for B has no close at bar 4
    assert study.events["reaction_close"].iloc[0] == closes.index[4]
    expected = [
        0.01 * (16 - 4) - 2 * 0.004,
        0.01 * (25 - 16) - 0.004,
        0.01 * (81 - 16) - 5 * 0.004,
    ]
    np.testing.assert_allclose(returns_of(study)[:3], expected, atol=1e-12)


def test_without_a_peer_at_both_ends_there_is_no_abnormal_return() -> None:
    closes = THREE[["A", "B"]].copy()
    closes.iloc[4, 1] = NAN

    study = event_study(closes, news(A=[("2020-01-04T12:00", 0.5)]))  # reacts at bar 3

    assert study.market_adjusted
    reaction, after_1, after_5, _ = returns_of(study)
    assert reaction == pytest.approx(0.01 * (9 - 4) - 0.002, abs=1e-12)
    assert np.isnan(after_1)
    assert after_5 == pytest.approx(0.01 * (64 - 9) - 5 * 0.002, abs=1e-12)


def test_one_symbol_alone_has_raw_returns() -> None:
    closes = THREE.assign(B=NAN, C=NAN)  # in the table without a price

    study = event_study(closes, news(A=[("2020-01-03T12:00", 0.5)]))

    assert not study.market_adjusted
    np.testing.assert_allclose(returns_of(study)[:2], [0.03, 0.05], atol=1e-12)


def test_returns_end_with_the_table() -> None:
    texts = [
        ("2020-01-01T12:00", 0.1),  # no close before it
        ("2020-01-05T12:00", 0.2),  # reacts at bar 4: 20 bars on is the last
        ("2020-01-06T12:00", 0.3),
        ("2020-01-25T12:00", 0.4),  # reacts at the last
        ("2020-01-25T21:00", 0.5),  # no close after it
    ]

    study = event_study(THREE, news(A=texts))

    assert study.texts[list(RETURNS)].notna().to_numpy().tolist() == [
        [False] * 4,
        [True] * 4,
        [True, True, True, False],
        [True, False, False, False],
        [False] * 4,
    ]
    assert study.texts["reaction_close"].isna().tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
    np.testing.assert_allclose(study.events["score"], [0.2, 0.3, 0.4], atol=1e-7)


def test_texts_of_one_bar_are_one_event_with_their_mean_score() -> None:
    of_a = [
        ("2020-01-02T12:00", 0.9),
        ("2020-01-02T21:00", 0.4),
        ("2020-01-03T09:00", 0.6),
        ("2020-01-03T20:00", 0.8),
        ("2020-01-03T22:00", -0.9),
    ]

    study = event_study(THREE, news(A=of_a, C=[("2020-01-03T12:00", 0.0)]))

    events = study.events
    assert events["symbol"].tolist() == ["A", "A", "A", "C"]
    assert events["first_text"].tolist() == [0, 1, 4, 0]
    assert events["texts"].tolist() == [1, 3, 1, 1]
    np.testing.assert_allclose(events["score"], [0.9, 0.6, -0.9, 0.0], atol=1e-7)
    assert events["published_at"].iloc[1] == pd.Timestamp("2020-01-02 21:00", tz="UTC")
    np.testing.assert_allclose(returns_of(study, row=1), FROM_BAR_2, atol=1e-12)
    assert study.texts["text"].tolist() == [0, 1, 2, 3, 4, 0]
    of_texts = study.texts["reaction"].iloc[1:4]
    np.testing.assert_allclose(of_texts, [FROM_BAR_2[0]] * 3, atol=1e-12)
    assert [(g.reads, g.events, g.texts) for g in study.groups] == [
        ("negative", 1, 1),
        ("neutral", 1, 1),
        ("positive", 2, 4),
    ]


def test_groups_mean_returns_are_in_per_cent() -> None:
    texts = news(
        A=[("2020-01-03T12:00", 0.34), ("2020-01-04T12:00", 0.9)],
        B=[("2020-01-05T12:00", 0.33), ("2020-01-06T12:00", -0.33)],
    )

    study = event_study(THREE, texts)

    _, neutral, positive = study.groups
    assert (neutral.events, positive.events) == (2, 2)
    for at, name in enumerate(RETURNS):
        expected = 100 * (FROM_BAR_2[at] + FROM_BAR_3[at]) / 2
        assert positive.mean_returns[name].value == pytest.approx(expected, abs=1e-9)
    reaction = positive.mean_returns["reaction"]
    assert reaction.interval is None
    assert reaction.why_no_interval == "2 days with events, at least 10 are needed"


def test_texts_about_symbols_without_prices_are_left_out() -> None:
    at = "2020-01-03T12:00"
    closes = THREE.assign(D=NAN)

    study = event_study(
        closes, news(A=[(at, 0.5)], D=[(at, 0.1)], Z=[(at, 0.1), (at, 0.2)])
    )

    assert study.texts["symbol"].tolist() == ["A"]
    none = event_study(closes, news(Z=[(at, 0.1)]))
    assert none.events.empty
    assert none.rank_correlations["reaction"].why_no_interval == "no event has it"


def planted(*, effect: float, drift: float = 0.0) -> tuple[pd.DataFrame, News]:
    """A score s moves the bar after its text by effect·s, and the next one by drift·s."""
    rng = np.random.default_rng(0)
    bars, symbols, texts = 300, 20, 60
    moves = rng.normal(scale=0.01, size=(bars, symbols)) + rng.normal(size=(bars, 1)) * 0.02
    stories = {}
    for symbol in range(symbols):
        bar = np.sort(rng.choice(np.arange(1, bars - 1), texts, replace=False))
        scores = rng.uniform(-1, 1, texts).astype(np.float32)
        moves[bar, symbol] += effect * scores
        moves[bar + 1, symbol] += drift * scores
        at = np.datetime64("2020-01-01T18:00", "ns") + bar.astype("timedelta64[D]")
        stories[f"S{symbol}"] = Story(at, scores)
    logs = moves.cumsum(axis=0)
    return daily({name: logs[:, at] for at, name in enumerate(stories)}), News(stories)


def moved(texts: News, by: np.timedelta64) -> News:
    return News({name: Story(s.at + by, s.scores) for name, s in texts.stories.items()})


def test_a_planted_effect_is_found_with_its_size() -> None:
    study = event_study(*planted(effect=0.02))

    # the mean of uniform scores above 1/3 is 2/3; the others move by 0 on average
    for group, expected in zip(study.groups, [-4 / 3, 0, 4 / 3], strict=True):
        reaction = group.mean_returns["reaction"].interval
        after = group.mean_returns["after_1"].interval
        assert reaction is not None
        assert after is not None
        assert reaction[0] < expected < reaction[1]
        assert reaction[1] - reaction[0] < 0.5
        assert after[0] < 0 < after[1]
    reaction = study.rank_correlations["reaction"].interval
    after = study.rank_correlations["after_1"].interval
    assert reaction is not None
    assert after is not None
    assert reaction[0] > 0.5
    assert after[0] < 0 < after[1]


def test_news_a_day_later_or_earlier_has_the_returns_of_the_next_bar_or_the_last() -> None:
    closes, texts = planted(effect=0.02, drift=-0.01)

    on_time = event_study(closes, texts)
    late = event_study(closes, moved(texts, np.timedelta64(1, "D")))
    early = event_study(closes, moved(texts, -np.timedelta64(1, "D")))

    np.testing.assert_allclose(late.events["reaction"], on_time.events["after_1"])
    known_early = early.texts["reaction"].notna()
    np.testing.assert_allclose(
        early.texts["after_1"][known_early], on_time.texts["reaction"][known_early]
    )
    assert on_time.rank_correlations["reaction"].value > 0.5
    assert late.rank_correlations["reaction"].value < -0.3  # the planted drift
    assert early.rank_correlations["after_1"].value > 0.5  # a reader of the future earns


def test_shuffled_scores_have_intervals_around_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered, "_RESAMPLES", 300)
    events = event_study(*planted(effect=0.02)).events
    day = pd.DatetimeIndex(events["reaction_close"]).tz_localize(None)
    first: Days = day.to_numpy().astype("datetime64[D]")
    rng = np.random.default_rng(0)
    held = {"reaction": 0, "after_5": 0}
    for _ in range(100):
        scores = rng.permutation(events["score"].to_numpy())
        for name, looks_on in (("reaction", 0), ("after_5", 5)):
            interval = clustered_rank_correlation(
                scores,
                events[name].to_numpy(),
                first,
                first + np.timedelta64(looks_on, "D"),
                seed=0,
            ).interval
            assert interval is not None
            held[name] += interval[0] <= 0 <= interval[1]

    # of 100 draws with a chance of 0.95, fewer than 88 or all of them are one case in 100
    assert 88 <= held["reaction"] <= 99
    assert 88 <= held["after_5"] <= 99


def test_largest_reactions_and_whether_they_have_the_scores_sign() -> None:
    events = pd.DataFrame(
        {
            "symbol": ["A", "B", "C", "D", "E"],
            "score": [0.9, -0.8, -0.5, 0.2, 0.7],
            "reaction": [0.01, 0.05, -0.02, -0.09, NAN],
        }
    )

    found = largest(events, 3)

    assert found["symbol"].tolist() == ["D", "B", "C"]
    assert found["agreed"].isna().tolist() == [True, False, False]  # 0.2 reads neutral
    assert found["agreed"].iloc[1:].tolist() == [False, True]
    assert largest(events, 9)["symbol"].tolist() == ["D", "B", "C", "A"]


def naive(closes: pd.DataFrame) -> pd.DataFrame:
    return closes.tz_localize(None)


def backwards(closes: pd.DataFrame) -> pd.DataFrame:
    return closes[::-1]


def zero(closes: pd.DataFrame) -> pd.DataFrame:
    return closes.assign(B=0.0)


def empty(closes: pd.DataFrame) -> pd.DataFrame:
    return closes * NAN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (naive, r"closes: expected an index of times in UTC, found datetime64\[us\]"),
        (backwards, "closes: expected times that rise"),
        (zero, r"closes of B: expected prices above 0, found 0\.0"),
        (empty, "closes: expected a close at least, found none"),
    ],
)
def test_closes_that_are_none_are_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(EventStudyError, match=message):
        event_study(change(THREE), news(A=[("2020-01-03T12:00", 0.5)]))


def test_news_out_of_order_is_refused() -> None:
    texts = news(A=[("2020-01-03T12:00", 0.5), ("2020-01-02T12:00", 0.5)])

    with pytest.raises(EventStudyError, match="news of A: expected times that rise"):
        event_study(THREE, texts)
