"""``megatick build-engine``, run as a user runs it on a machine without a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from missing import megatick_without
from tiny import GPT2, byte_tokenizer, random_weights

from megatick_export import Network
from megatick_export.engine import BatchLimits, bound_batches
from megatick_export.packed import PackedClassifier
from megatick_export.precision.lowering import lowered
from megatick_export.repository import templates
from megatick_export.to_onnx import write_onnx

MEGATICK = Path(sys.executable).with_name("megatick")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MEGATICK), "build-engine", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "repository"
    shutil.copytree(templates() / "tensorrt", folder)
    (folder / "preprocess/1/settings.json").write_text('{"max_tokens": 96}')
    byte_tokenizer().save(str(folder / "preprocess/1/tokenizer.json"))
    bound_batches(folder, BatchLimits(max_tokens=96))
    network = Network(GPT2)
    network.load_state_dict(random_weights(GPT2))
    half = lowered(network, torch.float16)
    write_onnx(PackedClassifier(half), folder / "language_model/1/model.onnx")
    return folder


def test_a_check_says_what_was_compiled_and_that_nothing_ran(repository: Path) -> None:
    done = run(repository, "--check-only", "sm89")

    assert (done.returncode, done.stderr) == (0, "")
    assert "SM89" in done.stdout
    assert "2 of 2 (2 FP16)" in done.stdout
    assert "warning" not in done.stdout
    assert "8 FP16, 1 FP32" in done.stdout
    assert "Compiled, not run, not kept" in done.stdout
    assert not list(repository.rglob("*.plan"))


def test_a_check_as_json_needs_neither_the_cpu_s_engine_nor_a_client(
    repository: Path, tmp_path: Path
) -> None:
    lengths = tmp_path / "lengths"
    lengths.write_text("20\n25\n")
    options = ("--check-only", "SM120", "--lengths", lengths, "--json")

    done = megatick_without(
        ("openvino", "tritonclient", "grpc"), "build-engine", repository, *options
    )

    assert (done.returncode, done.stderr) == (0, "")
    (check,) = json.loads(done.stdout)
    assert check["target"] == "SM120"
    assert set(check["layers"]["linears"].values()) == {"FP16", "FP32"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_names_what_is_missing_and_the_way_round_it(
    repository: Path,
) -> None:
    done = run(repository)

    assert done.returncode == 1
    assert "NVIDIA driver" in done.stderr
    assert "--check-only SM89,SM120" in done.stderr
    assert "Traceback" not in done.stderr


def test_lengths_that_are_no_numbers_are_bad_usage(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "lengths").write_text("20\nmany\n")

    done = run(repository, "--lengths", tmp_path / "lengths")

    assert done.returncode == 2
    assert "expected one whole number a line" in done.stderr
