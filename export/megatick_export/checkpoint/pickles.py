"""Reading pickles of strangers without running them.

A pickle is a program: it may import any name and call it.  Three lines of defence:

1. ``imported_names`` lists what a pickle would import, without executing it, and a name
   outside the allow-list below is refused as hostile, by name.
2. torch's ``weights_only`` unpickler executes ``.pt`` payloads; it knows only tensors
   and the names handed to it for this one file.
3. Megatron's own classes (enums, recipes, save plans) are never imported: each is
   replaced by an ``Inert`` object that keeps its arguments and does nothing.

The ``.metadata`` file of torch_dist is a plain pickle; there, everything is inert.
"""

from __future__ import annotations

import argparse
import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

import torch
from torch.serialization import safe_globals

from megatick_export.checkpoint.deferred import Record, TorchFile
from megatick_export.errors import CheckpointError, HostileCheckpoint

_ZIP_MAGIC: Final = b"PK\x03\x04"
_DAMAGED: Final = "The file is truncated or damaged: copy it again and compare its size."

# What torch's own loader accepts; it has the last word on each of them.
_TENSORS: Final = re.compile(
    r"torch\.(storage\.)?\w*Storage|torch\.(bool|b?float\d+\w*|u?int\d+|half|double|long)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.(Size|device|Tensor)|torch\.nn\.parameter\.Parameter"
    r"|torch\.serialization\._get_layout"
    r"|collections\.(OrderedDict|Counter)|_codecs\.encode"
    r"|builtins\.(set|bytearray|complex)|argparse\.Namespace"
)
# What Megatron pickles besides: replaced by an inert object, never imported.  numpy is
# the random state; torch.nn.functional has the activations of a config; BytesIO is
# Transformer Engine 1.x's extra state; Python 3.11 pickles an enum member as a call of
# getattr, which here is an inert name like the others.
_INERT: Final = re.compile(
    r"(megatron|transformer_engine|torch\.distributed\.checkpoint|numpy)\.[\w.]+"
    r"|torch\.nn\.functional\.\w+|torch\._C\._nn\.\w+"
    r"|signal\.Signals|pathlib\.\w*Path|_io\.BytesIO|builtins\.getattr"
)
# What .metadata really needs to be what it is; the rest of it may be inert.
_PLAIN: Final[dict[str, Any]] = {
    "torch.Size": tuple,
    "collections.OrderedDict": OrderedDict,
}


class Inert:
    """Stands in for a class that is not imported; keeps what it was given."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.arguments = args
        self.__dict__.update(kwargs)

    def __setstate__(self, state: object) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {"state": state})


def imported_names(stream: IO[bytes]) -> Iterator[str]:
    """List the names one pickle would import, without executing it.

    Names that a pickle assembles in roundabout ways can hide from this; they do not get
    past the unpicklers below, which allow only what was found here.

    Args:
        stream: a binary stream at the start of a pickle; read up to its STOP.

    Yields:
        ``module.name``, in the order they appear.

    >>> list(imported_names(io.BytesIO(pickle.dumps(len))))
    ['builtins.len']
    """
    strings: list[str] = []
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "GLOBAL":
            yield _qualified(*str(argument).split(" ", 1))
        elif opcode.name == "STACK_GLOBAL":
            yield _qualified(*["", "", *strings][-2:])
        elif isinstance(argument, str):
            strings.append(argument)
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(str(argument))] = strings[-1] if strings else ""
        elif opcode.name in ("BINGET", "LONG_BINGET", "GET"):
            strings.append(memo.get(int(str(argument)), ""))


def load_torch_file(path: Path, part: range | bytes | None = None) -> TorchFile:
    """Load what ``torch.save`` wrote; the values of tensors stay on disk.

    Args:
        path: the file.
        part: which bytes of the file are one ``torch.save``, or such bytes themselves,
            whose tensors then come with their values; None is all of the file.

    Returns:
        Whatever was saved: tensors on the meta device, which ``TorchFile.defer`` reads,
        containers, ``argparse.Namespace``, and ``Inert`` objects in the place of
        everything else.  Files of before torch 1.6 come with their tensors' values.

    Raises:
        HostileCheckpoint: its pickle names something outside the allow-list.
        CheckpointError: missing, truncated or damaged.
    """
    try:
        with _opened(path, part) as stream:
            zipped = stream.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
            stream.seek(0)
            names = set(_names_in_zip(stream) if zipped else _names_in_legacy(stream))
            records = _records_in_zip(stream) if zipped else {}
    except OSError as error:
        raise CheckpointError(
            path,
            expected="a readable file",
            found=error.strerror or str(error),
            hint="Check the path and its permissions.",
        ) from error
    # zipfile and pickletools raise whatever a damaged byte leads them to.
    except Exception as error:
        raise CheckpointError(
            path,
            expected="a file of torch.save",
            found=f"{type(error).__name__}: {error}",
            hint=_DAMAGED,
        ) from error
    stubs = [(_stub(path, name), name) for name in names if not _TENSORS.fullmatch(name)]
    try:
        with (
            safe_globals([(argparse.Namespace, "argparse.Namespace"), *stubs]),
            _opened(path, part) as stream,
        ):
            where = "meta" if zipped and not isinstance(part, bytes) else "cpu"
            value = torch.load(stream, map_location=where, weights_only=True)
    # Its text recommends weights_only=False, which is the last thing to do.
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            path,
            expected="a pickle of tensors and plain values",
            found="one that torch's safe loader refuses",
            hint=f"{_DAMAGED}  Do not load it in any other way.",
        ) from error
    # torch raises whatever its parser stumbles over, down to AssertionError.
    except Exception as error:
        raise CheckpointError(
            path,
            expected="a complete file of torch.save",
            found=f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            hint=_DAMAGED,
        ) from error
    start = part.start if isinstance(part, range) else 0
    return TorchFile(path, start, value, records)


class _Part(io.RawIOBase):
    """Some of a file's bytes, as if they were a file."""

    def __init__(self, path: Path, part: range) -> None:
        self._stream = path.open("rb")
        self._part = part
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._part)}
        self._at = max(0, base[whence] + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        rest = max(0, len(self._part) - self._at)
        self._stream.seek(self._part.start + self._at)
        read = self._stream.readinto(memoryview(buffer)[:rest])
        self._at += read
        return read

    def close(self) -> None:
        self._stream.close()
        super().close()


def _opened(path: Path, part: range | bytes | None) -> IO[bytes]:
    if isinstance(part, bytes):
        return io.BytesIO(part)
    return path.open("rb") if part is None else io.BufferedReader(_Part(path, part))


def load_inert(path: Path) -> Any:
    """Load a plain pickle of plain values; every class in it becomes ``Inert``.

    Raises:
        HostileCheckpoint: it names something outside the allow-list.
        CheckpointError: missing, truncated or damaged.
    """
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            path,
            expected="a complete pickle",
            found=f"{type(error).__name__}: {error}",
            hint=_DAMAGED,
        ) from error
    return _load_plain(path, payload, _PLAIN)


