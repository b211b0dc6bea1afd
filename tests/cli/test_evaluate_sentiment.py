from __future__ import annotations

import json
from pathlib import Path

import pytest
from html_page import Page
from typer.testing import CliRunner

from megatick_cli.app import app

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


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--url=h:1", "--repository=r"], "not both"),
        (["--train-split=train"], "goes with --train"),
    ],
)
def test_what_does_not_go_together_is_bad_usage(
    labelled: Path, more: list[str], problem: str
) -> None:
    result = CliRunner().invoke(app, ["evaluate-sentiment", str(labelled), *more])

    assert result.exit_code == 2
    assert problem in result.stderr
