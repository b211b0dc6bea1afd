"""A throw-away model repository for the launcher's tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

IDENTITY = Path(__file__).parent / "identity"
WriteModel = Callable[..., Path]

collect_ignore = ["identity"]  # only Triton's Python can import what is there


def lay_out(repository: Path, name: str = "identity", code: str | None = None) -> Path:
    """Add a model to a repository: the identity's config, its code or another."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    config = (IDENTITY / "config.pbtxt").read_text()
    (version.parent / "config.pbtxt").write_text(config.replace("identity", name))
    if code is None:
        shutil.copy(IDENTITY / "model.py", version)
    else:
        (version / "model.py").write_text(code)
    (repository / "receipt.json").write_text("{}")
    return repository


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    """``write_model(name, code)`` adds a model and returns the repository's path."""

    def write(name: str = "identity", code: str | None = None) -> Path:
        return lay_out(tmp_path / "repository", name, code)

    return write


@pytest.fixture(scope="session")
def identity_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model, ``identity``: FP32 ``IN`` [1] comes back as ``OUT``."""
    return lay_out(tmp_path_factory.mktemp("launcher") / "repository")
