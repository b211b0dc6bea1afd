"""Dates as feeds write them; each expectation is the zone's offset taken off by hand."""

from __future__ import annotations

import pytest

from megatick_training.collecting.feed_dates import read_date


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("Mon, 02 Mar 2026 09:30:00 -0500", "2026-03-02T14:30:00+00:00"),
        ("Mon, 02 Mar 26 09:30:00 EST", "2026-03-02T14:30:00+00:00"),
        ("mon, 02 mar 2026 09:30 pdt", "2026-03-02T16:30:00+00:00"),
        ("2 March 2026 09:30:00.123 GMT+0800", "2026-03-02T01:30:00+00:00"),
        ("Mon, 02-Mar-2026 09:30:00 +05:30", "2026-03-02T04:00:00+00:00"),
        ("Mon, 02 Mar 2026 09:30:00 -0000", "2026-03-02T09:30:00+00:00"),
        ("2026-03-02T09:30:00Z", "2026-03-02T09:30:00+00:00"),
        ("2026-03-02t09:30:00.5z", "2026-03-02T09:30:00.500000+00:00"),
        ("2026-03-02 22:30 +08", "2026-03-02T14:30:00+00:00"),
        # feedparser 6 reads this as midnight
        ("2026-03-02 09:30:00 EST", "2026-03-02T14:30:00+00:00"),
    ],
)
def test_a_date_is_read_as_it_is_written(written: str, utc: str) -> None:
    assert read_date(written).isoformat() == utc


@pytest.mark.parametrize(
    ("written", "why"),
    [
        # feedparser 6 reads 09:30 in UTC, five hours before it was
        ("Mon, 2 Mar 2026 9:30 AM EST", "cannot be read"),
        ("Mon, 2 Mar 2026 9:30 PM EST", "cannot be read"),
        # feedparser 6 reads a day of 2002, and midnight
        ("02-03-2026", "without a zone"),
        ("2026-03-02Z", "without a zone"),
        ("Mon, 02 Mar 2026 GMT", "without a zone"),
        ("Mon, 02 Mar 2026 09:30:00", "without a zone"),
        ("Mon, 02 Mar 2026 09:30:00 IST", "without a zone"),  # of three countries
        ("2026-03-02", "without a zone"),
        ("03/02/2026 09:30:00 GMT", "cannot be read"),
        ("Mon, 32 Mar 2026 09:30:00 GMT", "cannot be read"),
        ("2026-03-02T09:30:00+99:00", "cannot be read"),
        ("0001-01-01T00:00:00+08:00", "cannot be read"),  # before the first year
        ("1 Jan 0001 00:00:00 GMT", "cannot be read"),  # not of 2001
    ],
)
def test_what_could_be_another_time_is_refused(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_date(written)
