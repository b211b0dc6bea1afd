"""Fields of a stranger's pickle: read as what they must be, shown at a bearable length.

A pickle may hold anything under any name, a list where Megatron has a number included.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final

from megatick_export.errors import CheckpointError

Simple = str | int | float | bool | None

_LARGEST: Final = 2**63 - 1  # no count of Megatron's needs more than torch's own integers
_SHOWN_NAMES: Final = 8
_SHOWN_CHARACTERS: Final = 60


@dataclass(frozen=True)
class Fields:
    """Saved values by name; None counts as absent, as in Megatron's own args.

    Attributes:
        values: what was saved.
        path: the file or folder it was in, for messages.

    Each method raises CheckpointError for a value that is not what it reads.
    """

    values: Mapping[str, Any]
    path: Path

    def count(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """Read a whole number of at least ``least``; without a default it must be there."""
        value: Any = self.values.get(name)
        if value is None and default is not None:
            return default
        if _is_number(value, int) and least <= value <= _LARGEST:
            return int(value)
        raise self._refused(name, f"a whole number >= {least}")

    def number(self, name: str, default: float) -> float:
        """Read a finite number that is not negative."""
        value: Any = self.values.get(name)
        if value is None:
            return default
        if _is_number(value, int | float) and 0 <= value <= _LARGEST:  # a NaN is not
            return float(value)
        raise self._refused(name, "a finite number >= 0")

    def positive(self, name: str, default: float, *, most: float = _LARGEST) -> float:
        """Read a number above zero."""
        value = self.number(name, default)
        if 0 < value <= most:
            return value
        raise self._refused(name, f"a number above 0, {most:g} at most")

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read True or False, as which argparse may also have kept 1 and 0."""
        value: Any = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or value not in (0, 1):
            raise self._refused(name, "True or False")
        return bool(value)

    def word(self, name: str, default: str) -> str:
        """Read a string."""
        value: Any = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self._refused(name, "a string")
        return value

    def either(self, name: str, renamed: str) -> str:
        """Choose the name that has a value, of an arg that was renamed."""
        return name if self.values.get(name) is not None else renamed

    def _refused(self, name: str, expected: str) -> CheckpointError:
        absent = self.values.get(name) is None
        return CheckpointError(
            self.path,
            expected=f"{expected} in the field {name}",
            found="none" if absent else shown(self.values[name]),
            hint="Say it in absent_args if the file carries no args at all."
            if absent
            else "Is the file damaged, or from another program?",
        )


def _is_number(value: Any, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def shown(value: object) -> str:
    """Represent a value on one short line, whatever it is.

    >>> shown([1] * 1000)
    '[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,...'
    """
    try:
        text = " ".join(repr(value).split())
    # Python writes no integer of more than 4300 digits, and no end of nested lists.
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return text[:_SHOWN_CHARACTERS] + "..."


def plain(value: object) -> object:
    """Give a value back if a message can show it whole, else its short text."""
    text = shown(value)
    safe = isinstance(value, str | int | float | tuple) and not text.endswith("...")
    return value if value is None or (safe and repr(value) == text) else text


def listed(names: Iterable[object], *, total: int | None = None) -> str:
    """Join names for a message, the first eight of them.

    Args:
        names: strings as they are, anything else as ``shown``.
        total: how many there are, if counting them would take too long.

    >>> listed(range(3_000_000))
    '0, 1, 2, 3, 4, 5, 6, 7 and 2999992 more'
    """
    if total is None:
        names = list(names)
        total = len(names)
    first = list(itertools.islice(names, _SHOWN_NAMES))
    text = ", ".join(
        name[:_SHOWN_CHARACTERS] if isinstance(name, str) else shown(name) for name in first
    )
    return f"{text} and {total - len(first)} more" if total > len(first) else text
