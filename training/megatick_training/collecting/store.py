"""A collection in one Parquet file: articles, each once, and what the feeds last said."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from megatick_contract.files import whole
from megatick_training.collecting.articles import ARTICLES, Article
from megatick_training.errors import DataError

_KEY: Final = b"megatick"


class Store:
    """A collection that is read whole, added to, and written whole or not at all.

    Attributes:
        validators: by feed, what its last answer was known by.
    """

    def __init__(self, path: Path) -> None:
        """Read the collection, or begin one.

        Raises:
            DataError: the file is there, and is no collection; or its folder is not.
        """
        self._path = path
        self._table = ARTICLES.empty_table()
        self.validators: dict[str, Mapping[str, str]] = {}
        if path.suffix != ".parquet":
            raise DataError(path, "expected a name that ends in .parquet")
        if not path.parent.is_dir():  # better now than when all is read
            raise DataError(path, f"its folder {path.parent} is not there: make it first")
        self._read_as = _stamp(path)
        if path.exists():
            self._read()

    def __len__(self) -> int:
        return len(self._table)

    @property
    def urls(self) -> frozenset[str]:
        """Where its texts come from."""
        return frozenset(self._table["url"].to_pylist())

    def add(self, articles: Iterable[Article]) -> int:
        """Add articles, those that are known already left out.

        Returns:
            How many were new.
        """
        known = set(self._table["id"].to_pylist())
        fresh = {each.id: each.row() for each in articles if each.id not in known}
        if fresh:
            added = pa.Table.from_pylist(list(fresh.values()), ARTICLES)
            self._table = pa.concat_tables([self._table, added])
        return len(fresh)

    def write(self) -> None:
        """Write it, in the order of ``published_at``.

        What another process has written there since it was read stays in it.
        """
        if _stamp(self._path) != self._read_as:
            self._take_in(Store(self._path))
        metadata = {_KEY: json.dumps({"feeds": self.validators}).encode()}
        table = self._table.sort_by([("published_at", "ascending"), ("id", "ascending")])
        with whole(self._path) as unfinished:
            pq.write_table(
                table.replace_schema_metadata(metadata), unfinished, compression="zstd"
            )
        self._read_as = _stamp(self._path)

    def _take_in(self, other: Store) -> None:
        known = pa.array(self._table["id"].to_pylist(), pa.string())
        fresh = pc.invert(pc.is_in(other._table["id"], value_set=known))
        self._table = pa.concat_tables([self._table, other._table.filter(fresh)])
        self.validators = {**other.validators, **self.validators}

    def _read(self) -> None:
        try:
            table = pq.read_table(self._path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(self._path, f"is no Parquet file: {error}") from error
        metadata = table.schema.metadata or {}
        table = table.replace_schema_metadata(None)
        if _KEY not in metadata or table.schema.names != ARTICLES.names:
            raise DataError(
                self._path, "is no collection of `megatick collect`: choose another --out"
            )
        self._table = table.cast(ARTICLES)
        self.validators = json.loads(metadata[_KEY])["feeds"]


def _stamp(path: Path) -> tuple[int, int] | None:
    """What a file that is replaced whole is known again by."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
