"""``megatick export`` and ``megatick inspect``, most of it run as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import write_tiny
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_export import read_checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"
MEGATICK = Path(sys.executable).with_name("megatick")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MEGATICK), *map(str, arguments)],
        capture_output=True,
        env=os.environ | environment,
        text=True,
        check=False,
    )


def inspected(*arguments: object, **environment: str) -> str:
    """What ``megatick inspect`` prints; in this process, which has torch already."""
    words = ["inspect", *map(str, arguments)]
    told = CliRunner().invoke(app, words, env=environment, catch_exceptions=False)
    assert told.exit_code == 0, told.stderr
    return told.stdout


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("cli") / "checkpoint")


def test_export_writes_the_repository_and_prints_its_evidence(
    checkpoint: Path, tmp_path: Path
) -> None:
    out, scratch = tmp_path / "repository[v2]", tmp_path / "scratch"
    scratch.mkdir()

    done = run(
        "export", checkpoint, "--out", out, "--precision", "fp32", TMPDIR=str(scratch)
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert not (scratch / ".ses").exists(), "onnxruntime has opened a telemetry session"
    assert "openvino fp32" in done.stdout
    assert f"✓ {out}  next: megatick serve {out}\n" in done.stdout
    assert (out / "receipt.json").is_file()


def test_texts_too_few_to_show_what_a_budget_allows_are_told(
    checkpoint: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "Profit doubles\n" * 4)

    def warned(budget: float) -> bool:
        asked = [
            "export",
            checkpoint,
            "--out",
            tmp_path / str(budget),
            "--precision",
            "fp32",
        ]
        asked += ["--calibration", texts, "--flip-budget", budget]
        told = CliRunner().invoke(
            app, [str(each) for each in asked], catch_exceptions=False
        )
        assert told.exit_code == 0, told.stderr
        return "one that flips is already 25.00%" in " ".join(told.stdout.split())

    assert warned(0.2)
    assert not warned(0.25)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param([], 1, "nowhere", id="no-checkpoint"),
        pytest.param(
            ["--labels", "up,down,flat"], 2, "each of negative, neutral", id="labels"
        ),
        pytest.param(["--precision", "fp7"], 2, "'fp7' is not one of", id="precision"),
        pytest.param(
            ["--max-tokens", "0"],
            2,
            "should be greater than or equal to 1",
            id="max-tokens",
        ),
    ],
)
def test_export_explains_what_is_wrong_and_exits_with_the_documented_status(
    tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    done = run("export", tmp_path / "nowhere", "--out", tmp_path / "out", *arguments)

    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_what_is_at_out_is_told_before_the_checkpoint_is_read(tmp_path: Path) -> None:
    asked = ["export", str(tmp_path / "nowhere"), "--out", str(tmp_path)]

    told = CliRunner().invoke(app, asked)

    assert told.exit_code == 1
    assert "already exists: remove it" in str(told.exception)


def test_inspect_prints_what_the_checkpoint_is(checkpoint: Path) -> None:
    facts = json.loads(inspected(checkpoint, "--json"))

    assert facts["layout"] == "torch_dist"
    assert facts["head"] == "3 classes on the last token"
    file = checkpoint / "tokenizer.json"
    assert facts["tokenizer"] == (
        f"tokenizer.json, 256 tokens, beside the checkpoint: {file}"
    )
    assert facts["architecture"]["num_layers"] == 2
    # 256 x 64 embedding; a layer: norms 2 x 64, QKV (4 + 2 x 2) x 16 x 64, projection
    # 64 x 64, gated MLP 3 x 96 x 64; a norm of 64; a head of 3 x 64 + 3.
    layer = 2 * 64 + 8 * 16 * 64 + 64 * 64 + 3 * 96 * 64
    assert facts["parameters"] == 256 * 64 + 2 * layer + 64 + 3 * 64 + 3

    table = inspected(checkpoint)
    assert "num query groups" in table
    assert "architecture" not in table, "its fields are rows of their own"


def test_inspect_says_how_the_model_was_cut() -> None:
    checkpoint = GOLDEN / "llama_tp2_pp2_vpp2"

    facts = json.loads(inspected(checkpoint, "--json"))
    table = inspected(checkpoint, COLUMNS="80")

    assert list(facts) == [
        "layout",
        "shards",
        "step",
        "tensor_parallel",
        "pipeline_parallel",
        "virtual_stages",
        "parameters",
        "dtype",
        "dtypes",
        "files",
        "head",
        "tokenizer",
        "architecture",
    ]
    assert facts["shards"] == "2 tensor-parallel x 2 pipeline-parallel (x 2 virtual)"
    assert (facts["step"], facts["dtype"], facts["files"]) == (7, "float32", 4)
    assert facts["shards"] in table
    assert facts["architecture"]["classes"] is None
    assert re.search(r"classes +none", table)
    assert max(map(len, table.splitlines())) <= 80


def test_inspect_takes_an_architecture_where_there_are_no_args(tmp_path: Path) -> None:
    weights = dict(read_checkpoint(GOLDEN / "gpt2").weights)
    torch.save({"model": weights}, tmp_path / "model_optim_rng.pt")
    said = tmp_path / "architecture.json"
    said.write_text('{"num_attention_heads": 4, "bias_gelu_fusion": true}')

    without = run("inspect", tmp_path)
    facts = json.loads(inspected(tmp_path, "--architecture", said, "--json"))

    assert (without.returncode, without.stdout) == (1, "")
    assert "num_attention_heads, bias_gelu_fusion" in without.stderr
    assert facts["architecture"]["num_attention_heads"] == 4


def test_help_loads_neither_torch_nor_the_engine() -> None:
    code = (
        "import sys, megatick_cli.app; "
        "print(sorted({'torch', 'onnx', 'openvino', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
