"""Which words a score rests on, of models whose answers a reader can redo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from endpoint import Endpoint, serve, texts_of

from megatick_client import BadRequest, Client, DeadlineExceeded, Explanation
from megatick_client.occlusion import LEAST_EFFECT, MAX_VARIANTS, search
from megatick_client.sentiments import Probabilities, Sentiment
from megatick_client.words import without, words_of

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Profit rose 3.5%, said U.S. unit", None, id="punctuation-stays"),
        pytest.param(" \tProfit\n\nrose ", ["Profit", "rose"], id="white-space"),
        pytest.param("利益が増", ["利", "益", "が", "増"], id="japanese"),
        pytest.param("AAPL股价涨3.5%", ["AAPL", "股", "价", "涨", "3.5%"], id="mixed"),
        pytest.param("กำไร", ["กำ", "ไ", "ร"], id="thai-marks-stay-with-their-letter"),
        pytest.param("か\u3099で", ["か\u3099", "で"], id="voiced-by-a-mark"),
        pytest.param("실적 호조", ["실적", "호조"], id="korean-has-spaces"),
        pytest.param("to the 👩🏽‍🚀 now", ["to", "the", "👩🏽‍🚀", "now"], id="one-emoji"),
        pytest.param("𠮷野家", ["𠮷", "野", "家"], id="beyond-the-first-plane"),
    ],
)
def test_words(text: str, expected: list[str] | None) -> None:
    found = [text[word.start : word.stop] for word in words_of(text)]

    assert found == (text.split() if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "gone", "expected"),
    [
        ("Profit rose today", {1}, "Profit today"),
        ("Profit rose today", {0}, "rose today"),
        ("Profit rose today", {0, 2}, "rose"),
        (" Profit rose\n", {0}, " rose\n"),
        ("利益 増えた", {2}, "利益えた"),
    ],
)
def test_a_word_goes_with_the_space_before_it(
    text: str, gone: set[int], expected: str
) -> None:
    assert without(text, words_of(text), gone) == expected


def explain(
    text: str,
    model: Callable[[str], float],
    *,
    rooms: Callable[[], int] = lambda: 1000,
    **options: Any,
) -> tuple[Explanation, list[int]]:
    """Search by hand; what was found, and how many variants each round asked for."""
    even = Probabilities(1 / 3, 1 / 3, 1 / 3)
    sentiment = Sentiment(text, "neutral", model(text), even, 1, False)
    searched = search(sentiment, rooms, **options)
    rounds: list[int] = []
    scores: list[float] | None = None
    while True:
        try:
            variants = searched.send(scores)
        except StopIteration as end:
            explanation: Explanation = end.value
            return explanation, rounds
        assert all(variant.strip() for variant in variants)
        rounds.append(len(variants))
        scores = [model(variant) for variant in variants]


def additive(**weights: float) -> Callable[[str], float]:
    """A model whose score is the sum of its words' weights."""
    return lambda text: sum(weights.get(word, 0.0) for word in text.split())


def test_words_by_their_effects() -> None:
    """0.5 - 0.2 = 0.3; without "up" -0.2, so it falls by 0.5, and alone it is 0.5."""
    found, rounds = explain("shares up and then down", additive(up=0.5, down=-0.2))

    assert [(e.text, e.start, e.end) for e in found.spans] == [
        ("up", 7, 9),
        ("down", 19, 23),
    ]
    assert [e.effect for e in found.spans] == pytest.approx([0.5, -0.2])
    assert [e.text for e in found.supporting] == ["up"]
    assert found.comprehensiveness == pytest.approx(0.5)
    assert found.sufficiency == pytest.approx(-0.2)
    assert found.additivity == pytest.approx(0.0)
    assert found.refined
    assert rounds == [5, 2]
    assert found.variants == 7


