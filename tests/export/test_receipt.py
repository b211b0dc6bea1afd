"""What a receipt says of the machine that made it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import tensorrt_rtx

from megatick_export import receipt
from megatick_export.receipt import machine, versions


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


def test_a_machine_is_told_with_the_instructions_that_decide(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(receipt, "_CPUINFO", cpuinfo)
    cpu = "processor\t: {}\nmodel name\t: EPYC\nflags\t\t: fpu avx avx2 avx512f\n\n"
    cpuinfo.write_text(cpu.format(0) + cpu.format(1))

    assert machine().startswith("EPYC (avx512f, avx2), ")

    cpuinfo.write_text("processor\t: 0\n")  # as on ARM
    assert "(" not in machine()
