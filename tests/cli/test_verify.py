"""``megatick verify``: what is on disk, and what is served, is what was exported."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import Exported, export_tiny
from tiny import WINDOW, byte_tokenizer, write_tiny
from typer.testing import CliRunner, Result

from megatick_cli.app import app
from megatick_export import (
    ExportOptions,
    export_repository,
    read_checkpoint,
    reference_network,
)
from megatick_export.errors import RepositoryError
from megatick_export.evidence import EMBEDDED_TEXTS, PROBED_TEXTS
from megatick_server.launcher import ServeOptions, TritonServer

GRAPH = "scorer/1/model.onnx"
DIGESTS = ("scorer/1/model_digest.txt", "price_forecast/1/model_digest.txt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verify")


@pytest.fixture(scope="module")
def repository(exported: Exported, folder: Path) -> Path:
    shutil.copytree(exported.out, folder / "repository")
    return folder / "repository"


@pytest.fixture(scope="module")
def bare(exported_graph: Exported) -> Path:
    return exported_graph.out


@pytest.fixture
def copy(exported: Exported, tmp_path: Path) -> Path:
    shutil.copytree(exported.out, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def bare_copy(bare: Path, tmp_path: Path) -> Path:
    shutil.copytree(bare, tmp_path / "copy")
    return tmp_path / "copy"


def verify(repository: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", str(repository), *arguments])


def report(repository: Path, *arguments: str) -> tuple[int, Any]:
    """The exit status, and what is printed as JSON."""
    result = verify(repository, "--json", *arguments)
    assert result.stdout, result.exception
    return result.exit_code, json.loads(result.stdout)


def expect_other_answers(repository: Path) -> None:
    """Have the probe expect the classes in another order."""
    probe = json.loads((repository / "probe.json").read_text())
    probe["probabilities"] = [row[1:] + row[:1] for row in probe["probabilities"]]
    replace_probe(repository, probe)


def replace_probe(repository: Path, probe: Any) -> None:
    """Write another probe, and hash it anew."""
    (repository / "probe.json").write_text(json.dumps(probe))
    receipt = json.loads((repository / "receipt.json").read_text())
    content = (repository / "probe.json").read_bytes()
    receipt["files"]["probe.json"] = hashlib.sha256(content).hexdigest()
    lines = [f"{value}  {name}\n" for name, value in sorted(receipt["files"].items())]
    receipt["model_digest"] = hashlib.sha256("".join(lines).encode()).hexdigest()
    (repository / "receipt.json").write_text(json.dumps(receipt))
    for name in DIGESTS:
        if (repository / name).exists():
            (repository / name).write_text(receipt["model_digest"])


def flip_a_bit(repository: Path, name: str) -> None:
    content = bytearray((repository / name).read_bytes())
    content[len(content) // 2] ^= 1
    (repository / name).write_bytes(content)


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        pytest.param(lambda at: flip_a_bit(at, GRAPH), (GRAPH, "changed"), id="graph"),
        pytest.param(
            lambda at: (at / "sentiment/config.pbtxt").unlink(),
            ("sentiment/config.pbtxt", "missing"),
            id="config",
        ),
        pytest.param(
            lambda at: (at / "scorer/1/more.py").write_text(""),
            ("scorer/1/more.py", "added"),
            id="added",
        ),
    ],
)
def test_a_repository_that_changed_is_told_and_not_run(
    copy: Path, change: Callable[[Path], object], drift: tuple[str, str]
) -> None:
    change(copy)

    status, told = report(copy)

    assert status == 1
    assert [(each["what"], each["problem"]) for each in told["files"]] == [drift]
    assert told["answers"] == []


def test_a_change_is_printed_with_both_hashes(copy: Path) -> None:
    before = hashlib.sha256((copy / GRAPH).read_bytes()).hexdigest()
    flip_a_bit(copy, GRAPH)

    result = verify(copy)

    assert result.exit_code == 1
    assert f"{GRAPH} changed" in result.stdout
    assert before in result.stdout
    assert hashlib.sha256((copy / GRAPH).read_bytes()).hexdigest() in result.stdout
    assert "not asked" in result.stdout


def test_a_bare_graph_answers_as_it_did(bare: Path) -> None:
    status, told = report(bare)

    assert (status, told["files"]) == (0, [])
    (answers,) = told["answers"]
    assert (answers["asked"], answers["texts"], answers["good"]) == (
        "onnxruntime",
        PROBED_TEXTS,
        True,
    )
    assert answers["max_probability_error"] < 1e-4
    assert "every file is as exported" in verify(bare).stdout


def test_a_bare_graph_that_answers_otherwise_is_told(bare_copy: Path) -> None:
    expect_other_answers(bare_copy)

    status, told = report(bare_copy)

    assert (status, told["files"]) == (1, [])
    (answers,) = told["answers"]
    assert not answers["good"]
    assert answers["label_flips"] > 0


def test_a_bare_graph_without_its_tokenizer_is_told(bare_copy: Path) -> None:
    (bare_copy / "tokenizer.json").unlink()

    status, told = report(bare_copy)

    assert status == 1
    assert [each["what"] for each in told["files"]] == ["tokenizer.json"]


def test_a_bare_graph_is_not_served(bare: Path) -> None:
    result = verify(bare, "--address", "127.0.0.1:1")

    assert result.exit_code == 2
    assert "a bare graph is not served" in result.stderr


def test_a_tensorrt_repository_is_not_said_to_be_verified_by_its_files(
    copy: Path,
) -> None:
    receipt = json.loads((copy / "receipt.json").read_text())
    (copy / "receipt.json").write_text(json.dumps(receipt | {"target": "tensorrt"}))
    (copy / "sentiment_scores/1").mkdir(parents=True)
    (copy / DIGESTS[0]).rename(copy / "sentiment_scores/1/model_digest.txt")

    result = verify(copy)

    assert result.exit_code == 1
    assert "every file is as exported" in result.stdout
    assert isinstance(result.exception, RepositoryError)
    assert "was not verified" in str(result.exception)


def test_a_folder_without_a_receipt_is_an_error(tmp_path: Path) -> None:
    result = verify(tmp_path)

    assert isinstance(result.exception, RepositoryError)
    assert "receipt.json: cannot be read" in str(result.exception)


@pytest.fixture(scope="module")
def other(exported: Exported, folder: Path) -> Path:
    """Its probe expects what its model does not answer."""
    shutil.copytree(exported.out, folder / "other")
    expect_other_answers(folder / "other")
    return folder / "other"


@pytest.fixture(scope="module")
def address(other: Path) -> Iterator[str]:
    options = ServeOptions(grpc_port=0, metrics_port=None)
    with TritonServer(other, options) as server:
        yield server.endpoints.grpc


@pytest.mark.triton
def test_a_model_that_answers_otherwise_is_told(other: Path, address: str) -> None:
    status, told = report(other, "--address", address)

    assert (status, told["files"]) == (1, [])
    assert [each["asked"] for each in told["answers"]] == [
        "served, many texts a request",
        "served, 8 texts alone",
    ]
    assert not any(each["good"] for each in told["answers"])
    assert "drifted" in verify(other, "--address", address).stdout


@pytest.mark.triton
def test_a_server_of_another_repository_is_told(repository: Path, address: str) -> None:
    result = verify(repository, "--address", address)

    assert result.exit_code == 1
    assert isinstance(result.exception, RepositoryError)
    assert f"{address} serves another model" in str(result.exception)


@pytest.mark.triton
def test_a_changed_file_is_told_beside_what_is_served(
    other: Path, address: str, tmp_path: Path
) -> None:
    shutil.copytree(other, tmp_path / "changed")
    flip_a_bit(tmp_path / "changed", GRAPH)

    status, told = report(tmp_path / "changed", "--address", address)

    assert status == 1
    assert [each["what"] for each in told["files"]] == [GRAPH]
    assert len(told["answers"]) == 2


@pytest.mark.triton
def test_what_was_exported_is_started_and_answers_as_it_did(repository: Path) -> None:
    status, told = report(repository)

    assert (status, told["files"]) == (0, [])
    assert [each["texts"] for each in told["answers"]] == [PROBED_TEXTS] * 2
    assert max(each["max_probability_error"] for each in told["answers"]) < 1e-4


# --- a repository with the embedding, in a precision that changes it ---------------------


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Exported:
    checkpoint, out = write_tiny(folder / "checkpoint"), folder / "embedder"
    options = ExportOptions(precision="int8", embedding=True, flip_budget=1, score_budget=2)
    return Exported(checkpoint, out, export_repository(checkpoint, out, options=options))


def test_the_probe_holds_the_reference_networks_embeddings(embedder: Exported) -> None:
    probe = json.loads((embedder.out / "probe.json").read_text())
    network = reference_network(read_checkpoint(embedder.checkpoint))
    tokenizer = byte_tokenizer()

    expected = [
        network.encode(torch.tensor([tokenizer.encode(text).ids[:WINDOW]]))[0, -1].numpy()
        for text in probe["texts"][:EMBEDDED_TEXTS]
    ]

    np.testing.assert_allclose(probe["embedding"]["values"], expected, atol=1e-4)


@pytest.mark.triton
def test_a_served_embedding_is_held_to_the_receipts_tolerance(embedder: Exported) -> None:
    status, told = report(embedder.out)

    assert (status, told["files"]) == (0, [])
    assert all(each["good"] for each in told["answers"])
    allowed = json.loads((embedder.out / "receipt.json").read_text())["tolerances"]
    assert [each["asked"] for each in told["embeddings"]] == [
        "served, many texts a request",
        "served, 8 texts alone",
    ]
    for each in told["embeddings"]:
        assert (each["texts"], each["good"]) == (EMBEDDED_TEXTS, True)
        assert each["tolerance"] == allowed["embedding"]
        # It is what INT8 changes, of which these texts have a good part.
        assert 0.1 * allowed["embedding"] < each["max_abs_diff"] <= allowed["embedding"]
        assert 0.9 < each["min_cosine"] < 0.99999


@pytest.mark.triton
def test_a_served_embedding_that_differs_is_told(
    embedder: Exported, tmp_path: Path
) -> None:
    """One number of one text, by twice what is allowed beyond what INT8 changes."""
    copy = tmp_path / "copy"
    shutil.copytree(embedder.out, copy)
    probe = json.loads((copy / "probe.json").read_text())
    probe["embedding"]["values"][-1][5] += 2 * probe["embedding"]["tolerance"]
    replace_probe(copy, probe)

    result = verify(copy)

    assert result.exit_code == 1
    assert "every file is as exported" in result.stdout
    scores, embeddings = result.stdout.split("Embeddings")
    assert scores.count("✓") == 3  # the files, and both ways of asking
    assert embeddings.count("drifted") == 2


def test_a_bare_graphs_embedding_is_held_too(folder: Path, tmp_path: Path) -> None:
    bare = export_tiny(folder / "bare", target="onnx", embedding=True).out

    status, told = report(bare)
    (embeddings,) = told["embeddings"]
    assert (status, embeddings["good"], embeddings["texts"]) == (0, True, EMBEDDED_TEXTS)

    probe = json.loads((bare / "probe.json").read_text())
    probe["embedding"]["values"].reverse()
    shutil.copytree(bare, tmp_path / "other")
    replace_probe(tmp_path / "other", probe)

    status, told = report(tmp_path / "other")
    (embeddings,) = told["embeddings"]
    assert (status, embeddings["good"]) == (1, False)
    assert [each["good"] for each in told["answers"]] == [True]


def test_a_graph_without_the_embedding_of_its_probe_is_told(bare_copy: Path) -> None:
    probe = json.loads((bare_copy / "probe.json").read_text())
    replace_probe(bare_copy, probe | {"embedding": {"values": [[1.0]], "tolerance": 1}})

    result = verify(bare_copy)

    assert result.exit_code == 1
    assert isinstance(result.exception, RepositoryError)
    assert "gives no embedding" in str(result.exception)
