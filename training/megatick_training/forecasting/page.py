"""The report of a fit: what was tried, what was taken, what it was worth later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.figure import Figure

from megatick_contract import HORIZONS_BARS, LEVELS
from megatick_training.evaluation.metrics import COVERAGES, REGIMES
from megatick_training.forecasting.choice import Trial
from megatick_training.forecasting.fitting import Fitted
from megatick_training.forecasting.judgement import Judged
from megatick_training.forecasting.periods import FOLDS
from megatick_training.reports import Section

_WIDEST = COVERAGES.index(max(COVERAGES))


def sections(fitted: Fitted) -> list[Section]:
    """The report's parts, in order."""
    return [
        Section("What came of it", text=_summary(fitted)),
        Section(
            "Coverage on later moves",
            text="Share of later moves inside the central intervals; in brackets the "
            "random walk's.  None of these moves was fitted or calibrated on.",
            table=coverage_table(fitted.judged),
            figure=_coverage_figure(fitted.judged),
        ),
        Section(
            f"The {COVERAGES[_WIDEST]:.0%} interval by volatility and by symbol",
            text="Thirds of each symbol's own volatility when the forecast was made; the "
            "lowest and the highest coverage of a symbol.",
            table=_regime_table(fitted.judged),
        ),
        Section(
            "Against the random walk",
            text="Mean pinball loss of the log return over the levels.  p is one-sided, of "
            "the Diebold-Mariano test on the dates' mean differences, with a Newey-West "
            "variance and the correction of Harvey, Leybourne and Newbold.",
            table=edge_table(fitted.judged),
        ),
        Section(
            "Candidates",
            text=f"Loss saved against the random walk, in %, walking forward through "
            f"{FOLDS} folds of the time that is fitted on.  * is chosen: the simplest that "
            "is within one standard error of the best.  A forced one is taken whatever is "
            "chosen.",
            table=candidates_table(fitted),
            figure=_folds_figure(fitted),
        ),
        Section(
            "The formula's numbers",
            text="quantile = volatility · √horizon · (q · exp(features · log_scale) + "
            "features · location)",
            table=_numbers_table(fitted),
        ),
    ]


def coverage_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row a set and horizon."""
    rows = []
    for each in judged:
        row: dict[str, object] = {
            "moves of": each.moves_of,
            "bars": each.horizon_bars,
            "moves": each.moves,
        }
        for ours, walk in zip(each.coverage, each.baseline_coverage, strict=True):
            row[f"{ours.nominal:.0%}"] = f"{ours.overall:.1%} ({walk.overall:.1%})"
        rows.append(row)
    return pd.DataFrame(rows)


def edge_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row a set and horizon; losses in 1/10,000 of a log return."""
    return pd.DataFrame(
        [
            {
                "moves of": each.moves_of,
                "bars": each.horizon_bars,
                "loss, 1e-4": round(each.loss * 1e4, 2),
                "random walk's": round(each.baseline_loss * 1e4, 2),
                "saved": f"{each.skill:+.2%}",
                "DM": round(each.test.statistic, 2),
                "p": f"{each.test.p_value:.4f}",
                "edge": each.edge,
            }
            for each in judged
        ]
    )


def candidates_table(fitted: Fitted) -> pd.DataFrame:
    """One row a candidate: the loss that it saved at each horizon.

    * marks the chosen, "forced" what was taken whatever the folds say.
    """
    table: dict[str, list[str]] = {
        "candidate": [trial.candidate.name for trial in fitted.trials[0]]
    }
    for bars, trials, chosen, taken in _horizons(fitted):
        walk = trials[0].losses.mean()
        table[f"{bars} bars"] = [
            f"{1 - trial.losses.mean() / walk:+.2%}"
            f"{' *' if trial is chosen else ''}"
            f"{' forced' if trial is taken and bars in fitted.forced else ''}"
            for trial in trials
        ]
    return pd.DataFrame(table)


