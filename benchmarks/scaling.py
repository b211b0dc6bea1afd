"""How the engine's time grows: with tokens, with texts, with the model.

    python benchmarks/scaling.py REPOSITORY... [--rounds 5]

Cost should grow with real tokens alone, whatever lengths they come in: twice the tokens,
twice the time.  Mixes of lengths are doubled by running every row twice as often.  All
sizes take turns in every round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from mixes import mixed_lengths, rows_of
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import Row, Subject, median, read_texts

LENGTHS: Final = (5, 10, 20, 25, 40, 80, 160, 320, 512)
TEXTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MIX_TOKENS: Final = 1024
"""Of each mix before it is doubled, about: enough to keep every core busy."""

TIMES: Final = (1, 2, 4, 8)
NEAR: Final = 1.75
"""Sizes that differ by less than this factor tell noise rather than growth."""


def main(
    repositories: Annotated[list[Path], typer.Argument(help="Small model first.")],
    rounds: Annotated[int, typer.Option(help="Turns of every size.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "scaling",
) -> None:
    """Measure each repository's engine by itself."""
    console = Console()
    measured = []
    for repository in repositories:
        subject = Subject.of(repository)
        found = {"subject": subject.about()} | of_all_sizes(subject, rounds)
        measured.append(found)
        console.print(table_of(found))
        del subject
    console.print(f"wrote {write(name, {'models': measured}, out=out)}")


def of_all_sizes(subject: Subject, rounds: int) -> dict[str, Any]:
    """Time one text, headlines, and mixes of lengths, of more and more tokens."""
    window = subject.settings.max_tokens
    headlines = subject.rows(read_texts(None, max(TEXTS)))
    mixes = {
        mix: [rows_of(lengths) * times for times in TIMES]
        for mix, lengths in mixes_of(window).items()
    }
    found = timed(
        subject,
        {
            "one_text": [rows_of([length]) for length in LENGTHS if length <= window],
            "headlines": [headlines[:count] for count in TEXTS],
            **mixes,
        },
        rounds,
    )
    growths = [each["time_per_doubling"] for mix in mixes for each in found[mix][1:]]
    return {
        "one_text": found["one_text"],
        "headlines": found["headlines"],
        "mixes": {mix: found[mix] for mix in mixes},
        "mixes_furthest_from_twice": max(growths, key=lambda growth: abs(growth - 2)),
    }


def mixes_of(window: int) -> dict[str, list[int]]:
    """Lengths of each mix, of about ``MIX_TOKENS`` together."""
    short, usual, long = 10, min(25, window), min(320, window)
    pairs = max(1, MIX_TOKENS // (short + long))
    mixed = mixed_lengths(MIX_TOKENS, window=window)
    return {
        f"all of {usual} tokens": [usual] * (MIX_TOKENS // usual),
        f"{short} and {long} tokens": [short, long] * pairs,
        f"{mixed[0]} to {mixed[-1]} tokens": mixed,
    }


def timed(
    subject: Subject, series: Mapping[str, Sequence[list[Row]]], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Time every size of every series, in turns."""
    took_s: dict[str, list[list[float]]] = {
        name: [[] for _ in sizes] for name, sizes in series.items()
    }
    for sizes in series.values():
        for rows in sizes:
            subject.run(rows)  # the first is not counted
    for _ in track(range(rounds), transient=True):
        for name, sizes in series.items():
            for rows, taken in zip(sizes, took_s[name], strict=True):
                taken.append(subject.run(rows))
    return {name: points(sizes, took_s[name]) for name, sizes in series.items()}


def points(
    sizes: Sequence[list[Row]], took_s: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """Tell of each size its time, and how time grew from a smaller one.

    ``time_per_doubling`` is by what time would be multiplied where tokens double: where
    they grew by another factor, the root or power of it that fits.  It is the median of
    the turns' own, from the last size before that is not ``NEAR``; None where there is
    none.
    """
    found: list[dict[str, Any]] = []
    for rows, taken in zip(sizes, took_s, strict=True):
        tokens = sum(map(len, rows))
        smaller = [
            number for number, each in enumerate(found) if tokens >= NEAR * each["tokens"]
        ]
        growth = None
        if smaller:
            before = smaller[-1]
            doublings = float(np.log2(tokens / found[before]["tokens"]))
            growth = median(
                [
                    (now_s / before_s) ** (1 / doublings)
                    for now_s, before_s in zip(taken, took_s[before], strict=True)
                ]
            )
        found.append(
            {
                "texts": len(rows),
                "tokens": tokens,
                "ms": 1e3 * median(taken),
                "us_per_token": 1e6 * median(taken) / tokens,
                "time_per_doubling": growth,
            }
        )
    return found


def table_of(found: dict[str, Any]) -> Table:
    """Show one model's figures."""
    table = Table(
        *("", "texts", "tokens", "ms", "µs a token", "time when tokens double"),
        title=str(found["subject"]),
    )
    series = {"one text": found["one_text"], "headlines": found["headlines"]}
    for name, sizes in (series | found["mixes"]).items():
        for each in sizes:
            growth = each["time_per_doubling"]
            table.add_row(
                name,
                f"{each['texts']}",
                f"{each['tokens']}",
                f"{each['ms']:.1f}",
                f"{each['us_per_token']:.0f}",
                "" if growth is None else f"x {growth:.2f}",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    typer.run(main)
