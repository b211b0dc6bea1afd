"""Writing a model as a Megatron-core ``torch_dist`` checkpoint."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.aside import written_aside
from megatick_export.checkpoint.architecture import Architecture
from megatick_export.checkpoint.arguments import arguments_of
from megatick_export.checkpoint.names import torch_dist_name
from megatick_export.checkpoint.read import TRACKER, check_weights
from megatick_export.errors import CheckpointError

# CheckpointingConfig of megatron/core/dist_checkpointing/core.py, core 0.14 to 0.18.
_METADATA: Final = {
    "sharded_backend": "torch_dist",
    "sharded_backend_version": 1,
    "common_backend": "torch",
    "common_backend_version": 1,
}
# The layers that keep an _extra_state; Megatron-core asks for it when it loads them.
_WITH_EXTRA_STATE: Final = (
    "self_attention.linear_qkv",
    "self_attention.linear_proj",
    "mlp.linear_fc1",
    "mlp.linear_fc2",
)


def write_checkpoint(
    path: Path | str,
    architecture: Architecture,
    weights: Mapping[str, torch.Tensor],
    *,
    iteration: int = 0,
    args: Mapping[str, Any] | None = None,
) -> Path:
    """Write one iteration and point the tracker at it.

    The iteration is written aside and renamed when it is whole; until then the tracker
    keeps pointing at the one before.

    Args:
        path: the checkpoint's folder; made if need be, other iterations are kept.
        architecture: what the model computes.
        weights: by canonical name, as ``architecture.shapes()`` lists them.
        iteration: training steps done.
        args: further args to save, such as ``tokenizer_type``; what the architecture
            itself says wins over them.

    Returns:
        The iteration's folder.

    Raises:
        CheckpointError: the weights are not those of the architecture, the iteration
            exists, or the disk is full or not writable; nothing is left behind.
        UnsupportedArchitecture: Megatron's args cannot say this architecture.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    path = Path(path)
    check_weights(path, architecture, weights)
    folder = path / f"iter_{iteration:07d}"
    dtype = weights["embedding.word_embeddings.weight"].dtype
    fixed = arguments_of(architecture, dtype, path=path)
    common = {
        "args": argparse.Namespace(**{**(args or {}), **fixed, "iteration": iteration}),
        "checkpoint_version": 3.0,
        "iteration": iteration,
        "num_floating_point_operations_so_far": 0,
    }
    try:
        with written_aside(folder) as aside:
            torch.save(common, aside / "common.pt")
            _save_sharded(_stacked(architecture, weights), aside)
            # Written where a failure removes it; moved once there is what it names.
            (aside / f".{TRACKER}").write_text(str(iteration), encoding="utf-8")
            # Megatron takes a folder with this file for a whole checkpoint: it is last.
            (aside / "metadata.json").write_text(json.dumps(_METADATA), encoding="utf-8")
        (folder / f".{TRACKER}").replace(path / TRACKER)
    except FileExistsError as error:
        raise CheckpointError(
            folder,
            expected="an iteration that is not there yet",
            found="one of this number",
            hint="Choose another iteration or folder, or remove it first.",
        ) from error
    # torch reports a failed write as RuntimeError or its own exception.
    except (OSError, RuntimeError, CheckpointException) as error:
        raise CheckpointError(
            folder,
            expected="a folder that can be written, with room for the weights",
            found=_first_cause(error),
            hint="Free some space or choose another folder; nothing was left behind.",
        ) from error
    return folder


def _stacked(
    architecture: Architecture, weights: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """Collect what Megatron-core would save, a tensor of all layers at a time."""
    encoder = architecture.kind == "bert"
    layers = range(architecture.num_layers)
    state: dict[str, Any] = {}
    for name, tensor in weights.items():
        if name.startswith("decoder.layers.0."):
            rest = name.removeprefix("decoder.layers.0.")
            key = torch_dist_name(f"decoder.layers.{rest}", encoder=encoder)
            parts = [weights[f"decoder.layers.{layer}.{rest}"] for layer in layers]
            state[key] = torch.stack(parts)
        elif not name.startswith("decoder.layers."):
            state[torch_dist_name(name, encoder=encoder)] = tensor.contiguous()
    stack = "encoder" if encoder else "decoder"
    for module in _WITH_EXTRA_STATE:
        for layer in layers:
            part = f"_extra_state/shard_{layer}_{len(layers)}"
            state[f"{stack}.layers.{module}.{part}"] = [None]
    if encoder:
        state["output_layer._extra_state/shard_0_1"] = [None]
    return state


def _save_sharded(state: dict[str, Any], folder: Path) -> None:
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    class Writer(FileSystemWriter):
        def storage_meta(self) -> None:
            """Leave out the path and the random id of the save: equal in, equal out."""

    with warnings.catch_warnings():
        # One process writes it all: that is meant.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        save(state, storage_writer=Writer(folder), no_dist=True)


def _first_cause(error: BaseException) -> str:
    failures = getattr(error, "failures", None)
    if failures:
        error = next(iter(failures.values()))[0]
    return f"{type(error).__name__}: {error}"
