"""When an entry of a feed was published: RFC 822's dates of RSS, RFC 3339's of Atom.

``feedparser`` reads more shapes than these, and some of them wrongly and in silence: it
takes "9:30 AM EST" for 9:30 in UTC, "2026-03-02 09:30:00 EST" for midnight and "02-03-2026"
for a day of 2002.  A time that is too early is news before it was news.
"""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_ZONE: Final = re.compile(
    r"\s*(?:(?P<name>Z|UTC?|GMT|[ECMP][SD]T)"
    r"|(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)\s*$",
    re.IGNORECASE,
)
_OFFSET_HOURS: Final = {
    **{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5},
    **{"MST": -7, "MDT": -6, "PST": -8, "PDT": -7},
}
"""Source: RFC 822, section 5.1; the other names that ``_ZONE`` knows are UTC."""

_CLOCK: Final = r"\d?\d:\d\d(?::\d\d(?:\.\d+)?)?"
_RSS: Final = re.compile(
    rf"\s*(?:[A-Z]{{3,9}},?\s+)?\d?\d[ -][A-Z]{{3,9}}[ -](?:[1-9]\d{{3}}|\d\d)\s+{_CLOCK}",
    re.IGNORECASE,
)
_ATOM: Final = re.compile(rf"\s*\d{{4}}-\d\d-\d\d(?:T|\s+){_CLOCK}", re.IGNORECASE)


def read_date(written: str) -> datetime:
    """Read a date of a feed.

    Returns:
        The same in UTC.

    Raises:
        ValueError: it has no zone, or is written in another way; its text says which.

    Source:
        RFC 822, section 5, with the four-digit years of RFC 1123; RFC 3339, section 5.6.

    >>> read_date("Mon, 02 Mar 2026 09:30:00 EST").isoformat()
    '2026-03-02T14:30:00+00:00'
    >>> read_date("2026-03-02T09:30:00.5+08:00").isoformat()
    '2026-03-02T01:30:00.500000+00:00'
    """
    zone = _ZONE.search(written)
    if zone is None or ":" not in written[: zone.start()]:
        raise ValueError("a date without a zone")
    clock = written[: zone.start()].strip()
    try:
        if _ATOM.fullmatch(clock):
            at = datetime.fromisoformat(re.sub(r"\s+", "T", clock))
        elif _RSS.fullmatch(clock):
            at = email.utils.parsedate_to_datetime(
                clock.partition(".")[0].replace("-", " ")
            )
        else:
            raise ValueError(clock)
        return at.replace(tzinfo=timezone(_offset(zone))).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("a date that cannot be read") from error


def _offset(zone: re.Match[str]) -> timedelta:
    if zone["name"]:
        return timedelta(hours=_OFFSET_HOURS.get(zone["name"].upper(), 0))
    offset = timedelta(hours=int(zone["hours"]), minutes=int(zone["minutes"] or 0))
    return -offset if zone["sign"] == "-" else offset
