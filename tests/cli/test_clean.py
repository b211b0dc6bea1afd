from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from megatick_cli.app import app


def test_clean(tmp_path: Path) -> None:
    source, out = tmp_path / "raw.csv", tmp_path / "clean.parquet"
    source.write_text("text\nup &amp; away\nup & away\n")

    told = CliRunner().invoke(app, ["clean", str(source), "--out", str(out)])

    assert told.exit_code == 0
    assert "1 of 2 rows" in told.stdout
    assert out.exists()


def test_clean_in_json(tmp_path: Path) -> None:
    source, out = tmp_path / "raw.csv", tmp_path / "clean.jsonl"
    source.write_text("title\nnot up [$acme]\n")

    told = CliRunner().invoke(
        app,
        [
            *("clean", str(source), "--out", str(out), "--column", "title", "--json"),
            *("--drop-stop-words", "--original", "--cashtags", "bare"),
        ],
    )

    assert json.loads(told.stdout)["kept"] == 1
    row = json.loads(out.read_text())
    assert row == {"title": "[ACME]", "source_row": 0, "original": "not up [$acme]"}
