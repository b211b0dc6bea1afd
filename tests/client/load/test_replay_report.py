"""The files of a report: their figures are the result's, and the page stands alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from html_page import Page

from megatick_client.load import (
    AnswerCounts,
    Records,
    ReplayOptions,
    ReplayResult,
    Tolerance,
)
from megatick_client.load.page import figure
from megatick_client.load.replay_report import write_replay

# 40 calls in 4 s, each answered after 20 ms, but those due in the third second after
# 120 ms, of which 100 ms are the sender's.
DUE_S = np.arange(40) / 10
LATE_S = np.where((DUE_S >= 2) & (DUE_S < 3), 0.1, 0.0)


def result_of(*, answered: bool = True) -> ReplayResult:
    records = Records(
        DUE_S,
        DUE_S + LATE_S,
        DUE_S + LATE_S + 0.02,
        np.full(40, 0 if answered else 1, dtype=np.int16),
        ("answered", "ServerError"),
    )
    return ReplayResult(
        "host:1",
        "sentiment",
        "a <b>& tape",
        4.0,
        1,
        1_700_000_000.0,
        ReplayOptions(slo_s=0.05),
        records,
        AnswerCounts(40, 40, 0, {}, 0.0),
        Tolerance(0.125, "stated by the server"),
        {} if answered else {"ServerError": "it said <script>"},
        3,
    )


def test_the_files(tmp_path: Path) -> None:
    files = write_replay(result_of(), tmp_path / "new" / "folder")

    assert [file.name for file in files] == [
        "replay.json",
        "intervals.csv",
        "from_intended_start.hlog",
        "from_actual_send.hlog",
        "replay.html",
    ]
    assert json.loads(files[0].read_text())["goodput_per_s"] == 7.5  # 30 in 4 s
    table = pd.read_csv(files[1])
    assert table["due"].tolist() == [10, 10, 10, 10]
    assert table["good"].tolist() == [10, 10, 0, 10]
    assert table["from_due_p99_ms"].tolist() == pytest.approx([20, 20, 120, 20])
    assert table["from_send_p99_ms"].tolist() == pytest.approx([20] * 4)
    lines = [log.read_text().splitlines()[5:] for log in files[2:4]]
    assert [len(each) for each in lines] == [4, 4], "a histogram a second"


def test_the_page_stands_alone_and_sets_both_definitions_side_by_side(
    tmp_path: Path,
) -> None:
    page = write_replay(result_of(), tmp_path)[-1].read_text()

    read = Page(page)
    rows = {row[0]: row[1:] for row in read.rows if row}
    assert read.fetched == []
    assert "a &lt;b&gt;&amp; tape" in page
    assert rows["from the intended start"] == [
        *("40", "45.0", "20.0", "120", "120", "120", "120")
    ]
    assert rows["from the actual send"][-1] == "20.0"
    assert rows["send lag"][-1] == "100"
    assert rows["priority"] == ["the server's default"]
    assert rows["score tolerance"] == ["0.125 (stated by the server)"]
    assert "largest |Δ score| 0.0e+00, allowed 0.125 (stated by the server)" in page
    assert "goodput 7.50 calls/s" in page
    assert "the sender fell behind" in page


def test_plots_are_well_formed_and_alike_each_time(tmp_path: Path) -> None:
    first, second = (
        write_replay(result_of(), tmp_path / name)[-1].read_text() for name in "ab"
    )

    plots = re.findall(r"<svg.*?</svg>", first, re.S)
    assert len(plots) == 3
    for plot in plots:
        ElementTree.fromstring(plot)
    assert "from the intended start" in plots[0]
    assert first == second


def test_a_run_without_answers_has_no_plots(tmp_path: Path) -> None:
    page = write_replay(result_of(answered=False), tmp_path)[-1].read_text()

    assert "<svg" not in page
    assert "it said &lt;script&gt;" in page
    assert Page(page).fetched == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.126, "0.13"), (9.0, "9.00"), (12.34, "12.3"), (1234.5, "1,234"), (np.nan, "–")],
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert figure(value) == shown
