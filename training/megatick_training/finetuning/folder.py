"""The folder that a run writes to: one run's at a time, and nobody's after it is done."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from megatick_export.checkpoint import read_checkpoint
from megatick_export.errors import CheckpointError
from megatick_training.errors import TrainingStateError
from megatick_training.finetuning.finetune import STATE_FILE, Trained

CARD_FILE: Final = "finetune.json"


@contextmanager
def kept_for_one_run(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other runs out of it.

    Raises:
        TrainingStateError: another process trains into it, or a run is done there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingStateError(
                folder,
                "another run writes to this folder: wait for it, or give another --out",
            ) from None
        if (folder / CARD_FILE).exists() and not (folder / STATE_FILE).exists():
            raise TrainingStateError(
                folder,
                f"holds a run that is done, told of by {CARD_FILE}: give another --out, or "
                "remove the folder to train again",
            )
        yield
    finally:
        os.close(handle)


def write_weights(trained: Trained, folder: Path) -> Path:
    """Write the checkpoint; one that the same run left before it was killed is replaced.

    Raises:
        CheckpointError: the folder cannot be written, or has another of this number.
    """
    left = folder / f"iter_{trained.checkpoint.iteration:07d}"
    if left.is_dir() and _holds(left, trained):
        shutil.rmtree(left)
    return trained.write(folder)


def _holds(iteration: Path, trained: Trained) -> bool:
    try:
        weights = read_checkpoint(iteration).weights
    except CheckpointError:
        return False
    ours = trained.checkpoint.weights
    return weights.keys() == ours.keys() and all(
        torch.equal(weights[name], ours[name]) for name in ours
    )
