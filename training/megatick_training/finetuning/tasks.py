"""What is learnt from rows: their classes, or each next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor

from megatick_contract import LABELS
from megatick_export.network import Network
from megatick_export.packed import PackedClassifier, PackedLayout
from megatick_training.finetuning.batches import PackedRows, Rows, packed_parts

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """A look at rows that are not trained on.

    Attributes:
        loss: mean, ≥ 0.
        score: what is to rise: macro-F1 in [0, 1], or less the loss for language.
        said: the figures to show, by name.
    """

    loss: float
    score: float
    said: dict[str, float]


class Task(Protocol):
    """Something to learn."""

    @property
    def size(self) -> int:
        """How many rows there are to train on."""

    def rows(self, epoch: int) -> Rows:
        """Give the rows as this epoch sees them."""

    def loss(self, part: PackedRows) -> Tensor:
        """Sum the losses of a part's rows."""

    def judge(self) -> Judged:
        """Look at the dev rows, without gradients."""


class Classification:
    """The class of each row, by the head on its pooled token."""

    def __init__(
        self,
        classifier: PackedClassifier,
        *,
        rows: Sequence[Rows],
        classes: npt.NDArray[np.intp],
        dev_rows: Rows,
        dev_classes: npt.NDArray[np.intp],
        class_weights: Float32Array | None = None,
        label_smoothing: float = 0.0,
        dropped: float = 0.0,
        max_batch_tokens: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """Say what is learnt.

        Args:
            classifier: on ``device``.
            rows: the training rows as they are, and (where ``dropped``) without symbols.
            classes: shape (rows,), their classes.
            dev_rows: to look at.
            dev_classes: theirs.
            class_weights: float32, shape (classes,); None weighs all alike.
            label_smoothing: share of each target that all classes divide.
            dropped: share of the rows taken without symbols, others each epoch.
            max_batch_tokens: of one look.
            seed: of that choice.
            device: where it is computed.
        """
        self._classifier = classifier
        self._rows = rows
        self._classes = torch.from_numpy(classes).to(device)
        self._dev_rows, self._dev_classes = dev_rows, dev_classes
        self._weights = (
            None if class_weights is None else torch.from_numpy(class_weights).to(device)
        )
        self._label_smoothing = label_smoothing
        self._dropped, self._seed = dropped, seed
        self._max_batch_tokens, self._device = max_batch_tokens, device

    @property
    def size(self) -> int:
        """How many rows there are to train on."""
        return len(self._classes)

    def rows(self, epoch: int) -> Rows:
        """Give the rows, some of them without symbols."""
        if not self._dropped:
            return self._rows[0]
        chance = np.random.default_rng([self._seed, epoch, 1]).random(self.size)
        whole, without = self._rows
        return [
            without[row] if chance[row] < self._dropped else whole[row]
            for row in range(self.size)
        ]

    def loss(self, part: PackedRows) -> Tensor:
        """Sum the cross-entropies, each times its class's weight."""
        logits = self._classifier(**part.feed)
        return F.cross_entropy(
            logits,
            self._classes[torch.from_numpy(part.rows)],
            weight=self._weights,
            label_smoothing=self._label_smoothing,
            reduction="sum",
        )

    def judge(self) -> Judged:
        """Look at log loss, accuracy and macro-F1 of the dev rows."""
        logits = classified(
            self._classifier,
            self._dev_rows,
            max_batch_tokens=self._max_batch_tokens,
            device=self._device,
        )
        return judged(logits, self._dev_classes)


def classified(
    classifier: PackedClassifier, rows: Rows, *, max_batch_tokens: int, device: torch.device
) -> Float32Array:
    """Run rows without gradients: logits of shape (rows, classes)."""
    answers: dict[int, Tensor] = {}
    with torch.inference_mode():
        for part in packed_parts(
            rows,
            np.arange(len(rows)),
            max_batch_tokens=max_batch_tokens,
            device=device,
        ):
            logits = classifier(**part.feed).float().cpu()
            answers |= dict(zip(part.rows.tolist(), logits, strict=True))
    return torch.stack([answers[row] for row in range(len(rows))]).numpy()


def judged(logits: Float32Array, classes: npt.NDArray[np.intp]) -> Judged:
    """Judge logits of shape (rows, classes) by the right classes."""
    loss = float(F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(classes)))
    predicted = logits.argmax(-1)
    of = range(len(LABELS))  # as the report has it: 0 of a class that is in neither
    macro_f1 = float(
        f1_score(classes, predicted, labels=of, average="macro", zero_division=0)
    )
    accuracy = float(accuracy_score(classes, predicted))
    return Judged(loss, macro_f1, {"accuracy": accuracy, "macro_f1": macro_f1})


class Language:
    """Each next token: P(x_t | x_<t) = softmax(W_o h_t + b_o)."""

    def __init__(
        self,
        network: Network,
        *,
        rows: Rows,
        dev_rows: Rows,
        max_batch_tokens: int,
        device: torch.device,
    ) -> None:
        """Say what is learnt; every row has two tokens or more.

        Args:
            network: a GPT, on ``device``.
            rows: to train on.
            dev_rows: to look at.
            max_batch_tokens: of one look.
            device: where it is computed.
        """
        self._network, self._rows, self._dev_rows = network, rows, dev_rows
        self._max_batch_tokens, self._device = max_batch_tokens, device

    @property
    def size(self) -> int:
        """How many rows there are to train on."""
        return len(self._rows)

    def rows(self, epoch: int) -> Rows:
        """Give the rows, the same in each epoch."""
        return self._rows

    def loss(self, part: PackedRows) -> Tensor:
        """Sum the rows' mean negative log likelihoods of a token."""
        lengths = part.feed["row_lengths"].long()
        # The last token of a row has no next one.
        has_next = torch.ones(int(lengths.sum()), dtype=torch.bool, device=self._device)
        has_next[lengths.cumsum(0) - 1] = False
        logits = self._network.language_logits(self._hidden(part.feed)[has_next])
        is_next = has_next.roll(1)
        losses = F.cross_entropy(
            logits.float(), part.feed["input_ids"].long()[is_next], reduction="none"
        )
        share = (1 / (lengths - 1)).repeat_interleave(lengths - 1)
        return (losses * share).sum()

    def judge(self) -> Judged:
        """Look at the mean loss of the dev rows, and at its exponential."""
        total = 0.0
        with torch.inference_mode():
            for part in packed_parts(
                self._dev_rows,
                np.arange(len(self._dev_rows)),
                max_batch_tokens=self._max_batch_tokens,
                device=self._device,
            ):
                total += float(self.loss(part))
        loss = total / len(self._dev_rows)
        return Judged(loss, -loss, {"perplexity": float(np.exp(min(loss, 100.0)))})

    def _hidden(self, feed: dict[str, Tensor]) -> Tensor:
        """Run the layers on packed tokens: [N, hidden], after the final norm."""
        network = self._network
        layout = PackedLayout.of(
            feed["input_ids"], feed["row_lengths"], feed["max_seqlen"], causal=True
        )
        hidden = network.embed(feed["input_ids"].long(), layout.positions)
        rotation = network.rotation(layout.positions)
        for layer in network.layers:
            query, key, value = map(layout.spread, layer.project(hidden, rotation))
            attended = layer.attend(query, key, value, layout.mask).flatten(0, 1)
            hidden = layer.finish(hidden, attended.index_select(0, layout.from_rectangle))
        return network.final_norm(hidden)
