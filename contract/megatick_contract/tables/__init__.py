"""Tables in files: CSV, JSON lines and Parquet to blocks of rows, for batches and training.

Needs pyarrow.
"""

from megatick_contract.tables.blocks import Block
from megatick_contract.tables.columns import (
    DoesNotFit,
    column_of,
    common_schema,
    fitted,
    joined,
    rows_of,
)
from megatick_contract.tables.json_lines import line_of
from megatick_contract.tables.reading import BLOCK_ROWS, read_blocks
from megatick_contract.tables.sources import Source, find_files

__all__ = [
    "BLOCK_ROWS",
    "Block",
    "DoesNotFit",
    "Source",
    "column_of",
    "common_schema",
    "find_files",
    "fitted",
    "joined",
    "line_of",
    "read_blocks",
    "rows_of",
]
