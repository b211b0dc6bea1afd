"""How long answers take as more and more texts are offered, up to what the server bears.

    python benchmarks/offered_rate.py REPOSITORY [--seconds 15]

Open loop, one text a call, at the times of a Poisson process; a call's latency counts from
when it was due.  Rates are shares of the bare engine's own, measured beside each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client.load import ReplayOptions, Texts, poisson, replay, sentiment_calls
from megatick_server.launcher import ServeOptions, TritonServer

SHARES: Final = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0)
_PATIENT_S: Final = 120.0


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each rate.")] = 15.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "offered_rate",
) -> None:
    """Measure p50, p90 and p99 at each rate."""
    subject = Subject.of(repository)
    told = read_texts(texts, 1000)
    rows = subject.rows(told)
    calls = sentiment_calls(Texts(tuple(told)))
    options = ReplayOptions(
        timeout_s=_PATIENT_S,
        slo_s=_PATIENT_S,
        score_tolerance=subject.score_tolerance,
    )
    subject.run(rows[:64])
    rates: list[dict[str, float]] = []
    raw: list[float] = []
    with TritonServer(repository, ServeOptions(grpc_port=0, metrics_port=None)) as server:
        for share in SHARES:
            raw.append(256 / subject.run(rows[:256]))
            offered = share * median(raw)
            found = replay(
                poisson(offered, seconds, seed=1),
                calls,
                server.endpoints.grpc,
                options=options,
            )
            rates.append(
                {
                    "share_of_raw": share,
                    "offered_per_s": found.offered_per_s,
                    "answered_per_s": found.answered_per_s,
                    "p50_ms": found.from_due.p50_ms,
                    "p90_ms": found.from_due.p90_ms,
                    "p99_ms": found.from_due.p99_ms,
                    "send_lag_p99_ms": found.lag.p99_ms,
                }
            )
    figures: dict[str, Any] = {
        "raw_per_s": median(raw),
        "seconds": seconds,
        "rates": rates,
        "subject": subject.about(),
    }
    table = Table("of the engine's", "texts/s", "p50 ms", "p90 ms", "p99 ms")
    for each in rates:
        table.add_row(
            f"{each['share_of_raw']:.2f}",
            f"{each['offered_per_s']:.1f}",
            *(f"{each[which]:.0f}" for which in ("p50_ms", "p90_ms", "p99_ms")),
        )
    console = Console()
    console.print(table)
    console.print(f"wrote {write(name, figures, out=out)}")


if __name__ == "__main__":
    typer.run(main)
