"""Errors of what is shown for decisions.

MegatickError
├── DecisionError          a part that cannot be made; the rest of a brief can
│   ├── EventStudyError    closes or news that no event study can be made of
│   ├── ForecastError      quantiles that are no distribution, or not of the holdings
│   ├── HoldingsError      holdings that are no sums of money, or not of known symbols
│   └── TooFewCloses       too little history for what is to be learnt from it
└── AnotherModel           answers of two models, of which no brief can be made
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from megatick_contract import MegatickError

_NAMED: Final = 5


class DecisionError(MegatickError):
    """Base of what this package raises on purpose."""

    def __init__(self, what: str, expected: str, found: str, hint: str = "") -> None:
        ending = f"  {hint}" if hint else ""
        super().__init__(f"{what}: expected {expected}, found {found}.{ending}")
        self.what, self.expected, self.found = what, expected, found


class AnotherModel(MegatickError):
    """A server answers with another model than the one that the brief began with."""

    def __init__(self, address: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"{address} answers with the model {found:.12}, the brief began with "
            f"{expected:.12}: its figures would be of two models, so there is none.  Ask "
            "again; if that fails too, servers behind this address have different models: "
            "ask one of them by an address of its own."
        )
        self.address, self.expected, self.found = address, expected, found


class EventStudyError(DecisionError, ValueError):
    """Closes or news are not in order, or the closes are no prices."""


class ForecastError(DecisionError, ValueError):
    """Quantiles are no distribution, or not of the holdings."""


class HoldingsError(DecisionError, ValueError):
    """Holdings are no sums of money, or not of symbols with closes and forecasts."""


class TooFewCloses(DecisionError):
    """Too little history for what is to be learnt from it."""


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> listed(list("ABCDEFG"))
    'A, B, C, D, E and 2 more'
    """
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
