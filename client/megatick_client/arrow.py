"""Arrow's tables and arrays as Python's own, without importing Arrow."""

from __future__ import annotations

from typing import Any


def unwrapped(values: Any) -> Any:
    """Turn an Arrow table into columns by name, an array into a list; leave others.

    A missing value becomes None.
    """
    if hasattr(values, "to_pydict"):
        return values.to_pydict()
    if hasattr(values, "to_pylist"):
        return values.to_pylist()
    return values
