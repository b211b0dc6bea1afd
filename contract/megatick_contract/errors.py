"""Errors of the wire, and the root of every package's tree.

MegatickError        what any package raises on purpose; its message names the thing,
|                    what was expected, what was found and what to do
├── ContractError    a tensor is not what the contract says
└── TableError       a file of rows is absent, damaged, or of another kind
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class MegatickError(Exception):
    """Base of all errors that Megatick raises on purpose.

    Any of them can be pickled, so that one raised in another process, by a worker of Ray or
    of a process pool, arrives as itself.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Tell pickle to make it again as it is, and not from what it was made of.

        An exception is made again from its ``args`` otherwise, the message alone, which is
        not what its class takes.
        """
        return _again, (type(self), self.args), self.__dict__


class ContractError(MegatickError, ValueError):
    """A tensor does not have the dtype or shape that the wire fixes for it."""

    def __init__(self, tensor: str, *, expected: str, found: str) -> None:
        super().__init__(f"tensor {tensor!r}: expected {expected}, found {found}")
        self.tensor = tensor
        self.expected = expected
        self.found = found


class TableError(MegatickError, ValueError):
    """A file of rows cannot be read."""

    def __init__(self, source: Path, problem: str) -> None:
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem


def _again(kind: type[MegatickError], args: tuple[Any, ...]) -> MegatickError:
    """Make an error without calling its ``__init__``; ``args`` are its message."""
    error = kind.__new__(kind, *args)
    error.args = args  # which OSErrors leave to __init__
    return error
