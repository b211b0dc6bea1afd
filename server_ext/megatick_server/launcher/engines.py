"""What a repository for TensorRT needs that its export cannot write."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from megatick_contract.repository import ENGINE_RECORD_FILE, PLAN_FILE
from megatick_server.errors import EngineMissingError
from megatick_server.launcher.installation import Installation
from megatick_server.launcher.options import SAFE_CONTAINER, TRITON_RELEASE
from megatick_server.launcher.repository import Repository, model_files, read_config

_TENSORRT: Final = re.compile(
    r"""^\s*(platform\s*:\s*["']tensorrt_plan|backend\s*:\s*["']tensorrt)["']""", re.M
)
_BACKEND: Final = Path("tensorrt", "libtriton_tensorrt.so")
"""Source: "Backend Shared Library" in the README of triton-inference-server/backend."""


def check_engines(repository: Repository, installation: Installation) -> None:
    """Look for the plan of every TensorRT model, its record, and the backend that runs it.

    Args:
        repository: any; one without such a model needs nothing.
        installation: the Triton that is to serve it.

    Raises:
        EngineMissingError: names all that is absent, and what to do.
    """
    needed = [
        file for name in repository.models for file in _engine_of(repository.path / name)
    ]
    if not needed:
        return
    missing = [file for file in needed if not file.is_file()]
    remedies = []
    if missing:
        command = f"megatick build-engine {shlex.quote(str(repository.path))}"
        remedies.append(f"Build the engine on the GPU that will serve: `{command}`.")
    backend = installation.backend.parent / _BACKEND
    if not backend.is_file():
        missing.append(backend)
        remedies.append(
            f"{TRITON_RELEASE} as it is installed here has no TensorRT backend: serve the "
            f"repository with NVIDIA's container {SAFE_CONTAINER} or later."
        )
    if missing:
        raise EngineMissingError(repository.path, missing, remedies=remedies)


def _engine_of(model: Path) -> list[Path]:
    """The files of a model's engine; none if it is not TensorRT's."""
    config = read_config(model / "config.pbtxt")
    if _TENSORRT.search(config) is None:
        return []
    return [*model_files(model, config, PLAN_FILE), model / ENGINE_RECORD_FILE]
