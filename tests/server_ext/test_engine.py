from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from exported import Exported

from megatick_export.precision.int8 import quantize_int8
from megatick_server import engine
from megatick_server.engine import PackedEngine
from megatick_server.errors import ArtefactError

LOGITS = ("logits",)


def load(path: Path, precision: Any) -> PackedEngine:
    return PackedEngine(path, precision=precision, threads=1)


def test_a_graph_whose_weights_are_a_second_file_is_read_through_links(
    exported: Exported, tmp_path: Path
) -> None:
    """As the server's snapshot shows it: OpenVINO refuses weights from another folder."""
    graph = onnx.load(exported.out / "scorer" / "1" / "model.onnx")
    real, shown = tmp_path / "real", tmp_path / "shown"
    for folder in (real, shown):
        folder.mkdir()
    onnx.save(
        graph,
        real / "model.onnx",
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=64,
    )
    for file in real.iterdir():
        (shown / file.name).symlink_to(file)

    answer = load(shown / "model.onnx", "fp32").run([np.arange(5, dtype=np.int32)], LOGITS)

    assert answer["logits"].shape == (1, 3)


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


@pytest.fixture
def int8(exported: Exported, tmp_path: Path) -> Path:
    """Products of 64 and of 96 channels, so that groups are of 32."""
    path = tmp_path / "model.onnx"
    quantize_int8(exported.out / "scorer" / "1" / "model.onnx", path)
    return path


def test_int8_runs_in_the_groups_that_it_was_measured_in(int8: Path) -> None:
    loaded = PackedEngine(int8, precision="int8", threads=1, input_group=32)

    assert loaded.run([np.arange(5, dtype=np.int32)], LOGITS)["logits"].shape == (1, 3)


@pytest.mark.parametrize(
    ("stated", "told"),
    [(None, "does not state it: export it again"), (64, "states 64: export it again")],
)
def test_int8_that_was_measured_in_other_groups_is_refused(
    int8: Path, stated: int | None, told: str
) -> None:
    expected = rf"model\.onnx: .* in groups of 32 channels; .* settings\.json .* it {told}"

    with pytest.raises(ArtefactError, match=expected):
        PackedEngine(int8, precision="int8", threads=1, input_group=stated)
