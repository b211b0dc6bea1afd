"""Groups against the wire's own resemblance of every pair."""

from __future__ import annotations

import itertools
import random

import pytest

from megatick_contract.near_duplicates import resemblance, sketch
from megatick_training.near_duplicates import NearDuplicates, near_duplicate_groups

WORDS = ("margin", "outlook", "dividend", "tariff", "crude", "lender", "yields", "chip")


def headlines(count: int, *, seed: int) -> list[str]:
    """Headlines of ten words, each followed by copies with a word or two changed."""
    draw = random.Random(seed)
    made: list[str] = []
    while len(made) < count:
        words = ["".join(draw.choices("abcdefghijklmnop", k=7)) for _ in range(10)]
        made.append(" ".join(words))
        for changed in (1, 2):
            copy = list(words)
            for place in draw.sample(range(10), changed):
                copy[place] = draw.choice(WORDS)
            made.append(" ".join(copy))
    return made


@pytest.mark.parametrize("at_least", [0.6, 0.8])
def test_groups_are_the_components_of_all_pairs(at_least: float) -> None:
    texts = headlines(150, seed=1)
    group = list(range(len(texts)))  # by hand: join whatever resembles
    sketches = [sketch(text) for text in texts]
    for one, other in itertools.combinations(range(len(texts)), 2):
        if resemblance(sketches[one], sketches[other]) >= at_least:
            old, new = group[other], group[one]
            group = [new if each == old else each for each in group]
    assert 50 <= len(set(group)) < len(texts)  # some join, and not all

    found = near_duplicate_groups(texts, at_least=at_least)

    assert len(set(zip(found.tolist(), group, strict=True))) == len(set(group))
    assert len(set(found.tolist())) == len(set(group))


def test_a_text_between_two_joins_them() -> None:
    one = "the lender raises its outlook for the year after a strong third quarter"
    between = one.replace("strong third", "weak third")
    other = between.replace("lender raises", "lender lowers")
    assert resemblance(sketch(one), sketch(other)) < 0.75
    assert resemblance(sketch(one), sketch(between)) >= 0.75
    assert resemblance(sketch(between), sketch(other)) >= 0.75

    assert near_duplicate_groups([one, other], at_least=0.75).tolist() == [0, 1]
    assert near_duplicate_groups([one, other, between], at_least=0.75).tolist() == [0] * 3


def test_chinese_is_compared_by_its_characters() -> None:
    texts = [
        "中国证券网讯公司计划自公告之日起十五个交易日后减持公司股份不超过一百五十二万股",
        "沪深两市今日高开高走，创业板指数领涨",
        "公司计划自公告之日起十五个交易日后减持公司股份不超过一百五十二万股。",
    ]

    assert near_duplicate_groups(texts).tolist() == [0, 1, 0]


def test_texts_without_words_resemble_only_their_equals() -> None:
    assert near_duplicate_groups(["12.5%", "3%", "12.5%", ""]).tolist() == [0, 1, 0, 2]


def test_what_was_seen_is_told_by_number() -> None:
    seen = NearDuplicates()

    assert seen.add("$ACME: price target cut to $120 https://t.co/x") == []
    assert seen.add("oil falls") == []
    assert seen.add("$WILE: price target cut to $95") == [0]


def test_no_texts_are_no_groups() -> None:
    assert near_duplicate_groups([]).tolist() == []
