"""Feeds as their formats are documented (rssboard.org/rss-specification, RFC 4287).

They are written by hand in that shape, not recorded from a real server.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from megatick_training.collecting import Fetcher, Outcome, collect_feed

NOW = datetime(2026, 3, 3, tzinfo=UTC)
URL = "https://news.example/feed"

RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Example wire</title><language>en-us</language>
<item><title>Acme up</title><link>https://news.example/1</link>
 <description>&lt;p&gt;Acme rose 5%.&lt;/p&gt;</description>
 <pubDate>Mon, 02 Mar 2026 09:30:00 -0500</pubDate></item>
<item><title>No date</title><link>https://news.example/2</link></item>
<item><title>No zone</title><pubDate>Mon, 02 Mar 2026 09:30:00</pubDate></item>
<item><title>Tomorrow's</title><pubDate>Wed, 04 Mar 2026 09:30:00 GMT</pubDate></item>
<item><title>Title alone</title><link>https://news.example/5</link>
 <pubDate>Mon, 02 Mar 2026 12:00:00 GMT</pubDate></item>
<item><link>https://news.example/6</link>
 <pubDate>Mon, 02 Mar 2026 12:00:00 GMT</pubDate></item>
</channel></rss>"""

ATOM = """<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom"><title>示例</title>
<entry><title>某某股份涨停</title><link href="https://news.example/a"/>
 <updated>2026-03-02T22:30:00+08:00</updated>
 <summary>摘要</summary><content type="text">某某股份今日涨停。</content></entry>
</feed>"""


def ask(answer: Callable[[httpx.Request], httpx.Response], **options: object) -> Outcome:
    transport = httpx.MockTransport(answer)
    with Fetcher(user_agent="test", transport=transport, sleep=lambda _: None) as fetcher:
        return collect_feed(URL, fetcher=fetcher, now=NOW, **options)  # type: ignore[arg-type]


def test_rss() -> None:
    found = ask(lambda _: httpx.Response(200, text=RSS), symbols=("ACME",))

    assert [each.title for each in found.articles] == ["Acme up", "Title alone"]
    first, second = found.articles
    assert first.published_at.isoformat() == "2026-03-02T14:30:00+00:00"
    assert first.text == "<p>Acme rose 5%.</p>"
    assert (first.url, first.language) == ("https://news.example/1", "en-us")
    assert (first.symbols, first.collected_at) == (("ACME",), NOW)
    assert second.text == "Title alone"
    assert found.dropped == {
        "no date": 1,
        "a date without a zone": 1,
        "a date in the future": 1,
        "no text": 1,
    }
    assert not found.problem


def test_atom() -> None:
    found = ask(lambda _: httpx.Response(200, content=ATOM.encode()))

    assert [each.text for each in found.articles] == ["某某股份今日涨停。"]
    assert found.articles[0].published_at.isoformat() == "2026-03-02T14:30:00+00:00"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        pytest.param("&#55357;&#56520;", "📈", id="halves"),
        pytest.param("&#xD83D;&#xdcc8;&#33;", "📈!", id="in-hexadecimal"),
        pytest.param("&#55357; &#x110000;", "\ufffd \ufffd", id="no-characters"),
        pytest.param("&#8364;&amp;&#x26;&lt;", "€&&<", id="others-as-they-were"),
    ],
)
def test_references_to_halves_of_characters(written: str, read: str) -> None:
    rss = RSS.replace("Title alone", f"Acme {written} up")

    found = ask(lambda _: httpx.Response(200, text=rss))

    assert [each.title for each in found.articles] == ["Acme up", f"Acme {read} up"]


def test_a_feed_that_cannot_be_read_is_a_problem_of_its_own() -> None:
    rss = RSS.replace("Title alone", f"Acme &#{'9' * 5000}; up")

    found = ask(lambda _: httpx.Response(200, text=rss))

    assert found.articles == ()
    assert found.problem.startswith("cannot be read: Exceeds the limit")


def test_the_second_run_takes_only_news() -> None:
    sent: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers)
        if request.headers.get("if-none-match") == '"v1"':
            return httpx.Response(304)
        stamps = {"ETag": '"v1"', "Last-Modified": "Mon, 02 Mar 2026 15:00:00 GMT"}
        return httpx.Response(200, text=RSS, headers=stamps)

    first = ask(answer)
    second = ask(answer, validators=first.validators)

    assert sent[1]["if-modified-since"] == "Mon, 02 Mar 2026 15:00:00 GMT"
    assert (second.unchanged, second.articles) == (True, ())
    assert second.validators == first.validators != {}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(httpx.Response(404), "404 Not Found", id="absent"),
        pytest.param(httpx.Response(200, text="<html/>"), "no RSS or Atom", id="a-page"),
        pytest.param(httpx.Response(200, text=RSS[:120]), "ends before", id="cut"),
        pytest.param(httpx.Response(200), "no RSS or Atom", id="no-byte"),
        pytest.param(httpx.Response(503), "503; asked 5 times", id="busy"),
    ],
)
def test_a_bad_feed_is_an_outcome(answer: httpx.Response, problem: str) -> None:
    known = {"etag": '"v1"'}

    found = ask(lambda _: answer, validators=known)

    assert problem in found.problem
    assert found.articles == ()
    assert found.problem
    assert found.validators == known


def rss_of(*items: str) -> str:
    return f'<rss version="2.0"><channel><title>w</title>{"".join(items)}</channel></rss>'


def item(number: int, *, date: str = "Mon, 02 Mar 2026 12:00:00 GMT") -> str:
    return (
        f"<item><title>Profit of {number} million</title><pubDate>{date}</pubDate></item>"
    )


def test_a_text_is_as_late_as_its_correction() -> None:
    corrected = ATOM.replace(
        "<summary>", "<published>2026-03-01T00:00:00Z</published><summary>"
    )

    found = ask(lambda _: httpx.Response(200, content=corrected.encode()))

    assert [each.published_at.isoformat() for each in found.articles] == [
        "2026-03-02T14:30:00+00:00"
    ]


def test_day_nought_is_no_date() -> None:
    at = "Thu, 01 Jan 1970 00:00:00 GMT"

    found = ask(lambda _: httpx.Response(200, text=rss_of(item(1, date=at))))

    assert (found.articles, found.dropped) == ((), {"a date before 1970": 1})


def test_a_feed_that_was_cut_off_is_asked_whole_again() -> None:
    whole = rss_of(item(1), item(2), item(3))
    cut = whole[: whole.index("3 million")]
    stamps = {"ETag": '"v2"', "Content-Type": "application/rss+xml"}

    found = ask(
        lambda _: httpx.Response(200, text=cut, headers=stamps), validators={"etag": '"v1"'}
    )

    assert [each.title for each in found.articles] == [
        "Profit of 1 million",
        "Profit of 2 million",
    ]
    assert "ends before its last tag" in found.problem
    assert found.validators == {"etag": '"v1"'}


def test_a_feed_that_is_no_good_xml_is_read_all_the_same() -> None:
    loose = rss_of(item(1)).replace("Profit", "Profit & loss")

    found = ask(lambda _: httpx.Response(200, text=loose, headers={"ETag": '"v1"'}))

    assert [each.title for each in found.articles] == ["Profit & loss of 1 million"]
    assert (found.problem, found.validators) == ("", {"etag": '"v1"'})


def test_a_feed_without_entries_is_none_the_worse() -> None:
    found = ask(lambda _: httpx.Response(200, content=rss_of().encode()))

    assert (found.articles, found.problem) == ((), "")