def load_tensor_pickle(path: Path, payload: bytes) -> Any:
    """Load a plain pickle that may hold tensors; every other class becomes ``Inert``.

    Args:
        path: the file that the payload is a part of, for messages.
        payload: the pickle.

    Raises:
        HostileCheckpoint: it names something outside the allow-list.
        CheckpointError: truncated or damaged.
    """
    tensors = {
        # A storage inside is one more torch.save, which only the safe loader reads.
        "torch.storage._load_from_bytes": lambda inner: load_torch_file(path, inner).value,
        "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    }
    return _load_plain(path, payload, _PLAIN | tensors)


def _load_plain(path: Path, payload: bytes, known: Mapping[str, Any]) -> Any:
    """Unpickle with these names alone; others are inert, or hostile."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            full = _qualified(module, name)
            return known.get(full) or _stub(path, full)

    try:
        return Unpickler(io.BytesIO(payload)).load()
    except (HostileCheckpoint, CheckpointError):
        raise
    # Unpickling damaged bytes may raise anything at all, says the pickle module.
    except Exception as error:
        raise CheckpointError(
            path,
            expected="a complete pickle",
            found=f"{type(error).__name__}: {error}",
            hint=_DAMAGED,
        ) from error


def _qualified(module: str, name: str) -> str:
    """Join a name as Python 3 spells it: protocol 2 writes Python 2's modules."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    return f"{module}.{name}"


def _stub(path: Path, name: str) -> type[Inert]:
    """Make the class that stands in for one allowed name."""
    if not _INERT.fullmatch(name) and not _TENSORS.fullmatch(name):
        raise HostileCheckpoint(path, imported=name)
    return type(name.rpartition(".")[2], (Inert,), {})


def _names_in_zip(stream: IO[bytes]) -> Iterator[str]:
    """List the imports of a ``torch.save`` file (torch >= 1.6)."""
    with zipfile.ZipFile(stream) as archive:
        record = next(
            (name for name in archive.namelist() if name.endswith("/data.pkl")), None
        )
        if record is None:
            raise ValueError("a zip file without data.pkl")
        info = archive.getinfo(record)
        if not info.CRC:  # torch was told to compute none
            del info.CRC
        # Read to its end, where zipfile compares the checksum.
        yield from imported_names(io.BytesIO(archive.read(info)))


def _records_in_zip(stream: IO[bytes]) -> dict[int, Record]:
    """Find the uncompressed records, by where their bytes begin.

    Between a record's local header and its bytes stand its name and padding, whose
    lengths only that header tells (APPNOTE.TXT 4.3.7 of the zip format).
    """
    records: dict[int, Record] = {}
    with zipfile.ZipFile(stream) as archive:
        for record in archive.infolist():
            stream.seek(record.header_offset + 26)
            name, extra = struct.unpack("<HH", stream.read(4))
            if record.compress_type == zipfile.ZIP_STORED:
                start = record.header_offset + 30 + name + extra
                records[start] = Record(record.file_size, record.CRC)
    return records


def _names_in_legacy(stream: IO[bytes]) -> Iterator[str]:
    """List the imports of a ``torch.save`` file of before torch 1.6.

    It is a row of pickles: magic number, protocol, system, the object, storage keys.
    """
    for _ in range(5):
        yield from imported_names(stream)
