"""The parts of a job, put end to end as one file that says what made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from megatick_client.batches.errors import SettingError
from megatick_client.batches.parts import PART_BYTES, Part
from megatick_contract.files import whole
from megatick_contract.tables import DoesNotFit, common_schema, fitted, line_of, rows_of

ABOUT_KEY: Final = b"megatick"
"""Of a Parquet file's metadata: the job as JSON."""

_ROW_GROUP_ROWS: Final = 131_072
_ENDINGS: Final = (".parquet", ".jsonl")


def check_output(output: Path) -> None:
    """Refuse a name of which no writer is known.

    Raises:
        SettingError: see above.
    """
    if output.suffix not in _ENDINGS:
        raise SettingError(
            "output",
            expected=f"a name that ends in {' or '.join(_ENDINGS)}",
            found=output.name,
        )


def errors_of(output: Path) -> Path:
    """Name the file of the rows that could not be scored: ``OUTPUT.errors.jsonl``."""
    return output.with_name(f"{output.name}.errors.jsonl")


def write_output(
    output: Path, parts: Sequence[Part], about: Mapping[str, Any], *, empty: pa.Schema
) -> None:
    """Write all rows to the output, and those with problems to the file beside it.

    Args:
        output: where to; its ending says as what.
        parts: of the whole input.
        about: what made it; becomes metadata of a Parquet file.
        empty: the schema where there is no part.
    """
    with whole(errors_of(output)) as path, path.open("wb") as file:
        for part in parts:
            with part.errors.open("rb") as errors:
                shutil.copyfileobj(errors, file)
    schemas = [pq.read_schema(part.path) for part in parts]
    schema = common_schema(schemas) if schemas else empty
    while True:  # each time one more column is text, which holds everything
        try:
            with whole(output) as path:
                if output.suffix == ".parquet":
                    _write_parquet(path, parts, schema, about)
                else:
                    _write_json_lines(path, parts, schema)
        except DoesNotFit as error:
            schema = error.wider
        else:
            return


def _write_parquet(
    path: Path, parts: Sequence[Part], schema: pa.Schema, about: Mapping[str, Any]
) -> None:
    described = schema.with_metadata({ABOUT_KEY: json.dumps(about).encode()})
    with pq.ParquetWriter(path, described, compression="zstd") as writer:
        held: list[pa.Table] = []
        for table in _tables(parts, schema):
            held.append(table)
            rows, size = sum(map(len, held)), sum(each.nbytes for each in held)
            if rows >= _ROW_GROUP_ROWS or size >= PART_BYTES:
                writer.write_table(pa.concat_tables(held).cast(described))
                held.clear()
        if held:
            writer.write_table(pa.concat_tables(held).cast(described))


def _write_json_lines(path: Path, parts: Sequence[Part], schema: pa.Schema) -> None:
    with path.open("w", encoding="utf-8") as file:
        for table in _tables(parts, schema):
            file.writelines(map(line_of, rows_of(table)))


def _tables(parts: Sequence[Part], schema: pa.Schema) -> Iterator[pa.Table]:
    for part in parts:
        yield fitted(pq.read_table(part.path, partitioning=None), schema)
