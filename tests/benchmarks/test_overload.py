"""The capacity that an overload is held against, from runs that a reader can redo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from overload import cpus_of, sustained
from page import page
from record import RESULTS

from megatick_client.load import (
    AnswerCounts,
    Records,
    ReplayOptions,
    ReplayResult,
    Tolerance,
)


def saturated(done_s: list[float], *, answered: int) -> ReplayResult:
    """Ten seconds of two calls a second; the first ``answered`` were, the rest refused."""
    due_s = np.arange(20) / 2
    outcomes = np.array([0] * answered + [1] * (20 - answered), np.int16)
    records = Records(due_s, due_s, np.array(done_s), outcomes, ("answered", "Overloaded"))
    counts = AnswerCounts(answered, 0, 0, {}, 0.0)
    options = ReplayOptions()
    return ReplayResult(
        "host:1",
        "sentiment",
        "constant",
        10.0,
        1,
        0.0,
        options,
        records,
        counts,
        Tolerance(1.0, "given"),
        {},
        20,
    )


def test_answers_are_counted_between_settling_and_the_last_due_call() -> None:
    """One answer a second: those of 4 to 10 s count, seven in the 7 s from 3 to 10."""
    done_s = [float(second) for second in range(1, 21)]

    assert sustained(saturated(done_s, answered=20)) == 1


def test_a_refusal_is_no_answer() -> None:
    """All is done in time, but only the first six calls, of which three after 3 s."""
    done_s = [float(second) for second in range(1, 7)] + [6.0] * 14

    assert sustained(saturated(done_s, answered=6)) == pytest.approx(3 / 7)


def test_a_server_that_keeps_up_shows_no_capacity() -> None:
    done_s = [due + 0.1 for due in (np.arange(20) / 2).tolist()]

    with pytest.raises(SystemExit, match=r"found 2\.0 a second of 2\.0"):
        sustained(saturated(done_s, answered=20))


def test_the_page_tells_both_capacities() -> None:
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    results["overload"] |= {"capacity_before_per_s": 40.0, "capacity_after_per_s": 60.0}

    written = page(results)

    assert "| capacity before and after | 40.0 and 60.0 texts/s |" in written
    assert "The capacity is the mean of what was measured before and after" in written


def test_cpus_are_told_apart() -> None:
    """This process is load generator and server here, and its child, which uses 0.2 s once
    it is told to, is the step."""
    burn = (
        "import time\ninput()\nend = time.process_time() + 0.2\n"
        "while time.process_time() < end: pass\nprint('done', flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"begin\n")
        began_s = time.monotonic()
        with cpus_of(os.getpid()) as cpus:
            child.stdin.flush()
            child.stdout.readline()
        took_s = time.monotonic() - began_s
        child.communicate(b"end\n")

    assert cpus["steps"] * took_s == pytest.approx(0.2, abs=0.1)
    assert cpus["load generator"] == cpus["Triton"] < cpus["steps"]
