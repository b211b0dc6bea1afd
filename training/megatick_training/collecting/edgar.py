"""Filings from EDGAR, the archive of the SEC, by its public JSON interface.

Source:
    https://www.sec.gov/search-filings/edgar-application-programming-interfaces for the
    addresses and fields; https://www.sec.gov/os/accessing-edgar-data for the rules of
    access: a User-Agent that says who asks, and at most ten requests a second.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from megatick_training.collecting.articles import Article
from megatick_training.collecting.fetching import Fetcher
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


@dataclass(frozen=True)
class Filing:
    """A filing, as the list of a company's submissions has it.

    Attributes:
        accession: its number, with dashes.
        form: as ``8-K``.
        filed: its filing date, of New York.
        document: the file name of its main document.
        description: of that document.
    """

    accession: str
    form: str
    filed: date
    document: str
    description: str


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
        listed = self._json(_TICKERS)
        known = {each["ticker"].upper(): int(each["cik_str"]) for each in listed.values()}
        unknown = [each for each in symbols if each.upper() not in known]
        if unknown:
            raise CollectError(f"symbols {unknown}: EDGAR's list of companies lacks them")
        return {symbol.upper(): known[symbol.upper()] for symbol in symbols}

    def collect(
        self, cik: int, *, forms: Sequence[str], since: date, now: datetime
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

        Returns:
            Its outcome; what cannot be had is told as a problem.
        """
        name = f"CIK{cik:010}"
        try:
            company = self._json(f"{_SUBMISSIONS}{name}.json")
            filings = [
                each
                for each in self._filings(company, since=since)
                if each.form in forms and each.filed >= since
            ]
        except FetchError as error:
            return Outcome(name, problem=str(error))
        articles: list[Article] = []
        dropped: Counter[str] = Counter()
        problems: list[str] = []
        for filing in filings:
            if not filing.document:
                dropped["no main document"] += 1
                continue
            try:
                article = self._article(cik, company, filing, now=now)
            except FetchError as error:
                problems.append(str(error))
                continue
            if article is None:
                dropped["no acceptance time in the header"] += 1
            else:
                articles.append(article)
        return Outcome(name, tuple(articles), dropped, problem="; ".join(problems))

    def _filings(self, company: Mapping[str, Any], *, since: date) -> Iterator[Filing]:
        """The recent filings, and those of older pages that reach to ``since``."""
        yield from _filings_of(company["filings"]["recent"])
        for page in company["filings"].get("files", []):
            if date.fromisoformat(page["filingTo"]) >= since:
                yield from _filings_of(self._json(f"{_SUBMISSIONS}{page['name']}"))

    def _article(
        self, cik: int, company: Mapping[str, Any], filing: Filing, *, now: datetime
    ) -> Article | None:
        folder = f"{_ARCHIVES}{cik}/{filing.accession.replace('-', '')}/"
        header = self._fetcher.get(f"{folder}{filing.accession}-index-headers.html")
        accepted = _ACCEPTED.search(header.content.decode("latin-1"))
        if accepted is None:
            return None
        clock = datetime.strptime(accepted[1], "%Y%m%d%H%M%S").replace(tzinfo=_EASTERN)
        document = self._fetcher.get(folder + filing.document)
        title = f"{company['name']}: {filing.form}"
        if filing.description and filing.description != filing.form:
            title += f", {filing.description}"
        return Article(
            source="edgar",
            url=folder + filing.document,
            symbols=tuple(company.get("tickers", [])),
            title=title,
            text=document.content.decode("utf-8", errors="replace"),
            published_at=clock.astimezone(UTC),
            collected_at=now,
            language="en",
        )

    def _json(self, url: str) -> Any:
        answer = self._fetcher.get(url)
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise FetchError(url, f"expected JSON: {error}") from error


def _filings_of(columns: Mapping[str, Sequence[str]]) -> Iterator[Filing]:
    names = ("accessionNumber", "form", "filingDate", "primaryDocument")
    described = columns.get("primaryDocDescription", [""] * len(columns["form"]))
    for accession, form, filed, document, description in zip(
        *(columns[name] for name in names), described, strict=True
    ):
        yield Filing(accession, form, date.fromisoformat(filed), document, description)