def test_a_negative_score_is_read_in_its_own_direction() -> None:
    """-0.6 = -0.4 - 0.2; "sadly" alone is over the limit of one span."""
    found, _ = explain("loss widens sadly", additive(loss=-0.4, sadly=-0.2), max_spans=1)

    assert [e.text for e in found.supporting] == ["loss"]
    assert found.comprehensiveness == pytest.approx(0.4)  # |-0.6| - |-0.2|
    assert found.sufficiency == pytest.approx(0.2)  # |-0.6| - |-0.4|


def test_neighbours_that_pull_together_are_a_phrase() -> None:
    found, rounds = explain(
        "the profit doubled again , oddly", additive(profit=0.1, doubled=0.3, oddly=0.2)
    )

    assert [e.text for e in found.spans] == ["profit doubled", "oddly"]
    assert [e.effect for e in found.spans] == pytest.approx([0.4, 0.2])
    assert rounds == [6, 1, 2]
    assert found.comprehensiveness == pytest.approx(0.6)


def test_a_phrase_that_moves_less_than_a_word_of_it_stays_words() -> None:
    """Without either word the score falls by 0.4, without both by 0.2."""
    scores = {"a not bad b": 0.4, "a bad b": 0.0, "a not b": 0.0, "a b": 0.2}

    found, _ = explain("a not bad b", lambda text: scores.get(text, 0.4))

    assert sorted(e.text for e in found.spans) == ["bad", "not"]
    assert found.additivity == pytest.approx(0.2 - 0.8)


def test_words_that_cover_for_each_other_show_in_the_additivity() -> None:
    """Score: 0.6 where any of three stands, 0.1 more for each."""

    def model(text: str) -> float:
        said = sum(word in text for word in ("up", "rise", "gain"))
        return min(said, 1) * 0.6 + said * 0.1

    found, _ = explain("up x rise y gain", model)

    assert [e.effect for e in found.spans] == pytest.approx([0.1] * 3)
    assert found.comprehensiveness == pytest.approx(0.9)
    assert found.additivity == pytest.approx(0.6)


def test_a_long_phrase_is_parted_at_its_weakest_pair() -> None:
    """Six neighbours, at most five together: b and c are the weakest two, 0.01 each."""
    weights = dict(zip("abcdef", (0.2, 0.01, 0.01, 0.2, 0.2, 0.2), strict=True))

    found, _ = explain("x a b c d e f", additive(**weights))

    assert {e.text for e in found.spans} == {"a b", "c d e f"}


def test_words_that_are_apart_are_no_phrase() -> None:
    """Of 20 words in 9 runs, two runs of two move the score; the run between does not."""
    weights = dict.fromkeys("pqrs", 0.1)

    found, rounds = explain("p q x x r s" + " x" * 14, additive(**weights), max_variants=20)

    assert {e.text for e in found.spans} == {"p q", "r s"}
    assert rounds == [9, 4, 2, 2]


def test_a_long_text_is_refined_where_it_matters() -> None:
    """One word of 4,000: found with 128 variants, each at its own place."""
    words = ["w"] * 4000
    words[2718] = "plunge"
    text = " ".join(words)

    found, rounds = explain(text, additive(plunge=-0.7))

    (evidence,) = found.spans
    assert (evidence.text, evidence.start) == ("plunge", 2718 * 2)
    assert found.refined
    assert sum(rounds) == found.variants <= MAX_VARIANTS
    assert rounds == [63, 8, 8, 2]  # runs of 63 or 64, 8 and 1 words; the fidelity


@pytest.mark.parametrize("most", [4, 7, 20, 128])
def test_no_more_variants_than_allowed(most: int) -> None:
    text = " ".join(f"w{n}" for n in range(300))

    found, rounds = explain(text, lambda t: len(t) / 500, max_variants=most)

    assert sum(rounds) == found.variants <= most
    assert not found.refined


