from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from megatick_server import engine
from megatick_server.engine import PackedEngine
from megatick_server.errors import ArtefactError


def load(path: Path, precision: Any) -> PackedEngine:
    return PackedEngine(path, precision=precision, threads=1)


def test_a_corrupt_graph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x0athis is not a graph")

    with pytest.raises(ArtefactError, match=r"model\.onnx: OpenVINO cannot compile it"):
        load(path, "fp32")


def test_bf16_on_a_cpu_without_it_is_refused_rather_than_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "cpu_capabilities", lambda: ("FP32", "INT8"))

    with pytest.raises(ArtefactError, match=r"no bf16 arithmetic \(FP32, INT8\): export"):
        load(tmp_path / "model.onnx", "bf16")
