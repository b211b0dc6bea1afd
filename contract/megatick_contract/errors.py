"""Errors of the wire, and the root of every package's tree.

MegatickError        what any package raises on purpose; its message names the thing,
|                    what was expected, what was found and what to do
├── ContractError    a tensor is not what the contract says
└── TableError       a file of rows is absent, damaged, or of another kind
"""

from __future__ import annotations

from pathlib import Path


class MegatickError(Exception):
    """Base of all errors that Megatick raises on purpose."""


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
