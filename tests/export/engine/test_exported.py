"""A checkpoint exported for TensorRT with all that can be asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from tiny import LLAMA, WINDOW, write_tiny
from tritonclient.grpc import model_config_pb2

from megatick_export import ExportOptions, export_repository
from megatick_export.engine import check_repository
from megatick_export.engine.folder import EngineFolder
from megatick_export.engine.profiles import Range


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
