"""EDGAR's answers, in the shape that it documents.

They are written by hand: the company, its numbers and its filings are invented.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from megatick_training.collecting import Edgar, Fetcher, Outcome
from megatick_training.collecting.edgar import user_agent
from megatick_training.errors import CollectError

NOW = datetime(2026, 3, 3, tzinfo=UTC)
DATA, WWW = "https://data.sec.gov/submissions/", "https://www.sec.gov/"
FOLDER = f"{WWW}Archives/edgar/data/123/"
TICKERS = {
    "0": {"cik_str": 123, "ticker": "ACME", "title": "Acme Corp"},
    "1": {"cik_str": 456, "ticker": "WIL-B", "title": "Wile Corp"},
}


def filings(*rows: tuple[str, str, str, str]) -> dict[str, list[str]]:
    accession, form, filed, document = (list(column) for column in zip(*rows, strict=True))
    return {
        "accessionNumber": accession,
        "form": form,
        "filingDate": filed,
        "acceptanceDateTime": [f"{each}T16:21:59.000Z" for each in filed],
        "primaryDocument": document,
        "primaryDocDescription": ["" for _ in filed],
    }


COMPANY: dict[str, Any] = {
    "cik": "123",
    "name": "Acme Corp",
    "tickers": ["ACME", "ACME-P"],
    "filings": {
        "recent": filings(
            ("0000000123-26-000003", "8-K", "2026-03-02", "a8k.htm"),
            ("0000000123-26-000002", "4", "2026-03-01", "form4.xml"),
            ("0000000123-26-000001", "8-K", "2026-02-01", ""),
        ),
        "files": [
            {"name": "CIK0000000123-submissions-001.json", "filingTo": "2025-07-02"},
            {"name": "CIK0000000123-submissions-002.json", "filingTo": "2020-01-01"},
        ],
    },
}
OLDER = filings(
    ("0000000123-25-000009", "10-Q", "2025-07-02", "q.htm"),
    ("0000000123-25-000008", "10-Q", "2025-04-02", "too-old.htm"),
)
HEADER = f"{FOLDER}000000012326000003/0000000123-26-000003-index-headers.html"
ANSWERS: dict[str, str | bytes] = {
    f"{WWW}files/company_tickers.json": json.dumps(TICKERS),
    f"{DATA}CIK0000000123.json": json.dumps(COMPANY),
    f"{DATA}CIK0000000123-submissions-001.json": json.dumps(OLDER),
    f"{FOLDER}000000012326000003/0000000123-26-000003-index-headers.html": (
        "<pre>&lt;ACCEPTANCE-DATETIME&gt;20260302162159\nACCESSION NUMBER: …</pre>"
    ),
    f"{FOLDER}000000012326000003/a8k.htm": "<html><p>Acme names a chief.</p></html>",
    f"{FOLDER}000000012325000009/0000000123-25-000009-index-headers.html": (
        "<ACCEPTANCE-DATETIME>20250702162159"
    ),
    f"{FOLDER}000000012325000009/q.htm": "<html>Quarter</html>",
}


def ask(
    answers: dict[str, str | bytes], *, cik: int = 123, known: Collection[str] = ()
) -> tuple[Outcome, list[str]]:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        found = answers.get(asked[-1])
        return httpx.Response(404) if found is None else httpx.Response(200, content=found)

    transport = httpx.MockTransport(answer)
    with Fetcher(user_agent="test", transport=transport, sleep=lambda _: None) as fetcher:
        outcome = Edgar(fetcher).collect(
            cik, forms=["8-k", "10-Q"], since=date(2025, 7, 1), now=NOW, known=known
        )
    return outcome, asked


def test_filings_are_published_by_new_york_s_clock() -> None:
    found, asked = ask(ANSWERS)

    assert [each.text for each in found.articles] == [
        "<html><p>Acme names a chief.</p></html>",
        "<html>Quarter</html>",
    ]
    # 16:21:59 is five hours before UTC in March, four in July
    assert [each.published_at.isoformat() for each in found.articles] == [
        "2026-03-02T21:21:59+00:00",
        "2025-07-02T20:21:59+00:00",
    ]
    assert found.articles[0].symbols == ("ACME", "ACME-P")
    assert found.articles[0].title == "Acme Corp: 8-K"
    assert found.articles[0].url == f"{FOLDER}000000012326000003/a8k.htm"
    assert found.dropped == {"no main document": 1}
    assert not found.problem
    assert not [url for url in asked if "002.json" in url or "form4" in url]


def test_a_filing_that_cannot_be_had_does_not_lose_the_others() -> None:
    missing = f"{FOLDER}000000012326000003/a8k.htm"

    found, _ = ask({url: text for url, text in ANSWERS.items() if url != missing})

    assert [each.title for each in found.articles] == ["Acme Corp: 10-Q"]
    assert found.problem == (f"{missing}: expected 200, the server answered 404 Not Found")


@pytest.mark.parametrize("header", ["<pre></pre>", "<ACCEPTANCE-DATETIME>20269902162159"])
def test_a_header_without_its_time_drops_the_filing(header: str) -> None:
    found, _ = ask({**ANSWERS, HEADER: header})

    assert [each.title for each in found.articles] == ["Acme Corp: 10-Q"]
    assert found.dropped["no acceptance time in the header"] == 1


@pytest.mark.parametrize(
    ("document", "why"), [(b"%PDF-1.7 \xff", "main document is a PDF"), (b" \n", "no text")]
)
def test_what_is_no_text_is_dropped(document: bytes, why: str) -> None:
    found, _ = ask({**ANSWERS, f"{FOLDER}000000012326000003/a8k.htm": document})

    assert [each.title for each in found.articles] == ["Acme Corp: 10-Q"]
    assert found.dropped[why] == 1


def test_latin_1_is_read_as_it_is() -> None:
    document = {f"{FOLDER}000000012326000003/a8k.htm": "Société Générale".encode("latin-1")}

    found, _ = ask({**ANSWERS, **document})

    assert found.articles[0].text == "Société Générale"


def test_what_is_known_is_not_asked_for() -> None:
    first, _ = ask(ANSWERS)

    again, asked = ask(ANSWERS, known={each.url for each in first.articles})

    assert (again.articles, again.held, again.problem) == ((), 2, "")
    assert not [url for url in asked if "/Archives/" in url]


def test_an_older_page_that_cannot_be_had_does_not_lose_the_recent_ones() -> None:
    page = f"{DATA}CIK0000000123-submissions-001.json"

    found, _ = ask({**ANSWERS, page: json.dumps({"filings": OLDER})})

    assert [each.title for each in found.articles] == ["Acme Corp: 8-K"]
    assert f"{page}: expected JSON as EDGAR documents it: accessionNumber" in found.problem


def shortened(company: dict[str, Any]) -> None:
    company["filings"]["recent"]["form"].pop()


def undated(company: dict[str, Any]) -> None:
    company["filings"]["recent"]["filingDate"][0] = ""


def unfiled(company: dict[str, Any]) -> None:
    del company["filings"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (shortened, "columns of one length, found {'accessionNumber': 3, 'form': 2"),
        (undated, "filings.recent.filingDate.0: Input should be a valid date"),
        (unfiled, "filings: Field required"),
    ],
)
def test_another_shape_is_an_outcome(
    change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    company = copy.deepcopy(COMPANY)
    change(company)

    found, _ = ask({**ANSWERS, f"{DATA}CIK0000000123.json": json.dumps(company)})

    assert found.articles == ()
    assert "CIK0000000123.json: expected JSON as EDGAR documents it" in found.problem
    assert problem in found.problem


def test_a_company_that_is_not_there_is_an_outcome() -> None:
    found, _ = ask(ANSWERS, cik=7)

    assert found.articles == ()
    assert "CIK0000000007.json: expected 200" in found.problem


def test_symbols_are_looked_up() -> None:
    transport = httpx.MockTransport(
        lambda request: httpx.Response(200, content=ANSWERS[str(request.url)])
    )
    with Fetcher(user_agent="test", transport=transport) as fetcher:
        archive = Edgar(fetcher)

        assert archive.ciks_of(["acme", "WIL.B"]) == {"ACME": 123, "WIL.B": 456}
        with pytest.raises(CollectError, match=r"'WILE'.*--ciks"):
            archive.ciks_of(["ACME", "WILE"])


@pytest.mark.parametrize("contact", ["", "Jo Doe", "jo@doe"])
def test_without_a_contact_nothing_is_asked(contact: str) -> None:
    with pytest.raises(CollectError, match="e-mail"):
        user_agent(contact)

    assert user_agent("Jo Doe jo@doe.example") == "Jo Doe jo@doe.example"
