"""Plans built and run on this machine's GPU; `make test-gpu` runs these and no others.

A machine without one fails them by name, since a test that skips itself proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tiny import LLAMA, WINDOW, write_tiny
from tritonclient.grpc import model_config_pb2

from megatick_contract.packing import packed_feed
from megatick_export import (
    ExportOptions,
    export_repository,
    read_checkpoint,
    reference_network,
)
from megatick_export.engine import (
    BatchLimits,
    EngineRecord,
    PlanRunner,
    build_engine,
    gpu_library,
    plan_engine,
)
from megatick_export.engine.folder import EngineFolder
from megatick_export.engine.library import Library
from megatick_export.errors import EngineError
from megatick_export.options import Precision
from megatick_export.parity import (
    onnxruntime_engine,
    onnxruntime_session,
    ragged_rows,
    reference_logits,
)

pytestmark = pytest.mark.gpu

ROWS = ragged_rows(vocab_size=256, max_tokens=WINDOW)
LINEARS = 4 * LLAMA.num_layers

Build = Callable[[Precision, bool], tuple[Path, EngineRecord]]


@pytest.fixture(scope="module")
def library() -> Library:
    try:
        return gpu_library()
    except EngineError as error:
        missing = str(error)
    pytest.fail(f"this test runs plans: {missing}", pytrace=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("gpu") / "checkpoint")


@pytest.fixture(scope="module")
def build(library: Library, checkpoint: Path) -> Build:
    """``build("fp8", everything)`` exports and builds once; returns repository and record.

    ``everything`` is FP8 attention and the embedding.
    """

    @cache
    def build(precision: Precision, everything: bool) -> tuple[Path, EngineRecord]:
        out = checkpoint.with_name(f"{precision}-{everything}")
        options = ExportOptions(
            target="tensorrt",
            precision=precision,
            fp8_attention=everything,
            embedding=everything,
            flip_budget=1,
            score_budget=2,
        )
        export_repository(checkpoint, out, options=options)
        return out, build_engine(out)

    return build


def load(library: Library, repository: Path) -> PlanRunner:
    plan = EngineFolder.of(repository).path / "1/model.plan"
    return PlanRunner(library, plan.read_bytes())


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 0.02), ("fp16", 0.05), ("bf16", 0.4)]
)
def test_a_plan_answers_as_the_reference_network(
    library: Library, checkpoint: Path, build: Build, precision: Precision, tolerance: float
) -> None:
    repository, record = build(precision, False)

    found = plan_engine(load(library, repository), BatchLimits(WINDOW))(ROWS).logits

    network = reference_network(read_checkpoint(checkpoint))
    expected = reference_logits(network, ROWS)
    assert np.ptp(expected) > 1, "rows that all answer alike would prove nothing"
    # float32 products are TF32 on a GPU, of 10 bits as FP16's are.
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert record.fused_attentions == LLAMA.num_layers


@pytest.mark.parametrize("everything", [False, True], ids=["linears", "attention-too"])
def test_an_fp8_plan_answers_as_its_graph(
    library: Library, checkpoint: Path, build: Build, everything: bool
) -> None:
    repository, record = build("fp8", everything)
    limits = EngineFolder.of(repository).limits

    found = plan_engine(load(library, repository), limits)(ROWS).logits

    graph = onnxruntime_engine(repository / "language_model/1/model.onnx")(ROWS).logits
    exact = reference_logits(reference_network(read_checkpoint(checkpoint)), ROWS)
    rounding = np.abs(graph - exact)
    assert rounding.max() > 0.02, "FP8 that changes nothing would prove nothing"
    # Sums in another order fall to the other side of a step now and then.
    assert np.abs(found - graph).mean() < rounding.mean()
    np.testing.assert_allclose(found, graph, atol=2 * rounding.max())
    assert record.linear_precisions == {"FP8": LINEARS, "FP32": 1}
    kind = "FP8" if everything else "FP16"
    assert record.attention_precisions == {kind: LLAMA.num_layers}


@pytest.mark.parametrize("everything", [False, True], ids=["plain", "everything"])
def test_a_plan_is_what_its_config_tells_triton(
    library: Library, build: Build, everything: bool
) -> None:
    # What Triton's TensorRT backend holds against each other before it loads a model
    # (instance_state.cc and model_state.cc of triton-inference-server/tensorrt_backend).
    repository, _ = build("fp8", everything)
    text = (repository / "language_model/config.pbtxt").read_text()
    config: Any = text_format.Parse(text, model_config_pb2.ModelConfig())
    engine = load(library, repository).engine
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    modes = library.module.TensorIOMode
    inputs = {name for name in names if engine.get_tensor_mode(name) == modes.INPUT}

    made = {name for each in config.batch_input for name in each.target_name}
    assert inputs == {each.name for each in config.input} | made
    assert set(names) - inputs == {each.name for each in config.output}
    for each in config.input:
        assert each.allow_ragged_batch
        assert tuple(engine.get_tensor_shape(each.name)) == tuple(each.dims) == (-1,)
    types = {name: engine.get_tensor_dtype(name) for name in names}
    assert {types[name] for name in inputs} == {library.module.int32}
    assert {types[each.name] for each in config.output} == {library.module.float32}
    for each in config.output:
        assert tuple(engine.get_tensor_shape(each.name)) == tuple(each.dims)
    for name in inputs:
        _, _, largest = engine.get_tensor_profile_shape(name, 0)
        assert config.max_batch_size <= largest[0]


def test_the_embedding_is_the_reference_networks(
    library: Library, checkpoint: Path, build: Build
) -> None:
    repository, _ = build("fp8", True)
    window = np.zeros(EngineFolder.of(repository).limits.longest, np.int32)
    row = ROWS[5]
    feed = {
        "input_ids": row,
        "row_lengths": np.array([len(row)], np.int32),
        "max_seqlen": window,
        "longest": window,
    }

    found = load(library, repository)(feed)["embedding"]

    graph = repository / "language_model/1/model.onnx"
    (expected,) = onnxruntime_session(graph).run(["embedding"], packed_feed([row]))
    assert found.shape == expected.shape == (1, LLAMA.hidden_size)
    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine > 0.99


def test_auto_takes_the_fastest_plan(
    library: Library, checkpoint: Path, tmp_path: Path
) -> None:
    options = ExportOptions(target="tensorrt", flip_budget=1, score_budget=2)

    receipt = export_repository(checkpoint, tmp_path / "out", options=options)

    speeds = {trial.precision: trial.texts_per_s for trial in receipt.trials}
    assert set(speeds) == {"fp32", "fp16", "bf16", "fp8"}
    measured = {name: speed for name, speed in speeds.items() if speed is not None}
    assert receipt.precision == max(measured, key=lambda name: measured[name])
    assert all(
        trial.engine.startswith(f"tensorrt {library.version}")
        for trial in receipt.trials
        if trial.texts_per_s is not None
    )
