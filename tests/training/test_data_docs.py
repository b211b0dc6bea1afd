"""docs/data.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_training.cleaning import CleaningOptions, steps_of
from megatick_training.cleaning.repeats import MIN_SHARE, MIN_TEXTS
from megatick_training.collecting.articles import ARTICLES
from megatick_training.collecting.fetching import MAX_BYTES
from megatick_training.near_duplicates import LEAKING_RESEMBLANCE, RESEMBLANCE

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
LINE = re.sub(r"\s+", " ", PAGE)


def test_every_option_that_it_names_exists() -> None:
    told = "".join(
        CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout
        for command in (["collect", "rss"], ["collect", "edgar"], ["clean"])
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


def test_its_splits_run() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    days = [f"2025-12-{day:02}T00:00Z" for day in range(1, 11)]
    days += ["2026-01-05T00:00Z"] * 10 + ["2026-02-05T00:00Z"] * 10
    words = [f"{chr(97 + n)}{chr(110 - n % 13)}" * 9 for n in range(26)]

    exec(
        example,
        {
            "texts": [*words, "zwxy" * 5, "kvjq" * 5, "bfgh" * 5, "prtz" * 5],
            "symbols": [f"S{n}" for n in range(30)],
            "published_at": days,
        },
    )
