"""What a layout's reader hands over: tensors by canonical name, and the run's args."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megatick_export.checkpoint.deferred import Deferred
from megatick_export.checkpoint.fields import shown
from megatick_export.errors import CheckpointError

Layout = Literal["torch_dist", "torch"]


@dataclass(frozen=True)
class Stored:
    """One model as it was found on disk; its tensors are still to be read.

    Attributes:
        layout: ``torch_dist``, or ``torch`` for a ``model_optim_rng.pt`` a rank.
        args: the saved args, or those given in their absence; None without either.
        args_saved: the file carries them itself.
        iteration: training steps done; 0 for a release.
        weights: by canonical name, layers numbered over the whole model, joined from
            their shards, in the dtype they were stored in.
        files: every file that was read.
        tensor_parallel: shards that each tensor was joined from.
        pipeline_parallel: stages that the layers were joined from.
        virtual_stages: runs of layers on each stage; 1 without interleaving.
        legacy_models: written by Megatron's models of before its core.
    """

    layout: Layout
    args: Mapping[str, Any] | None
    args_saved: bool
    iteration: int
    weights: dict[str, Deferred]
    files: tuple[Path, ...]
    tensor_parallel: int
    pipeline_parallel: int
    virtual_stages: int
    legacy_models: bool


def args_in(
    state: Mapping[str, Any], absent_args: Mapping[str, Any] | None, *, path: Path
) -> Mapping[str, Any] | None:
    """Take the args from a saved state, or those given in their absence.

    Raises:
        CheckpointError: it has args and others were given, or what it has is not a
            namespace.
    """
    saved = state.get("args")
    if saved is None:
        return absent_args
    if not isinstance(saved, argparse.Namespace):
        raise CheckpointError(
            path,
            expected="the run's args as the argparse.Namespace that Megatron saves",
            found=shown(saved),
            hint="Is this file from another program?",
        )
    if absent_args is not None:
        raise CheckpointError(
            path,
            expected="no args, as an architecture was given for it",
            found=f"args of {len(vars(saved))} fields",
            hint="Leave --architecture (absent_args) out: what the file says is what was "
            "trained.",
        )
    return dict(vars(saved))
