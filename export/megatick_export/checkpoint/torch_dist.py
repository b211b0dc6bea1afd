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
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.fields import Fields
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

    def load(self) -> Any:
        """Read the chunk's bytes and load what was saved in them."""
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            return load_torch_file(self.file, stream.read(self.length))


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
    weights: dict[str, torch.Tensor] = {}
    for key in keys:
        layers = _unstacked(canonical_name(key), _join(folder, index, key))
        if not weights.keys().isdisjoint(layers):
            raise UnsupportedArchitecture(
                folder, arg="model", value=key, reason="an encoder and a decoder"
            )
        weights |= layers
    _join_gated_halves(weights)
    common, common_file = _read_common_state(folder, index)
    args = args_in(common, absent_args, path=common_file)
    fields = Fields(args, common_file)
    shards = {chunk.file for key in keys for chunk in index.chunks[key]}
    return Stored(
        layout="torch_dist",
        args=args,
        iteration=Fields(common, common_file).count("iteration", 0, least=0),
        weights=weights,
        files=tuple(sorted(shards | {folder / ".metadata", common_file})),
        tensor_parallel=fields.count("tensor_model_parallel_size", 1),
        pipeline_parallel=fields.count("pipeline_model_parallel_size", 1),
        legacy_models=False,
    )


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


def _join(folder: Path, index: _Index, key: str) -> torch.Tensor:
    """Load a tensor's chunks into one tensor."""
    shape = index.shapes[key]
    parts = [(chunk, chunk.load()) for chunk in index.chunks.get(key, ())]
    for chunk, part in parts:
        if not isinstance(part, torch.Tensor):
            raise CheckpointError(
                chunk.file,
                tensor=key,
                expected="a plain tensor",
                found=type(part).__name__,
                hint="Save the checkpoint again in bf16, fp16 or fp32.",
            )
    boxes = [_box(chunk, part) for chunk, part in parts]
    inside = all(
        len(box) == len(shape)
        and all(cut.start >= 0 and cut.stop <= n for cut, n in zip(box, shape, strict=True))
        for box in boxes
    )
    stored = sum(part.numel() for _, part in parts)
    if not inside or stored != math.prod(shape):
        raise CheckpointError(
            folder / ".metadata",
            tensor=key,
            expected=f"chunks that fill {shape}, {math.prod(shape)} values",
            found=f"{len(parts)} chunks of {stored} values"
            + ("" if inside else ", some of them outside"),
            hint="The save was interrupted or a file is damaged: copy it again, or use "
            "an earlier iteration.",
        )
    if len(parts) == 1:
        only: torch.Tensor = parts[0][1]
        return only
    whole = torch.empty(shape, dtype=parts[0][1].dtype)
    for box, (_, part) in zip(boxes, parts, strict=True):
        whole[box] = part
    return whole


def _box(chunk: _Chunk, part: torch.Tensor) -> tuple[slice, ...]:
    """Say where in its tensor a chunk lies; a tensor saved whole has no offsets."""
    offsets = chunk.offsets or (0,) * part.dim()
    return tuple(
        slice(start, start + length)
        for start, length in zip(offsets, part.shape, strict=False)
    )


def _unstacked(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Split a tensor of all layers, ``[layers, ...]``, into one of each; no copy."""
    rest = name.removeprefix(_STACK)
    if rest == name or rest.split(".")[0].isdigit() or tensor.dim() == 0:
        return {name: tensor}
    return {f"{_STACK}{layer}.{rest}": part for layer, part in enumerate(tensor)}


def _join_gated_halves(weights: dict[str, torch.Tensor]) -> None:
    """Join fc1's gate and up, which ``singleton_local_shards`` stores apart."""
    for gate in [name for name in weights if name.endswith("_w")]:
        up = gate.removesuffix("_w") + "_v"
        if up in weights:
            halves = (weights.pop(gate), weights.pop(up))
            weights[gate.removesuffix("_w")] = torch.cat(halves)


def _read_common_state(folder: Path, index: _Index) -> tuple[Mapping[str, Any], Path]:
    """Load the args and counters: ``common.pt`` up to core 0.18, a chunk from 0.19."""
    path = folder / "common.pt"
    state: Any = {}
    if path.is_file():
        state = load_torch_file(path)
    else:
        for key, chunks in index.chunks.items():
            if key.startswith(_COMMON_STATE):
                path, state = chunks[0].file, chunks[0].load()
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
