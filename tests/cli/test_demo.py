"""The whole journey on the default model, as ``make demo`` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MEGATICK = Path(sys.executable).with_name("megatick")


def processes_naming(folder: Path) -> list[str]:
    """Processes whose command line names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it ended while we looked
        if os.fsencode(folder) in command and process.name != str(os.getpid()):
            found.append(process.name)
    return found


def test_what_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "checkpoint" / "mine.pt"
    mine.parent.mkdir()
    mine.write_bytes(b"weights")

    done = subprocess.run(
        [str(MEGATICK), "demo", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "the demo did not make" in done.stderr
    assert mine.read_bytes() == b"weights"


@pytest.mark.triton
def test_the_demo_answers_and_leaves_no_server(tmp_path: Path) -> None:
    out, scratch = tmp_path / "demo", tmp_path / "scratch"
    scratch.mkdir()  # the server's processes run from a private folder in here

    done = subprocess.run(
        [str(MEGATICK), "demo", "--out", str(out), "--precision", "fp32"],
        capture_output=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads((out / "result.json").read_text())
    answers = result["answers"]
    assert len(answers) == 12
    labels = {answer["symbol"]: answer["label"] for answer in answers}
    # Three that no reader would dispute.
    assert labels["HD"] == "negative"
    assert labels["BBY"] == "positive"
    assert labels["XOM"] == "neutral"
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert [horizon["bars"] for horizon in answer["horizons"]] == [1, 5, 20]
        assert [horizon["edge"] for horizon in answer["horizons"]] == [False, False, True]
        # What is in the file is what the table shows.
        assert f"{answer['score']:+.2f}" in done.stdout
    assert f"Next: megatick serve {out / 'repository'}\n" in done.stdout
    receipt = json.loads(Path(result["receipt"]).read_text())
    assert receipt["checkpoint"]["parameters"] == 134_515_008 + 3 * 576 + 3
    assert "beat the random walk at 20 days" in done.stdout
    page = (out / "brief.html").read_text()
    assert "20 symbols and 12 texts, as of 2022-11-28 21:00:00 UTC" in page
    assert (
        "Of 250 bars, the last begun at the close of 2022-11-" in page
    )  # its risk was tested
    assert f"--prices={out / 'prices.csv'}" in page
    assert processes_naming(scratch) == []
    assert not list(scratch.glob("megatick-*"))
