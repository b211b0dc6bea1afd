"""What is kept of a run's looks: a table, and TensorBoard's events where asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from megatick_training.finetuning.trainer import Look

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


def looks_table(looks: Sequence[Look]) -> pd.DataFrame:
    """One row a look, the dev rows' figures as columns named ``dev_…``."""
    return pd.DataFrame(
        {
            "step": look.step,
            "epoch": look.epoch,
            "train_loss": look.loss,
            "dev_loss": look.dev_loss,
            **{f"dev_{name}": value for name, value in look.said.items()},
            "learning_rate": look.learning_rate,
            "elapsed_s": look.elapsed_s,
        }
        for look in looks
    )


class TensorBoardLog:
    """Events of every step and look, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path) -> None:
        """Open a log.

        Raises:
            ModuleNotFoundError: tensorboard is not installed.
        """
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer: SummaryWriter = SummaryWriter(str(folder))

    def step(self, done: int, steps: int, loss: float) -> None:
        """Log the loss of one step."""
        self._writer.add_scalar("train/loss", loss, done)

    def look(self, look: Look) -> None:
        """Log a look's figures."""
        self._writer.add_scalar("dev/loss", look.dev_loss, look.step)
        for name, value in look.said.items():
            self._writer.add_scalar(f"dev/{name}", value, look.step)
        self._writer.flush()
