"""RSS and Atom feeds, asked only for what is new."""

from __future__ import annotations

import io
import re
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.sax import SAXException

import feedparser

from megatick_training.collecting.articles import Article
from megatick_training.collecting.feed_dates import read_date
from megatick_training.collecting.fetching import Fetcher
from megatick_training.collecting.outcome import Outcome
from megatick_training.errors import FetchError

_CLOSED: Final = re.compile(rb"</(?:[\w.-]+:)?(?:rss|feed|rdf)\s*>", re.IGNORECASE)
_REFERENCE: Final = re.compile(rb"&#(?:x([\da-f]+)|(\d+));", re.IGNORECASE)
_REFERENCES: Final = re.compile(rb"(?:%b)+" % _REFERENCE.pattern, re.IGNORECASE)
_FIRST: Final = datetime(1970, 1, 2, tzinfo=UTC)  # programs write day 0 for no day
_AHEAD: Final = timedelta(minutes=5)  # by which a server's clock may be before ours
_SENT: Final = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}


def collect_feed(
    url: str,
    *,
    fetcher: Fetcher,
    now: datetime,
    symbols: tuple[str, ...] = (),
    validators: Mapping[str, str] | None = None,
) -> Outcome:
    """Read a feed.

    An entry without a date, with one that has no zone, or from the future is dropped: what
    was known when could not be told of it.  Of when it was published and when it was
    updated the later counts, for its text may be of then.  The last entry of a feed that
    was cut off is left out as well, and the feed is asked whole at the next time.

    Args:
        url: of the feed.
        fetcher: to ask with.
        now: in UTC.
        symbols: that all its entries are about.
        validators: what the last outcome had, so that only news is answered.

    Returns:
        Its outcome; a feed that cannot be had is one with a problem.
    """
    known = validators or {}
    headers = {_SENT[name]: value for name, value in known.items()}
    try:
        answer = fetcher.get(url, headers=headers)
    except FetchError as error:
        return Outcome(url, problem=error.problem, validators=known)
    if answer.unchanged:
        return Outcome(url, unchanged=True, validators=known)
    shown = {"content-location": answer.url}
    if "content-type" in answer.headers:
        shown["content-type"] = answer.headers["content-type"]
    try:
        content = _REFERENCES.sub(_whole_characters, answer.content)
        feed = feedparser.parse(io.BytesIO(content), response_headers=shown)
    except ValueError as error:  # of a number, a date or an address that is none
        return Outcome(url, problem=f"cannot be read: {error}", validators=known)
    if not feed.get("version"):  # which an answer without a byte has not
        return Outcome(url, problem="is no RSS or Atom feed", validators=known)
    cut = _is_cut(feed, answer.content)
    articles: list[Article] = []
    dropped: Counter[str] = Counter()
    for entry in feed.entries[:-1] if cut else feed.entries:
        at = _published_at(entry, now=now)
        text = _text(entry)
        if isinstance(at, str):
            dropped[at] += 1
        elif not text:
            dropped["no text"] += 1
        else:
            articles.append(
                Article(
                    source=url,
                    url=entry.get("link", ""),
                    symbols=symbols,
                    title=entry.get("title", ""),
                    text=text,
                    published_at=at,
                    collected_at=now,
                    language=feed.feed.get("language"),
                )
            )
    if cut:
        problem = "ends before its last tag: its last entry is left out, ask again"
        return Outcome(url, tuple(articles), dropped, problem=problem, validators=known)
    fresh = {name: answer.headers[name] for name in _SENT if name in answer.headers}
    return Outcome(url, tuple(articles), dropped, validators=fresh)


def _whole_characters(found: re.Match[bytes]) -> bytes:
    """Join the halves of characters, to which some programs refer one by one.

    What refers to no character becomes U+FFFD; ``feedparser`` fails at it.
    """
    codes = [
        int(hexadecimal or decimal, 16 if hexadecimal else 10)
        for hexadecimal, decimal in _REFERENCE.findall(found[0])
    ]
    units = "".join(chr(code) if code <= sys.maxunicode else "\ufffd" for code in codes)
    whole = units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return "".join(f"&#{ord(each)};" for each in whole).encode()


def _is_cut(feed: Any, content: bytes) -> bool:
    """Whether its end is missing; a feed that is only no good XML is read all the same."""
    broken = isinstance(feed.get("bozo_exception"), SAXException)
    return broken and not _CLOSED.search(content.replace(b"\0", b""))  # also of UTF-16


def _published_at(entry: Any, *, now: datetime) -> datetime | str:
    """When its text was there at the latest, or why that cannot be told."""
    read: list[datetime] = []
    why = "no date"
    for name in ("updated", "published"):
        written = dict.get(entry, name)  # its own get gives one for the other
        if not written:
            continue
        try:
            read.append(read_date(written))
        except ValueError as error:
            why = str(error)
    if not read:
        return why
    at = max(read)
    if at < _FIRST:
        return "a date before 1970"
    return at if at <= now + _AHEAD else "a date in the future"


def _text(entry: Any) -> str:
    """The fullest text that the feed has of an entry."""
    bodies = [each.get("value", "") for each in entry.get("content", [])]
    given = (*bodies, entry.get("summary", ""), entry.get("title", ""))
    return next((each for each in given if each.strip()), "")
