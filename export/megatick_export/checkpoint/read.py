"""Reading any Megatron checkpoint as one model with one naming."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.absent import completed_args
from megatick_export.checkpoint.architecture import Architecture
from megatick_export.checkpoint.arguments import architecture_of
from megatick_export.checkpoint.deferred import Deferred
from megatick_export.checkpoint.extra_state import LARGEST_INPUT
from megatick_export.checkpoint.fields import Simple, listed, shown
from megatick_export.checkpoint.rank_files import (
    FILE_NAME,
    is_rank_folder,
    rank_folders,
    read_rank_files,
)
from megatick_export.checkpoint.stored import Layout, Stored
from megatick_export.checkpoint.torch_dist import read_torch_dist
from megatick_export.errors import CheckpointError

Progress = Callable[[int, int], None]

TRACKER: Final = "latest_checkpointed_iteration.txt"
_MOST_DIGITS: Final = 18  # more steps than fit 64 bits are no iteration

# Whose arithmetic torch has; FP8 means nothing without the scales beside it.
_WEIGHT_DTYPES: Final = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Checkpoint:
    """A model as Megatron saved it, joined from its shards and checked.

    Attributes:
        path: the folder of the iteration, or that of the lone file; absolute.
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
        virtual_stages: runs of layers on each stage; 1 without interleaving.
        fp8_inputs: by name of a linear layer, the largest input that the run's FP8
            training recorded, still to be read; NaN for none.
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
    virtual_stages: int = 1
    fp8_inputs: Mapping[str, Deferred] = field(default_factory=dict, repr=False)

    def trained_inputs(self) -> dict[str, float]:
        """Read what FP8 training recorded of the linear layers' inputs.

        Returns:
            The largest absolute input by name, such as ``decoder.layers.0.mlp.linear_fc1``;
            empty for a run without delayed scaling.

        Raises:
            HostileCheckpoint: a state wants to import what no checkpoint needs.
            CheckpointError: a state is damaged.
        """
        found = {name: float(each.load(True)) for name, each in self.fp8_inputs.items()}
        return {name: largest for name, largest in found.items() if largest > 0}

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the word embedding is stored in."""
        return self.weights["embedding.word_embeddings.weight"].dtype

    @property
    def num_parameters(self) -> int:
        """Weights of the model, tied ones counted once."""
        return sum(tensor.numel() for tensor in self.weights.values())


def read_checkpoint(
    path: Path | str,
    *,
    absent_args: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Checkpoint:
    """Read a Megatron checkpoint of any layout; nothing in it is executed.

    All that the args and the tensors' names and shapes can show wrong is refused before
    the first value is read.  Then the tensors come one by one: what a file holds whole is
    mapped, what was cut is read into its place, so memory holds each value once.

    Args:
        path: the folder with ``latest_checkpointed_iteration.txt``, one iteration's
            folder, a ``mp_rank_XX`` folder in it (its siblings are read too), or a lone
            ``model_optim_rng.pt`` of a model that was not cut.
        absent_args: for a file that carries no args, those of Megatron's args that the
            tensors' shapes do not tell; ``read_architecture_file`` reads them.
        progress: called with the bytes read and those in all, after each tensor.

    Raises:
        CheckpointError: missing, truncated, incomplete, contradicting its own args, or
            with weights that are NaN or infinite.
        HostileCheckpoint: a pickle in it wants to import what no checkpoint needs.
        UnsupportedArchitecture: its args ask for mathematics that is not built here.
    """
    path = Path(path).absolute()  # the parent of "." is "." again
    try:
        place = _find_iteration(path)
        stored = _read_stored(place, absent_args)
        fp8_inputs = {
            name.removesuffix(LARGEST_INPUT): stored.weights.pop(name)
            for name in list(stored.weights)
            if name.endswith(LARGEST_INPUT)
        }
        shapes = {name: tensor.shape for name, tensor in stored.weights.items()}
        args = stored.args if stored.args_saved else None
        if args is None:
            one_stage = stored.pipeline_parallel == 1
            args = completed_args(stored.args, shapes, path=place, one_stage=one_stage)
        architecture = architecture_of(
            args, shapes, path=place, legacy_models=stored.legacy_models
        )
        weights = _load(place, architecture, stored.weights, progress)
    except OSError as error:
        raise CheckpointError(
            path,
            expected="files that can be read",
            found=error.strerror or str(error),
            hint="Check the path and its permissions.",
        ) from error
    return Checkpoint(
        path=place if place.is_dir() else place.parent,
        iteration=stored.iteration,
        layout=stored.layout,
        architecture=architecture,
        weights=weights,
        files=stored.files,
        tensor_parallel=stored.tensor_parallel,
        pipeline_parallel=stored.pipeline_parallel,
        virtual_stages=stored.virtual_stages,
        fp8_inputs=fp8_inputs,
        args={
            name: value
            for name, value in args.items()
            if value is None or isinstance(value, str | int | float | bool)
        },
    )


def _load(
    place: Path,
    architecture: Architecture,
    stored: dict[str, Deferred],
    progress: Progress | None,
) -> dict[str, torch.Tensor]:
    """Check names and shapes, then read the values tensor by tensor."""
    copy = stored.pop("output_layer.weight", None) if architecture.tied_embeddings else None
    check_shapes(place, architecture, stored)
    total = sum(tensor.nbytes for tensor in stored.values())
    done = 0
    weights: dict[str, torch.Tensor] = {}
    for name, deferred in stored.items():
        weights[name] = deferred.load(True)
        _check_values(place, name, weights[name])
        if copy is not None and name == "embedding.word_embeddings.weight":
            _check_tied_copy(place, copy.load(False), weights[name])
        done += deferred.nbytes
        if progress is not None:
            progress(done, total)
    return weights


def check_weights(
    path: Path, architecture: Architecture, weights: Mapping[str, torch.Tensor]
) -> None:
    """Hold tensors and their values against what the architecture needs, name by name.

    Raises:
        CheckpointError: as ``check_shapes``, or a tensor holds a NaN or an infinity.
    """
    check_shapes(path, architecture, weights)
    for name, tensor in weights.items():
        _check_values(path, name, tensor)


def check_shapes(
    path: Path,
    architecture: Architecture,
    weights: Mapping[str, torch.Tensor] | Mapping[str, Deferred],
) -> None:
    """Hold tensors against what the architecture needs, name by name.

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
        if tuple(tensor.shape) != shape or tensor.dtype not in _WEIGHT_DTYPES:
            raise CheckpointError(
                path,
                tensor=name,
                expected="floating-point values, of 16 bits at least, of shape "
                f"{shape}, as the args imply",
                found=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
                hint="Is a tensor-parallel shard missing, or are the args of another "
                "model?",
            )


