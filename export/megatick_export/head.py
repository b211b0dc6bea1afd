"""The classification head: three rows, put into the contract's class order."""

from __future__ import annotations

from collections.abc import Sequence

from megatick_contract import LABELS, Label
from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import HeadError
from megatick_export.network import Network


def check_head(checkpoint: Checkpoint) -> None:
    """Check that the checkpoint has a head of the contract's classes.

    Raises:
        HeadError: it has none, or of another number of rows.
    """
    classes = checkpoint.architecture.classes
    expected = f"{len(LABELS)} rows: {', '.join(LABELS)}"
    if classes is None:
        raise HeadError(
            checkpoint.path,
            f"has no classification head, expected one of {expected}.  Fine-tune one first",
        )
    if classes != len(LABELS):
        raise HeadError(
            checkpoint.path,
            f"has a classification head of {classes} rows, expected {expected}",
        )


def order_classes(network: Network, labels: Sequence[Label]) -> None:
    """Put the head's rows into the contract's order, in place.

    Args:
        network: with a head.
        labels: what its rows mean, in their order.
    """
    order = [labels.index(label) for label in LABELS]
    head = network.classification_head
    head.weight.data = head.weight.data[order]
    head.bias.data = head.bias.data[order]
