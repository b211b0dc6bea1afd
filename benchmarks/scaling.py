"""How the engine's time grows: with tokens, with texts, with the model.

    python benchmarks/scaling.py REPOSITORY... [--rounds 5]

Cost should grow with real tokens alone, whatever lengths they come in.  All sizes take
turns in every round.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import Row, Subject, median, read_texts

LENGTHS: Final = (5, 10, 20, 25, 40, 80, 160, 320, 512)
TEXTS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


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
        found = {
            "subject": subject.about(),
            "one_text": of_one_text(subject, rounds),
            "headlines": of_headlines(subject, rounds),
        }
        measured.append(found)
        console.print(table_of(found))
        del subject
    console.print(f"wrote {write(name, {'models': measured}, out=out)}")


def of_one_text(subject: Subject, rounds: int) -> list[dict[str, float]]:
    """Time one text of each length that the model reads."""
    draw = np.random.default_rng(0)
    sizes: dict[int, list[Row]] = {
        length: [draw.integers(0, 200, length).astype(np.int32)]
        for length in LENGTHS
        if length <= subject.settings.max_tokens
    }
    return timed(subject, sizes, rounds)


def of_headlines(subject: Subject, rounds: int) -> list[dict[str, float]]:
    """Time headlines as they come, more and more of them."""
    rows = subject.rows(read_texts(None, max(TEXTS)))
    return timed(subject, {count: rows[:count] for count in TEXTS}, rounds)


def timed(
    subject: Subject, sizes: dict[int, list[Row]], rounds: int
) -> list[dict[str, float]]:
    """Time rows of every size, in turns."""
    took_s: dict[int, list[float]] = {size: [] for size in sizes}
    for rows in sizes.values():
        subject.run(rows)
    for _ in track(range(rounds), transient=True):
        for size, rows in sizes.items():
            took_s[size].append(subject.run(rows))
    return [
        {
            "texts": len(rows),
            "tokens": sum(map(len, rows)),
            "ms": 1e3 * median(took_s[size]),
            "us_per_token": 1e6 * median(took_s[size]) / sum(map(len, rows)),
        }
        for size, rows in sizes.items()
    ]


def table_of(found: dict[str, Any]) -> Table:
    """Show one model's figures."""
    table = Table("texts", "tokens", "ms", "µs a token", title=str(found["subject"]))
    for kind in ("one_text", "headlines"):
        for each in found[kind]:
            table.add_row(
                f"{each['texts']}",
                f"{each['tokens']}",
                f"{each['ms']:.1f}",
                f"{each['us_per_token']:.0f}",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    typer.run(main)
