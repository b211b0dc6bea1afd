"""Reading any Megatron checkpoint as one model with one naming."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.architecture import Architecture
from megatick_export.checkpoint.arguments import architecture_of
from megatick_export.checkpoint.rank_files import (
    FILE_NAME,
    rank_folders,
    read_rank_files,
)
from megatick_export.checkpoint.stored import Layout, Stored
from megatick_export.checkpoint.torch_dist import read_torch_dist
from megatick_export.errors import CheckpointError

TRACKER: Final = "latest_checkpointed_iteration.txt"

Simple = str | int | float | bool | None


@dataclass(frozen=True)
class Checkpoint:
    """A model as Megatron saved it, joined from its shards and checked.

    Attributes:
        path: the folder of the iteration.
        iteration: training steps done; 0 for a release.
        layout: how it lay on disk, ``torch_dist`` or ``torch`` (a file a rank).
        architecture: what the model computes.
        weights: by canonical name, exactly those of ``architecture.shapes()``, on the
            CPU, in the dtype they were stored in; possibly mapped from the files, so
            leave those in place while the weights are in use.
        files: every file that was read, sorted.
        tensor_parallel: shards each tensor was joined from.
        pipeline_parallel: stages the layers were joined from.
        args: the run's args that are plain values, e.g. ``tokenizer_type``.
    """

    path: Path
    iteration: int
    layout: Layout
    architecture: Architecture
    weights: Mapping[str, torch.Tensor]
    files: tuple[Path, ...]
    tensor_parallel: int
    pipeline_parallel: int
    args: Mapping[str, Simple]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the word embedding is stored in."""
        return self.weights["embedding.word_embeddings.weight"].dtype

    @property
    def num_parameters(self) -> int:
        """Weights of the model, tied ones counted once."""
        return sum(tensor.numel() for tensor in self.weights.values())


