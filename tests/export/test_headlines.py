"""The invented headlines: distinct, repeatable, and of a headline's length."""

from __future__ import annotations

import numpy as np

from megatick_export.headlines import headlines


def test_they_are_distinct_and_a_longer_list_begins_with_the_shorter() -> None:
    many = headlines(3000)

    assert len(set(many)) == 3000
    assert many[:50] == headlines(50)
    assert many[:50] != headlines(50, seed=1)


def test_they_have_a_headlines_length() -> None:
    words = np.array([len(text.split()) for text in headlines(2000)])

    assert words.min() >= 4
    assert words.max() <= 40
    assert 8 <= words.mean() <= 20
