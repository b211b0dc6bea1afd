"""A checkpoint exported for TensorRT with all that can be asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from tiny import LLAMA, WINDOW, write_tiny
from tritonclient.grpc import model_config_pb2

from megatick_export import ExportOptions, export_repository
from megatick_export.engine import BatchLimits, check_repository
from megatick_export.engine.folder import EngineFolder
from megatick_export.engine.profiles import Range
from megatick_export.errors import EngineError
from megatick_export.parity import Engine, Outputs, Rows, onnxruntime_engine


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    texts = folder / "texts.txt"
    texts.write_text("profit rises\nsales fall again\nno change\n")
    options = ExportOptions(
        target="tensorrt",
        precision="fp8",
        fp8_attention=True,
        embedding=True,
        calibration=texts,
        flip_budget=1,
        score_budget=2,
    )
    export_repository(write_tiny(folder / "checkpoint"), folder / "out", options=options)
    return folder / "out"


def test_auto_builds_a_plan_of_each_precision_and_exports_the_fastest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[BatchLimits, int]] = []

    def gpu_compiler(limits: BatchLimits, row_lengths: Iterable[int]) -> Any:
        asked.append((limits, len(list(row_lengths))))

        def compiled(graph: Path) -> tuple[str, Engine]:
            if graph.stem in ("bf16", "fp8"):
                raise EngineError(f"this GPU has no {graph.stem}")
            run = onnxruntime_engine(graph)

            def engine(rows: Rows) -> Outputs:
                time.sleep(0.2 if graph.stem == "fp32" else 0)
                return run(rows)

            return "tensorrt 10.9", engine

        return compiled

    monkeypatch.setattr("megatick_export.options.gpu_library", lambda: None)
    monkeypatch.setattr("megatick_export.evidence.gpu_compiler", gpu_compiler)
    (tmp_path / "texts.txt").write_text("profit rises\nsales fall again\n")
    options = ExportOptions(
        target="tensorrt",
        calibration=tmp_path / "texts.txt",
        flip_budget=1,
        score_budget=2,
    )
    checkpoint = write_tiny(tmp_path / "checkpoint", replace(LLAMA, num_layers=1))

    receipt = export_repository(checkpoint, tmp_path / "out", options=options)

    assert asked == [(BatchLimits(WINDOW), 2)]
    assert receipt.precision == "fp16"
    verdicts = {trial.precision: trial.verdict for trial in receipt.trials}
    assert verdicts == {
        "fp32": "within budget",
        "fp16": "chosen",
        "bf16": "this GPU has no bf16",
        "fp8": "this GPU has no fp8",
    }
    assert [trial.engine for trial in receipt.trials][:2] == [
        "tensorrt 10.9 fp32",
        "tensorrt 10.9 fp16",
    ]


def test_fp8_attention_fixes_its_length_for_server_and_engine_alike(
    repository: Path,
) -> None:
    settings = json.loads((repository / "preprocess/1/settings.json").read_text())

    assert settings == {"max_tokens": WINDOW, "longest": WINDOW}
    axes = EngineFolder.of(repository).profile().axes
    assert axes["max_seqlen"] == Range(WINDOW, WINDOW, WINDOW)
    assert axes["input_ids"].smallest == 1


def test_the_embedding_has_the_graphs_length(repository: Path) -> None:
    text = (repository / "language_model/config.pbtxt").read_text()
    config: Any = text_format.Parse(text, model_config_pb2.ModelConfig())
    graph = onnx.load(str(repository / "language_model/1/model.onnx"))

    given = {each.name: each.type.tensor_type for each in graph.graph.output}
    assert set(given) == {each.name for each in config.output} == {"logits", "embedding"}
    for output in config.output:
        assert given[output.name].elem_type == onnx.TensorProto.FLOAT
        assert given[output.name].shape.dim[1].dim_value == output.dims[1]
    assert (repository / "embedding/config.pbtxt").is_file()


def test_the_repository_compiles_as_it_is(repository: Path) -> None:
    (check,) = check_repository(repository, ["SM89"])

    assert check.layers.attention_precisions == {"FP8": LLAMA.num_layers}
