"""The random models of the benchmarks."""

from __future__ import annotations

import math

import pytest
import typer
from export_random import SHAPES, shortened
from tokenizers import Tokenizer, models, pre_tokenizers

VOCAB = {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4, "cc": 5, "abcc": 6}
MERGES = [("a", "b"), ("ab", "c"), ("c", "c"), ("ab", "cc")]


@pytest.mark.parametrize(("shape", "millions"), [("8m", 8), ("345m", 355)])
def test_a_shape_is_as_large_as_it_says(shape: str, millions: int) -> None:
    parameters = sum(map(math.prod, SHAPES[shape].shapes().values()))

    assert round(parameters / 1e6) == millions


def test_a_tokenizer_is_cut_to_its_commonest_pieces() -> None:
    whole = Tokenizer(models.BPE(VOCAB, MERGES))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()

    cut = Tokenizer.from_str(shortened(whole.to_str(), 5))

    assert whole.encode("abcc cc").tokens == ["abc", "c", "cc"]
    assert cut.encode("abcc cc").tokens == ["abc", "c", "c", "c"]
    assert cut.get_vocab_size() == 5


def test_another_kind_of_tokenizer_is_refused() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))

    with pytest.raises(typer.BadParameter, match=r"only a BPE tokenizer.*found WordLevel"):
        shortened(words.to_str(), 1)
