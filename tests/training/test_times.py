from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import TimeError
from megatick_training.times import utc_times


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param("2026-03-02T14:30:00Z", "2026-03-02T14:30:00+00:00", id="z"),
        pytest.param("2026-03-02 22:30+08:00", "2026-03-02T14:30:00+00:00", id="shanghai"),
        pytest.param(
            datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=-5))),
            "2026-03-02T14:30:00+00:00",
            id="datetime",
        ),
        pytest.param(
            pd.Timestamp("2026-07-01 09:30", tz="America/New_York"),
            "2026-07-01T13:30:00+00:00",
            id="summer-time",
        ),
    ],
)
def test_times_become_utc(given: object, expected: str) -> None:
    assert utc_times([given], what="at")[0].isoformat() == expected


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param("2026-03-02T14:30:00", "expected a zone", id="naive-text"),
        pytest.param(datetime(2026, 3, 2), "expected a zone", id="naive-datetime"),
        pytest.param("2026-03-02", "expected a zone", id="a-date-is-no-moment"),
        pytest.param("soon", "expected a time", id="no-time"),
        pytest.param("", "expected a time", id="empty"),
        pytest.param(None, "expected a time", id="absent"),
        pytest.param(pd.NaT, "expected a time", id="nat"),
        pytest.param(float("nan"), "expected a time", id="nan"),
        pytest.param(np.int64(20260302), "expected a time", id="number"),
        pytest.param("9999-12-31T00:00:00Z", "expected a time", id="beyond-nanoseconds"),
    ],
)
def test_what_is_no_moment_is_refused(given: object, problem: str) -> None:
    with pytest.raises(TimeError, match=problem) as caught:
        utc_times(["2026-03-02T14:30:00Z", given], what="published_at")

    assert "published_at, row 1" in str(caught.value)


@pytest.mark.parametrize(
    "given",
    ["2026-03-02", "2026-03-02 00:00:00", date(2026, 3, 2), pd.Timestamp("2026-03-02")],
    ids=["date", "midnight", "a-date", "as-pandas-has-it"],
)
def test_a_date_alone_is_its_midnight_where_dates_will_do(given: object) -> None:
    times = utc_times([given, "2026-03-02T09:30-05:00"], what="date", dates=True)

    assert [each.isoformat() for each in times] == [
        "2026-03-02T00:00:00+00:00",
        "2026-03-02T14:30:00+00:00",
    ]


def test_a_time_of_day_needs_its_zone_where_dates_will_do() -> None:
    with pytest.raises(TimeError, match="date, row 1: expected a zone"):
        utc_times(["2026-03-02", "2026-03-02 09:30"], what="date", dates=True)
    with pytest.raises(TimeError, match="date, row 0: expected a date or a time"):
        utc_times([""], what="date", dates=True)
