"""docs/batch.md says what is so."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from batch_world import Troubled, rows_of, score_of
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_client.batches.parts import PART_ROWS, PART_S
from megatick_client.batches.settings import RESULTS, BatchSettings

PAGE = (Path(__file__).parents[3] / "docs" / "batch.md").read_text()
LINE = re.sub(r"\s+", " ", PAGE)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_the_first_example(
    endpoint: Troubled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("news.csv.gz").write_bytes(gzip.compress(b"headline\nup +\n"))

    exec(PYTHON[0].replace("127.0.0.1:8001", endpoint.address), {})

    assert rows_of(tmp_path / "scores.parquet")[0]["score"] == 0.25  # 1 / (3 + 1)


def test_the_scorer_for_spark(endpoint: Troubled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark calls what the example hands to it with arrays, as here."""
    handed: list[Callable[[], Callable[[Any], dict[str, Any]]]] = []
    functions, types = ModuleType("functions"), ModuleType("types")
    functions.predict_batch_udf = lambda make, **_: handed.append(make)  # type: ignore[attr-defined]
    for name in ("FloatType", "StringType", "StructField", "StructType"):
        setattr(types, name, lambda *_: None)
    monkeypatch.setitem(sys.modules, "pyspark.ml.functions", functions)
    monkeypatch.setitem(sys.modules, "pyspark.sql.types", types)
    exec(PYTHON[1].replace("127.0.0.1:8001", endpoint.address), {})

    scored = handed[0]()(np.array(["up +", "flat"], dtype=object))

    assert scored["label"].tolist() == ["positive", "negative"]
    assert scored["score"].tolist() == pytest.approx([score_of("up +"), 0.0])
    assert scored["score"].dtype == np.float32


def test_its_figures_are_the_code_s() -> None:
    assert f"the last {PART_ROWS} rows or {PART_S:.0f} seconds" in LINE
    assert f"`--patience-s` says ({BatchSettings.patience_s:.0f} seconds)" in LINE
    for name in RESULTS:
        assert f"`{name}`" in PAGE


def test_every_command_that_it_names_exists() -> None:
    named = set(re.findall(r"megatick batch (list|status|cancel|resume)", PAGE))

    assert named == {"list", "status", "cancel", "resume"}
    for each in named:
        assert CliRunner().invoke(app, ["batch", each, "--help"]).exit_code == 0
    told = (
        CliRunner().invoke(app, ["batch", "run", "--help"], env={"COLUMNS": "200"}).stdout
    )
    for option in set(re.findall(r"--[a-z][a-z-]+", PAGE)):
        assert option in told
