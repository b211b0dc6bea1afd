"""The two losses, beside the same of padded rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny import LLAMA, random_weights

from megatick_export.network import Network
from megatick_export.packed import PackedClassifier
from megatick_training.evaluation.sentiment import judge
from megatick_training.finetuning.batches import PackedRows, Rows
from megatick_training.finetuning.tasks import Classification, Language, judged

CPU = torch.device("cpu")
ROWS: Rows = [
    np.array(row, np.int32) for row in ([7, 3, 9], [1, 2], [8, 8, 8, 8, 4], [6, 5])
]
CLASSES = np.array([2, 0, 1, 1])


@pytest.fixture
def network() -> Network:
    network = Network(LLAMA)
    network.load_state_dict(random_weights(LLAMA))
    return network.eval().requires_grad_(requires_grad=False)


def packed(*rows: int) -> PackedRows:
    return PackedRows.of(ROWS, np.array(rows), CPU)


def classification(network: Network, **options: object) -> Classification:
    given: dict[str, object] = {
        "rows": [ROWS],
        "classes": CLASSES,
        "dev_rows": ROWS,
        "dev_classes": CLASSES,
        "max_batch_tokens": 8,
        "seed": 0,
        "device": CPU,
        **options,
    }
    return Classification(PackedClassifier(network), **given)  # type: ignore[arg-type]


def test_the_class_loss_is_that_of_each_row_alone(network: Network) -> None:
    expected = sum(
        F.cross_entropy(network(torch.tensor(ROWS[row])[None].long())[0], torch.tensor(c))
        for row, c in ((0, 2), (2, 1), (3, 1))
    )

    loss = classification(network).loss(packed(0, 2, 3))

    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_classes_weigh_as_they_are_told(network: Network) -> None:
    plain = classification(network)
    weights = np.array([1, 10, 100], np.float32)

    weighed = classification(network, class_weights=weights).loss(packed(0, 3))

    expected = 100 * plain.loss(packed(0)) + 10 * plain.loss(packed(3))
    assert float(weighed) == pytest.approx(float(expected), rel=1e-5)


def test_a_smoothed_target_is_spread_over_the_classes(network: Network) -> None:
    logits = network(torch.tensor(ROWS[0])[None].long())[0]
    each = [float(F.cross_entropy(logits, torch.tensor(c))) for c in range(3)]

    loss = classification(network, label_smoothing=0.3).loss(packed(0))

    assert float(loss) == pytest.approx(0.7 * each[2] + 0.1 * sum(each), rel=1e-5)


def test_symbols_go_from_other_rows_each_epoch(network: Network) -> None:
    without = [row[:1] for row in ROWS]
    task = classification(network, rows=[ROWS, without], dropped=0.5)

    lengths = [[len(row) for row in task.rows(epoch)] for epoch in range(8)]

    assert len(set(map(tuple, lengths))) > 1
    assert lengths[3] == [len(row) for row in task.rows(3)]
    shortened = np.array(lengths) == 1
    assert 0.2 < shortened.mean() < 0.8


def test_the_language_loss_is_that_of_each_next_token(network: Network) -> None:
    def alone(row: int) -> float:
        ids = torch.tensor(ROWS[row])[None].long()
        logits = network.language_logits(network.encode(ids))[0]
        return float(F.cross_entropy(logits[:-1], ids[0, 1:]))

    task = Language(network, rows=ROWS, dev_rows=ROWS, max_batch_tokens=6, device=CPU)

    assert float(task.loss(packed(2, 0))) == pytest.approx(alone(2) + alone(0), rel=1e-5)
    look = task.judge()
    mean = sum(map(alone, range(4))) / 4
    assert (look.loss, look.score) == pytest.approx((mean, -mean), rel=1e-5)
    assert look.said["perplexity"] == pytest.approx(np.exp(mean), rel=1e-4)


def test_a_look_counts_what_is_right() -> None:
    # Right, right, wrong: classes 0 and 1 have F1 of 1 and 2/3, class 2 has none.
    logits = np.array([[9, 0, 0], [0, 9, 0], [0, 9, 0]], np.float32)

    look = judged(logits, np.array([0, 1, 2]))

    assert look.said["accuracy"] == pytest.approx(2 / 3)
    assert look.score == look.said["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_class_that_is_in_neither_counts_as_in_the_report() -> None:
    logits = np.array([[9, 0, 0], [0, 9, 0]], np.float32)
    classes = np.array([0, 1])

    assert judged(logits, classes).score == pytest.approx((1 + 1 + 0) / 3)
    assert judge(classes, logits).macro_f1.value == pytest.approx((1 + 1 + 0) / 3)