def test_where_time_is_short_the_search_ends_and_says_so() -> None:
    """Room for 6 of 8 words: 3 runs, to leave as many for later; then room for none."""
    rooms = iter([6])

    found, rounds = explain(
        "a b c d e up g h", additive(up=0.5), rooms=lambda: next(rooms, 0)
    )

    assert [e.text for e in found.spans] == ["up g h"]
    assert not found.refined
    assert rounds == [3, 2]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        pytest.param("up", [], id="of-one-word-nothing-can-go"),
        pytest.param("up gain", ["up", "gain"], id="of-all-words-no-half-is-left"),
        pytest.param("quite flat", [], id="nothing-moves"),
    ],
)
def test_without_fidelity(text: str, spans: list[str]) -> None:
    found, _ = explain(text, additive(up=0.4, gain=0.3))

    assert [e.text for e in found.spans] == spans
    assert (found.comprehensiveness, found.sufficiency, found.additivity) == (None,) * 3


def test_what_rounds_to_nothing_is_no_evidence() -> None:
    found, _ = explain("big small", additive(big=0.5, small=LEAST_EFFECT * 0.9))

    assert [e.text for e in found.spans] == ["big"]


def test_many_texts_share_requests_at_backfill_priority(make_client: MakeClient) -> None:
    """A text of p plusses scores p / (3 + p): "++ flat" 0.4, "flat" 0."""
    with serve(Endpoint()) as endpoint, make_client(endpoint.address) as client:
        texts = pd.Series(["++ flat", "all quiet here", "up + +++ now"], index=[7, 8, 9])

        found = client.explain(texts)

        assert [len(texts_of(each)) for each in endpoint.requests] == [
            3,
            2 + 3 + 4,
            2 + 1,
            2,
        ]
        for request in endpoint.requests:
            assert request.parameters["lane"].string_param == "backfill"
    first, second, third = found
    (evidence,) = first.spans
    assert evidence.text == "++"
    assert evidence.effect == pytest.approx(0.4)
    assert first.comprehensiveness == pytest.approx(0.4)
    assert first.sufficiency == pytest.approx(0.0)
    assert second.spans == ()
    (phrase,) = third.spans
    assert phrase.text == "+ +++"
    assert phrase.effect == pytest.approx(4 / 7)
    frame = found.to_frame()
    assert frame.index.tolist() == [7, 9]
    assert frame["span"].tolist() == ["++", "+ +++"]


def test_one_text_is_one_explanation(make_client: MakeClient) -> None:
    with serve(Endpoint()) as endpoint, make_client(endpoint.address) as client:
        found = client.explain("株価 + 上昇", priority="live")

        assert isinstance(found, Explanation)
        assert [(e.text, e.start) for e in found.spans] == [("+", 3)]
        assert found.score == 0.25
        assert "lane" not in endpoint.requests[-1].parameters
        assert len(client.explain([])) == 0


def test_the_deadline_is_of_the_whole_call(make_client: MakeClient) -> None:
    with (
        serve(Endpoint(stall_at=1, stall_s=2.0)) as endpoint,
        make_client(endpoint.address) as client,
        pytest.raises(DeadlineExceeded),
    ):
        client.explain("one + two", timeout_s=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_spans": 0}, "max_spans: expected an int >= 1, found 0"),
        ({"max_variants": 3}, "max_variants: expected an int >= 4, found 3"),
        ({"truncation": "split"}, "truncation: expected one of head, tail, error"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with Client("h:1") as client, pytest.raises(BadRequest, match=message):
        client.explain("a", **options)


@pytest.mark.triton
def test_bad_texts_are_named_by_their_row(client: Client) -> None:
    with pytest.raises(BadRequest) as refused:
        client.explain(["fine +", " ", "also fine", ""])

    assert refused.value.rows == (1, 3)


@pytest.mark.triton
def test_a_text_beyond_the_window(client: Client) -> None:
    """The stand-in reads 8 words; one longer is refused, or explained as it was cut."""
    text = "a b c d e f g h i +"

    with pytest.raises(BadRequest, match="row 0, TEXT"):
        client.explain(text, truncation="error")
    assert client.explain(text).truncated
