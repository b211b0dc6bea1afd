"""Rows as lines of JSON, which any parser reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def line_of(row: Mapping[str, Any]) -> str:
    """Write one object, its line's end included.

    JSON has no NaN and no infinity: they become null, at whatever depth.  Times become
    text in ISO 8601, bytes text in UTF-8.
    """
    try:
        return _dumped(row)
    except ValueError:  # a float that is not finite
        return _dumped(_finite(row))


def _dumped(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, default=_as_text) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
