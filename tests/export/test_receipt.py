"""What a receipt says of the machine that made it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
import tensorrt_rtx

from megatick_export.receipt import versions


def test_an_installed_compiler_is_named_with_its_own_version() -> None:
    assert versions()["tensorrt-rtx"] == tensorrt_rtx.__version__


def test_a_compiler_that_is_not_installed_is_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "tensorrt-rtx":
            raise PackageNotFoundError(name)
        return "10.16" if name == "tensorrt" else "0"

    monkeypatch.setattr("importlib.metadata.version", version)
    found = versions()

    assert found["tensorrt"] == "10.16"
    assert "tensorrt-rtx" not in found


def test_what_every_export_needs_is_never_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", version)

    with pytest.raises(PackageNotFoundError):
        versions()
