"""The loop: what a step does, when it looks, and what a crash costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from torch import Tensor, nn

from megatick_training.errors import TrainingDiverged, TrainingStateError
from megatick_training.finetuning import trainer
from megatick_training.finetuning.batches import PackedRows, Rows
from megatick_training.finetuning.options import TrainingOptions
from megatick_training.finetuning.tasks import Judged
from megatick_training.finetuning.trainer import Look, Trainer

CPU = torch.device("cpu")


class Slope:
    """Fit y = w·x, x a row's one token; dropout makes each step's chance visible."""

    def __init__(self, *, scores: list[float] | None = None, factor: float = 1.0) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        self.weight = nn.Parameter(torch.zeros(1, 1))
        self.module.weight = self.weight
        self.size = 8
        self.factor = factor
        self._scores = scores
        self.seen: list[int] = []

    def rows(self, epoch: int) -> Rows:
        return [np.array([1 + row], np.int32) for row in range(self.size)]

    def loss(self, part: PackedRows) -> Tensor:
        self.seen += part.rows.tolist()
        x = part.feed["input_ids"].float()[:, None]
        guessed = nn.functional.dropout(self.module(x), 0.2, training=self.module.training)
        return ((guessed - 0.5 * x) ** 2).sum() * self.factor

    def judge(self) -> Judged:
        slope = float(self.module.weight.detach())
        loss = (slope - 0.5) ** 2
        score = self._scores.pop(0) if self._scores is not None else -loss
        return Judged(loss, score, {"slope": slope})


def run(
    task: Slope,
    state: Path,
    *,
    run: str = "a",
    watch: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    **options: float,
) -> tuple[list[Look], Trainer]:
    given = TrainingOptions.model_validate(
        {"epochs": 3, "batch_rows": 3, "learning_rate": 0.05, "warm_up": 0.2, **options}
    )
    made = Trainer(
        task,
        {"weight": task.weight},
        given,
        state=state,
        run=run,
        device=CPU,
        module=task.module,
        watch=watch,
    )
    return made.train(), made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_it_learns(state: Path) -> None:
    task = Slope()

    looks, _ = run(task, state, epochs=30, patience=99)

    assert float(task.module.weight.detach()) == pytest.approx(0.5, abs=0.05)
    assert looks[-1].dev_loss < looks[0].dev_loss / 10


def test_it_looks_twice_an_epoch_and_at_the_end(state: Path) -> None:
    looks, made = run(Slope(), state)

    # Eight rows by three are three steps an epoch: looks after 2 of 3, and after 3.
    assert made.steps == 9
    assert [look.step for look in looks] == [2, 3, 5, 6, 8, 9]
    assert looks[-1].epoch == 3
    assert looks[-1].learning_rate == 0


def test_the_rate_rises_and_falls_in_straight_lines(state: Path) -> None:
    _, made = run(Slope(), state, epochs=2, learning_rate=1.0, warm_up=0.34)

    # Six steps, two of them to warm up; at the end nothing is left.
    assert [made._learning_rate(step) for step in range(7)] == pytest.approx(
        [1 / 2, 1, 1, 3 / 4, 2 / 4, 1 / 4, 0]
    )


def test_the_best_look_is_kept(state: Path) -> None:
    task = Slope(scores=[0.1, 0.9, 0.3, 0.2, 0.5, 0.4])

    looks, _ = run(task, state)

    assert float(task.module.weight.detach()) == pytest.approx(looks[1].said["slope"])
    assert looks[1].said["slope"] != looks[-1].said["slope"]


def test_patience_ends_it(state: Path) -> None:
    looks, _ = run(Slope(scores=[0.1, 0.9, 0.3, 0.9, 1.0]), state, patience=2)

    assert [look.score for look in looks] == [0.1, 0.9, 0.3, 0.9]


@pytest.mark.parametrize("killed_at", [1, 4, 9])
def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr(trainer, "SAVE_EVERY_S", 0.0)
    whole, broken, rest = Slope(), Slope(), Slope()

    def kill(step: int, steps: int, loss: float) -> None:
        if step == killed_at:
            raise KeyboardInterrupt

    expected, _ = run(whole, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(broken, tmp_path / "broken", watch=kill)
    looks, _ = run(rest, tmp_path / "broken")

    assert torch.equal(rest.module.weight, whole.module.weight)
    assert [look.said for look in looks] == [look.said for look in expected]
    assert [look.loss for look in looks] == [look.loss for look in expected]
    assert len(rest.seen) < len(whole.seen) or killed_at == 1


def test_a_state_of_another_run_is_refused(state: Path) -> None:
    run(Slope(), state)

    with pytest.raises(TrainingStateError, match="another checkpoint, other data or other"):
        run(Slope(), state, run="b")


def test_a_file_that_is_no_state_is_refused(state: Path) -> None:
    state.write_bytes(b"PK not a state")

    with pytest.raises(TrainingStateError, match="is no state of a training run"):
        run(Slope(), state)


def test_a_loss_that_is_not_a_number_ends_it(state: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"step 0 is not a number: lower --learning"):
        run(Slope(factor=math.inf), state)


def test_parts_add_up_to_the_gradient_of_the_whole_step(tmp_path: Path) -> None:
    one, many = Slope(), Slope()
    one.module.eval()  # the trainer switches it back; dropout differs between parts

    def without_dropout(task: Slope) -> None:
        task.module.train = lambda mode=True: task.module  # type: ignore[method-assign]
        task.module.training = False

    without_dropout(one)
    without_dropout(many)
    run(one, tmp_path / "one", max_batch_tokens=100)
    run(many, tmp_path / "many", max_batch_tokens=1)

    torch.testing.assert_close(many.module.weight, one.module.weight)


def test_a_full_disk_is_told_and_the_last_state_stays(state: Path) -> None:
    run(Slope(), state)
    kept = state.read_bytes()

    with files_of_at_most(100), pytest.raises(TrainingStateError) as caught:
        run(Slope(), state, epochs=4, run="a")

    assert "cannot be written" in str(caught.value)
    assert state.read_bytes() == kept
