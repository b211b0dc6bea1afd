"""The two TensorRT libraries, which share one Python interface.

``tensorrt`` builds plans that Triton loads, on a machine with the GPU they are for.
``tensorrt_rtx`` compiles for a GPU that it is only told of, so it needs none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from megatick_export.errors import EngineError

Name = Literal["tensorrt", "tensorrt_rtx"]

_OLDEST_MAJOR: Final[dict[Name, int]] = {"tensorrt": 10, "tensorrt_rtx": 1}
_INSTALL: Final[dict[Name, str]] = {
    "tensorrt": "install the `tensorrt` of your Triton container's release, or run this "
    "inside that container; `--check-only SM89` compiles without a GPU",
    "tensorrt_rtx": "pip install tensorrt-rtx",
}


@dataclass(frozen=True)
class Library:
    """One of the libraries, loaded.

    Attributes:
        name: its Python package.
        version: as it tells it, such as ``10.9.0.34``.
        module: the package.
    """

    name: Name
    version: str
    module: Any

    @property
    def major(self) -> int:
        """The first number of its version."""
        return int(self.version.split(".")[0])


def load_library(name: Name) -> Library:
    """Import a library.

    Raises:
        EngineError: it is not installed, cannot be loaded, or is too old.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise EngineError(
                f"package {name!r} lacks a part of itself ({error.name}): reinstall it"
            ) from error
        raise EngineError(f"package {name!r} is not installed: {_INSTALL[name]}") from error
    except (ImportError, OSError) as error:
        raise EngineError(f"package {name!r} cannot be loaded: {error}") from error
    library = Library(name, str(module.__version__), module)
    if library.major < _OLDEST_MAJOR[name]:
        raise EngineError(
            f"package {name!r}: expected version {_OLDEST_MAJOR[name]} or later, found "
            f"{library.version}: {_INSTALL[name]}"
        )
    return library


class Messages:
    """What a library has logged since the list was last cleared.

    A library keeps the first logger of the process for ever, so there is one of these for
    each library.
    """

    def __init__(self, module: Any) -> None:
        """Make the logger that hands its messages over."""
        lines: list[tuple[str, str]] = []

        class Log(module.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()

            def log(self, severity: Any, message: str) -> None:
                lines.append((severity.name, message))

        self.logger = Log()
        self.lines = lines

    def errors(self) -> str:
        """The errors among them, one after another."""
        found = [text for kind, text in self.lines if kind in {"ERROR", "INTERNAL_ERROR"}]
        return "; ".join(found) or "it gave no reason"


@cache
def messages_of(module: Any) -> Messages:
    """The one record of a library's messages."""
    return Messages(module)
