r"""Classes from a language model's own next word, without any fine-tuning.

    "Headline: {text}\nSentiment:"  with  negative, neutral, positive

The words' rows of the output projection become the classification head, so the rest of
the export sees a head like any other.  Language models lean towards some words whatever
the text; the lean is measured on texts without content and taken off the logits.

Source of the calibration: Zhao, Wallace, Feng, Klein and Singh, Calibrate Before Use,
ICML 2021, section 5: the probabilities, renormalised over the classes, are divided by
their average over the content-free inputs "N/A", "[MASK]" and the empty string, which is
to subtract its logarithm from the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, normalizers, processors

from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import HeadError
from megatick_export.headlines import headlines
from megatick_export.heads.classifier import Classifier, Prompt, served_order
from megatick_export.network import Network, reference_network

SLOT: Final = "{text}"
CONTENT_FREE: Final = ("N/A", "[MASK]", "")
COMPARED_TEXTS: Final = 300


def zero_shot(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    *,
    template: str,
    verbalizers: Sequence[str],
    labels: Sequence[str],
    max_tokens: int,
) -> tuple[Classifier, Tokenizer]:
    """Make a classifier of a causal language model.

    Args:
        checkpoint: a GPT; a classification head that it may have is left out.
        tokenizer: the checkpoint's.
        template: the prompt, with ``{text}`` once.
        verbalizers: the word that means each label; each a single token after the prompt.
        labels: the classes.  The contract's three are put into the contract's order, and
            their words with them; others stay as they stand.
        max_tokens: longest row of the model, the prompt included.

    Returns:
        The classifier, and a tokenizer that ends every text as the prompt does.  What
        stands before the text is not in its tokens: the graph holds it as a constant.

    Raises:
        HeadError: the model is not causal, the template has no single ``{text}``, a
            verbalizer is not one token, the prompt's tokens depend on the text, or they
            leave no room for one.
    """
    path = checkpoint.path
    if not checkpoint.architecture.causal:
        raise HeadError(path, "is a BERT: --prompt needs a GPT, which predicts a next word")
    if len(verbalizers) != len(labels):
        raise HeadError(
            path,
            f"--verbalizers: expected a word for each of {', '.join(labels)}, found "
            f"{len(verbalizers)}",
        )
    order = served_order(labels)
    labels, verbalizers = ([each[row] for row in order] for each in (labels, verbalizers))
    parts = template.split(SLOT)
    if len(parts) != 2 or not parts[1].strip() or parts[1][-1] == " ":
        raise HeadError(
            path,
            f"--prompt: expected {SLOT} once, and after it words that do not end in a "
            f"space, found {template!r}",
        )
    cut = _cut(path, tokenizer, *parts)
    ids = [_verbalizer(path, tokenizer, template, word) for word in verbalizers]
    if len(set(ids)) < len(ids):
        raise HeadError(path, f"--verbalizers: two of {list(verbalizers)} are one token")
    contentless = [cut.whole(text) for text in CONTENT_FREE]
    if max(map(len, contentless)) > max_tokens:
        raise HeadError(
            path, f"--prompt: fills the row of {max_tokens} tokens: no text fits into it"
        )
    network = reference_network(_with_rows(checkpoint, ids))
    content_free = _content_free(network, contentless)
    network.classification_head.bias.data = -content_free.log()
    prompt = Prompt(
        template=template,
        verbalizers=tuple(verbalizers),
        prefix_ids=cut.prefix,
        suffix_ids=cut.suffix,
        verbalizer_ids=tuple(ids),
        content_free=tuple(content_free.tolist()),
        compared_texts=COMPARED_TEXTS,
    )
    return Classifier(network, tuple(labels), prompt), cut.tokenizer


class _Cut:
    """A tokenizer that gives the text and the suffix, and the tokens before them."""

    def __init__(self, tokenizer: Tokenizer, before: str, after: str, *, space: bool):
        """Cut at the text; with ``space``, the text brings the space before it along."""
        given = Tokenizer.from_str(tokenizer.to_str())
        probe = given.encode("x").ids
        plain = given.encode("x", add_special_tokens=False).ids
        begin = probe[: probe.index(plain[0])] if plain[0] in probe else []
        if space:
            steps = [normalizers.Prepend(" "), given.normalizer]
            given.normalizer = normalizers.Sequence(
                [each for each in steps if each is not None]
            )
        sample = "x"
        text = _ids(given, sample)
        whole = _ids(tokenizer, before + sample + after)
        self.suffix = tuple(whole[len(_ids(tokenizer, before + sample)) :])
        stop = len(whole) - len(self.suffix) - len(text)
        self.prefix = (*begin, *whole[: max(stop, 0)])
        self._begin = begin
        self._given, self._around = tokenizer, (before, after)
        suffix = {
            "id": "suffix",
            "ids": list(self.suffix),
            "tokens": [str(given.id_to_token(each)) for each in self.suffix],
        }
        given.post_processor = processors.TemplateProcessing(
            single=["$A", "suffix"], special_tokens=[suffix]
        )
        self.tokenizer = given

    def whole(self, text: str) -> list[int]:
        """Tokenize the prompt with a text in it, as the model was trained to read it."""
        before, after = self._around
        return [*self._begin, *_ids(self._given, before + text + after)]

    def gives(self, text: str) -> bool:
        """Whether prefix + text + suffix are the tokens of the whole prompt."""
        return [*self.prefix, *self.tokenizer.encode(text).ids] == self.whole(text)


def _cut(path: Path, tokenizer: Tokenizer, before: str, after: str) -> _Cut:
    """Find the cut at which no text changes the tokens around it."""
    texts = headlines(COMPARED_TEXTS)
    for space in (True, False):
        cut = _Cut(tokenizer, before, after, space=space)
        if all(map(cut.gives, texts)):
            return cut
    raise HeadError(
        path,
        "--prompt: this tokenizer joins the text with the words around it, so that they "
        "cannot be computed ahead.  Put a space or a new line on both sides of "
        f"{SLOT}: found {before + SLOT + after!r}",
    )


def _verbalizer(path: Path, tokenizer: Tokenizer, template: str, word: str) -> int:
    """The one token that continues the prompt with this word."""
    prompt = template.replace(SLOT, "x")
    said = word if prompt[-1].isspace() else f" {word}"
    before, whole = _ids(tokenizer, prompt), _ids(tokenizer, prompt + said)
    added = whole[len(before) :]
    if whole[: len(before)] != before or len(added) != 1:
        tokens = [str(tokenizer.id_to_token(each)) for each in added]
        raise HeadError(
            path,
            f"--verbalizers: expected words of one token each, found {word!r}, which is "
            f"{len(added)}: {tokens}",
        )
    return added[0]


def _with_rows(checkpoint: Checkpoint, ids: Sequence[int]) -> Checkpoint:
    """Take rows of the output projection for a classification head without a bias."""
    tied = checkpoint.architecture.tied_embeddings
    name = "embedding.word_embeddings.weight" if tied else "output_layer.weight"
    rows = checkpoint.weights[name][list(ids)].float()
    weights = {
        **checkpoint.weights,
        "classification_head.weight": rows,
        "classification_head.bias": torch.zeros(len(ids)),
    }
    architecture = replace(checkpoint.architecture, classes=len(ids))
    return replace(checkpoint, weights=weights, architecture=architecture)


def _content_free(network: Network, prompts: Sequence[list[int]]) -> torch.Tensor:
    """Average the classes' probabilities over prompts without content: [classes]."""
    with torch.no_grad():
        answers = [network(torch.tensor([ids]))[0].softmax(-1) for ids in prompts]
    return torch.stack(answers).mean(0)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids
