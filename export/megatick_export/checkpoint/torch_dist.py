"""Reading Megatron-core's ``torch_dist``: ``.metadata``, ``.distcp`` files, common state.

The format is PyTorch's distributed checkpoint.  ``.metadata`` pickles, for every tensor,
its global shape and its chunks, and for every chunk a file and a range of bytes in it;
those bytes are one ``torch.save``.  It is read here directly, so that the only pickles
touched are those two, each by a loader that runs nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.deferred import (
    Box,
    Deferred,
    TorchFile,
    assembled,
    concatenated,
)
from megatick_export.checkpoint.extra_state import largest_input_of
from megatick_export.checkpoint.fields import Fields, listed
from megatick_export.checkpoint.names import canonical_name, is_weight
from megatick_export.checkpoint.pickles import load_inert, load_torch_file
from megatick_export.checkpoint.stored import Stored, args_in
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

_COMMON_STATE: Final = "common_state/"
_STACK: Final = "decoder.layers."


@dataclass(frozen=True)
class _Chunk:
    """One box of a tensor, and where its bytes are."""

    offsets: tuple[int, ...]
    file: Path
    start: int
    length: int

    def open(self) -> TorchFile:
        """Load what was saved in the chunk's bytes; its values stay on disk."""
        return load_torch_file(self.file, range(self.start, self.start + self.length))


@dataclass(frozen=True)
class _Index:
    """What ``.metadata`` lists: shapes of tensors, and the chunks of every key."""

    shapes: dict[str, tuple[int, ...]]
    chunks: dict[str, list[_Chunk]]


def read_torch_dist(folder: Path, absent_args: Mapping[str, Any] | None) -> Stored:
    """Read one iteration's folder.

    Raises:
        CheckpointError: a file is missing, truncated or damaged, or no args are there.
        HostileCheckpoint: a pickle names something outside the allow-list.
        UnsupportedArchitecture: there is an encoder and a decoder.
    """
    index = _read_index(folder)
    keys = [key for key in index.shapes if is_weight(key)]
    weights: dict[str, Deferred] = {}
    for key in keys:
        whole = _checked(folder, index, key)
        layers = _layers_of(folder, canonical_name(key), whole)
        if not weights.keys().isdisjoint(layers):
            raise UnsupportedArchitecture(
                folder, arg="model", value=key, reason="an encoder and a decoder"
            )
        weights |= layers
    _join_gated_halves(weights)
    for key, (chunk, *_) in index.chunks.items():
        weights |= largest_input_of(key, partial(_object, chunk), path=chunk.file)
    common, common_file = _read_common_state(folder, index)
    if not common and absent_args is None:
        raise CheckpointError(
            common_file,
            expected="the run's args and counters",
            found="no such file",
            hint="Copy the whole folder again, or pass --architecture if the model was "
            "saved without them.",
        )
    args = args_in(common, absent_args, path=common_file)
    fields = Fields(args or {}, common_file)
    shards = {chunk.file for key in keys for chunk in index.chunks[key]}
    return Stored(
        layout="torch_dist",
        args=args,
        args_saved=common.get("args") is not None,
        iteration=Fields(common, common_file).count("iteration", 0, least=0),
        weights=weights,
        files=tuple(sorted(shards | {folder / ".metadata", common_file})),
        tensor_parallel=fields.count("tensor_model_parallel_size", 1),
        pipeline_parallel=fields.count("pipeline_model_parallel_size", 1),
        virtual_stages=fields.count("virtual_pipeline_model_parallel_size", 1),
        legacy_models=False,
    )


def _object(chunk: _Chunk) -> object:
    """Something else than a weight, with its values."""
    file = chunk.open()
    if isinstance(file.value, torch.Tensor):
        return file.defer(file.value).load(True)
    return file.value


def _read_index(folder: Path) -> _Index:
    path = folder / ".metadata"
    metadata = load_inert(path)
    try:
        chunks: dict[str, list[_Chunk]] = {}
        for key, place in metadata.storage_data.items():
            if getattr(place, "transform_descriptors", None):
                raise CheckpointError(
                    path,
                    tensor=key.fqn,
                    expected="bytes as torch.save wrote them",
                    found="compressed or transformed bytes",
                    hint="Save the checkpoint again without storage transforms.",
                )
            chunk = _Chunk(
                tuple(int(start) for start in getattr(key, "offset", None) or ()),
                folder / _plain_name(path, place.relative_path),
                int(place.offset),
                int(place.length),
            )
            chunks.setdefault(key.fqn, []).append(chunk)
        shapes = {
            str(key): tuple(int(length) for length in stored.size)
            for key, stored in metadata.state_dict_metadata.items()
            if hasattr(stored, "size")
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            path,
            expected="the metadata of a PyTorch distributed checkpoint",
            found=str(error),
            hint="Is this file from another program, or damaged?",
        ) from error
    for chunk in itertools.chain(*chunks.values()):
        _check_present(chunk)
    return _Index(shapes, chunks)


