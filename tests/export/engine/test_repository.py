"""A repository for TensorRT: its configs, and what its builder says without a GPU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tiny import byte_tokenizer
from tritonclient.grpc import model_config_pb2

from megatick_contract.models import EMBEDDING_MODEL, MARKET_VIEW, SENTIMENT
from megatick_contract.steps import LANGUAGE_MODEL
from megatick_export.engine import (
    BatchLimits,
    Profile,
    bound_batches,
    build_engine,
    scatter_embedding,
)
from megatick_export.engine.folder import EngineFolder
from megatick_export.engine.gpu import Gpu
from megatick_export.engine.library import Library, load_library
from megatick_export.engine.record import EngineRecord
from megatick_export.errors import EngineError, RepositoryError
from megatick_export.repository import templates

LIMITS = BatchLimits(max_tokens=96, max_batch=16)
RECORD = EngineRecord(
    library="tensorrt",
    library_version="10.9.0.34",
    gpu="NVIDIA L4",
    compute_capability="8.9",
    graph_sha256="ab",
    profile=dict(Profile.of(LIMITS, [20]).axes),
    layers=54,
    attentions=3,
    fused_attentions=3,
    attention_precisions={"FP16": 3},
    linear_precisions={"FP8": 12, "FP32": 1},
    build_s=31.4,
    memory_bytes=1_000_000,
    plan_bytes=2_000_000,
)


@pytest.fixture
def tensorrt(tmp_path: Path) -> Path:
    """What the exporter writes from the templates, with a graph that nobody reads."""
    folder = tmp_path / "repository"
    shutil.copytree(templates() / "tensorrt", folder)
    (folder / "preprocess/1/settings.json").write_text('{"max_tokens": 96}')
    byte_tokenizer().save(str(folder / "preprocess/1/tokenizer.json"))
    (folder / "language_model/1/model.onnx").write_bytes(b"graph")
    bound_batches(folder, LIMITS)
    return folder


def config(repository: Path, model: str) -> model_config_pb2.ModelConfig:
    text = (repository / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_the_language_model_is_a_plan_with_ragged_batching(tensorrt: Path) -> None:
    model: Any = config(tensorrt, LANGUAGE_MODEL.name)
    batch_input, batch_output = model_config_pb2.BatchInput, model_config_pb2.BatchOutput

    assert (model.platform, model.backend, model.max_batch_size) == (
        "tensorrt_plan",
        "",
        16,
    )
    assert [(each.name, list(each.dims)) for each in model.input] == [
        (tensor.name, list(tensor.shape)) for tensor in LANGUAGE_MODEL.inputs
    ]
    assert all(each.allow_ragged_batch for each in model.input)
    assert {each.data_type for each in model.input} == {model_config_pb2.TYPE_INT32}
    (longest,) = model.batch_input
    assert longest.kind == batch_input.BATCH_MAX_ELEMENT_COUNT_AS_SHAPE
    assert longest.data_type == model_config_pb2.TYPE_INT32
    assert (list(longest.target_name), list(longest.source_input)) == (
        ["max_seqlen"],
        ["longest"],
    )
    (logits,) = model.output
    assert (logits.name, list(logits.dims)) == ("logits", [-1, 3])
    assert logits.data_type == model_config_pb2.TYPE_FP32
    (scatter,) = model.batch_output
    assert scatter.kind == batch_output.BATCH_SCATTER_WITH_INPUT_SHAPE
    assert (list(scatter.target_name), list(scatter.source_input)) == (
        ["logits"],
        ["row_lengths"],
    )
    assert model.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    policy = model.dynamic_batching.default_queue_policy
    assert policy.allow_timeout_override
    assert policy.default_timeout_microseconds > 0


def test_the_embedding_is_scattered_like_the_logits(tensorrt: Path) -> None:
    scatter_embedding(tensorrt, 576)

    model: Any = config(tensorrt, LANGUAGE_MODEL.name)
    outputs = {each.name: each for each in model.output}
    # With the batch's axis before them, each -1 is row_lengths' axis of that number; it
    # has two, so the third must be a number.
    assert {name: list(each.dims) for name, each in outputs.items()} == {
        "logits": [-1, 3],
        "embedding": [-1, 576],
    }
    assert outputs["embedding"].data_type == model_config_pb2.TYPE_FP32
    scatter = model_config_pb2.BatchOutput.BATCH_SCATTER_WITH_INPUT_SHAPE
    assert [
        (each.kind, list(each.target_name), list(each.source_input))
        for each in model.batch_output
    ] == [
        (scatter, ["logits"], ["row_lengths"]),
        (scatter, ["embedding"], ["row_lengths"]),
    ]


@pytest.mark.parametrize(
    ("ensemble", "outputs"),
    [
        (SENTIMENT, {"logits"}),
        (MARKET_VIEW, {"logits"}),
        (EMBEDDING_MODEL, {"logits", "embedding"}),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_an_ensemble_asks_the_engine_for_no_time(
    tensorrt: Path, ensemble: Any, outputs: set[str]
) -> None:
    model: Any = config(tensorrt, ensemble.name)
    steps = {step.model_name: step for step in model.ensemble_scheduling.step}

    assert model.max_batch_size == 16
    assert set(steps[LANGUAGE_MODEL.name].output_map) == outputs


def test_a_config_without_its_limit_is_refused(tensorrt: Path) -> None:
    (tensorrt / "sentiment/config.pbtxt").write_text('platform: "ensemble"')

    with pytest.raises(RepositoryError, match="expected one max_batch_size, found 0"):
        bound_batches(tensorrt, LIMITS)


def test_the_profile_follows_the_configs(tensorrt: Path) -> None:
    folder = EngineFolder.of(tensorrt)

    assert folder.limits == LIMITS
    axes = folder.profile().axes
    assert axes["input_ids"].largest == 16 * 16 * 96
    # The tokenizer gives a token a byte, and invented headlines have some 30 to 90 bytes.
    assert 16 * 30 < axes["input_ids"].typical < 16 * 90
    assert axes["max_seqlen"].typical > axes["input_ids"].typical // 16


def test_a_repository_for_the_cpu_is_refused(tmp_path: Path) -> None:
    shutil.copytree(templates() / "cpu", tmp_path / "cpu")

    with pytest.raises(RepositoryError, match="`megatick export --target tensorrt`"):
        build_engine(tmp_path / "cpu")


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="expected a model repository"):
        build_engine(tmp_path)


def test_a_missing_graph_is_named(tensorrt: Path) -> None:
    (tensorrt / "language_model/1/model.onnx").unlink()

    with pytest.raises(RepositoryError, match=r"model\.onnx: is missing"):
        build_engine(tensorrt)


def test_a_missing_driver_is_named_with_the_way_round_it(
    tensorrt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megatick_export.engine.gpu._DRIVER", "libnowhere.so.1")

    with pytest.raises(EngineError, match=r"no NVIDIA driver.*--check-only SM89,SM120"):
        build_engine(tensorrt)


def test_a_missing_library_is_named() -> None:
    with pytest.raises(EngineError, match="'tensorrt' is not installed"):
        load_library("tensorrt")


def test_a_plan_for_another_machine_is_refused_with_each_difference(
    tensorrt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Gpu("NVIDIA H100", "9.0")
    library = Library("tensorrt", "10.3.0", None)
    monkeypatch.setattr("megatick_export.engine.build.find_gpu", lambda: found)
    monkeypatch.setattr("megatick_export.engine.build.load_library", lambda _: library)
    (tensorrt / "language_model/1/model.plan").write_bytes(b"plan")
    (tensorrt / "language_model/engine.json").write_text(RECORD.to_json())

    with pytest.raises(EngineError) as refused:
        build_engine(tensorrt)

    for difference in (
        "GPU: built for NVIDIA L4, found NVIDIA H100",
        "compute capability: built for 8.9, found 9.0",
        "version: built for 10.9.0.34, found 10.3.0",
        "graph (SHA-256): built for ab",
        "--rebuild",
    ):
        assert difference in str(refused.value)


def test_a_timing_cache_that_could_not_be_written_is_refused_before_the_build(
    tensorrt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library("tensorrt", "10.9.0.34", None)
    gpu = Gpu("NVIDIA L4", "8.9")
    monkeypatch.setattr("megatick_export.engine.build.find_gpu", lambda: gpu)
    monkeypatch.setattr("megatick_export.engine.build.load_library", lambda _: library)

    with pytest.raises(EngineError, match="its folder does not exist"):
        build_engine(tensorrt, timing_cache=tmp_path / "nowhere" / "timing")


def test_a_plan_that_suits_is_kept(tensorrt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library("tensorrt", "10.9.0.34", None)
    gpu = Gpu("NVIDIA L4", "8.9")
    monkeypatch.setattr("megatick_export.engine.build.find_gpu", lambda: gpu)
    monkeypatch.setattr("megatick_export.engine.build.load_library", lambda _: library)
    # sha256 of b"graph", by sha256sum.
    graph = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"
    record = replace(RECORD, graph_sha256=graph)
    (tensorrt / "language_model/1/model.plan").write_bytes(b"plan")
    (tensorrt / "language_model/engine.json").write_text(record.to_json())

    assert build_engine(tensorrt) == record


def test_a_record_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    path.write_text(RECORD.to_json())

    assert EngineRecord.read(path) == RECORD


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"profile": {}})])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "engine.json"
    path.write_text(text)

    with pytest.raises(EngineError, match="is not an engine's record"):
        EngineRecord.read(path)
