"""The head that training begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import BERT, LLAMA, byte_tokenizer, random_weights

from megatick_export import read_checkpoint, write_checkpoint
from megatick_export.checkpoint import Architecture, Checkpoint
from megatick_training.errors import HeadWordsError
from megatick_training.finetuning import with_head, with_word_head


def headless(folder: Path, architecture: Architecture) -> Checkpoint:
    architecture = replace(architecture, classes=None)
    names = architecture.shapes()
    weights = random_weights(replace(architecture, classes=3))
    write_checkpoint(folder, architecture, {name: weights[name] for name in names})
    return read_checkpoint(folder)


@pytest.fixture
def gpt(tmp_path: Path) -> Checkpoint:
    return headless(tmp_path / "gpt", LLAMA)


def test_a_new_head_is_small_and_of_its_seed(gpt: Checkpoint) -> None:
    one = with_head(gpt, seed=1).weights["classification_head.weight"]
    other = with_head(gpt, seed=2).weights["classification_head.weight"]

    assert one.shape == (3, LLAMA.hidden_size)
    assert 0.01 < float(one.std()) < 0.03
    assert not torch.equal(one, other)
    assert torch.equal(one, with_head(gpt, seed=1).weights["classification_head.weight"])


def test_a_head_that_is_there_stays(gpt: Checkpoint) -> None:
    headed = with_head(gpt, seed=1)

    assert with_head(headed, seed=2) is headed


def test_words_give_the_rows_of_the_vocabulary(gpt: Checkpoint) -> None:
    tokenizer = byte_tokenizer()

    headed = with_word_head(gpt, tokenizer, ["-", "0", "+"])

    table = gpt.weights["embedding.word_embeddings.weight"]
    ids = [tokenizer.token_to_id(word) for word in "-0+"]
    assert torch.equal(headed.weights["classification_head.weight"], table[ids])
    assert headed.weights["classification_head.bias"].tolist() == [0, 0, 0]
    assert headed.architecture.classes == 3


def test_where_they_are_not_tied_it_is_the_output_that_writes(tmp_path: Path) -> None:
    gpt = headless(tmp_path / "untied", replace(LLAMA, tied_embeddings=False))
    tokenizer = byte_tokenizer()

    headed = with_word_head(gpt, tokenizer, ["-", "0", "+"])

    ids = [tokenizer.token_to_id(word) for word in "-0+"]
    expected = gpt.weights["output_layer.weight"][ids]
    assert torch.equal(headed.weights["classification_head.weight"], expected)


def test_a_word_of_two_tokens_is_named(gpt: Checkpoint) -> None:
    with pytest.raises(HeadWordsError, match=r"'bad' is 3 tokens of this tokenizer"):
        with_word_head(gpt, byte_tokenizer(), ["bad", "0", "+"])


def test_three_words_are_wanted(gpt: Checkpoint) -> None:
    with pytest.raises(HeadWordsError, match="a word for each of negative, neutral, posi"):
        with_word_head(gpt, byte_tokenizer(), ["-", "+"])


def test_a_bert_has_no_next_word(tmp_path: Path) -> None:
    bert = headless(tmp_path / "bert", BERT)

    with pytest.raises(HeadWordsError, match="only a GPT writes a next word"):
        with_word_head(bert, byte_tokenizer(), ["-", "0", "+"])
