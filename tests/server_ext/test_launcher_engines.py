"""What a TensorRT repository lacks, told before Triton starts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from megatick_server.errors import EngineMissingError
from megatick_server.launcher import Repository, check_repository
from megatick_server.launcher.engines import check_engines
from megatick_server.launcher.installation import Installation, find_installation

TEMPLATES = Path(__file__).parents[2] / "model_repository"
PLAN, RECORD = "language_model/1/model.plan", "language_model/engine.json"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """The models of an export for TensorRT, with an engine built; its path has a space."""
    folder = tmp_path / "my repository"
    for models in ("tensorrt", "shared"):
        shutil.copytree(TEMPLATES / models, folder, dirs_exist_ok=True)
    for name in ("receipt.json", PLAN, RECORD):
        (folder / name).write_text("{}")
    return check_repository(folder)


@pytest.fixture
def equipped(tmp_path: Path) -> Installation:
    """A Triton that has the backend."""
    backends = tmp_path / "backends"
    (backends / "tensorrt").mkdir(parents=True)
    (backends / "tensorrt" / "libtriton_tensorrt.so").touch()
    return replace(find_installation(), backend=backends / "python")


def missing(repository: Repository, installation: Installation) -> EngineMissingError:
    with pytest.raises(EngineMissingError) as caught:
        check_engines(repository, installation)
    return caught.value


def test_a_built_engine_and_its_backend_are_enough(
    repository: Repository, equipped: Installation
) -> None:
    check_engines(repository, equipped)


@pytest.mark.parametrize("name", [PLAN, RECORD])
def test_names_what_was_not_built_and_the_command(
    name: str, repository: Repository, equipped: Installation
) -> None:
    (repository.path / name).unlink()

    error = missing(repository, equipped)

    assert error.missing == (repository.path / name,)
    assert f"`megatick build-engine '{repository.path}'`" in str(error)
    assert "container" not in str(error)


def test_names_the_backend_that_the_wheel_lacks(repository: Repository) -> None:
    wheel = find_installation()

    error = missing(repository, wheel)

    assert error.missing == (wheel.backend.parent / "tensorrt/libtriton_tensorrt.so",)
    assert "nvcr.io/nvidia/tritonserver:25.07-py3" in str(error)
    assert "build-engine" not in str(error)


def test_asks_for_every_version_and_by_the_configs_own_name(
    repository: Repository, equipped: Installation
) -> None:
    model = repository.path / "language_model"
    config = model / "config.pbtxt"
    config.write_text(config.read_text() + 'default_model_filename: "it.plan"')
    (model / "2").mkdir()
    (model / "1" / "it.plan").touch()

    assert missing(repository, equipped).missing == (model / "2" / "it.plan",)


def test_a_repository_for_cpus_needs_no_engine(identity_repository: Path) -> None:
    check_engines(check_repository(identity_repository), find_installation())