def _check_values(path: Path, name: str, tensor: torch.Tensor) -> None:
    """Refuse values that no arithmetic recovers from."""
    if tensor.is_meta or tensor.layout != torch.strided:
        raise CheckpointError(
            path,
            tensor=name,
            expected="a plain tensor with its values",
            found=f"one of {tensor.layout} on {tensor.device}",
            hint="Save the checkpoint again in bf16, fp16 or fp32.",
        )
    if tensor.numel() == 0:
        return
    # A NaN is both least and greatest.  This passes over the values once and allocates
    # nothing, where isfinite fills temporaries and takes some fifty times as long.
    least, greatest = tensor.aminmax()
    if least.isfinite() and greatest.isfinite():
        return
    bad = tensor.numel() - int(tensor.isfinite().sum())
    raise CheckpointError(
        path,
        tensor=name,
        expected="finite values",
        found=f"{bad} of {tensor.numel()} NaN or infinite",
        hint="The training diverged or the file is damaged: use an earlier iteration.",
    )


def _find_iteration(path: Path) -> Path:
    """Find what an absolute path means: an iteration's folder, or a lone rank file."""
    if path.name == FILE_NAME and path.is_file():
        return path.parent.parent if is_rank_folder(path.parent) else path
    if is_rank_folder(path) and (path / FILE_NAME).is_file():
        return path.parent
    if not path.is_dir():
        raise CheckpointError(
            path,
            expected=f"a checkpoint's folder or its {FILE_NAME}",
            found="a file" if path.exists() else "nothing",
            hint=f"Pass the folder that holds {TRACKER}, or one iteration's.",
        )
    tracker = path / TRACKER
    if tracker.is_file():
        return _tracked(tracker)
    if (path / ".metadata").is_file() or rank_folders(path) or _backend(path):
        return path
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    names = sorted(entry.name for entry in path.iterdir())
    raise CheckpointError(
        path,
        expected=f"{TRACKER}, or an iteration with .metadata or mp_rank_XX folders",
        found=listed(names) or "an empty folder",
        hint="Pass one iteration's folder, such as iter_0001000, where no tracker is.",
    )


def _tracked(tracker: Path) -> Path:
    """Follow the tracker to the iteration it names."""
    name = tracker.read_text(encoding="utf-8", errors="replace").strip()
    whole = name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS
    if name != "release" and not whole:
        raise CheckpointError(
            tracker,
            expected="a whole number or 'release'",
            found=shown(name),
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
    if folder.is_file():
        return read_rank_files(folder, absent_args)
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
        found=listed(sorted(entry.name for entry in folder.iterdir())) or "an empty folder",
        hint="The save was interrupted or the copy is incomplete.",
    )


def _backend(folder: Path) -> str | None:
    """Read the format's name from Megatron-core's ``metadata.json``."""
    path = folder / "metadata.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sharded_backend"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            path,
            expected="JSON with sharded_backend",
            found=f"{type(error).__name__}: {error}",
            hint="The file is damaged: copy it again.",
        ) from error


def _check_tied_copy(folder: Path, copy: torch.Tensor, table: torch.Tensor) -> None:
    """Compare the last stage's copy of a tied word embedding with it."""
    if not torch.equal(copy, table):
        raise CheckpointError(
            folder,
            tensor="output_layer.weight",
            expected="the word embedding, to which the args say it is tied",
            found="other values",
            hint="Is untie_embeddings_and_output_weights wrong in the args?",
        )
