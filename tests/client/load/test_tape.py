"""Recorded times, whatever they are written as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_client.load import InputError, ScheduleError, read_tape

STAMPS = (
    "2015-03-02T14:30:00.000001Z",
    "2015-03-02T14:30:00.250001Z",
    "2015-03-02T15:30:01.000001+01:00",  # a second after the first
)
GAPS_S = [0, 0.25, 1]


def written(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param(
            "t.csv", "time,text\n" + "".join(f"{t},x\n" for t in STAMPS), id="csv"
        ),
        pytest.param(
            "t.jsonl", "".join(f'{{"time": "{t}"}}\n' for t in STAMPS), id="jsonl"
        ),
        pytest.param("t.csv", "time\n7.5\n7.75\n8.5\n", id="seconds"),
        pytest.param(
            "t.csv", "time\n1425306600\n1425306600.25\n1425306601\n", id="epoch-seconds"
        ),
        pytest.param("t.jsonl", '{"time": 3}\n{"time": 3.25}\n{"time": 4}\n', id="json"),
    ],
)
def test_a_call_is_due_when_its_row_was(tmp_path: Path, name: str, content: str) -> None:
    plan = read_tape(written(tmp_path / name, content))

    np.testing.assert_allclose(plan.starts_s, GAPS_S, atol=1e-9)
    assert plan.duration_s == pytest.approx(1.5)  # 1 s and a mean gap of half a second
    assert plan.rate_per_s == pytest.approx(2)


def test_parquet_keeps_its_own_time_stamps(tmp_path: Path) -> None:
    stamps = pd.to_datetime(list(STAMPS), utc=True, format="ISO8601")
    pd.DataFrame({"at": stamps}).to_parquet(tmp_path / "t.parquet")

    plan = read_tape(tmp_path / "t.parquet", time_column="at")

    np.testing.assert_allclose(plan.starts_s, GAPS_S, atol=1e-9)


def test_ten_times_as_fast(tmp_path: Path) -> None:
    plan = read_tape(written(tmp_path / "t.csv", "time\n0\n5\n20\n"), speed=10)

    assert plan.starts_s.tolist() == [0, 0.5, 2]
    assert "10 times" in plan.name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            "time\n1\n3\n2\n", "row 2 .* before its predecessor: 2 after 3", id="unsorted"
        ),
        pytest.param("time\n1\n1\n", "different times, found 2 at one", id="all-at-once"),
        pytest.param(
            "time\nnoon\nlater\n",
            r"'time' holds no times \([^\n]*noon[^\n]*\): expected numbers of seconds",
            id="words",
        ),
        pytest.param("time\n1425306600000\n1425306600250\n", "expected seconds", id="ms"),
        pytest.param("time,a\n1,a\n,b\n3,c\n", "row 1 .* expected a time", id="gap"),
        pytest.param("at\n1\n2\n", "column 'time', found 'at'", id="no-such-column"),
        pytest.param("time\n", "at least one row", id="empty"),
    ],
)
def test_what_is_no_tape_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_tape(written(tmp_path / "t.csv", content))


def test_a_speed_must_move(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match="speed"):
        read_tape(written(tmp_path / "t.csv", "time\n1\n2\n"), speed=-1)
