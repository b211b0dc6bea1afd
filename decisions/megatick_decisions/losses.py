"""How large the losses of a portfolio may be: value at risk and expected shortfall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Float64Array = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Of the confidence intervals of a value at risk."""


@dataclass(frozen=True)
class LossMeasures:
    """What a distribution of profit and loss comes to.

    All are in money, and a value at risk and an expected shortfall are losses: 100 is a
    loss of 100, and one below 0 a profit.

    Attributes:
        mean: of the outcomes, profit (above 0) or loss (below 0).
        var_95: value at risk, the loss that 5 % of the outcomes exceed.
        var_99: the loss that 1 % exceed.
        es_95: expected shortfall, the mean of the worst 5 %.
        es_975: the mean of the worst 2.5 %, Basel's measure of market risk.
    """

    mean: float
    var_95: float
    var_99: float
    es_95: float
    es_975: float


def measure(profits: Float64Array) -> LossMeasures:
    """Measure equally likely outcomes.

    Args:
        profits: float64, shape (outcomes,), profit (above 0) or loss (below 0), money.

    Source:
        Basel Committee on Banking Supervision, "Minimum capital requirements for market
        risk" (2019), MAR33: expected shortfall at 97.5 %.
    """
    return LossMeasures(
        mean=float(profits.mean()),
        var_95=value_at_risk(profits, level=0.95),
        var_99=value_at_risk(profits, level=0.99),
        es_95=expected_shortfall(profits, level=0.95),
        es_975=expected_shortfall(profits, level=0.975),
    )


def value_at_risk(profits: Float64Array, *, level: float) -> float:
    """Give the loss that one more outcome like these exceeds with a chance of 1 - level.

    The i-th smallest of n losses stands for the level i/(n + 1), and between two the value
    at risk is linear: a new loss is as likely between any two of them, or beyond either
    end.  Beyond the ends it is the largest, or the smallest.

    Args:
        profits: float64, shape (outcomes,), equally likely, money.
        level: in (0, 1).

    Source:
        Weibull's plotting position; Hyndman and Fan, "Sample quantiles in statistical
        packages", The American Statistician 50 (1996), definition 6.
    """
    return float(np.quantile(-profits, level, method="weibull"))


def expected_shortfall(profits: Float64Array, *, level: float) -> float:
    """Give the mean loss of the worst 1 - level of outcomes, as ``tail_weights`` does.

    Args:
        profits: float64, shape (outcomes,), equally likely, money.
        level: in (0, 1).
    """
    worst = len(profits) * (1 - level)
    whole = int(worst)
    ordered = np.partition(profits, whole)
    total = ordered[:whole].sum() + (worst - whole) * ordered[whole]
    return -float(total / worst)


def tail_weights(profits: Float64Array, *, level: float) -> Float64Array:
    """Weigh outcomes so that their weighted mean is that of the worst 1 - level of them.

    Where that is no whole number of outcomes, the last one counts in part, which keeps the
    expected shortfall subadditive.

    Args:
        profits: float64, shape (outcomes,), equally likely, money.
        level: in (0, 1).

    Returns:
        float64, shape (outcomes,), ≥ 0, adding up to 1.

    Source:
        Acerbi and Tasche, "On the coherence of expected shortfall", Journal of Banking and
        Finance 26 (2002).
    """
    worst = len(profits) * (1 - level)
    whole = int(worst)
    order = np.argsort(profits, kind="stable")
    weights = np.zeros(len(profits))
    weights[order[:whole]] = 1.0
    weights[order[whole]] = worst - whole
    return weights / worst


def value_at_risk_interval(profits: Float64Array, *, level: float) -> tuple[float, float]:
    """Give the 95 % confidence interval of a value at risk that so few outcomes tell.

    Its ends are order statistics: how many of n outcomes lose less than the true value at
    risk is binomial, of n and the level.

    Args:
        profits: float64, shape (outcomes,), equally likely and independent, money.
        level: in (0, 1).

    Returns:
        The lower and the upper end, money, a loss above 0.  Where the outcomes are too few
        for an end it is infinite.

    Source:
        David and Nagaraja, "Order Statistics", 3rd edition (2003), chapter 7.
    """
    losses = np.concatenate([[-np.inf], np.sort(-profits), [np.inf]])
    lower, upper = binom.interval(CONFIDENCE, len(profits), level)
    return float(losses[int(lower)]), float(losses[int(upper) + 1])
