"""docs/data.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_training.cleaning import CleaningOptions, steps_of
from megatick_training.cleaning.repeats import MIN_SHARE, MIN_TEXTS
from megatick_training.cleaning.stop_words import drop_stop_words
from megatick_training.collecting.articles import ARTICLES
from megatick_training.collecting.fetching import MAX_BYTES
from megatick_training.near_duplicates import LEAKING_RESEMBLANCE, RESEMBLANCE

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
COMMANDS = (
    ["collect", "rss"],
    ["collect", "edgar"],
    ["clean"],
    ["finetune"],
    ["fit-forecaster"],
    ["evaluate"],
)
LINE = re.sub(r"\s+", " ", PAGE)


def test_every_option_that_it_names_exists() -> None:
    told = "".join(
        CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout
        for command in COMMANDS
    )

    for option in set(re.findall(r"--[a-z][a-z-]+", PAGE)):
        assert option in told


def test_its_names_and_figures_are_the_code_s() -> None:
    for name in ARTICLES.names:
        assert f"`{name}`" in PAGE
    for step in steps_of(CleaningOptions()):
        assert f"| {step.name} |" in PAGE
    assert f"in at least {MIN_TEXTS} texts and {MIN_SHARE:.0%}".replace("%", " %") in LINE
    assert f"of resemblance {RESEMBLANCE} or more" in LINE
    assert f"resembles by {LEAKING_RESEMBLANCE} or more" in LINE
    assert f"An answer may have {MAX_BYTES >> 20} MiB" in LINE
    listed = re.search(r"The usual list holds (.*?);", LINE)
    assert listed is not None
    assert set(re.findall(r"\*(\w+)\*", listed[1])) <= ENGLISH_STOP_WORDS
    assert "不 and 下 among them" in LINE
    assert drop_stop_words("不") == drop_stop_words("下") == ""
    ((before, after),) = re.findall(r"`([^`]+)` becomes `([^`]+)`\. That list", LINE)
    assert drop_stop_words(before) == after


def test_its_splits_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    words = [f"{chr(97 + n)}{chr(110 - n % 13)}" * 9 for n in range(26)]
    rows = [f"{word},neutral,2026-01-{1 + n:02}T00:00Z" for n, word in enumerate(words)]
    (tmp_path / "labelled.csv").write_text("\n".join(["text,label,published_at", *rows]))
    monkeypatch.chdir(tmp_path)

    told: dict[str, Any] = {}
    exec(example, told)

    # The last 4 of 26 days are judged, 4 are in the embargo before them; of the 18 that are
    # left, 4 are dev's and 4 in its embargo.
    held = told["held"]
    assert (len(held.train), len(held.dev), len(held.test)) == (10, 4, 4)
    assert held.left_out == 8
