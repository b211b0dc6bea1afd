"""Texts longer than the model's window, of which the stand-in reads 8 words."""

from __future__ import annotations

import random

import pandas as pd
import pytest

from megatick_client import BadRequest, Client, Probabilities, Sentiment
from megatick_client.splitting import split
from megatick_contract import Rejection
from megatick_contract.text import TooLong


@pytest.mark.parametrize(
    ("text", "characters", "expected"),
    [
        pytest.param("Up. Down.", 9, ["Up. Down."], id="fits"),
        pytest.param("Up. Down. Flat.", 10, ["Up. Down. ", "Flat."], id="sentences"),
        pytest.param(
            "Acme Inc. fell 3.5% at Dr. Smith's U.S. unit. Beta rose.",
            50,
            ["Acme Inc. fell 3.5% at Dr. Smith's U.S. unit. ", "Beta rose."],
            id="abbreviations-end-nothing",
        ),
        pytest.param(
            "利益が増えた。株価は下がった。",
            8,
            ["利益が増えた。", "株価は下がった。"],
            id="japanese",
        ),
        pytest.param("One\n\n\nTwo", 4, ["One", "Two"], id="paragraphs"),
        pytest.param("aa bb cc dd", 6, ["aa bb", " cc dd"], id="words-of-a-sentence"),
        pytest.param("abcdefg", 3, ["abc", "def", "g"], id="characters-of-a-word"),
    ],
)
def test_split(text: str, characters: int, expected: list[str]) -> None:
    assert split(text, characters) == expected


@pytest.mark.parametrize("characters", [1, 7, 40, 1000])
def test_no_word_is_lost_or_moved(characters: int) -> None:
    draw = random.Random(characters)
    marks = [
        " ",
        ". ",
        "! ",
        "\n",
        "\n\n",
        " \n \n",
        "。",
        "... ",
        ", ",
        ' "',
        '" ',
        "\r\n",
        "\t",
    ]
    text = "x" + "".join(
        "".join(draw.choices("abÄé株", k=draw.randint(1, 12))) + draw.choice(marks)
        for _ in range(20_000)
    )

    runs = split(text, characters)

    assert max(map(len, runs)) <= characters
    assert all(run.strip() for run in runs)
    assert "".join("".join(runs).split()) == "".join(text.split())


def test_words_of_two_paragraphs_stay_two() -> None:
    """Given many at once, the splitter drops what is between some."""
    text = "Acme's U.S. unit fell.\n\nShares rose! Why? " * 400

    assert " ".join(split(text, 1000)).split() == text.split()


@pytest.mark.triton
def test_parts_are_combined_by_their_tokens(client: Client) -> None:
    """13 words, of which 7 score (1, 1, 2) / 4 and 6 score (3, 1, 1) / 5."""
    text = "We are up + now. Costs fell. They are down - - today."

    result = client.score(text, truncation="split")

    assert [(part.text, part.tokens) for part in result.parts] == [
        ("We are up + now. Costs fell. ", 7),
        ("They are down - - today.", 6),
    ]
    assert (result.text, result.tokens, result.truncated) == (text, 13, False)
    expected = [
        (7 * 0.25 + 6 * 0.6) / 13,
        (7 * 0.25 + 6 * 0.2) / 13,
        (7 * 0.5 + 6 * 0.2) / 13,
    ]
    found = result.probabilities
    assert [found.negative, found.neutral, found.positive] == pytest.approx(expected)
    assert result.score == pytest.approx(expected[2] - expected[0])
    assert result.label == "negative"  # 5.35 / 13 against 4.7 / 13 for positive


@pytest.mark.triton
def test_a_text_that_fits_is_as_without(client: Client) -> None:
    result = client.score("up +", truncation="split")

    assert result == client.score("up +")
    assert result.probabilities == Probabilities(0.25, 0.25, 0.5)
    assert result.parts == ()


@pytest.mark.triton
def test_a_part_that_is_still_too_long_is_cut_again(client: Client) -> None:
    """8 long words and 16 short ones: of the mean length of a word, the short ones make a
    part of 16."""
    text = " ".join(["incomprehensibilities"] * 8 + ["a"] * 16)

    result = client.score(text, truncation="split")

    assert result.tokens == 24
    assert max(part.tokens for part in result.parts) <= 8
    assert " ".join(part.text.strip() for part in result.parts) == text


@pytest.mark.triton
def test_long_and_short_texts_keep_their_order(client: Client) -> None:
    texts = pd.Series(
        ["up +", "a b c d. " * 40, "down -", "e f g h + " * 3], index=list("wxyz")
    )

    results = client.score(texts, truncation="split", timings=False)

    assert [result.text for result in results] == list(texts)
    assert [result.tokens for result in results] == [2, 160, 2, 15]
    assert [bool(result.parts) for result in results] == [False, True, False, True]
    assert list(results.to_frame().index) == list("wxyz")


@pytest.mark.triton
def test_a_text_larger_than_a_request_may_hold(client: Client) -> None:
    text = "up + a b c d e f g. " * 4_000  # 80 KB, 36,000 words

    result = client.score(text, truncation="split", timeout_s=60)

    assert result.tokens == 36_000
    assert isinstance(result, Sentiment)


@pytest.mark.triton
def test_bad_texts_are_told_by_the_callers_rows(client: Client) -> None:
    texts = ["a b c d. " * 8_000, "fine", " ", "long " * 9, ""]  # 72 KB are several parts

    with pytest.raises(BadRequest) as refused:
        client.score(texts, truncation="split")

    assert refused.value.rejections == (
        Rejection(2, "TEXT", "is blank"),
        Rejection(4, "TEXT", "is blank"),
    )


@pytest.mark.triton
def test_no_texts(client: Client) -> None:
    assert len(client.score([], truncation="split")) == 0


@pytest.mark.triton
def test_only_score_splits(client: Client) -> None:
    with pytest.raises(BadRequest, match="head, tail, error, found 'split'"):
        client.embed("a", truncation="split")  # type: ignore[call-overload]


def test_what_too_long_reads_back() -> None:
    assert TooLong.read(str(TooLong(300, 256))) == TooLong(300, 256)
    assert TooLong.read("is blank") is None
