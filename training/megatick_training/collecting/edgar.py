"""Filings from EDGAR, the archive of the SEC, by its public JSON interface.

Source:
    https://www.sec.gov/search-filings/edgar-application-programming-interfaces for the
    addresses and fields; https://www.sec.gov/os/accessing-edgar-data for the rules of
    access: a User-Agent that says who asks, and at most ten requests a second.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from megatick_training.collecting.articles import Article
from megatick_training.collecting.fetching import Fetcher
from megatick_training.collecting.filings import (
    Columns,
    Company,
    Filing,
    Listed,
    filings_of,
)
from megatick_training.collecting.outcome import Outcome
from megatick_training.errors import CollectError, FetchError

INTERVAL_S: Final = 0.1
"""Ten requests a second."""

_TICKERS: Final = "https://www.sec.gov/files/company_tickers.json"
_SUBMISSIONS: Final = "https://data.sec.gov/submissions/"
_ARCHIVES: Final = "https://www.sec.gov/Archives/edgar/data/"
_EASTERN: Final = ZoneInfo("America/New_York")
_ACCEPTED: Final = re.compile(r"ACCEPTANCE-DATETIME(?:>|&gt;)\s*(\d{14})")
_CONTACT: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


def user_agent(contact: str) -> str:
    """Say who asks, as EDGAR wants it.

    Args:
        contact: a name and an e-mail address.

    Raises:
        CollectError: there is no address in it.
    """
    if not _CONTACT.search(contact):
        raise CollectError(
            f"contact: expected a name and an e-mail address, found {contact!r}: EDGAR "
            "refuses who does not say whom to write to"
        )
    return contact


Answer = TypeVar("Answer")


class Edgar:
    """The companies and filings of EDGAR."""

    def __init__(self, fetcher: Fetcher) -> None:
        """Ask with a fetcher whose ``user_agent`` and ``INTERVAL_S`` keep to its rules."""
        self._fetcher = fetcher

    def ciks_of(self, symbols: Sequence[str]) -> dict[str, int]:
        """Look up the numbers of companies.

        Raises:
            CollectError: EDGAR knows no company of a symbol.
            FetchError: the list cannot be had.
        """
        listed = self._read(_TICKERS, dict[str, Listed]).values()
        known = {each.ticker.upper(): each.cik_str for each in listed}
        asked = {symbol: symbol.upper().replace(".", "-") for symbol in symbols}
        unknown = [symbol for symbol, listed_as in asked.items() if listed_as not in known]
        if unknown:
            raise CollectError(
                f"symbols {unknown}: EDGAR's list of companies lacks them: look for the "
                "company's number on sec.gov and give it with --ciks"
            )
        return {symbol.upper(): known[listed_as] for symbol, listed_as in asked.items()}

    def collect(
        self,
        cik: int,
        *,
        forms: Sequence[str],
        since: date,
        now: datetime,
        known: Collection[str] = (),
    ) -> Outcome:
        """Read the main documents of a company's filings.

        They are published when EDGAR accepted them, by the clock of New York in the
        filing's header.  The list's own ``acceptanceDateTime`` is not used: its ``Z`` is
        wrong for some companies, and news of after the close would be of the session
        (https://github.com/john-friedman/datamule-python/issues/115 compares 64,936).

        Args:
            cik: the company's number.
            forms: to keep, as ``8-K``; an amendment, ``8-K/A``, is another form.
            since: first filing date, inclusive.
            now: in UTC.
            known: addresses of documents that need not be asked for: a filing is what it
                is, and a correction is another filing.

        Returns:
            Its outcome; what cannot be had is told as a problem.
        """
        name = f"CIK{cik:010}"
        wanted = {each.upper() for each in forms}
        articles: list[Article] = []
        dropped: Counter[str] = Counter()
        problems: list[str] = []
        held = 0
        try:
            company = self._read(f"{_SUBMISSIONS}{name}.json", Company)
        except FetchError as error:
            return Outcome(name, problem=str(error))
        for filing in self._filings(company, since=since, problems=problems):
            if filing.form.upper() not in wanted or filing.filed < since:
                continue
            if not filing.document:
                dropped["no main document"] += 1
                continue
            if _folder(cik, filing) + filing.document in known:
                held += 1
                continue
            try:
                article = self._article(cik, company, filing, now=now)
            except FetchError as error:
                problems.append(str(error))
                continue
            if isinstance(article, str):
                dropped[article] += 1
            else:
                articles.append(article)
        return Outcome(
            name, tuple(articles), dropped, held=held, problem="; ".join(problems)
        )

    def _filings(
        self, company: Company, *, since: date, problems: list[str]
    ) -> Iterator[Filing]:
        """The recent filings, and those of older pages that reach to ``since``."""
        yield from filings_of(company.filings.recent)
        for page in company.filings.files or ():
            if page.filingTo >= since:
                try:
                    older = self._read(f"{_SUBMISSIONS}{page.name}", Columns)
                except FetchError as error:
                    problems.append(str(error))
                else:
                    yield from filings_of(older)

    def _article(
        self, cik: int, company: Company, filing: Filing, *, now: datetime
    ) -> Article | str:
        """The article of a filing, or why there is none."""
        folder = _folder(cik, filing)
        header = self._fetcher.get(f"{folder}{filing.accession}-index-headers.html")
        accepted = _accepted_at(header.content.decode("latin-1"))
        if accepted is None:
            return "no acceptance time in the header"
        content = self._fetcher.get(folder + filing.document).content
        if content.startswith(b"%PDF"):
            return "main document is a PDF"
        text = _text(content)
        if not text.strip():
            return "no text"
        title = f"{company.name}: {filing.form}"
        if filing.description and filing.description != filing.form:
            title += f", {filing.description}"
        return Article(
            source="edgar",
            url=folder + filing.document,
            symbols=tuple(company.tickers),
            title=title,
            text=text,
            published_at=accepted,
            collected_at=now,
            language="en",
        )

    def _read(self, url: str, kind: type[Answer]) -> Answer:
        """Ask for JSON of a shape."""
        answer = self._fetcher.get(url)
        try:
            return TypeAdapter(kind).validate_json(answer.content)
        except ValidationError as error:
            first: Any = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "its whole"
            raise FetchError(
                url, f"expected JSON as EDGAR documents it: {place}: {first['msg']}"
            ) from error


def _folder(cik: int, filing: Filing) -> str:
    return f"{_ARCHIVES}{cik}/{filing.accession.replace('-', '')}/"


def _accepted_at(header: str) -> datetime | None:
    found = _ACCEPTED.search(header)
    try:
        clock = datetime.strptime(found[1], "%Y%m%d%H%M%S") if found else None
    except ValueError:
        return None
    return clock and clock.replace(tzinfo=_EASTERN).astimezone(UTC)


def _text(content: bytes) -> str:
    """Decode a document; the older ones are in Latin-1, as EDGAR's filer manual allows."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
