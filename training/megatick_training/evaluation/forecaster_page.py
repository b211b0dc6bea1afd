"""The report of a forecaster's judgement, as sections of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from megatick_training.evaluation.ablations import Ablations
from megatick_training.evaluation.forecaster_judgement import AtHorizon, Invested
from megatick_training.evaluation.investment import Excess, Performance
from megatick_training.evaluation.metrics import REGIMES
from megatick_training.reports import Section


def sections(
    horizons: Sequence[AtHorizon],
    invested: Invested,
    *,
    judged: str,
    ablations: Ablations | None = None,
) -> list[Section]:
    """The report's parts, in order.

    Args:
        horizons: the judgement.
        invested: the rule's.
        judged: what was judged, in words.
        ablations: of its family, if they were asked for.
    """
    parts = [
        Section("What came of it", text=f"{judged}\n\n{_verdicts(horizons)}"),
        Section(
            "Against its competitors",
            text="Mean pinball loss and CRPS of the log return, in 1/10,000, on the "
            "forecasts that both made.  p is one-sided, of the Diebold-Mariano test that "
            "our pinball loss is the smaller; a date's symbols count as one.",
            table=versus_table(horizons),
        ),
        Section(
            "Price",
            text="Errors of the median forecast of the price.",
            table=price_table(horizons),
        ),
        Section(
            "Coverage",
            text="Share of outcomes inside the central intervals.  Calm, middle and stormy "
            "are the thirds of a symbol's own volatility when the forecast was made.",
            table=coverage_table(horizons),
            figure=_coverage_figure(horizons),
        ),
        Section("Coverage by symbol", table=symbols_table(horizons)),
        Section(
            "Direction",
            text="Of forecasts whose P(up) is not exactly one half.  Standard errors count "
            "a date's symbols as one, and know that moves overlap.",
            table=direction_table(horizons),
        ),
        Section(
            "Investment",
            text=f"{_rule(invested)}  In brackets 95 % intervals of a stationary "
            "bootstrap; a Sharpe ratio has none where a resample's returns never vary, as "
            "of a rule that is seldom in.",
            table=investment_table(invested),
        ),
    ]
    if ablations is not None:
        parts.append(
            Section(
                "Ablations",
                text="The forecaster's family, refitted before each fifth of the judged "
                "dates, with and without some of its features.  Mean pinball loss in "
                "1/10,000; DM is below 0 where a variant's loss is smaller than that of "
                "the family as it is, and p is one-sided, that it is.\n\n"
                + "\n\n".join(ablations.notices),
                table=ablations_table(ablations),
            )
        )
    return parts


def ablations_table(ablations: Ablations) -> pd.DataFrame:
    """One row a horizon and variant."""
    none = float("nan")
    return pd.DataFrame(
        [
            {
                "bars": each.horizon_bars,
                "family": each.name,
                "features": len(each.features),
                "forecasts": each.forecasts,
                "pinball": each.pinball * 1e4,
                "DM": each.test.statistic if each.test else none,
                "p": each.test.p_value if each.test else none,
            }
            for each in ablations.variants
        ]
    )


def versus_table(horizons: Sequence[AtHorizon]) -> pd.DataFrame:
    """One row a horizon and competitor."""
    return pd.DataFrame(
        [
            {
                "bars": each.horizon_bars,
                "against": name,
                "forecasts": versus.ours.forecasts,
                "pinball": versus.ours.pinball * 1e4,
                "theirs": versus.theirs.pinball * 1e4,
                "CRPS": versus.ours.crps * 1e4,
                "their CRPS": versus.theirs.crps * 1e4,
                "DM": versus.test.statistic,
                "p": versus.test.p_value,
            }
            for each in horizons
            for name, versus in each.versus.items()
        ]
    )


def price_table(horizons: Sequence[AtHorizon]) -> pd.DataFrame:
    """One row a horizon and forecaster."""
    return pd.DataFrame(
        [
            {
                "bars": each.horizon_bars,
                "of": scores.name,
                "forecasts": scores.forecasts,
                "MSE": scores.price.mse,
                "MAE": scores.price.mae,
                "MAPE, %": scores.price.mape * 100,
            }
            for each in horizons
            for scores in (each.scores, *(versus.theirs for versus in each.versus.values()))
        ]
    )


def coverage_table(horizons: Sequence[AtHorizon]) -> pd.DataFrame:
    """One row a horizon and interval, in %."""
    rows = []
    for each in horizons:
        for coverage in each.scores.coverage:
            by_symbol = coverage.by_symbol.values()
            row: dict[str, object] = {
                "bars": each.horizon_bars,
                "said": f"{coverage.nominal:.0%}",
                "covered": coverage.overall * 100,
            }
            regimes = coverage.by_regime
            row |= {name: regimes.get(name, float("nan")) * 100 for name in REGIMES}
            row |= {
                "lowest symbol": min(by_symbol) * 100,
                "highest symbol": max(by_symbol) * 100,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def symbols_table(horizons: Sequence[AtHorizon]) -> pd.DataFrame:
    """One row a symbol, a column a horizon and interval, in %."""
    columns = {
        f"{each.horizon_bars} bars, {coverage.nominal:.0%}": coverage.by_symbol
        for each in horizons
        for coverage in each.scores.coverage
    }
    table = pd.DataFrame(columns).mul(100)
    return table.rename_axis("symbol").reset_index()


def direction_table(horizons: Sequence[AtHorizon]) -> pd.DataFrame:
    """One row a horizon."""
    return pd.DataFrame(
        [
            {
                "bars": each.horizon_bars,
                "calls": each.direction.calls,
                "accuracy": each.direction.accuracy,
                "± SE": each.direction.accuracy_se,
                "MCC": each.direction.mcc,
                "± SE of MCC": each.direction.mcc_se,
            }
            for each in horizons
        ]
    )


def investment_table(invested: Invested) -> pd.DataFrame:
    """The rule, holding, and the difference of their returns."""
    lines: Mapping[str, Performance | Excess] = {
        "the rule": invested.ours,
        "always held": invested.held,
        "rule less held": invested.excess,
    }
    rows = []
    for name, each in lines.items():
        row: dict[str, object] = {
            "": name,
            "a year, %": _with_interval(
                each.annual_return * 100,
                [100 * end for end in each.annual_return_interval],
            ),
            "Sharpe": _with_interval(each.sharpe, each.sharpe_interval),
        }
        if isinstance(each, Performance):
            row |= {
                "largest fall, %": each.max_drawdown * 100,
                "turnover a year": each.turnover,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _with_interval(value: float, ends: Sequence[float]) -> str:
    if value != value:  # NaN: returns that never vary have no Sharpe ratio
        return "–"
    if ends[0] != ends[0]:
        return f"{value:.2f} (–)"
    return f"{value:.2f} ({ends[0]:.2f} to {ends[1]:.2f})"


def _verdicts(horizons: Sequence[AtHorizon]) -> str:
    return "\n\n".join(_verdict(each) for each in horizons)


def _verdict(each: AtHorizon) -> str:
    beaten = [name for name, versus in each.versus.items() if versus.test.p_value <= 0.05]
    widest = each.scores.coverage[-1]
    return (
        f"{each.horizon_bars} bars, {each.scores.forecasts:,} forecasts on {each.dates:,} "
        f"dates: beats {', '.join(beaten) or 'none of its competitors'} at p ≤ 0.05; its "
        f"{widest.nominal:.0%} intervals cover {widest.overall:.1%}."
    )


def _rule(invested: Invested) -> str:
    rule = invested.rule
    short = ", short below its mirror" if rule.below == "short" else ", else out"
    return (
        f"Long where P(up) at one bar exceeds {0.5 + rule.threshold:g}{short}; the same "
        f"wealth in each symbol, {rule.cost_bps:g} basis points of what is traded.  A "
        "position decided at a close earns from the next bar on."
    )


def _coverage_figure(horizons: Sequence[AtHorizon]) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots(1, len(horizons), sharey=True, squeeze=False)[0]
    for axis, each in zip(axes, horizons, strict=True):
        said = [coverage.nominal for coverage in each.scores.coverage]
        axis.plot([min(said), 1], [min(said), 1], color="0.7", linewidth=1)
        for name in REGIMES:
            covered = [c.by_regime.get(name, float("nan")) for c in each.scores.coverage]
            axis.plot(said, covered, marker="o", label=name)
        axis.set(title=f"{each.horizon_bars} bars", xlabel="said")
    axes[0].set_ylabel("covered")
    axes[0].legend(frameon=False)
    return figure