def _horizons(
    fitted: Fitted,
) -> Iterator[tuple[int, Sequence[Trial], Trial, Trial]]:
    """Of each horizon: its bars, the trials, the chosen one and the one that was taken."""
    return zip(HORIZONS_BARS, fitted.trials, fitted.chosen, fitted.taken, strict=True)


def _summary(fitted: Fitted) -> str:
    lines = []
    for each in fitted.judged[: len(HORIZONS_BARS)]:
        verdict = "beats" if each.edge else "does not beat"
        lines.append(
            f"{each.horizon_bars} bars: it {verdict} the random walk (loss saved "
            f"{each.skill:+.2%}, p = {each.test.p_value:.4f}); its "
            f"{COVERAGES[_WIDEST]:.0%} interval covers "
            f"{each.coverage[_WIDEST].overall:.1%} of {each.moves:,} later moves."
        )
    for bars, _, chosen, taken in _horizons(fitted):
        if bars in fitted.forced:
            lines.append(
                f"{bars} bars: {taken.candidate.name!r} was forced and not chosen; walking "
                f"forward chose {chosen.candidate.name!r}."
            )
    held_out = ", ".join(sorted(fitted.periods.held_out)) or "none"
    lines.append(f"{fitted.forecaster.fitted_on}.  Symbols never seen: {held_out}.")
    return "\n\n".join(lines)


def _regime_table(judged: Sequence[Judged]) -> pd.DataFrame:
    rows = []
    for each in judged:
        ours, walk = each.coverage[_WIDEST], each.baseline_coverage[_WIDEST]
        row: dict[str, object] = {"moves of": each.moves_of, "bars": each.horizon_bars}
        for name in REGIMES:
            row[name] = f"{ours.by_regime[name]:.1%} ({walk.by_regime[name]:.1%})"
        shares = ours.by_symbol.values()
        row["symbols"] = f"{min(shares):.1%} to {max(shares):.1%}"
        rows.append(row)
    return pd.DataFrame(rows)


def _numbers_table(fitted: Fitted) -> pd.DataFrame:
    model = fitted.forecaster
    table: dict[str, list[object]] = {"number": []}
    table["number"] += [f"q at {level:g}" for level in LEVELS]
    table["number"] += [f"log_scale of {name}" for name in model.features]
    table["number"] += [f"location of {name}" for name in model.features]
    for index, bars in enumerate(HORIZONS_BARS):
        values = [*model.quantiles[index]]
        if model.features:
            values += [*model.log_scale[index], *model.location[index]]
        table[f"{bars} bars"] = [round(value, 4) for value in values]
    return pd.DataFrame(table)


def _coverage_figure(judged: Sequence[Judged]) -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    sets = list(dict.fromkeys(each.moves_of for each in judged))
    axes = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, sets, strict=True):
        axis.plot([0.4, 1], [0.4, 1], color="0.7", linewidth=1)
        for each in judged:
            if each.moves_of == name:
                axis.plot(
                    COVERAGES,
                    [coverage.overall for coverage in each.coverage],
                    marker="o",
                    label=f"{each.horizon_bars} bars",
                )
        axis.set(title=name, xlabel="said")
    axes[0].set_ylabel("covered")
    axes[0].legend(frameon=False)
    return figure


def _folds_figure(fitted: Fitted) -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots(1, len(HORIZONS_BARS), sharey=True)
    starts = [start for start, _ in fitted.periods.folds()]
    for axis, (bars, trials, _, taken) in zip(axes, _horizons(fitted), strict=True):
        for trial in trials[1:]:
            ours = trial is taken
            axis.plot(
                starts,
                100 * (1 - trial.losses / trials[0].losses),
                color="C0" if ours else "0.75",
                zorder=2 if ours else 1,
                marker="o" if ours else None,
            )
        axis.axhline(0, color="0.4", linewidth=1)
        axis.set_title(f"{bars} bars")
        axis.tick_params(axis="x", rotation=45)
    axes[0].set_ylabel("% of loss saved, by fold")
    return figure
