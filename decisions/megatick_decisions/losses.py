"""How large the losses of a portfolio may be: value at risk and expected shortfall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Float64Array = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
"""Of the intervals of a simulated value at risk."""


@dataclass(frozen=True)
class LossMeasures:
    """What a distribution of profit and loss comes to.

    All are in money, or in shares of the gross value, and a value at risk and an expected
    shortfall are losses: 100 is a loss of 100, and one below 0 a profit.

    Attributes:
        mean: expected profit (above 0) or loss (below 0).
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

    def share_of(self, gross: float) -> Self:
        """Divide by a gross value, money, above 0."""
        return type(self)(
            self.mean / gross,
            self.var_95 / gross,
            self.var_99 / gross,
            self.es_95 / gross,
            self.es_975 / gross,
        )


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
    """Give the smallest loss that outcomes exceed with a chance of at most 1 - level.

    Args:
        profits: float64, shape (outcomes,), equally likely, money.
        level: in (0, 1).
    """
    return float(np.quantile(-profits, level, method="inverted_cdf"))


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
    """Give the 95 % interval of a value at risk that antithetic pairs were drawn for.

    Its ends are order statistics.  How far their ranks stand apart follows from how much
    the number of losses above the value at risk varies from pair to pair: the two of a pair
    are not independent, so the binomial distribution would not do.

    Args:
        profits: float64, shape (draws,), in the order of ``antithetic_scores``, money.
        level: in (0, 1).

    Returns:
        The lower and the upper end, money, a loss above 0.

    Source:
        Order statistics as the ends: David and Nagaraja, "Order Statistics", 3rd edition
        (2003), chapter 7; here the pairs are the sample.
    """
    losses = -profits
    beyond = losses > value_at_risk(profits, level=level)
    pairs = beyond.reshape(2, -1).sum(axis=0)  # 0, 1 or 2 each
    deviation = np.sqrt(len(pairs) * pairs.var())
    reach = ndtri((1 + CONFIDENCE) / 2) * deviation
    rank = level * len(losses)
    ends = np.clip([np.floor(rank - reach), np.ceil(rank + reach)], 1, len(losses))
    lower, upper = np.partition(losses, ends.astype(int) - 1)[ends.astype(int) - 1]
    return float(lower), float(upper)
