"""A prompt's classes are the language model's own next words, calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tiny import BERT, GPT2, LLAMA, WINDOW, byte_tokenizer, random_weights
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from megatick_contract import LABELS
from megatick_export import (
    Architecture,
    ExportOptions,
    read_checkpoint,
    reference_network,
    write_checkpoint,
)
from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import HeadError
from megatick_export.headlines import headlines
from megatick_export.heads import Classifier, zero_shot
from megatick_export.heads.classifier import keys_and_values
from megatick_export.network import Network
from megatick_export.parity import (
    Engine,
    onnxruntime_engine,
    openvino_engine,
    reference_logits,
)
from megatick_export.subject import prepare
from megatick_export.to_onnx import write_onnx

MERGED = ("d", "f", "u")
WORDS = {letter: 256 + number for number, letter in enumerate(MERGED)}
"""The tokens of " d", " f" and " u"; 259 is "ed", the others one byte."""

VOCABULARY = 264
BEGIN = 3
TEXTS = [
    "Profit up 4%",
    "down",
    "Sales fell, unions said",
    *(text for text in headlines(12, seed=5) if len(text) < 70),
]
LENGTHS = [[1], [40], [1, 1, 1], [5, 17, 33, 9], [30, 2, 2, 2, 44, 1]]


def words_tokenizer(*, begins: bool = False) -> Tokenizer:
    """GPT-2's pre-tokenizer over bytes, with three merges; perhaps a token to begin."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    vocabulary |= {f"Ġ{letter}": number for letter, number in WORDS.items()} | {"ed": 259}
    merges = [*(("Ġ", letter) for letter in MERGED), ("e", "d")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if begins:
        begin = {"id": "<s>", "ids": [BEGIN], "tokens": [alphabet[BEGIN]]}
        tokenizer.post_processor = processors.TemplateProcessing(
            single=["<s>", "$A"], special_tokens=[begin]
        )
    return tokenizer


@dataclass(frozen=True)
class Case:
    architecture: Architecture
    template: str
    begins: bool = False


CASES = {
    "llama": Case(LLAMA, "News: {text}\nMood:", begins=True),
    "gpt2": Case(replace(GPT2, tied_embeddings=False), "News: {text} Mood:"),
    "text-first": Case(LLAMA, "{text}\nMood:"),
}


@dataclass(frozen=True)
class Exported:
    """A classifier, the graph made of it, and the language model that it came from."""

    case: Case
    model: Network
    classifier: Classifier
    tokenizer: Tokenizer
    graph: Path

    def whole_prompt(self, text: str) -> list[int]:
        """The prompt's tokens, from a tokenizer that knows nothing of a cut."""
        words = words_tokenizer(begins=self.case.begins)
        ids: list[int] = words.encode(self.case.template.replace("{text}", text)).ids
        return ids

    def next_word(self, text: str) -> npt.NDArray[np.float64]:
        """The model's own probabilities of the three words after the prompt."""
        hidden = self.model.encode(torch.tensor([self.whole_prompt(text)]))[0, -1]
        shares = self.model.language_logits(hidden).double().softmax(-1)
        return shares[[WORDS["d"], WORDS["f"], WORDS["u"]]].numpy()

    def tokens(self, text: str) -> npt.NDArray[np.int32]:
        return np.array(self.tokenizer.encode(text).ids, np.int32)


def tiny_checkpoint(folder: Path, architecture: Architecture) -> Checkpoint:
    wider = replace(architecture, vocab_size=VOCABULARY)
    write_checkpoint(folder, wider, random_weights(wider))
    return read_checkpoint(folder)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """With learned positions, past whose last there is nothing to look up."""
    return tiny_checkpoint(tmp_path_factory.mktemp("refused") / "checkpoint", GPT2)


@pytest.fixture(scope="module", params=CASES)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    case = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = tiny_checkpoint(folder / "checkpoint", case.architecture)
    classifier, tokenizer = zero_shot(
        checkpoint,
        words_tokenizer(begins=case.begins),
        template=case.template,
        verbalizers=("d", "f", "u"),
        labels=LABELS,
        max_tokens=WINDOW,
    )
    write_onnx(classifier.packed(), folder / "model.onnx")
    model = reference_network(checkpoint)
    return Exported(case, model, classifier, tokenizer, folder / "model.onnx")


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(request: pytest.FixtureRequest, exported: Exported) -> Engine:
    load = onnxruntime_engine if request.param == "onnxruntime" else openvino_engine
    return load(exported.graph)


def centred(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Take from each row its mean: a constant moves no probability."""
    centred: npt.NDArray[Any] = logits - logits.mean(-1, keepdims=True)
    return centred


def test_logits_are_the_next_words_probabilities_over_the_content_free(
    exported: Exported, engine: Engine
) -> None:
    # Zhao et al. 2021, section 5: renormalised over the classes, then averaged.
    blank = [exported.next_word(text) for text in ("N/A", "[MASK]", "")]
    content_free = np.mean([each / each.sum() for each in blank], axis=0)

    logits = engine([exported.tokens(text) for text in TEXTS]).logits

    own = np.array([exported.next_word(text) for text in TEXTS])
    expected = centred(np.log(own / content_free))
    assert np.ptp(expected, axis=0).min() > 0.5, "texts that are answered alike"
    np.testing.assert_allclose(centred(logits), expected, atol=1e-4)
    assert exported.classifier.prompt is not None
    np.testing.assert_allclose(
        exported.classifier.prompt.content_free, content_free, atol=1e-6
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_cached_prefix_is_the_prefix(
    exported: Exported, engine: Engine, lengths: list[int]
) -> None:
    random = np.random.default_rng(len(lengths))
    rows = [random.integers(0, VOCABULARY, n).astype(np.int32) for n in lengths]
    prefix = exported.classifier.prefix_ids

    logits = engine(rows).logits

    reference = reference_logits(exported.classifier.network, rows, prefix_ids=prefix)
    np.testing.assert_allclose(logits, reference, atol=1e-4)


def test_what_stands_before_the_text_is_not_in_a_row(exported: Exported) -> None:
    text = "Profit up 4%"
    prefix, row = exported.classifier.prefix_ids, exported.tokens(text)

    assert [*prefix, *row] == exported.whole_prompt(text)
    # With a word before it, a text brings along its space; the prefix ends before that.
    before, _, _ = exported.case.template.partition("{text}")
    assert len(prefix) == len(before.rstrip()) + exported.case.begins


def test_the_last_cached_key_is_the_networks(exported: Exported) -> None:
    # Of the first layer by hand: norm, projection, rotation at the last position.
    ids = exported.classifier.prefix_ids or (1, 2)
    network = exported.classifier.network
    layer, place = network.layers[0], torch.tensor([len(ids) - 1])
    alone = network.embed(torch.tensor([ids[-1]]), place)
    _, key, value = layer.project(alone, network.rotation(place))

    cached = keys_and_values(network, ids)

    assert len(cached) == network.architecture.num_layers
    torch.testing.assert_close(cached[0][0][-1], key[0])
    torch.testing.assert_close(cached[0][1][-1], value[0])


LONG = "a" * (WINDOW - 8 - 5)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"verbalizers": ("d", "fg", "u")}, "'fg', which is 2", id="tokens"),
        pytest.param({"verbalizers": ("d", "u", "u")}, "are one token", id="equal"),
        pytest.param({"verbalizers": ("d", "u")}, "word for each of", id="two"),
        pytest.param({"template": "News: Mood:"}, "{text} once", id="no-text"),
        pytest.param({"template": "{text} or {text}:"}, "{text} once", id="two-texts"),
        pytest.param({"template": "News: {text}"}, "words that do not", id="no-words"),
        pytest.param({"template": "News: {text} Mood: "}, "end in a space", id="space"),
        # "News: ", a new line, 83 letters and a colon leave 5 tokens; "[MASK]" takes 6.
        pytest.param(
            {"template": f"News: {{text}}\n{LONG}:"}, "row of 96 tokens", id="full"
        ),
        pytest.param({"template": "News: {text}d:"}, "joins the text", id="joined"),
    ],
)
def test_what_cannot_be_a_prompt_is_refused(
    gpt2: Checkpoint, change: dict[str, Any], problem: str
) -> None:
    sound = {"template": "News: {text}\nMood:", "verbalizers": ("d", "f", "u")}

    with pytest.raises(HeadError) as refused:
        zero_shot(
            gpt2,
            words_tokenizer(),
            labels=LABELS,
            max_tokens=WINDOW,
            **(sound | change),
        )

    assert problem in str(refused.value)


def test_words_in_another_order_are_put_into_the_contracts(gpt2: Checkpoint) -> None:
    classifier, _ = zero_shot(
        gpt2,
        words_tokenizer(),
        template="News: {text} Mood:",
        verbalizers=("u", "d", "f"),
        labels=("positive", "negative", "neutral"),
        max_tokens=WINDOW,
    )

    assert classifier.labels == ("negative", "neutral", "positive")
    assert classifier.prompt is not None
    assert classifier.prompt.verbalizers == ("d", "f", "u")
    head = classifier.network.classification_head.weight
    table = gpt2.weights["embedding.word_embeddings.weight"]
    assert torch.equal(head, table[[WORDS["d"], WORDS["f"], WORDS["u"]]])


def test_a_bert_has_no_next_word(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "bert", BERT, random_weights(BERT))

    with pytest.raises(HeadError, match="is a BERT"):
        zero_shot(
            read_checkpoint(tmp_path / "bert"),
            byte_tokenizer(),
            template="News: {text}\nMood:",
            verbalizers=("d", "f", "u"),
            labels=LABELS,
            max_tokens=WINDOW,
        )


def test_the_tokenizer_that_is_served_ends_every_text_as_the_prompt_does(
    tmp_path: Path,
) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", LLAMA)
    words_tokenizer(begins=True).save(str(tmp_path / "tokenizer.json"))
    options = ExportOptions(
        tokenizer=tmp_path / "tokenizer.json",
        prompt="News: {text}\nMood:",
        verbalizers=("d", "f", "u"),
    )

    subject = prepare(checkpoint, options)
    subject.write_tokenizer(tmp_path / "served.json")

    prompt = subject.classifier.prompt
    assert prompt is not None
    assert prompt.verbalizer_ids == (256, 257, 258)
    assert subject.max_tokens == WINDOW - len("<News:"), "<s> is one token"
    served = Tokenizer.from_file(str(tmp_path / "served.json"))
    whole = words_tokenizer(begins=True).encode("News: up 4%\nMood:").ids
    assert [*prompt.prefix_ids, *served.encode("up 4%").ids] == whole
    assert served.num_special_tokens_to_add(is_pair=False) == len("\nMood:")
    (row,) = subject.rows(["up" * WINDOW])
    assert len(row) == subject.max_tokens
    assert row.tolist()[-len("\nMood:") :] == whole[-len("\nMood:") :], "cut before it"
