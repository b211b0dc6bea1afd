from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from exported import Exported
from html_page import Page
from served import Served
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_contract import MegatickError

ROWS = {
    "negative": "The company reported a loss and bankruptcy",
    "neutral": "The meeting takes place on Tuesday",
    "positive": "An excellent achievement, profitability improved",
}


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    lines = [
        f'{split},{label},"{text}, row {row}"'
        for split in ("train", "dev")
        for row in range(6)
        for label, text in ROWS.items()
    ]
    path = tmp_path / "texts.csv"
    path.write_text("split,label,text\n" + "\n".join(lines) + "\n")
    return path


def test_baselines_are_judged_without_a_server(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    asked = [str(labelled), "--split=dev", f"--train={labelled}", "--train-split=train"]

    result = CliRunner().invoke(
        app,
        ["evaluate-sentiment", *asked, f"--out={out}", "--json"],
        catch_exceptions=False,
    )

    judged = json.loads(result.stdout)
    assert list(judged) == ["Loughran-McDonald", "VADER", "TF-IDF, logistic regression"]
    assert {each["texts"] for each in judged.values()} == {18}
    assert judged["Loughran-McDonald"]["confusion"] == [[6, 0, 0], [0, 6, 0], [0, 0, 6]]
    assert judged["VADER"]["calibration_error"] is None
    page = Page(out.read_text())
    assert ["positive", "0", "0", "6"] in page.rows
    assert page.rows[-1][0] == "trained on"


def test_texts_that_were_fitted_on_are_told(tmp_path: Path) -> None:
    names = ("qwertz", "asdfgh", "yxcvbn", "poiuzt", "lkjhgf")
    known = [f'"{name} {text}",{label}' for label, text in ROWS.items() for name in names]
    unlike = "Oil climbs while the tankers wait,positive"
    train, judged = tmp_path / "train.csv", tmp_path / "judged.csv"
    train.write_text("\n".join(["text,label", *known]))
    asked = ["evaluate-sentiment", str(judged), f"--train={train}"]
    out = tmp_path / "out.html"

    judged.write_text("\n".join(["text,label", unlike, *known[:2]]))
    some = CliRunner().invoke(app, [*asked, f"--out={out}"], env={"COLUMNS": "160"})
    judged.write_text("\n".join(["text,label", unlike]))
    none = CliRunner().invoke(app, asked)

    told = "2 of the 3 judged texts resemble one that TF-IDF was fitted on by 0.6 or more"
    assert told in some.stderr.replace("\n", " ")
    assert told in out.read_text()
    assert none.exit_code == 0, none.output
    assert "warning" not in none.stderr


def test_a_report_without_a_folder_is_refused_first(labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "none" / "out.html"

    told = CliRunner().invoke(app, ["evaluate-sentiment", str(labelled), f"--out={out}"])

    assert told.exit_code == 2
    assert "there is no folder" in told.stderr


@pytest.mark.triton
@pytest.mark.parametrize("how", ["url", "repository"])
def test_a_served_model_is_judged_by_what_it_says(
    labelled: Path, exported: Exported, served: Served, tmp_path: Path, how: str
) -> None:
    if how == "url":
        asked = f"--address={served.server.endpoints.grpc}"
    else:
        shutil.copytree(exported.out, tmp_path / "repository")
        asked = f"--repository={tmp_path / 'repository'}"

    result = CliRunner().invoke(
        app,
        ["evaluate-sentiment", str(labelled), "--split=dev", asked, "--json"],
        catch_exceptions=False,
    )

    judged = json.loads(result.stdout)
    assert list(judged) == ["the served model", "Loughran-McDonald", "VADER"]
    expected = np.zeros((3, 3), int)
    for row in range(6):
        for true, text in enumerate(ROWS.values()):
            expected[true, served.probabilities(f"{text}, row {row}").argmax()] += 1
    assert judged["the served model"]["confusion"] == expected.tolist()
    assert judged["the served model"]["accuracy"]["value"] == expected.trace() / 18


def test_a_server_that_is_not_there_is_named(labelled: Path) -> None:
    result = CliRunner().invoke(
        app, ["evaluate-sentiment", str(labelled), "--address=127.0.0.1:1"]
    )

    assert result.exit_code == 1
    assert isinstance(result.exception, MegatickError)
    assert "127.0.0.1:1" in str(result.exception)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--address=h:1", "--repository=r"], "not both"),
        (["--train-split=train"], "goes with --train"),
    ],
)
def test_what_does_not_go_together_is_bad_usage(
    labelled: Path, more: list[str], problem: str
) -> None:
    result = CliRunner().invoke(app, ["evaluate-sentiment", str(labelled), *more])

    assert result.exit_code == 2
    assert problem in result.stderr
