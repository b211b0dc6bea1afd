"""The first calls of a server that says it is ready, against the thousandth.

    python benchmarks/first_call.py REPOSITORY [--starts 3] [--calls 1000]

One call at a time, each of one text of one length: the first after the server is ready, the
second, and so on.  Then lengths that this server has never seen, each against later calls
of that same length.  Every start is a fresh server, since there is one first call in each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import tritonclient.grpc as triton
import typer
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts
from tail import ask

from megatick_server.launcher import ServeOptions, TritonServer

NEW_LENGTHS: Final = (11, 29, 47, 83)
_LATER: Final = 20
_LAST: Final = 101
_OUTPUTS: Final = ("PROBABILITIES", "SCORE", "TOKENS", "TRUNCATED")


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    tokens: Annotated[int, typer.Option(help="Of the usual text.")] = 25,
    starts: Annotated[int, typer.Option(min=1, help="Of the server.")] = 3,
    calls: Annotated[int, typer.Option(min=_LAST, help="Of the usual length.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "first_call",
) -> None:
    """Measure the first calls, and the first of a new length."""
    subject = Subject.of(repository)
    usual = text_of(subject, tokens)
    window = subject.settings.max_tokens
    unseen = [
        text_of(subject, each) for each in NEW_LENGTHS if each <= window and each != tokens
    ]
    about = subject.about()
    del subject
    found = [one_start(repository, usual, unseen, calls) for _ in range(starts)]
    figures: dict[str, Any] = {
        "tokens": tokens,
        "calls": calls,
        "first_over_last": median([each["first_over_last"] for each in found]),
        "new_length_over_later": median(
            [each["over_later"] for start in found for each in start["new_lengths"]]
        ),
        "starts": found,
        "subject": about,
    }
    console = Console()
    console.print(table_of(found))
    console.print(f"first call over the last ones: {figures['first_over_last']:.2f}")
    console.print(f"a new length over later ones: {figures['new_length_over_later']:.2f}")
    console.print(f"wrote {write(name, figures, out=out)}")


def text_of(subject: Subject, tokens: int) -> str:
    """Cut running headlines to just that many tokens."""
    words = " ".join(read_texts(None, 200)).split()
    for first in range(len(words)):
        for end in range(first + 1, len(words) + 1):
            text = " ".join(words[first:end])
            length = len(subject.rows([text])[0])
            if length == tokens:
                return text
            if length > tokens:
                break
    raise typer.BadParameter(f"no headline can be cut to {tokens} tokens: give another")


def one_start(
    repository: Path, usual: str, unseen: Sequence[str], calls: int
) -> dict[str, Any]:
    """Start a server and time its calls from the first."""
    options = ServeOptions(grpc_port=0, metrics_port=None)
    with (
        TritonServer(repository, options) as server,
        triton.InferenceServerClient(server.endpoints.grpc) as client,
    ):
        client.is_server_ready()  # connects, so that the first call need not
        took_ms = list(timed(client, usual, calls))
        new = [list(timed(client, text, 1 + _LATER)) for text in unseen]
    last_ms = median(took_ms[-_LAST:])
    return {
        "first_ms": took_ms[:10],
        "last_ms": last_ms,
        "first_over_last": took_ms[0] / last_ms,
        "new_lengths": [
            {
                "first_ms": first,
                "later_ms": median(later),
                "over_later": first / median(later),
            }
            for first, *later in new
        ],
    }


def timed(client: triton.InferenceServerClient, text: str, calls: int) -> Iterator[float]:
    """Call with one text after another; gives the milliseconds of each."""
    for _ in range(calls):
        started_s = time.perf_counter()
        ask(client, "sentiment", text, _OUTPUTS)
        yield 1e3 * (time.perf_counter() - started_s)


def table_of(found: Sequence[dict[str, Any]]) -> Table:
    """Show every start."""
    table = Table(
        *("first ms", "second", "tenth", f"median of the last {_LAST}"),
        *("new lengths: first over later",),
    )
    for start in found:
        table.add_row(
            *(f"{start['first_ms'][number]:.1f}" for number in (0, 1, 9)),
            f"{start['last_ms']:.1f}",
            ", ".join(f"{each['over_later']:.2f}" for each in start["new_lengths"]),
        )
    return table


if __name__ == "__main__":
    typer.run(main)