def read_checkpoint(
    path: Path | str, *, absent_args: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Read a Megatron checkpoint of any layout; nothing in it is executed.

    Args:
        path: the folder with ``latest_checkpointed_iteration.txt``, one iteration's
            folder, or a ``mp_rank_XX`` folder in it (its siblings are read too).
        absent_args: Megatron's args for a file that carries none.

    Raises:
        CheckpointError: missing, truncated, incomplete, or contradicting its own args.
        HostileCheckpoint: a pickle in it wants to import what no checkpoint needs.
        UnsupportedArchitecture: its args ask for mathematics that is not built here.
    """
    folder = _iteration_folder(Path(path))
    stored = _read_stored(folder, absent_args)
    architecture = architecture_of(
        stored.args,
        {name: tuple(tensor.shape) for name, tensor in stored.weights.items()},
        path=folder,
        legacy_models=stored.legacy_models,
    )
    if architecture.tied_embeddings:
        _drop_tied_copy(folder, stored.weights)
    check_weights(folder, architecture, stored.weights)
    return Checkpoint(
        path=folder,
        iteration=stored.iteration,
        layout=stored.layout,
        architecture=architecture,
        weights=stored.weights,
        files=stored.files,
        tensor_parallel=stored.tensor_parallel,
        pipeline_parallel=stored.pipeline_parallel,
        args={
            name: value
            for name, value in stored.args.items()
            if value is None or isinstance(value, str | int | float | bool)
        },
    )


def check_weights(
    path: Path, architecture: Architecture, weights: Mapping[str, torch.Tensor]
) -> None:
    """Hold the tensors against what the architecture needs, name by name.

    Raises:
        CheckpointError: a tensor is missing, is not part of the model, has another
            shape, or is not floating-point.
    """
    shapes = architecture.shapes()
    for name in sorted(weights.keys() - shapes.keys()):
        raise CheckpointError(
            path,
            tensor=name,
            expected="only tensors of the architecture that the args describe",
            found=f"one more, of shape {tuple(weights[name].shape)}",
            hint="It would be left out of the computation; is this another model?",
        )
    for name in sorted(shapes.keys() - weights.keys()):
        raise CheckpointError(
            path,
            tensor=name,
            expected=f"shape {shapes[name]}, as the args imply",
            found="no such tensor",
            hint="Is a pipeline stage missing, or are the args of another model?",
        )
    for name, shape in shapes.items():
        tensor = weights[name]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise CheckpointError(
                path,
                tensor=name,
                expected=f"floating-point values of shape {shape}, as the args imply",
                found=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
                hint="Is a tensor-parallel shard missing, or are the args of another "
                "model?",
            )


def _iteration_folder(path: Path) -> Path:
    """Find the iteration that a path means."""
    if path.name == FILE_NAME:
        path = path.parent
    if (path / FILE_NAME).is_file():
        return path.parent
    if not path.is_dir():
        raise CheckpointError(
            path,
            expected="a checkpoint's folder",
            found="a file" if path.exists() else "nothing",
            hint=f"Pass the folder that holds {TRACKER}, or one iteration's.",
        )
    tracker = path / TRACKER
    if tracker.is_file():
        return _tracked(tracker)
    if (path / ".metadata").is_file() or rank_folders(path) or _backend(path):
        return path
    names = sorted(entry.name for entry in path.iterdir())
    raise CheckpointError(
        path,
        expected=f"{TRACKER}, or an iteration with .metadata or mp_rank_XX folders",
        found=", ".join(names[:8]) or "an empty folder",
        hint="Pass one iteration's folder, such as iter_0001000, where no tracker is.",
    )


def _tracked(tracker: Path) -> Path:
    """Follow the tracker to the iteration it names."""
    name = tracker.read_text(encoding="utf-8", errors="replace").strip()
    if name != "release" and not (name.isascii() and name.isdigit()):
        raise CheckpointError(
            tracker,
            expected="a whole number or 'release'",
            found=repr(name[:40]),
            hint="Pass the folder of the iteration you want.",
        )
    folder = tracker.parent / (name if name == "release" else f"iter_{int(name):07d}")
    if not folder.is_dir():
        raise CheckpointError(
            folder,
            expected=f"the iteration that {tracker.name} names",
            found="no such folder",
            hint="The copy is incomplete, or pass another iteration's folder.",
        )
    return folder


def _read_stored(folder: Path, absent_args: Mapping[str, Any] | None) -> Stored:
    """Read an iteration by the layout its files show."""
    backend = _backend(folder)
    if backend not in (None, "torch_dist"):
        raise CheckpointError(
            folder,
            expected="the layout torch_dist, or torch with mp_rank_XX folders",
            found=f"{backend}, says metadata.json",
            hint="Save it again with --ckpt-format torch_dist.",
        )
    if backend is not None or (folder / ".metadata").is_file():
        return read_torch_dist(folder, absent_args)
    if rank_folders(folder):
        return read_rank_files(folder, absent_args)
    raise CheckpointError(
        folder,
        expected=".metadata of torch_dist, or mp_rank_XX folders",
        found=", ".join(sorted(entry.name for entry in folder.iterdir())[:8])
        or "an empty folder",
        hint="The save was interrupted or the copy is incomplete.",
    )


def _backend(folder: Path) -> str | None:
    """Read the format's name from Megatron-core's ``metadata.json``."""
    path = folder / "metadata.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sharded_backend"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            path,
            expected="JSON with sharded_backend",
            found=f"{type(error).__name__}: {error}",
            hint="The file is damaged: copy it again.",
        ) from error


def _drop_tied_copy(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Drop the last stage's copy of a tied word embedding, having compared it."""
    copy = weights.pop("output_layer.weight", None)
    table = weights["embedding.word_embeddings.weight"]
    if copy is not None and not torch.equal(copy, table):
        raise CheckpointError(
            folder,
            tensor="output_layer.weight",
            expected="the word embedding, to which the args say it is tied",
            found="other values",
            hint="Is untie_embeddings_and_output_weights wrong in the args?",
        )
