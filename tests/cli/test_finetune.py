"""``megatick finetune`` on a tiny model, as a user would call it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from missing import megatick_without
from tiny import BERT, LLAMA, write_tiny
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
    out = tmp_path / "out[v2]"  # rich takes such a name for markup
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


def test_a_head_of_other_classes_is_not_replaced_in_silence(
    labelled: Path, tmp_path: Path
) -> None:
    stars = write_tiny(tmp_path / "stars", replace(LLAMA, classes=5))

    told = CliRunner().invoke(
        app, command(stars, labelled, tmp_path / "out", "--epochs", "1")
    )

    assert told.exit_code == 0, told.output
    assert (
        f"warning: {stars}/iter_0000000: its classification head of 5 rows is left out, "
        "expected one of 3: negative, neutral, positive.  Training begins with a new head"
    ) in told.stderr
    assert read_checkpoint(tmp_path / "out").architecture.classes == 3


def test_a_class_that_no_text_shows_is_told(checkpoint: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    rows = [f"{a}{b} gains,positive" for a in "ABCDE" for b in "VWXYZ"]
    texts.write_text("\n".join(["text,label", *rows]) + "\n")

    told = CliRunner().invoke(
        app, command(checkpoint, texts, tmp_path / "out", "--epochs", "1")
    )

    assert told.exit_code == 0, told.output
    assert "warning: no text to train on is negative or neutral" in told.stderr


def test_it_needs_neither_the_cpu_s_engine_nor_a_client(
    checkpoint: Path, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--epochs", "1", "--test-share", "0.2", "--precision", "fp32"]

    done = megatick_without(
        ("openvino", "tritonclient", "grpc"), *command(checkpoint, labelled, out, *options)
    )

    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert read_checkpoint(out).architecture.classes == 3


def test_a_missing_package_is_named(
    checkpoint: Path, labelled: Path, tmp_path: Path
) -> None:
    done = megatick_without(["openvino"], *command(checkpoint, labelled, tmp_path / "out"))

    assert done.returncode == 1
    assert "error: this command needs package 'openvino', which is not" in done.stderr


KILLED_ONCE_IT_IS_KEPT = """
import os, signal
from megatick_cli import main
from megatick_training.finetuning.trainer import Trainer

write = Trainer._write

def write_and_die(trainer):
    write(trainer)
    os.kill(os.getpid(), signal.SIGKILL)

Trainer._write = write_and_die
main()
"""


def test_a_killed_run_goes_on_where_it_was(
    checkpoint: Path, labelled: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    often = ["--epochs", "20", "--evaluations", "1", "--patience", "20"]
    words = command(checkpoint, labelled, out, *often)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_ONCE_IT_IS_KEPT, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
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


def test_files_of_one_name_are_judged_each(
    checkpoint: Path, labelled: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name / "test.csv" for name in ("one", "other")]
    for rows, file in enumerate(files, start=1):
        file.parent.mkdir()
        file.write_text("text,label\n" + "Zyx falls,negative\n" * rows)
    out = tmp_path / "out"
    tests = [word for file in files for word in ("--test", str(file))]

    told = CliRunner().invoke(
        app, command(checkpoint, labelled, out, "--epochs", "1", *tests)
    )

    assert told.exit_code == 0, told.output
    card = json.loads((out / "finetune.json").read_text())
    for rows, file in enumerate(files, start=1):
        assert card["rows"][str(file)] == card["judged"][str(file)]["texts"] == rows
        assert f"judged texts: {file}" in card["data"]


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        # One text an hour: an embargo of three hours, before dev and before what is judged.
        pytest.param(["--split-by", "time", "--embargo-days", "0.125"], 6, id="time"),
        pytest.param(["--split-by", "symbol"], 0, id="symbol"),
    ],
)
def test_what_is_held_back_can_be_the_latest_or_some_symbols(
    checkpoint: Path, tmp_path: Path, options: list[str], left_out: int
) -> None:
    train = tmp_path / "train.jsonl"
    letters = np.random.default_rng(0).integers(ord("a"), ord("z") + 1, (180, 24))
    rows = [
        {
            "text": f"{''.join(map(chr, name))} {verb}",
            "label": label,
            "published_at": f"2026-01-{1 + i // 24:02}T{i % 24:02}:00:00Z",
            "symbol": [f"S{i % 20}"],
        }
        for i, (name, (label, verb)) in enumerate(
            zip(letters, [*VERBS.items()] * 60, strict=True)
        )
    ]
    train.write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    shares = ["--epochs", "1", "--test-share", "0.25", "--dev-share", "0.2"]

    told = CliRunner().invoke(app, command(checkpoint, train, out, *shares, *options))

    assert told.exit_code == 0, told.output
    card = json.loads((out / "finetune.json").read_text())
    assert card["split_by"] == options[1]
    assert card["left_out"] == left_out
    assert card["rows"]["held back"] == 45
    assert sum(card["rows"].values()) + left_out == 180
    assert card["repeating_train"]["held back"] == 0


@pytest.mark.parametrize(("by", "column"), [("time", "published_at"), ("symbol", "symbol")])
def test_a_split_by_what_the_texts_lack_is_refused(
    checkpoint: Path, labelled: Path, tmp_path: Path, by: str, column: str
) -> None:
    told = CliRunner().invoke(
        app, command(checkpoint, labelled, tmp_path / "out", "--split-by", by)
    )

    assert told.exit_code == 1
    assert f"expected a column {column!r} beside the texts" in str(told.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "fp4"], "expected auto, fp32, bf16 or fp8, found fp4"),
        (["--learning-rate", "0"], "--learning-rate: Input should be greater than 0"),
        (["--dev-share", "1.5"], "--dev-share"),
        (["--embargo-days", "1"], "--embargo-days goes with --split-by time"),
        (
            ["--continue-pretraining", "--test-share", "0.1"],
            "leave --test and --test-share",
        ),
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
