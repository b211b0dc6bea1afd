"""A report: whole, readable, of the data it names, and text where others wrote it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from full_disk import files_of_at_most
from html_page import Page
from matplotlib.figure import Figure

from megatick_training.reports import Section, write_report


@pytest.fixture
def page(tmp_path: Path) -> str:
    data = tmp_path / "prices <1>.csv"
    data.write_bytes(b"date,A\n")
    figure = Figure(figsize=(4, 2))
    figure.add_subplot(xlabel="a < b").plot([0, 1], [1, 0])
    table = pd.DataFrame(
        {"name": ["<b>x</b>", "y"], "share": [0.123456, np.nan], "n": [1234567, 2]}
    )
    write_report(
        tmp_path / "report.html",
        title="A & B",
        command=("megatick", "evaluate", "a b.csv"),
        data={"prices": data},
        sections=(
            Section("First", "One.\n\nTwo <i>.", table=table),
            Section("Second", figure=figure),
        ),
    )
    return (tmp_path / "report.html").read_text("utf-8")


def test_a_disk_that_fills_leaves_the_page_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("of yesterday")

    with pytest.raises(OSError, match="too large"), files_of_at_most(500):
        write_report(path, title="", command=(), data={}, sections=())

    assert [each.read_text() for each in tmp_path.iterdir()] == ["of yesterday"]


def test_its_tables_are_the_frames(page: str) -> None:
    assert Page(page).rows[:3] == [
        ["name", "share", "n"],
        ["<b>x</b>", "0.1235", "1,234,567"],
        ["y", "–", "2"],
    ]
    assert page.count('<td class="n">') == 4  # of two rows, the two columns of numbers


def test_it_names_its_command_and_the_hash_of_its_data(page: str) -> None:
    row = Page(page).rows[-1]

    assert "megatick evaluate &#39;a b.csv&#39;" in page
    assert row[0] == "prices"
    assert row[1].endswith("prices <1>.csv")
    assert row[2] == hashlib.sha256(b"date,A\n").hexdigest()


def test_it_loads_nothing_and_escapes_all_but_its_own_figures(page: str) -> None:
    assert Page(page).fetched == []
    assert "<p>One.</p>\n<p>Two &lt;i&gt;.</p>" in page
    assert page.count("<svg") == 1
    assert "a &lt; b" in page  # within the figure, as text
    assert "<?xml" not in page
    assert "<title>Megatick: A &amp; B</title>" in page
