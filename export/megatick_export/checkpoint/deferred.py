"""Tensors whose values are still on disk.

A checkpoint is planned before it is read: names, shapes and dtypes are known once the
pickles are, so what is not supported is refused at once, and the values then come one
tensor at a time.  What a file holds whole is mapped; what has to be joined or reordered is
read shard by shard into its place, so that no tensor is ever in memory twice.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch

from megatick_export.checkpoint.architecture import Shape
from megatick_export.errors import CheckpointError

_ALIGNMENT: Final = 64  # bytes; torch aligns its own tensors and records so
_AT_ONCE: Final = 1 << 20  # bytes of a record whose checksum is computed


@dataclass(frozen=True)
class Deferred:
    """A tensor to come.

    Attributes:
        shape: its shape.
        dtype: its dtype.
        load: reads it; True if it will be kept, False if it is dropped as soon as it is
            copied, and its pages with it.
    """

    shape: Shape
    dtype: torch.dtype
    load: Callable[[bool], torch.Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize


Tensors = Mapping[str, Deferred]
Box = tuple[slice, ...]


def in_memory(tensor: torch.Tensor) -> Deferred:
    """Wrap a tensor whose values are there already."""
    return Deferred(tuple(tensor.shape), tensor.dtype, lambda kept: tensor)


def assembled(parts: Sequence[tuple[Box, Deferred]], shape: Shape) -> Deferred:
    """Join parts, each into its box of the whole; they are read one after the other."""
    dtype = parts[0][1].dtype
    if len(parts) == 1 and parts[0][1].shape == shape:
        return parts[0][1]

    def load(kept: bool) -> torch.Tensor:
        whole = torch.empty(shape, dtype=dtype)
        for box, part in parts:
            whole[box] = part.load(False)
        return whole

    return Deferred(shape, dtype, load)


def concatenated(parts: Sequence[Deferred], dim: int = 0) -> Deferred:
    """Join parts along one dimension, in turn."""
    boxes: list[tuple[Box, Deferred]] = []
    end = 0
    for part in parts:
        start, end = end, end + part.shape[dim]
        boxes.append(((slice(None),) * dim + (slice(start, end),), part))
    shape = list(parts[0].shape)
    shape[dim] = end
    return assembled(boxes, tuple(shape))


@dataclass(frozen=True)
class Record:
    """An uncompressed record of a zip file, as the zip's directory has it.

    Attributes:
        nbytes: how many bytes it has.
        checksum: CRC-32 of them; 0 where torch was told to compute none.
    """

    nbytes: int
    checksum: int


@dataclass(frozen=True)
class TorchFile:
    """What one ``torch.save`` wrote: a whole file, or a run of bytes inside one.

    Attributes:
        path: the file.
        start: byte at which the ``torch.save`` begins.
        value: what was saved; the tensors of a zip file have no values yet.
        records: the zip's uncompressed records by where they lie, counted from ``start``.
    """

    path: Path
    start: int
    value: object
    records: Mapping[int, Record]
    _checked: set[int] = field(default_factory=set, repr=False)

    def defer(self, tensor: torch.Tensor) -> Deferred:
        """Say how a tensor of ``value``, or a view of one, is read.

        Raises:
            CheckpointError: its bytes are not where the zip's directory has them.
        """
        if not tensor.is_meta or tensor.layout != torch.strided:
            return in_memory(tensor)
        storage = tensor.untyped_storage()
        offset = storage._checkpoint_offset
        if offset is None:  # saved without values, which is refused once it is loaded
            return in_memory(tensor)
        record = self.records.get(offset)
        if record is None or record.nbytes < storage.nbytes():
            raise CheckpointError(
                self.path,
                expected=f"an uncompressed record of {storage.nbytes()} bytes at byte "
                f"{self.start + offset}",
                found=f"one of {record.nbytes if record else 'no'} bytes",
                hint="The file was changed or damaged: copy it again.",
            )
        shape = tuple(tensor.shape)
        stride = tensor.stride()
        first = self.start + offset + int(tensor.storage_offset()) * tensor.itemsize
        last = sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        nbytes = (1 + last) * tensor.itemsize if tensor.numel() else 0

        def load(kept: bool) -> torch.Tensor:
            self._check(offset, record)
            aligned = nbytes > 0 and first % _ALIGNMENT == 0
            if aligned and kept and self.start == 0:
                # One mapping for all: Python's own would hold a descriptor each.
                flat = torch.empty(0, dtype=tensor.dtype)
                part = self._mapping[first : first + nbytes]
                return flat.set_(part, 0, shape, stride)
            if aligned and not kept:
                view = np.memmap(self.path, np.uint8, "c", first, (nbytes,))
                flat = torch.from_numpy(view).view(tensor.dtype)
            else:
                flat = torch.empty(nbytes // tensor.itemsize, dtype=tensor.dtype)
                self._read_into(flat, first)
            return flat.as_strided(shape, stride)

        return Deferred(shape, tensor.dtype, load)

    def _check(self, offset: int, record: Record) -> None:
        """Refuse a record whose bytes are not those that were saved; once a record.

        torch does not look at the checksums that it writes.

        Raises:
            CheckpointError: they are others.
        """
        if not record.checksum or offset in self._checked:
            return
        found, left = 0, record.nbytes
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(self.start + offset)
            while left and (some := stream.read(min(left, _AT_ONCE))):
                found, left = zlib.crc32(some, found), left - len(some)
        if left or found != record.checksum:
            raise CheckpointError(
                self.path,
                expected=f"{record.nbytes} bytes of CRC-32 {record.checksum:08x} from byte "
                f"{self.start + offset} on, as were saved",
                found=f"{record.nbytes - left} of {found:08x}",
                hint="The file was damaged since: copy it again and compare its SHA-256.",
            )
        self._checked.add(offset)

    @cached_property
    def _mapping(self) -> torch.UntypedStorage:
        size = self.path.stat().st_size
        mapping = torch.UntypedStorage.from_file(str(self.path), False, size)
        return cast("torch.UntypedStorage", mapping)

    def _read_into(self, flat: torch.Tensor, first: int) -> None:
        with self.path.open("rb") as stream:
            stream.seek(first)
            read = stream.readinto(flat.view(torch.uint8).numpy().data)
        if read != flat.nbytes:
            raise CheckpointError(
                self.path,
                expected=f"{flat.nbytes} bytes from byte {first} on",
                found=f"{read}",
                hint="The file is truncated: copy it again.",
            )
