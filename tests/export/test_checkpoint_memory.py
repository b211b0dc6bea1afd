"""How much memory reading takes, measured in a process of its own, and its progress."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import GPT2

from megatick_export import read_checkpoint
from megatick_export.checkpoint.arguments import arguments_of

GOLDEN = Path(__file__).parents[1] / "golden"
LOADING = Path(__file__).parents[2] / "benchmarks" / "loading.py"

# 50 million weights: 200 MB, beside which what the libraries load later is small.
LARGE = replace(
    GPT2,
    num_layers=16,
    hidden_size=512,
    kv_channels=128,
    ffn_hidden_size=2048,
    classes=None,
)


def save_two_ranks(folder: Path) -> None:
    """Save a model of constant weights as two tensor-parallel ranks do."""
    cut = {"linear_proj.weight": 1, "linear_fc2.weight": 1, "linear_qkv.weight": 0}
    cut |= {"linear_qkv.bias": 0, "linear_fc1.weight": 0, "linear_fc1.bias": 0}
    cut |= {"word_embeddings.weight": 0}
    args = arguments_of(LARGE, torch.float32, path=folder)
    args["tensor_model_parallel_size"] = 2
    state = {"args": argparse.Namespace(**args), "checkpoint_version": 3.0}
    for rank in range(2):
        model = {}
        for name, shape in LARGE.shapes().items():
            sizes = list(shape)
            for end, dim in cut.items():
                if name.endswith(end):
                    sizes[dim] //= 2
            model[name] = torch.full(sizes, 0.5 + rank)
        (folder / f"mp_rank_{rank:02d}").mkdir()
        file = folder / f"mp_rank_{rank:02d}" / "model_optim_rng.pt"
        torch.save(state | {"model": model}, file)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_ranks_are_joined_in_a_third_more_than_the_weights(tmp_path: Path) -> None:
    save_two_ranks(tmp_path)

    command = [sys.executable, str(LOADING), "weights", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)

    figures = json.loads(done.stdout)
    assert figures["float32"] == 4 * sum(map(count, LARGE.shapes().values()))
    assert figures["peak"] - figures["baseline"] < 1.3 * figures["float32"]


def count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_progress_counts_bytes_up_to_all(name: str) -> None:
    calls: list[tuple[int, int]] = []

    read = read_checkpoint(
        GOLDEN / name, progress=lambda done, total: calls.append((done, total))
    )

    nbytes = [tensor.nbytes for tensor in read.weights.values()]
    assert len(calls) == len(nbytes)
    assert calls[-1] == (sum(nbytes), sum(nbytes))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
