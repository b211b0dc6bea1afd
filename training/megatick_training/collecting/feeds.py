"""RSS and Atom feeds, asked only for what is new."""

from __future__ import annotations

import calendar
import io
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import feedparser

from megatick_training.collecting.articles import Article
from megatick_training.collecting.fetching import Fetcher
from megatick_training.collecting.outcome import Outcome
from megatick_training.errors import FetchError

_ZONE: Final = re.compile(r"(?:Z|[+-]\d\d:?\d\d|\b(?:UTC|UT|GMT|[ECMP][SD]T))\s*$")
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
    was known when could not be told of it.

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
    feed = feedparser.parse(io.BytesIO(answer.content), response_headers=shown)
    if not feed.version:
        return Outcome(url, problem="is no RSS or Atom feed", validators=known)
    articles: list[Article] = []
    dropped: Counter[str] = Counter()
    for entry in feed.entries:
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
    if feed.bozo and not feed.entries:
        problem = f"is a broken feed: {feed.bozo_exception}"
        return Outcome(url, problem=problem, validators=known)
    fresh = {name: answer.headers[name] for name in _SENT if name in answer.headers}
    return Outcome(url, tuple(articles), dropped, validators=fresh)


def _published_at(entry: Any, *, now: datetime) -> datetime | str:
    """When it was published, or why that cannot be told."""
    name = "published" if entry.get("published") else "updated"
    written, parsed = entry.get(name, ""), entry.get(f"{name}_parsed")
    if not written:
        return "no date"
    if not _ZONE.search(written):
        return "a date without a zone"
    if parsed is None:
        return "a date that cannot be read"
    at = datetime.fromtimestamp(calendar.timegm(parsed), UTC)
    return at if at <= now + _AHEAD else "a date in the future"


def _text(entry: Any) -> str:
    """The fullest text that the feed has of an entry."""
    bodies = [each.get("value", "") for each in entry.get("content", [])]
    given = (*bodies, entry.get("summary", ""), entry.get("title", ""))
    return next((each for each in given if each.strip()), "")
