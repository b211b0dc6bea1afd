"""Companies and their filings, in the shapes of EDGAR's JSON.

Source:
    https://www.sec.gov/search-filings/edgar-application-programming-interfaces
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Self

from pydantic import BaseModel, model_validator


@dataclass(frozen=True)
class Filing:
    """A filing, as the list of a company's submissions has it.

    Attributes:
        accession: its number, with dashes.
        form: as ``8-K``.
        filed: its filing date, of New York.
        document: the file name of its main document; empty where it has none.
        description: of that document; may be empty.
    """

    accession: str
    form: str
    filed: date
    document: str
    description: str


class Listed(BaseModel):
    """A company in the list of symbols."""

    cik_str: int
    ticker: str


class Columns(BaseModel):
    """Filings as columns, each with one value a filing; the names are EDGAR's."""

    accessionNumber: list[str]  # noqa: N815
    form: list[str]
    filingDate: list[date]  # noqa: N815
    primaryDocument: list[str | None]  # noqa: N815
    primaryDocDescription: list[str | None] = []  # noqa: N815

    @model_validator(mode="after")
    def _of_one_length(self) -> Self:
        lengths = {name: len(values) for name, values in dict(self).items()}
        if "primaryDocDescription" not in self.model_fields_set:
            del lengths["primaryDocDescription"]
        if len(set(lengths.values())) > 1:  # whose date would be whose?
            raise ValueError(f"columns of one length, found {lengths}")
        return self


class Page(BaseModel):
    """Where older filings stand."""

    name: str
    filingTo: date  # noqa: N815


class Filings(BaseModel):
    """The last thousand filings or those of a year, and where the others stand."""

    recent: Columns
    files: list[Page] | None = None


class Company(BaseModel):
    """A company with its filings."""

    name: str
    tickers: list[str] = []
    filings: Filings


def filings_of(columns: Columns) -> Iterator[Filing]:
    """Give the filings one by one."""
    descriptions = columns.primaryDocDescription or [None] * len(columns.form)
    for accession, form, filed, document, description in zip(
        columns.accessionNumber,
        columns.form,
        columns.filingDate,
        columns.primaryDocument,
        descriptions,
        strict=True,
    ):
        yield Filing(accession, form, filed, document or "", description or "")
