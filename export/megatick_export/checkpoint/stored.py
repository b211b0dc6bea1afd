"""What a layout's reader hands over: tensors by canonical name, and the run's args."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from megatick_export.checkpoint.fields import listed, shown
from megatick_export.errors import CheckpointError

Layout = Literal["torch_dist", "torch"]


@dataclass(frozen=True)
class Stored:
    """One model as it was found on disk, joined from its shards.

    Attributes:
        layout: ``torch_dist``, or ``torch`` for a ``model_optim_rng.pt`` a rank.
        args: the saved args.
        iteration: training steps done; 0 for a release.
        weights: by canonical name, layers numbered over the whole model, in the dtype
            they were stored in.
        files: every file that was read.
        tensor_parallel: shards that each tensor was joined from.
        pipeline_parallel: stages that the layers were joined from.
        legacy_models: written by Megatron's models of before its core.
    """

    layout: Layout
    args: Mapping[str, Any]
    iteration: int
    weights: dict[str, torch.Tensor]
    files: tuple[Path, ...]
    tensor_parallel: int
    pipeline_parallel: int
    legacy_models: bool


def args_in(
    state: Mapping[str, Any], absent_args: Mapping[str, Any] | None, *, path: Path
) -> Mapping[str, Any]:
    """Take the args from a saved state, or those given in their absence.

    Raises:
        CheckpointError: the file has none and none were given, it has and so were, or
            what it has is not a namespace.
    """
    saved = state.get("args")
    if saved is not None and not isinstance(saved, argparse.Namespace):
        raise CheckpointError(
            path,
            expected="the run's args as the argparse.Namespace that Megatron saves",
            found=shown(saved),
            hint="Is this file from another program?",
        )
    if saved is not None and absent_args is not None:
        raise CheckpointError(
            path,
            expected="no args, as absent_args were given for it",
            found=f"args of {len(vars(saved))} fields",
            hint="Leave absent_args out: what the file says is what was trained.",
        )
    if saved is not None:
        return dict(vars(saved))
    if absent_args is None:
        raise CheckpointError(
            path,
            expected="the run's args, from which the architecture is read",
            found=f"only {listed(state) or 'nothing'}",
            hint=(
                "Pass absent_args with Megatron's own names: num_layers, hidden_size, "
                "num_attention_heads, max_position_embeddings and what differs from "
                "their defaults."
            ),
        )
    return absent_args
