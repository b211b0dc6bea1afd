"""A network that answers with classes, whatever its head came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from megatick_contract import LABELS
from megatick_export.network import Network
from megatick_export.packed import PackedClassifier, Prefix
from megatick_export.transformer import causal_mask


@dataclass(frozen=True)
class Prompt:
    """The words around every text, and those that mean the classes.

    Attributes:
        template: with ``{text}`` where the text goes.
        verbalizers: one word a class, in the order of the labels.
        prefix_ids: tokens before the text.
        suffix_ids: tokens after it; the repository's tokenizer appends them.
        verbalizer_ids: one token a class.
        content_free: what the model answers to no content, a probability a class; the
            logits are calibrated by it.
        compared_texts: texts on which prefix + text + suffix was found to be the tokens
            of the whole prompt.
    """

    template: str
    verbalizers: tuple[str, ...]
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    verbalizer_ids: tuple[int, ...]
    content_free: tuple[float, ...]
    compared_texts: int


@dataclass(frozen=True)
class Classifier:
    """A float32 network with three (or more) class rows.

    Attributes:
        network: the reference.
        labels: what the rows mean, in order.
        prompt: None for a fine-tuned head.
    """

    network: Network
    labels: tuple[str, ...]
    prompt: Prompt | None = None

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """Tokens that stand before every row."""
        return self.prompt.prefix_ids if self.prompt else ()

    def packed(
        self, network: Network | None = None, *, embedding: bool = False
    ) -> PackedClassifier:
        """Make the packed form, of this network or of one made from it.

        The prefix's keys and values are always the float32 network's.
        """
        return PackedClassifier(
            network or self.network, prefix=self._prefix, embedding=embedding
        )

    @cached_property
    def _prefix(self) -> Prefix:
        """Keys and values of the prompt's beginning; empty for none."""
        ids = self.prefix_ids
        return keys_and_values(self.network, ids) if ids else ()


def served_order(labels: Sequence[str]) -> list[int]:
    """Where the classes that are served stand among labels of any order.

    The contract's three are served in the contract's order, others as they stand.

    >>> served_order(["positive", "negative", "neutral"])
    [1, 2, 0]
    """
    given = list(labels)
    order = LABELS if sorted(given) == sorted(LABELS) else given
    return [given.index(label) for label in order]


def keys_and_values(network: Network, ids: Sequence[int]) -> Prefix:
    """Compute what attention needs of tokens that begin every row of a causal network.

    Args:
        network: causal.
        ids: P tokens.

    Returns:
        A pair a layer, each ``[P, groups, channels]``.
    """
    tokens = torch.tensor([ids])
    positions = torch.arange(len(ids))
    rotation = network.rotation(positions)
    mask = causal_mask(len(ids))
    found = []
    with torch.no_grad():
        hidden = network.embed(tokens, positions)
        for layer in network.layers:
            query, key, value = layer.project(hidden, rotation)
            found.append((key[0], value[0]))
            hidden = layer.finish(hidden, layer.attend(query, key, value, mask))
    return found
