"""Which files are read, in which order, and how each is known again."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from megatick_contract.errors import TableError

Kind = Literal["csv", "jsonl", "parquet"]

_KINDS: Final[dict[str, Kind]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
COMPRESSIONS: Final = {".gz": "gzip", ".zst": "zstd"}
ENDINGS: Final = ".csv, .tsv, .jsonl, .ndjson (each also with .gz or .zst) or .parquet"


@dataclass(frozen=True)
class Source:
    """One file of the input.

    Attributes:
        path: absolute.
        size: in bytes.
        sha256: of its content, in hex.
    """

    path: Path
    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Source:
        """Read a file once, for what it is known by."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return cls(path.absolute(), file.tell(), digest.hexdigest())

    @property
    def kind(self) -> Kind:
        """What it holds, by its name."""
        kind = kind_of(self.path)
        assert kind is not None  # noqa: S101  find_files says so
        return kind

    @property
    def compression(self) -> str | None:
        """Arrow's name of it, or None."""
        return COMPRESSIONS.get(self.path.suffix.lower())


def kind_of(path: Path) -> Kind | None:
    """What a file holds by its name, or None where no reader is known for it."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    if endings and endings[-1] in COMPRESSIONS:
        endings.pop()
        kind = _KINDS.get(endings[-1]) if endings else None
        return None if kind == "parquet" else kind  # it compresses its own columns
    return _KINDS.get(endings[-1]) if endings else None


def find_files(pattern: str | Path) -> tuple[Path, ...]:
    """Return a file, the readable files of a folder, or those that a glob matches.

    Args:
        pattern: a path; or one with ``*``, ``?``, ``[…]`` or ``**``.

    Returns:
        In the order of their paths, at least one.

    Raises:
        TableError: nothing is there, or nothing that can be read.
    """
    path = Path(pattern)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [each for each in path.iterdir() if kind_of(each) and each.is_file()]
    else:
        matches = glob.glob(str(pattern), recursive=True)
        found = [each for each in map(Path, matches) if each.is_file()]
    if not found:
        raise TableError(
            path, f"expected a file, or a folder or glob of files in {ENDINGS}, found none"
        )
    for each in found:
        if kind_of(each) is None:
            raise TableError(each, f"expected a name that ends in {ENDINGS}")
    return tuple(sorted(found))
