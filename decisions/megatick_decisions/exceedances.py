"""Were losses above a value at risk as rare as it says, and did they come alone?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency, power_divergence

from megatick_decisions.errors import TooFewCloses


@dataclass(frozen=True)
class LikelihoodRatio:
    """A likelihood-ratio test against a chi-squared distribution of one degree of freedom.

    Attributes:
        statistic: at least 0; large where what is tested does not hold.
        p_value: how often one at least as large comes about where it holds, in [0, 1].
    """

    statistic: float
    p_value: float


@dataclass(frozen=True)
class Exceedances:
    """Losses above a value at risk.

    Attributes:
        level: of the value at risk, in (0, 1).
        bars: how many were judged.
        expected: bars · (1 - level).
        observed: losses above it.
        coverage: Kupiec's test that they come about with a chance of 1 - level.
        independence: Christoffersen's test that one is as likely after another as after
            none.  Where there are none, or nothing but such losses, the p-value is 1:
            nothing was shown.
    """

    level: float
    bars: int
    expected: float
    observed: int
    coverage: LikelihoodRatio
    independence: LikelihoodRatio


def judge_exceedances(exceeded: npt.NDArray[np.bool_], *, level: float) -> Exceedances:
    """Test a series of losses above a value at risk.

    Both likelihood ratios are G-tests, of one count and of a table of four, and are
    scipy's: no released version of arch or statsmodels has them by name.

    Args:
        exceeded: bool, shape (bars,), whether each bar's loss was above its value at risk,
            in order of time.
        level: of the value at risk, in (0, 1).

    Raises:
        TooFewCloses: fewer than two bars.

    Source:
        Kupiec, "Techniques for verifying the accuracy of risk measurement models", Journal
        of Derivatives 3 (1995): proportion of failures; Christoffersen, "Evaluating
        interval forecasts", International Economic Review 39 (1998): independence.
    """
    bars, observed = len(exceeded), int(exceeded.sum())
    if bars < 2:
        raise TooFewCloses("bars to judge a value at risk on", "at least 2", str(bars))
    coverage = power_divergence(
        [observed, bars - observed],
        [bars * (1 - level), bars * level],
        lambda_="log-likelihood",
    )
    return Exceedances(
        level=level,
        bars=bars,
        expected=bars * (1 - level),
        observed=observed,
        coverage=_ratio(coverage),
        independence=_independence(exceeded),
    )


def _independence(exceeded: npt.NDArray[np.bool_]) -> LikelihoodRatio:
    before, after = exceeded[:-1].astype(int), exceeded[1:].astype(int)
    followed = np.zeros((2, 2), int)  # [was one, is one]
    np.add.at(followed, (before, after), 1)
    if not (followed.any(axis=0).all() and followed.any(axis=1).all()):
        return LikelihoodRatio(0.0, 1.0)
    return _ratio(chi2_contingency(followed, correction=False, lambda_="log-likelihood"))


def _ratio(test: Any) -> LikelihoodRatio:
    return LikelihoodRatio(float(test.statistic), float(test.pvalue))
