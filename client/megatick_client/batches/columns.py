"""Columns of rows that were read apart: made from values, and put end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def column_of(values: Sequence[Any]) -> pa.Array:
    """Make a column of what JSON holds; values of no common type become their JSON.

    Raises:
        UnicodeEncodeError: a text holds half of a surrogate pair.
    """
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_as_text(value) for value in values], pa.string())


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables end to end in the schema that holds them all."""
    if len(tables) == 1:
        return tables[0]
    schema = common_schema([table.schema for table in tables])
    return pa.concat_tables([fitted(table, schema) for table in tables])


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
    """Give a table the columns and types of a common schema."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata(None)
    names = set(table.column_names)
    return pa.table(
        [
            _cast(table[each.name], each.type)
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


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    if pa.types.is_string(wanted):
        return pa.chunked_array([[_as_text(each) for each in column.to_pylist()]], wanted)
    return column.cast(wanted)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
