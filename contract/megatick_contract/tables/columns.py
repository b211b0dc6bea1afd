"""Columns of rows that were read apart: made from values, and put end to end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa


class DoesNotFit(Exception):
    """A value of a column is beyond the type that its column would have in common.

    Attributes:
        wider: the schema with that column as text.
    """

    def __init__(self, schema: pa.Schema, name: str) -> None:
        super().__init__(f"{name}: a value does not fit {schema.field(name).type}")
        place = schema.get_field_index(name)
        self.wider = schema.set(place, pa.field(name, pa.string()))


def column_of(values: Sequence[Any]) -> pa.Array:
    """Make a column of what JSON holds; values of no common type become their JSON.

    Raises:
        UnicodeEncodeError: a text holds half of a surrogate pair.
    """
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_as_text(value) for value in values], pa.string())
    if _holds_empty_struct(column.type):  # Parquet has none
        return pa.array([_as_text(value) for value in values], pa.string())
    return column


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Go through a table's rows as Python's values."""
    columns = [_values_of(column) for column in table.columns]
    for row in zip(*columns, strict=True):
        yield dict(zip(table.column_names, row, strict=True))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables end to end in the schema that holds them all."""
    if len(tables) == 1:
        return tables[0]
    schema = common_schema([table.schema for table in tables])
    while True:  # each time one more column is text, which holds everything
        try:
            return pa.concat_tables([fitted(table, schema) for table in tables])
        except DoesNotFit as error:
            schema = error.wider


def common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Find the schema that holds the rows of them all.

    A column that some lack is null there; numbers take the wider type; what has no common
    type is text.
    """
    if all(schema.equals(schemas[0]) for schema in schemas):
        return schemas[0].remove_metadata()
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for found in schema:
            known = types.get(found.name, found.type)
            types[found.name] = _common_type(known, found.type)
    return pa.schema(list(types.items()))


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give a table the columns and types of a common schema.

    Raises:
        DoesNotFit: a value is beyond its column's type, as 2**53 + 1 is beyond float64.
    """
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None)
    names = set(table.column_names)
    return pa.table(
        [
            _cast(table[each.name], each.name, schema)
            if each.name in names
            else pa.nulls(len(table), each.type)
            for each in schema
        ],
        schema=schema,
    )


def _common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    if first == second:
        return first
    try:
        fields = [pa.schema([("", each)]) for each in (first, second)]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def _cast(column: pa.ChunkedArray, name: str, schema: pa.Schema) -> pa.ChunkedArray:
    wanted = schema.field(name).type
    if column.type == wanted:
        return column
    if pa.types.is_string(wanted):
        return pa.chunked_array([[_as_text(each) for each in _values_of(column)]], wanted)
    try:
        return column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DoesNotFit(schema, name) from error


def _values_of(column: pa.ChunkedArray) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except OverflowError:  # a time that Python has no year for: Arrow writes its number
        values = column.cast(pa.string()).to_pylist()
    return values


def _holds_empty_struct(kind: pa.DataType) -> bool:
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return (pa.types.is_struct(kind) and not inner) or any(map(_holds_empty_struct, inner))


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