def _plain_name(path: Path, name: str) -> str:
    """Refuse a file name that leads out of the checkpoint's folder."""
    if Path(name).name != name:
        raise CheckpointError(
            path,
            expected="names of files in the same folder",
            found=repr(name),
            hint="Get the checkpoint again from a source you trust.",
        )
    return name


def _check_present(chunk: _Chunk) -> None:
    end = chunk.start + chunk.length
    size = chunk.file.stat().st_size if chunk.file.is_file() else None
    if size is None or not 0 <= chunk.start <= end <= size:
        raise CheckpointError(
            chunk.file,
            expected=f"a shard of at least {end} bytes, as .metadata says",
            found="no such file" if size is None else f"{size} bytes",
            hint="The copy is incomplete: copy the whole folder again.",
        )


@dataclass(frozen=True)
class _Whole:
    """A tensor of the checkpoint: its shape, and the boxes that fill it."""

    shape: tuple[int, ...]
    parts: list[tuple[Box, torch.Tensor, TorchFile]]


def _checked(folder: Path, index: _Index, key: str) -> _Whole:
    """Open a tensor's chunks and see that they fill it."""
    shape = index.shapes[key]
    parts: list[tuple[Box, torch.Tensor, TorchFile]] = []
    for chunk in index.chunks.get(key, ()):
        file = chunk.open()
        if not isinstance(file.value, torch.Tensor):
            raise CheckpointError(
                chunk.file,
                tensor=key,
                expected="a plain tensor",
                found=type(file.value).__name__,
                hint="Save the checkpoint again in bf16, fp16 or fp32.",
            )
        parts.append((_box(chunk, file.value), file.value, file))
    inside = all(
        len(box) == len(shape)
        and all(cut.start >= 0 and cut.stop <= n for cut, n in zip(box, shape, strict=True))
        for box, _, _ in parts
    )
    alike = len({part.dtype for _, part, _ in parts}) == 1
    stored = sum(part.numel() for _, part, _ in parts)
    if not inside or not alike or stored != math.prod(shape):
        raise CheckpointError(
            folder / ".metadata",
            tensor=key,
            expected=f"chunks of one dtype that fill {shape}, {math.prod(shape)} values",
            found=f"{len(parts)} chunks of {stored} values"
            + ("" if inside else ", some of them outside")
            + ("" if alike else ", of several dtypes"),
            hint="The save was interrupted or a file is damaged: copy it again, or use "
            "an earlier iteration.",
        )
    return _Whole(shape, parts)


def _box(chunk: _Chunk, part: torch.Tensor) -> Box:
    """Say where in its tensor a chunk lies; a tensor saved whole has no offsets."""
    offsets = chunk.offsets or (0,) * part.dim()
    return tuple(
        slice(start, start + length)
        for start, length in zip(offsets, part.shape, strict=False)
    )


def _layers_of(folder: Path, name: str, whole: _Whole) -> dict[str, Deferred]:
    """Plan a tensor; one of all layers, ``[layers, ...]``, becomes one of each."""
    rest = name.removeprefix(_STACK)
    if rest == name or rest.split(".")[0].isdigit() or not whole.shape:
        parts = [(box, file.defer(part)) for box, part, file in whole.parts]
        return {name: assembled(parts, whole.shape)}
    layers: list[list[tuple[Box, Deferred]]] = [[] for _ in range(whole.shape[0])]
    for box, part, file in whole.parts:
        for place, layer in enumerate(range(box[0].start, box[0].stop)):
            layers[layer].append((box[1:], file.defer(part[place])))
    shape = whole.shape[1:]
    filled = [sum(math.prod(part.shape) for _, part in parts) for parts in layers]
    if filled != [math.prod(shape)] * len(layers):
        raise CheckpointError(
            folder / ".metadata",
            tensor=name,
            expected=f"chunks that fill each of {len(layers)} layers once",
            found=f"{listed(filled)} of {math.prod(shape)} values",
            hint="The save was interrupted or a file is damaged: copy it again.",
        )
    return {
        f"{_STACK}{layer}.{rest}": assembled(parts, shape)
        for layer, parts in enumerate(layers)
    }


def _join_gated_halves(weights: dict[str, Deferred]) -> None:
    """Join fc1's gate and up, which ``singleton_local_shards`` stores apart."""
    for gate in [name for name in weights if name.endswith("_w")]:
        up = gate.removesuffix("_w") + "_v"
        if up in weights:
            halves = (weights.pop(gate), weights.pop(up))
            weights[gate.removesuffix("_w")] = concatenated(halves)


def _read_common_state(folder: Path, index: _Index) -> tuple[Mapping[str, Any], Path]:
    """Load the args and counters: ``common.pt`` up to core 0.18, a chunk from 0.19."""
    path = folder / "common.pt"
    state: Any = {}
    if path.is_file():
        state = load_torch_file(path).value
    else:
        for key, chunks in index.chunks.items():
            if key.startswith(_COMMON_STATE):
                path, state = chunks[0].file, chunks[0].open().value
    if isinstance(state, list) and state:
        state = state[0]
    if not isinstance(state, dict):
        raise CheckpointError(
            path,
            expected="a mapping with the run's args",
            found=type(state).__name__,
            hint="Is this file from another program?",
        )
    return state, path
