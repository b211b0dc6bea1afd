"""Errors of what is shown for decisions.

DecisionError
├── EventStudyError  closes or news that no event study can be made of
├── ForecastError    quantiles that are no distribution, or not of the holdings
├── HoldingsError    holdings that are no sums of money, or not of known symbols
└── TooFewCloses     too little history for what is to be learnt from it
"""

from __future__ import annotations

from megatick_contract import MegatickError


class DecisionError(MegatickError):
    """Base of what this package raises on purpose."""

    def __init__(self, what: str, expected: str, found: str, hint: str = "") -> None:
        ending = f"  {hint}" if hint else ""
        super().__init__(f"{what}: expected {expected}, found {found}.{ending}")
        self.what, self.expected, self.found = what, expected, found


class EventStudyError(DecisionError, ValueError):
    """Closes or news are not in order, or the closes are no prices."""


class ForecastError(DecisionError, ValueError):
    """Quantiles are no distribution, or not of the holdings."""


class HoldingsError(DecisionError, ValueError):
    """Holdings are no sums of money, or not of symbols with closes and forecasts."""


class TooFewCloses(DecisionError):
    """Too little history for what is to be learnt from it."""
