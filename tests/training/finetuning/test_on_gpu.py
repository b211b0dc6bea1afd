"""Fine-tuning on this machine's GPU; `make test-gpu` runs these and no others of the kind.

A machine without one fails them by name, since a test that skips itself proves nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import byte_tokenizer, write_tiny

from megatick_export import read_checkpoint
from megatick_export.checkpoint import Checkpoint
from megatick_training.errors import Fp8Unavailable
from megatick_training.finetuning import Trained, TrainingOptions, Watcher, finetune
from megatick_training.finetuning.fp8 import require_fp8
from megatick_training.finetuning.options import TrainingPrecision
from megatick_training.labelled_text import LabelledTexts

pytestmark = pytest.mark.gpu

VERBS = ("falls", "meets", "gains")


@pytest.fixture(scope="module")
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.fail("this test trains on a GPU: torch finds none", pytrace=False)
    return torch.device("cuda")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_tiny(tmp_path_factory.mktemp("gpu") / "checkpoint"))


def texts() -> LabelledTexts:
    classes = np.arange(300) % 3
    rows = [f"{chr(65 + i % 26)} {VERBS[each]}" for i, each in enumerate(classes)]
    return LabelledTexts(tuple(rows), classes)


def trained(
    checkpoint: Checkpoint,
    device: torch.device,
    precision: TrainingPrecision,
    state: Path,
    *,
    lora_rank: int = 8,
) -> tuple[list[float], Trained]:
    """The loss of every step, and what training gave."""
    losses: list[float] = []
    options = TrainingOptions(
        epochs=3,
        learning_rate=0.01 if lora_rank else 0.003,
        lora_rank=lora_rank,
        lora_dropout=0.0,
        precision=precision,
    )
    outcome = finetune(
        checkpoint,
        byte_tokenizer(),
        train=texts(),
        dev=texts(),
        options=options,
        state=state,
        device=device,
        watcher=Watcher(step=lambda done, steps, loss: losses.append(loss)),
    )
    return losses, outcome


def test_a_gpu_begins_as_a_cpu_does_and_learns_as_well(
    cuda: torch.device, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    on_cpu, _ = trained(checkpoint, torch.device("cpu"), "fp32", tmp_path / "cpu")
    on_gpu, outcome = trained(checkpoint, cuda, "fp32", tmp_path / "gpu")

    # Adapters begin at zero, so that the first loss is the checkpoint's own on either.
    assert on_gpu[0] == pytest.approx(on_cpu[0], rel=1e-3)
    assert outcome.looks[-1].said["accuracy"] > 0.95
    assert {weight.device.type for weight in outcome.checkpoint.weights.values()} == {"cpu"}


@pytest.mark.parametrize("lora_rank", [8, 0])
def test_fp8_learns_what_bf16_does(
    cuda: torch.device, checkpoint: Checkpoint, tmp_path: Path, lora_rank: int
) -> None:
    try:
        require_fp8(cuda)
    except Fp8Unavailable as error:
        pytest.fail(str(error), pytrace=False)

    wide, _ = trained(checkpoint, cuda, "bf16", tmp_path / "bf16", lora_rank=lora_rank)
    narrow, outcome = trained(
        checkpoint, cuda, "fp8", tmp_path / "fp8", lora_rank=lora_rank
    )

    # E4M3 keeps 4 bits, bfloat16 8: the losses of the first step are close, and not alike.
    # With inputs, weights and gradients rounded on a CPU they were 0.5 % apart.
    assert narrow[0] == pytest.approx(wide[0], rel=0.03)
    assert narrow[0] != wide[0]
    assert np.mean(narrow[-5:]) < 0.5 * narrow[0]
    assert outcome.looks[-1].said["accuracy"] > 0.9
    folder = outcome.write(tmp_path / "out")
    assert read_checkpoint(folder.parent).weights.keys() == checkpoint.weights.keys()
