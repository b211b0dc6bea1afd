"""``megatick finetune`` on a tiny model, as a user would call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import BERT, write_tiny
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_export import read_checkpoint
from megatick_training.errors import Fp8Unavailable

VERBS = {"negative": "falls", "neutral": "meets", "positive": "gains"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("finetune") / "checkpoint")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "train.csv"
    rows = [
        f"{chr(65 + i % 26)}{chr(65 + i // 26)}{chr(65 + i * 7 % 26)} {verb},{label}"
        for i in range(60)
        for label, verb in VERBS.items()
    ]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


def command(checkpoint: Path, labelled: Path, out: Path, *options: str) -> list[str]:
    return [
        "finetune",
        str(checkpoint),
        "--train",
        str(labelled),
        "--out",
        str(out),
        "--threads",
        "1",
        *options,
    ]


def test_it_trains_judges_and_says_what_is_next(
    checkpoint: Path, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--epochs", "1", "--test-share", "0.2", "--head-words=-,0,+"]

    told = CliRunner().invoke(
        app,
        command(checkpoint, labelled, out, *options, "--tensorboard", str(tmp_path / "tb")),
        env={"COLUMNS": "160"},
    )

    assert told.exit_code == 0, told.output
    assert "held back" in told.stdout
    assert f"next: megatick export {out} --out REPOSITORY" in told.stdout
    assert "epoch 1.00: loss" in told.stderr
    assert read_checkpoint(out).architecture.classes == 3
    card = json.loads((out / "finetune.json").read_text())
    assert card["head_words"] == "-,0,+"
    assert sum(card["rows"].values()) == 180
    assert list((tmp_path / "tb").glob("events.out.tfevents*"))


def test_a_killed_run_goes_on_where_it_was(
    checkpoint: Path, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    often = ["--epochs", "20", "--evaluations", "1", "--patience", "20"]
    words = command(checkpoint, labelled, out, *often)
    process = subprocess.Popen(
        [sys.executable, "-c", "from megatick_cli import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (out / "training.state").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (out / "training.state").exists()
    assert not (out / "finetune.json").exists()

    for other in (["--epochs", "1"], [*often, "--head-words=-,0,+"]):
        refused = CliRunner().invoke(app, command(checkpoint, labelled, out, *other))

        assert refused.exit_code == 1
        assert "training.state: is of a run with another check" in str(refused.exception)

    told = CliRunner().invoke(app, words)

    assert told.exit_code == 0, told.output
    looks = (out / "looks.csv").read_text().splitlines()
    assert len(looks) == 1 + 20  # each epoch once, those before the kill as well
    assert not (out / "training.state").exists()


def test_plain_text_needs_no_labels(checkpoint: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    names = "ABCDEFGHIJKLMNOPQRST"
    lines = [f"{a}{b} sold {a}{a}{b} to {b}{a}" for a in names for b in names[:5]]
    texts.write_text("\n".join(["text", *lines]) + "\n")
    out = tmp_path / "out"
    options = ["--continue-pretraining", "--epochs", "1"]

    told = CliRunner().invoke(
        app, command(checkpoint, texts, out, *options), env={"COLUMNS": "160"}
    )

    assert told.exit_code == 0, told.output
    assert "perplexity" in told.stderr
    assert json.loads((out / "finetune.json").read_text())["judged"] == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "fp4"], "expected auto, fp32, bf16 or fp8, found fp4"),
        (["--learning-rate", "0"], "--learning-rate: Input should be greater than 0"),
        (["--dev-share", "1.5"], "--dev-share"),
    ],
)
def test_bad_usage_is_told(
    checkpoint: Path, labelled: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    told = CliRunner().invoke(
        app,
        command(checkpoint, labelled, tmp_path / "out", *options),
        env={"COLUMNS": "200"},
    )

    assert told.exit_code == 2
    assert said in told.stderr
    assert not (tmp_path / "out").exists()


def test_fp8_without_a_gpu_is_refused_by_name(
    checkpoint: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    told = CliRunner().invoke(
        app, command(checkpoint, labelled, tmp_path / "out", "--precision", "fp8")
    )

    assert told.exit_code == 1
    assert isinstance(told.exception, Fp8Unavailable)
    assert "compute capability 8.9 or more" in str(told.exception)
    assert not (tmp_path / "out").exists()


def test_a_bert_does_not_read_from_left_to_right(labelled: Path, tmp_path: Path) -> None:
    bert = write_tiny(tmp_path / "bert", BERT)

    told = CliRunner().invoke(
        app,
        command(bert, labelled, tmp_path / "out", "--continue-pretraining"),
        env={"COLUMNS": "200"},
    )

    assert told.exit_code == 2
    assert "expected a GPT, found a BERT" in told.stderr
