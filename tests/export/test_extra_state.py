"""What Transformer Engine recorded is found in each of its forms, and run in none.

The states are made here, as Transformer Engine's ``get_extra_state`` writes them: no
machine without a GPU can run it.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import GPT2, random_weights

from megatick_export import read_checkpoint
from megatick_export.checkpoint.arguments import arguments_of
from megatick_export.errors import CheckpointError, HostileCheckpoint

GOLDEN = Path(__file__).parents[1] / "golden"
QKV = "decoder.layers.1.self_attention.linear_qkv"
FC1 = "decoder.layers.0.mlp.linear_fc1"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An object of a class that pickles under Transformer Engine's name."""
    module = types.ModuleType("transformer_engine.common.recipe")
    kind = type("DelayedScaling", (), {"__module__": module.__name__})
    module.DelayedScaling = kind  # type: ignore[attr-defined]
    for name in ("transformer_engine", "transformer_engine.common"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return kind()


def recorded(scale: float) -> dict[str, Any]:
    """Scales of input, weight and output; 448 / scale is the largest input."""
    return {
        "scale_fwd": torch.tensor([scale, 448.0, 1.0]),
        "amax_history_fwd": torch.ones(4, 3),
        "extra_fp8_variables": {"num_gemms": 1},
    }


def version_1(scale: float) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(recorded(scale), stream)
    return stream


def version_2(scale: float, recipe: object) -> torch.Tensor:
    payload = pickle.dumps({"recipe": recipe, **recorded(scale)})
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8)


def with_states(folder: Path, states: dict[str, object]) -> Path:
    """A checkpoint of a rank's file whose layers carry extra states."""
    args = arguments_of(GPT2, torch.float32, path=folder)
    states = {f"{name}._extra_state": each for name, each in states.items()}
    rank = folder / "iter_0000001" / "mp_rank_00"
    rank.mkdir(parents=True)
    model = {**random_weights(GPT2), **states}
    saved = {"model": model, "args": argparse.Namespace(**args), "checkpoint_version": 3.0}
    torch.save(saved, rank / "model_optim_rng.pt")
    return rank.parent


def test_each_form_tells_the_largest_input(tmp_path: Path, recipe: object) -> None:
    empty = torch.empty(0, dtype=torch.uint8)
    states = {QKV: version_2(56.0, recipe), FC1: version_1(112.0)}
    states |= {FC1.replace("fc1", "fc2"): empty, FC1.replace("layers.0", "layers.1"): None}
    folder = with_states(tmp_path / "checkpoint", states)

    checkpoint = read_checkpoint(folder)

    assert checkpoint.trained_inputs() == {QKV: 448 / 56, FC1: 448 / 112}


def test_a_run_without_fp8_recorded_nothing() -> None:
    assert read_checkpoint(GOLDEN / "gpt2").trained_inputs() == {}
    assert read_checkpoint(GOLDEN / "llama").trained_inputs() == {}


def test_a_scale_that_is_no_scale_is_refused(tmp_path: Path) -> None:
    folder = with_states(tmp_path / "checkpoint", {QKV: version_1(0.0)})

    with pytest.raises(CheckpointError, match="expected a positive scale"):
        read_checkpoint(folder).trained_inputs()


class Hostile:
    """Its pickle calls ``os.mkdir``, which would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_hostile_state_is_in_nobodys_way_until_it_is_wanted(tmp_path: Path) -> None:
    payload = pickle.dumps(Hostile(tmp_path / "trace"))
    state = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    folder = with_states(tmp_path / "checkpoint", {QKV: state})

    checkpoint = read_checkpoint(folder)  # nobody wants FP8

    with pytest.raises(HostileCheckpoint, match="mkdir"):
        checkpoint.trained_inputs()
    assert not (tmp_path / "trace").exists()
