"""The training loop: steps, looks at dev rows, and a state that survives SIGKILL.

Everything of a step follows from its number and the seed: which rows, which dropout, which
learning rate.  So a run that goes on from its state ends with the same weights as one that
was never cut off, on the same machine with the same number of threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from megatick_contract.files import whole
from megatick_training.errors import TrainingDiverged, TrainingStateError
from megatick_training.finetuning.batches import batch_of, packed_parts, steps_an_epoch
from megatick_training.finetuning.fp8 import fp8_arithmetic
from megatick_training.finetuning.options import TrainingOptions
from megatick_training.finetuning.tasks import Judged, Task

SAVE_EVERY_S: Final = 60.0
"""What a crash costs at most, a look at the dev rows aside."""


@dataclass(frozen=True)
class Look:
    """How training stood at a look at the dev rows.

    Attributes:
        step: steps done.
        epoch: how often every row was seen, fractions counted.
        loss: mean of the training rows since the look before.
        dev_loss: mean of the dev rows.
        score: the dev rows', that training is to raise.
        said: the dev rows' figures by name.
        learning_rate: of the next step.
        elapsed_s: seconds of training, this run and the ones before it.
    """

    step: int
    epoch: float
    loss: float
    dev_loss: float
    score: float
    said: dict[str, float]
    learning_rate: float
    elapsed_s: float


@dataclass
class _State:
    """What a run goes on from.

    Attributes:
        step: steps done.
        best: the best look's weights.
        looks: all of them.
        loss_sum: of the rows since the last look.
        loss_rows: how many those were.
        elapsed_s: seconds of training so far.
    """

    step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_rows: int = 0
    elapsed_s: float = 0.0


class Trainer:
    """Trains some parameters for a task, and leaves them at the best look's values."""

    def __init__(
        self,
        task: Task,
        parameters: Mapping[str, nn.Parameter],
        options: TrainingOptions,
        *,
        state: Path,
        run: str,
        device: torch.device,
        watch: Callable[[int, int, float], None] = lambda step, steps, loss: None,
        looked: Callable[[Look], None] = lambda look: None,
        module: nn.Module,
    ) -> None:
        """Prepare the run, or what is left of it.

        Args:
            task: what is learnt.
            parameters: what is trained, by name.
            options: how.
            state: file that keeps the run; where it exists, the run goes on from it.
            run: names checkpoint, data and options: another's state is refused.
            device: where it is computed.
            watch: told steps done, steps in all, and the step's loss, after each.
            looked: told of every look, those of earlier runs included.
            module: what is switched between training and evaluation.

        Raises:
            TrainingStateError: the state is another run's, or cannot be read.
            Fp8Unavailable: FP8 is asked for where there is none.
        """
        self._task, self._options = task, options
        self._parameters = dict(parameters)
        self._path, self._run, self._device = state, run, device
        self._watch, self._looked, self._module = watch, looked, module
        self._fp8: Callable[[], AbstractContextManager[object]] = (
            fp8_arithmetic(device) if options.precision == "fp8" else nullcontext
        )
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), weight_decay=options.weight_decay
        )
        self._an_epoch = steps_an_epoch(task.size, batch_rows=options.batch_rows)
        self.steps = self._an_epoch * options.epochs
        self._state = self._read() if state.exists() else _State()

    def train(self) -> list[Look]:
        """Train until the epochs are over or patience is; give every look, in order.

        Raises:
            TrainingDiverged: the loss is not a number any more.
            TrainingStateError: the state cannot be written.
        """
        state, began = self._state, time.monotonic() - self._state.elapsed_s
        for look in state.looks:
            self._looked(look)
        saved = time.monotonic()
        while state.step < self.steps and not self._out_of_patience():
            loss = self._step(state.step)
            state.step += 1
            state.elapsed_s = time.monotonic() - began
            self._watch(state.step, self.steps, loss)
            if self._is_look(state.step):
                self._look()
                state.elapsed_s = time.monotonic() - began
            elif time.monotonic() - saved < SAVE_EVERY_S:
                continue
            self._write()
            saved = time.monotonic()
        with torch.no_grad():
            for name, value in state.best.items():
                self._parameters[name].copy_(value)
        self._module.eval()
        return state.looks

    def _step(self, step: int) -> float:
        options, state = self._options, self._state
        chosen = batch_of(
            self._task.size, step=step, batch_rows=options.batch_rows, seed=options.seed
        )
        rows = self._task.rows(step // self._an_epoch)
        torch.manual_seed((options.seed << 32) + step)
        self._module.train()
        total = 0.0
        for part in packed_parts(
            rows, chosen, max_batch_tokens=options.max_batch_tokens, device=self._device
        ):
            with self._autocast(), self._fp8():
                loss = self._task.loss(part)
            (loss / len(chosen)).backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        if not math.isfinite(total):
            raise TrainingDiverged(step, learning_rate=options.learning_rate)
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), options.gradient_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        state.loss_sum += total
        state.loss_rows += len(chosen)
        return total / len(chosen)

    def _look(self) -> None:
        state = self._state
        self._module.eval()
        with self._autocast():
            judged: Judged = self._task.judge()
        look = Look(
            step=state.step,
            epoch=state.step / self._an_epoch,
            loss=state.loss_sum / state.loss_rows,
            dev_loss=judged.loss,
            score=judged.score,
            said=judged.said,
            learning_rate=self._learning_rate(state.step),
            elapsed_s=state.elapsed_s,
        )
        if not state.looks or look.score > max(each.score for each in state.looks):
            state.best = {
                name: parameter.detach().clone()
                for name, parameter in self._parameters.items()
            }
        state.looks.append(look)
        state.loss_sum, state.loss_rows = 0.0, 0
        self._looked(look)

    def _is_look(self, step: int) -> bool:
        if step == self.steps:
            return True
        an_epoch, looks = self._an_epoch, self._options.evaluations
        return step * looks // an_epoch > (step - 1) * looks // an_epoch

    def _out_of_patience(self) -> bool:
        scores = [look.score for look in self._state.looks]
        return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= (
            self._options.patience
        )

    def _learning_rate(self, step: int) -> float:
        """Rise linearly in the warm-up, then fall linearly to nothing."""
        warm = max(1, round(self.steps * self._options.warm_up))
        rising = (step + 1) / warm
        falling = (self.steps - step) / max(1, self.steps - warm)
        return self._options.learning_rate * max(0.0, min(1.0, rising, falling))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self._device.type,
            dtype=torch.bfloat16,
            enabled=self._options.precision != "fp32",
        )

    def _write(self) -> None:
        state = self._state
        told: dict[str, Any] = {
            "run": self._run,
            "step": state.step,
            "parameters": {name: each.detach() for name, each in self._parameters.items()},
            "optimizer": self._optimizer.state_dict(),
            "best": state.best,
            "looks": [asdict(look) for look in state.looks],
            "loss_sum": state.loss_sum,
            "loss_rows": state.loss_rows,
            "elapsed_s": state.elapsed_s,
        }
        try:
            with whole(self._path) as unfinished:
                torch.save(told, unfinished)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by the latter
            raise TrainingStateError(
                self._path,
                f"cannot be written ({error}): free some space and give the same command "
                "again, which goes on from the last state that was",
            ) from error

    def _read(self) -> _State:
        try:
            told = torch.load(self._path, map_location=self._device, weights_only=True)
            if told["run"] != self._run:
                raise TrainingStateError(
                    self._path,
                    "is of a run with another checkpoint, other data or other options: "
                    "give those again, or another --out",
                )
            with torch.no_grad():
                for name, value in told["parameters"].items():
                    self._parameters[name].copy_(value)
            self._optimizer.load_state_dict(told["optimizer"])
            return _State(
                step=told["step"],
                best=told["best"],
                looks=[Look(**look) for look in told["looks"]],
                loss_sum=told["loss_sum"],
                loss_rows=told["loss_rows"],
                elapsed_s=told["elapsed_s"],
            )
        except TrainingStateError:
            raise
        except Exception as error:
            raise TrainingStateError(
                self._path, f"is no state of a training run: {error}"
            ) from error
