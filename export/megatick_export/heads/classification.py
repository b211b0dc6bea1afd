"""A fine-tuned classification head: its rows, named, in the order that is served."""

from __future__ import annotations

from collections.abc import Sequence

from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import HeadError
from megatick_export.heads.classifier import Classifier, served_order
from megatick_export.network import reference_network


def check_classification_head(checkpoint: Checkpoint, labels: Sequence[str]) -> None:
    """Check that the checkpoint has a head with as many rows as there are labels.

    Raises:
        HeadError: it has none, or of another number of rows.
    """
    classes = checkpoint.architecture.classes
    expected = f"{len(labels)} rows: {', '.join(labels)}"
    if classes is None:
        raise HeadError(
            checkpoint.path,
            f"has no classification head, expected one of {expected}.  Fine-tune one, or "
            "use the model's own words with --prompt and --verbalizers",
        )
    if classes != len(labels):
        raise HeadError(
            checkpoint.path,
            f"has a classification head of {classes} rows, expected {expected}.  Name each "
            "row with --labels",
        )


def classification(checkpoint: Checkpoint, labels: Sequence[str]) -> Classifier:
    """Take the checkpoint's own head.

    Args:
        checkpoint: with a head.
        labels: what its rows mean, in the checkpoint's order.  The contract's three are
            put into the contract's order; others stay as they stand.

    Raises:
        HeadError: the head is missing, or has another number of rows.
    """
    check_classification_head(checkpoint, labels)
    network = reference_network(checkpoint)
    order = served_order(labels)
    head = network.classification_head
    head.weight.data = head.weight.data[order]
    head.bias.data = head.bias.data[order]
    return Classifier(network, tuple(labels[row] for row in order))
