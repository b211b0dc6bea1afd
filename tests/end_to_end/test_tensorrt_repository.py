"""A repository for TensorRT on the real Triton, as far as a machine without a GPU goes.

Its server has no TensorRT backend: it takes the configs and then misses that backend.
With a stand-in that answers in the engine's shapes, [1, R, 3] a request and no time, the
rest of the repository is run as it is.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tiny import LLAMA, write_tiny

from megatick_client import Client
from megatick_export import ExportOptions, export_repository
from megatick_export.engine import BatchLimits, bound_batches
from megatick_export.verification import read_exported
from megatick_server.errors import EngineMissingError, LaunchError
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_server.launcher import server as server_module
from megatick_server.launcher.installation import find_installation

pytestmark = pytest.mark.triton

STAND_IN = Path(__file__).parent / "stand_in/model.py"
LIMITS = BatchLimits(max_tokens=96, max_batch=4)
OPTIONS = ServeOptions(grpc_port=0, metrics_port=None)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("tensorrt")
    checkpoint = write_tiny(folder / "checkpoint")
    out = folder / "repository"
    options = ExportOptions(
        target="tensorrt", precision="fp32", max_tokens=96, embedding=True
    )
    export_repository(checkpoint, out, options=options)
    bound_batches(out, LIMITS)
    return out


@pytest.fixture(scope="module")
def endpoint(repository: Path) -> Iterator[str]:
    """The repository with a Python step in the engine's place, taking the same batches."""
    copy = repository.with_name("stood_in")
    shutil.copytree(repository, copy)
    config = copy / "language_model/config.pbtxt"
    whole = config.read_text()
    python = whole.replace('platform: "tensorrt_plan"', 'backend: "python"')
    python = re.sub(r"^batch_(in|out)put \[.*?^\]\n", "", python, flags=re.M | re.S)
    config.write_text(python.replace("KIND_GPU", "KIND_CPU"))
    shutil.copy(STAND_IN, copy / "language_model/1/model.py")
    with TritonServer(copy, OPTIONS) as server:
        yield server.endpoints.grpc


def test_serving_it_names_the_engine_and_the_backend_before_triton_starts(
    repository: Path,
) -> None:
    server = TritonServer(repository, OPTIONS)

    with pytest.raises(EngineMissingError) as caught, server:
        pass

    backend = find_installation().backend.parent / "tensorrt/libtriton_tensorrt.so"
    model = repository / "language_model"
    assert caught.value.missing == (model / "1/model.plan", model / "engine.json", backend)
    assert f"`megatick build-engine {repository}`" in str(caught.value)
    assert not server.started


def test_triton_takes_the_configs_and_misses_only_the_backend(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "check_engines", lambda *_: None)
    log: list[str] = []
    server = TritonServer(repository, OPTIONS, on_log=log.append)

    with pytest.raises(LaunchError), server:
        pass

    missing = "unable to find backend library for backend 'tensorrt'"
    refused = [line for line in log if "Invalid argument" in line]
    assert refused
    assert all(missing in line for line in refused), refused


def test_the_ensembles_answer_without_the_engines_time(
    endpoint: str, repository: Path
) -> None:
    texts = ["profit rises", "a much longer headline about falling sales", "flat"]
    text = triton.InferInput("TEXT", [3, 1], "BYTES")
    text.set_data_from_numpy(np.array([[each.encode()] for each in texts], object))
    with triton.InferenceServerClient(endpoint) as raw:
        reply = raw.infer("sentiment", [text])
    stages_us = reply.as_numpy("STAGE_US")
    assert stages_us.shape == (3, 4)
    assert np.isnan(stages_us[:, [1, 2]]).all()
    assert (stages_us[:, [0, 3]] > 0).all()
    with Client(endpoint, timeout_s=30) as client:
        tolerance = client.score_tolerance()
        alone = [client.score(each).score for each in texts]
        vectors = client.embed(texts).values
        vector = client.embed(texts[1]).values
    np.testing.assert_allclose(reply.as_numpy("SCORE")[:, 0], alone, atol=1e-5)
    assert vectors.shape == (3, LLAMA.hidden_size)
    allowed = read_exported(repository).probe.tolerance
    assert tolerance == pytest.approx(2 * allowed, rel=1e-6)
    assert np.ptp(vectors, axis=0).min() > 0.05, "vectors alike would prove nothing"
    np.testing.assert_allclose(vectors[1], vector, atol=1e-5)


def test_more_rows_than_the_engine_takes_are_refused(endpoint: str) -> None:
    text = triton.InferInput("TEXT", [5, 1], "BYTES")
    text.set_data_from_numpy(np.full((5, 1), b"flat", object))

    refused = pytest.raises(Exception, match="batch-size must be <= 4")
    with triton.InferenceServerClient(endpoint) as raw, refused:
        raw.infer("sentiment", [text])
