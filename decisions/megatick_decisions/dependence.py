"""How symbols move together: the correlation of their latest returns, and draws with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.covariance import LedoitWolf

from megatick_decisions.errors import DecisionError, HoldingsError, TooFewCloses

Float64Array = npt.NDArray[np.float64]

WINDOW_RETURNS: Final = 250
"""Returns that a correlation is taken from: about a year of days."""
FEWEST_RETURNS: Final = 60
"""Returns that it is at least taken from: about a quarter."""
_NAMED: Final = 5


@dataclass(frozen=True)
class Correlation:
    """The correlation of symbols' log returns.

    Attributes:
        matrix: float64, shape (symbols, symbols), positive semi-definite, ones on its
            diagonal.
        returns: number of common returns that it was taken from.
        last_at: UTC, the close at which the last of them ends.
        shrinkage: how far it was drawn towards independence, in [0, 1].
    """

    matrix: Float64Array
    returns: int
    last_at: pd.Timestamp
    shrinkage: float


def common_closes(closes: pd.DataFrame, symbols: Sequence[str]) -> pd.DataFrame:
    """Keep the rows at which every one of the symbols has a close.

    Args:
        closes: as ``read_closes`` gives them.
        symbols: columns of it.

    Raises:
        HoldingsError: a symbol has no column.
    """
    absent = [symbol for symbol in symbols if symbol not in closes.columns]
    if absent:
        raise HoldingsError(
            "holdings",
            "symbols with closes",
            listed(absent),
            "Give closes of them, or leave them out.",
        )
    return closes[list(symbols)].dropna()


def correlation(
    closes: pd.DataFrame,
    symbols: Sequence[str],
    *,
    window_returns: int = WINDOW_RETURNS,
    fewest_returns: int = FEWEST_RETURNS,
) -> Correlation:
    """Estimate the correlation of symbols' log returns from the latest of them.

    A return is from one row at which all of the symbols have a close to the next, so that
    one exchange's holiday is a longer return of all, and none is of different days.  The
    returns are standardised, and their covariance is drawn towards the identity as far as
    Ledoit and Wolf's formula says, so that few returns of many symbols still give a matrix
    that can be used.

    Args:
        closes: as ``read_closes`` gives them; no row later than what may be known.
        symbols: columns of it.
        window_returns: how many returns are taken, of the latest.
        fewest_returns: how many there must be.

    Raises:
        HoldingsError: a symbol has no column, or its close never changed.
        TooFewCloses: too few rows at which all of the symbols have a close.

    Source:
        Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance
        matrices", Journal of Multivariate Analysis 88 (2004), by scikit-learn.
    """
    rows = common_closes(closes, symbols)
    common = rows.to_numpy(np.float64)
    if len(common) <= fewest_returns:
        raise _too_few(closes, symbols, rows=len(common), fewest=fewest_returns + 1)
    returns = np.diff(np.log(common[-window_returns - 1 :]), axis=0)
    deviations = returns.std(axis=0)
    still = [symbols[at] for at in np.flatnonzero(deviations == 0)]
    if still:
        raise HoldingsError(
            f"closes of {listed(still)}",
            f"a change among the latest {len(returns)} returns",
            "none",
            "What never moves has no correlation: leave it out.",
        )
    fit = LedoitWolf().fit(returns / deviations)  # which takes their means off
    return Correlation(fit.covariance_, len(returns), rows.index[-1], float(fit.shrinkage_))


def antithetic_scores(
    draws: int, symbols: int, *, seed: int, degrees_of_freedom: float = math.inf
) -> Float64Array:
    """Draw uncorrelated scores, standard normal or Student's t, in antithetic pairs.

    The t scores of one draw are normal ones with one common factor, so that all symbols
    may be far out at once: made correlated, they are draws of a t copula.

    Args:
        draws: how many, even.
        symbols: columns.
        seed: of the generator.
        degrees_of_freedom: of each score's distribution, above 2; infinite is the normal
            one.

    Returns:
        float64, shape (draws, symbols); row i + draws/2 is row i with its sign changed.

    Raises:
        DecisionError: draws that are no pairs, or too few degrees of freedom.

    Source:
        Hammersley and Morton, "A new Monte Carlo technique: antithetic variates",
        Mathematical Proceedings of the Cambridge Philosophical Society 52 (1956); Demarta
        and McNeil, "The t copula and related copulas", International Statistical Review 73
        (2005).
    """
    if draws < 2 or draws % 2:
        raise DecisionError("draws", "an even number of at least 2", str(draws))
    if not degrees_of_freedom > 2:
        raise DecisionError("degrees of freedom", "more than 2", str(degrees_of_freedom))
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((draws // 2, symbols))
    if math.isfinite(degrees_of_freedom):
        squares = rng.chisquare(degrees_of_freedom, (draws // 2, 1))
        half *= np.sqrt(degrees_of_freedom / squares)
    return np.concatenate([half, -half])


def correlated(scores: Float64Array, matrix: Float64Array) -> Float64Array:
    """Give scores a correlation: draws of a Gaussian copula, or of a t copula.

    Args:
        scores: float64, shape (draws, symbols), as ``antithetic_scores`` gives them.
        matrix: float64, shape (symbols, symbols), a correlation; it may be singular.

    Returns:
        float64, shape (draws, symbols), each column distributed as before.

    Source:
        Li, "On default correlation: a copula function approach", Journal of Fixed Income
        9 (2000).
    """
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    mixed: Float64Array = scores @ root.T
    return mixed


def _too_few(
    closes: pd.DataFrame, symbols: Sequence[str], *, rows: int, fewest: int
) -> TooFewCloses:
    """Blame those that are short of closes themselves, else those with the fewest."""
    counts = closes[list(symbols)].count().sort_values(kind="stable")
    short = counts[counts < fewest]
    blamed = [
        f"{symbol} has {number}"
        for symbol, number in (counts if short.empty else short).items()
    ]
    return TooFewCloses(
        "closes that all held symbols have at the same times",
        f"at least {fewest}",
        f"{rows} ({listed(blamed)})",
        "Give a longer history, or leave those symbols out.",
    )


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
