"""``megatick brief``: what the served answers mean for those who decide."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from megatick_cli.bar_closes import MIDNIGHT, Clock, CloseTime, clock, closed_at, named
from megatick_cli.connection import Connection, client_of, with_connection
from megatick_cli.frames import finite, print_frame
from megatick_cli.out_file import require_folder

if TYPE_CHECKING:
    from megatick_client import Client
    from megatick_decisions.backtest import RiskBacktest
    from megatick_decisions.briefing import Brief
    from megatick_decisions.impact import EventStudy
    from megatick_decisions.known import Known
    from megatick_decisions.one_model import OneModel
    from megatick_decisions.risk import PortfolioRisk, SimulatedRisk

BACKTEST_BARS: Final = 250
"""So many are tested where nothing is said."""

_TIMEOUT_S: Final = 120.0
_SERVER: Final = "The server"
_PORTFOLIO: Final = "Portfolio and risk"


@with_connection
def brief(
    prices: Annotated[
        Path,
        typer.Option(
            help="Closes: CSV, JSON lines (also .gz, .zst) or Parquet; long (symbol, date, "
            "close, perhaps adj_close) or wide (date, a column a symbol)."
        ),
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="Page to write (HTML).")],
    news: Annotated[
        Path | None,
        typer.Option(
            help="Texts (symbol, published_at with its zone, text), as `megatick collect` "
            "gathers them; with a column score, as `megatick batch` gives it, they are not "
            "scored again."
        ),
    ] = None,
    holdings: Annotated[
        Path | None,
        typer.Option(
            help="What is held: symbol, and quantity or value, below 0 where short; and "
            "perhaps currency, the same for all.",
            show_default="1,000 of each symbol",
            rich_help_panel=_PORTFOLIO,
        ),
    ] = None,
    backtest_bars: Annotated[
        int,
        typer.Option(
            min=0,
            help="Bars gone by whose risk is forecast too, and set beside what came; 0 for "
            "none.",
            rich_help_panel=_PORTFOLIO,
        ),
    ] = BACKTEST_BARS,
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Only these symbols.")
    ] = None,
    close_time: CloseTime = MIDNIGHT,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD[THH:MM[:SS]]",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            help="Nothing later is read, UTC.",
            show_default="the last close or text",
        ),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="A server that runs.", rich_help_panel=_SERVER
        ),
    ] = "127.0.0.1:8001",
    repository: Annotated[
        Path | None,
        typer.Option(
            help="Or serve what `megatick export` wrote, for as long as it takes.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    connection: Connection,
) -> None:
    """Write a page for decisions: prices, mood, impact of news, portfolio and risk.

    Exit status: 0 written; 1 it could not be (one message on stderr says why); 2 bad usage.
    """
    if connection and repository is not None:
        raise typer.BadParameter("a server that is started here is not protected")
    console = Console(stderr=True)
    require_folder(out)
    files = Files(prices, news, holdings)
    with console.status("reading …"):
        known = files.read(symbols=named(symbols), closes_at=clock(close_time), as_of=as_of)
    with client_of(address, repository, connection, timeout_s=_TIMEOUT_S) as client:
        made, known = write_brief(
            client,
            known,
            out,
            files=files,
            backtest_bars=backtest_bars,
            command=("megatick", *sys.argv[1:]),
            console=console,
        )
    if made.risk is None:
        console.print(f"no risk: {made.why_no_risk}", highlight=False)
    elif made.backtest is None and backtest_bars:
        console.print(f"no backtest: {made.why_no_backtest}", highlight=False)
    if as_json:
        typer.echo(_json(made, known))
        return
    _print(made, known)
    console.print(f"[green]✓[/] {escape(str(out))}", highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Files:
    """What a brief is made of.

    Attributes:
        prices: as ``read_prices`` reads them.
        news: as ``read_headlines`` reads them, or None.
        holdings: as ``read_holdings`` reads them, or None.
    """

    prices: Path
    news: Path | None = None
    holdings: Path | None = None

    def read(
        self,
        *,
        symbols: Sequence[str] = (),
        closes_at: Clock,
        as_of: datetime | None = None,
    ) -> Known:
        """Read them, as of a moment; bars that are dates close at that time."""
        from megatick_decisions.known import know
        from megatick_training.headlines import Headlines, read_headlines
        from megatick_training.prices import read_prices

        headlines = Headlines.none() if self.news is None else read_headlines(self.news)
        prices = read_prices(self.prices, symbols=symbols)
        traded = prices.bars.get("close")
        return know(
            closed_at(prices.closes, closes_at),
            headlines.about(symbols) if symbols else headlines,
            holdings=self.holdings,
            traded=None if traded is None else closed_at(traded, closes_at),
            currencies=prices.currencies,
            as_of=as_of,
        )


def write_brief(
    client: Client,
    known: Known,
    out: Path,
    *,
    files: Files,
    backtest_bars: int,
    command: Sequence[str],
    console: Console,
) -> tuple[Brief, Known]:
    """Ask the server, and write the page.

    Args:
        client: of the server.
        known: what was read.
        out: page to write.
        files: that it was read from.
        backtest_bars: as ``make_brief`` takes them.
        command: that the page names.
        console: for progress and notices.

    Returns:
        The brief, and what it was made of, scored.

    Raises:
        AnotherModel: the server was given another model meanwhile; no page is written.
    """
    from megatick_decisions.briefing import make_brief
    from megatick_decisions.one_model import OneModel
    from megatick_decisions.page.sections import sections
    from megatick_training.reports import write_report

    model = OneModel()
    known = _scored(client, known, model, console)
    with console.status("asking …") as status:
        made = make_brief(
            client,
            known,
            backtest_bars=backtest_bars,
            model=model,
            progress=lambda doing: status.update(f"{doing} …"),
        )
    write_report(
        out,
        title=f"Brief as of {known.as_of:%Y-%m-%d %H:%M} UTC",
        command=command,
        data={what: file for what, file in vars(files).items() if file is not None},
        sections=sections(made, known),
    )
    return made, known


def _scored(client: Client, known: Known, model: OneModel, console: Console) -> Known:
    """Have the server score the texts that have no score yet."""
    from megatick_decisions.asking import score_texts

    texts = known.headlines.unscored
    if not texts:
        return known
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"scoring {len(texts):,} texts", total=len(texts))
        scores = score_texts(
            client,
            texts,
            model=model,
            progress=lambda done: progress.advance(task, done),
        )
    if len(scores) < len(texts):
        console.print(
            f"{len(texts) - len(scores)} of {len(texts):,} texts were refused and are left "
            "out: too long, or no text at all",
            highlight=False,
        )
    return known.with_scores(scores)


def _print(made: Brief, known: Known) -> None:
    from megatick_decisions.page import (
        backtest_table,
        holdings_table,
        impact_table,
        mood_table,
        price_table,
        risk_table,
    )
    from megatick_decisions.page.sections import in_short

    Console(highlight=False).print("\n".join(in_short(made, known)), markup=False)
    print_frame(
        "Price prediction (returns in %)",
        price_table(made.outlook, known.values, beside=False),
    )
    if len(known.headlines):
        print_frame("Market mood", mood_table(made.mood, known.headlines, texts=False))
    if made.impact is not None and len(made.impact.events):
        print_frame("News impact (returns in %)", impact_table(made.impact))
    if made.risk is not None:
        print_frame("Portfolio", holdings_table(made.risk, known.values))
        print_frame("Risk", risk_table(made.risk))
    if made.backtest is not None:
        print_frame("Backtest", backtest_table(made.backtest))


def _json(made: Brief, known: Known) -> str:
    """The figures of the page; one that does not exist is null."""
    outlook, now = made.outlook, made.mood.market.iloc[-1]
    document = {
        "as_of_utc": known.as_of.isoformat(),
        "model_digest": made.model_digest,
        "symbols_without_closes": known.without_closes,
        "symbols_without_width": outlook.without_width,
        "texts_without_closes": known.unpriced,
        "horizons_bars": outlook.horizons_bars,
        "edge": outlook.edge.tolist(),
        "edge_p_value": outlook.edge_p_value.tolist(),
        "levels": outlook.levels,
        "forecasts": [
            {
                "symbol": symbol,
                "last_price": outlook.last_price[row],
                "last_at_utc": outlook.last_at[row].isoformat(),
                "p_up": outlook.p_up[row].tolist(),
                "quantiles": outlook.quantiles[row].tolist(),
                "baseline_quantiles": outlook.baseline_quantiles[row].tolist(),
            }
            for row, symbol in enumerate(outlook.symbols)
        ],
        "mood": now.to_dict() | {"by_symbol": made.mood.symbols.iloc[-1].to_dict()},
        "impact": None if made.impact is None else _impact(made.impact),
        "risk": None if made.risk is None else _risk(made.risk, known.currency),
        "backtest": None if made.backtest is None else _backtest(made.backtest),
    }
    return json.dumps(finite(document), indent=2)


def _impact(study: EventStudy) -> dict[str, object]:
    return {
        "groups": [asdict(each) for each in study.groups],
        "rank_correlations": {
            name: asdict(each) for name, each in study.rank_correlations.items()
        },
        "market_adjusted": study.market_adjusted,
    }


def _risk(risk: PortfolioRisk, currency: str) -> dict[str, object]:
    def simulated(each: SimulatedRisk) -> dict[str, object]:
        return asdict(each.measures) | {
            "var_95_interval": each.var_95_interval,
            "var_99_interval": each.var_99_interval,
            "components": each.components.to_dict(),
            "diversification": each.diversification,
        }

    return {
        "currency": currency or None,
        "gross_value": risk.gross_value,
        "net_value": risk.net_value,
        "scenarios": len(risk.scenarios_at),
        "horizons": [
            {
                "horizon_bars": each.horizon_bars,
                "forecast": simulated(each.forecast),
                "baseline": simulated(each.baseline),
                "historical": each.historical and asdict(each.historical),
            }
            for each in risk.horizons
        ],
    }


def _backtest(backtest: RiskBacktest) -> dict[str, object]:
    return {"var_95": asdict(backtest.var_95), "var_99": asdict(backtest.var_99)}
