"""Groups against the wire's own resemblance of every pair."""

from __future__ import annotations

import itertools
import random

import pytest

from megatick_contract.near_duplicates import Sketch, resemblance, sketch
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


def copies_of_copies(count: int, *, seed: int) -> list[str]:
    """Headlines of which each but the first has three words of an earlier one changed."""
    draw = random.Random(seed)
    made = [" ".join("".join(draw.choices("abcdefghij", k=7)) for _ in range(14))]
    while len(made) < count:
        words = draw.choice(made).split()
        for place in draw.sample(range(14), 3):
            words[place] = "".join(draw.choices("abcdefghij", k=7))
        made.append(" ".join(words))
    draw.shuffle(made)
    return made


@pytest.mark.parametrize(
    ("texts", "at_least"),
    [
        (headlines(150, seed=1), 0.6),
        (headlines(150, seed=1), 0.8),
        (copies_of_copies(200, seed=2), 0.55),
    ],
    ids=["0.6", "0.8", "chains"],
)
@pytest.mark.parametrize("buckets", ["MinHash's", "one"])
def test_groups_are_the_components_of_all_pairs(
    texts: list[str], at_least: float, buckets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if buckets == "one":  # where what is left out is met in no other
        monkeypatch.setattr(
            "megatick_training.near_duplicates._Bands.buckets_of", lambda *_: [0]
        )
    group = list(range(len(texts)))  # by hand: join whatever resembles
    sketches = [sketch(text) for text in texts]
    for one, other in itertools.combinations(range(len(texts)), 2):
        if resemblance(sketches[one], sketches[other]) >= at_least:
            old, new = group[other], group[one]
            group = [new if each == old else each for each in group]
    assert 1 < len(set(group)) < len(texts)  # some join, and not all

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
    seen = NearDuplicates(at_least=0.75)
    one = "the lender raises its outlook for the year after a strong third quarter"
    like = one.replace("strong third", "weak third")

    assert seen.find_or_add(one, apart="A") is None
    assert seen.find_or_add("oil falls", apart="A") is None
    assert seen.find_or_add(f"$WILE: {one}!", apart="A") == 0
    assert seen.find_or_add(like, apart="A") == 0
    assert seen.find_or_add(like, apart="B") is None
    assert seen.find_or_add(one, apart="B") == 2


def test_what_is_only_looked_for_is_not_remembered() -> None:
    seen = NearDuplicates()
    seen.add("$ACME: price target cut to $120 https://t.co/x")

    assert "$WILE: price target cut to $95" in seen
    assert "oil falls" not in seen
    assert "oil falls" not in seen


def test_a_pattern_of_thousands_costs_a_comparison_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = random.Random(0)
    names = ["".join(draw.choices("abcdefghijklmnop", k=6)) for _ in range(300)]
    pattern = "{} to announce its third quarter results and to host a conference call"
    compared: list[float] = []

    def counted(one: Sketch, other: Sketch) -> float:
        compared.append(resemblance(one, other))
        return compared[-1]

    monkeypatch.setattr("megatick_training.near_duplicates.resemblance", counted)
    groups = near_duplicate_groups([pattern.format(name) for name in names], at_least=0.6)

    assert set(groups.tolist()) == {0}
    assert len(compared) == 299  # of 44,850 pairs


def test_no_texts_are_no_groups() -> None:
    assert near_duplicate_groups([]).tolist() == []
