"""Sketches against Jaccard's index of the shingles themselves, as Python sets."""

from __future__ import annotations

import random

import numpy as np
import pytest

from megatick_contract.near_duplicates import (
    SKETCH_HASHES,
    near_duplicate_key,
    resemblance,
    sketch,
)


def jaccard(one: str, other: str) -> float:
    first, second = (
        {key[i : i + 5] for i in range(len(key) - 4)}
        for key in map(near_duplicate_key, (one, other))
    )
    return len(first & second) / len(first | second)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # abcde, bcdef and cdefg against abcde and bcdeX: 1 in both of 4
        pytest.param("abcdefg", "abcdex", 1 / 4, id="by-hand-1/4"),
        pytest.param("abc", "abc", 1.0, id="shorter-than-a-shingle"),
        pytest.param("abc", "abd", 0.0, id="shorter-and-another"),
        pytest.param("$AAPL cut to $120", "$MSFT cut to $95 http://t.co/x", 1.0, id="key"),
        pytest.param("cut to", "raised from", 0.0, id="nothing-in-common"),
        pytest.param("12.5%", "12.5%", 0.0, id="no-words-resemble-nothing"),
        pytest.param("Ölpreis fällt weiter", "ölpreis fällt weiter!", 1.0, id="umlauts"),
    ],
)
def test_resemblance(one: str, other: str, expected: float) -> None:
    assert resemblance(sketch(one), sketch(other)) == expected
    assert resemblance(sketch(other), sketch(one)) == expected


def test_headlines_are_compared_exactly() -> None:
    one = "Acme raises its full-year guidance after a strong third quarter"
    other = "Acme lifts its full-year guidance after a strong quarter"

    assert resemblance(sketch(one), sketch(other)) == jaccard(one, other)
    assert 0.5 < jaccard(one, other) < 0.9


def test_articles_are_compared_by_a_sample() -> None:
    """Of two texts with half their words alike, 256 hashes are a sample: the estimate's
    standard deviation is sqrt(J (1 - J) / 256) < 0.032, and 4 of them are allowed."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghij", k=8)) for _ in range(3000)]
    one, other = " ".join(words[:2000]), " ".join(words[1000:])

    assert len(sketch(one)) == SKETCH_HASHES
    assert sketch(one).max() < 2**32 / 32  # the smallest 256 of some 18,000
    assert resemblance(sketch(one), sketch(other)) == pytest.approx(
        jaccard(one, other), abs=0.125
    )
    assert jaccard(one, other) < 0.4


def test_hashes_stay_as_they_are() -> None:
    """A saved book is compared with texts that a later release hashes."""
    expected = splitmix("abcde")

    np.testing.assert_array_equal(sketch("abcde"), [expected])


def splitmix(shingle: str) -> int:
    """The definition again, in Python's integers."""
    mask, mixed = 2**64 - 1, 0
    for character in shingle:
        mixed = (mixed * 0x9E3779B97F4A7C15 + ord(character)) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed >> 32
