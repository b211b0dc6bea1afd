"""``megatick audit``: is the record of replies whole, and does a server repeat them?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from megatick_cli.connection import Connection, client_of, with_connection

if TYPE_CHECKING:
    from megatick_cli.audit_replay import Compared
    from megatick_server.audit import AuditKey, ChainReport

_TIMEOUT_S: Final = 120.0
_LISTED: Final = 20

audit = typer.Typer(
    no_args_is_help=True,
    help="Check what `megatick serve --audit` recorded, and repeat it (docs/audit.md).",
)

_Folder = Annotated[Path, typer.Argument(help="What `megatick serve --audit` wrote.")]
_KeyFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The key that it was given.", show_default=False),
]


@audit.command()
def verify(
    folder: _Folder,
    key_file: _KeyFile = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="HASH",
            help="One that `megatick audit head` printed and you kept elsewhere: it must "
            "still be there; may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check that no line of any chain was edited, removed, moved or added.

    Without the key, a chain whose end somebody wrote anew looks whole; without a head, so
    does one whose end was cut off, or a folder that lacks a chain.

    Exit status: 0 whole; 1 something is not as it was written (each line is named), or
    could not be checked; 2 bad usage.
    """
    from megatick_server.audit import verify_folder

    reports = verify_folder(folder, _key(key_file))
    console = Console(highlight=False, soft_wrap=True)
    for report in reports:
        _print(report, console)
    known = frozenset[str]().union(*(report.hashes for report in reports))
    absent = [head for head in heads or [] if head not in known]
    for head in absent:
        console.print(f"[red]✗[/] head {head}: no record has it: records were removed")
    if key_file is None:
        console.print("without the key, the seals were not checked", style="dim")
    if absent or any(report.findings for report in reports):
        raise typer.Exit(1)


@audit.command()
def head(folder: _Folder) -> None:
    """Print the last hash of each chain, to keep where the server's owner cannot write.

    Exit status: 0 printed; 1 the folder holds no chain; 2 bad usage.
    """
    from megatick_server.audit import verify_folder

    for report in verify_folder(folder):
        typer.echo(f"{report.head}  {report.chain}  {report.records} records")


@audit.command()
@with_connection
def replay(
    folder: _Folder,
    inputs: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="What was asked, of which the log holds HMACs alone: CSV, JSON lines or "
            "Parquet with columns `text`, `prices`, `sentiment_state`, `elapsed_s`, or "
            "texts one a line.",
        ),
    ],
    key_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The key that the server was given.")
    ],
    column: Annotated[str, typer.Option(metavar="NAME", help="Holds the texts.")] = "text",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Ask a server that runs.", show_default=False
        ),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(
            help="Or serve this model repository on a free port of loopback.",
            show_default=False,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            help="Largest difference of a probability or score that is none.",
            show_default="what the server states; 0.001 if it states none",
        ),
    ] = None,
    *,
    connection: Connection,
) -> None:
    """Ask what was recorded again, and compare with what was answered then.

    A record is matched with what was asked by its HMACs. Scores may move as far as
    --tolerance says, states and forecasts not at all.

    Exit status: 0 all that could be matched is the same; 1 something differs, nothing
    could be matched, or it failed; 2 bad usage.
    """
    from megatick_cli.audit_inputs import KnownInputs
    from megatick_cli.audit_replay import EXACT, replay_records
    from megatick_client.load import Tolerance
    from megatick_server.audit import read_records

    if (address is None) == (repository is None):
        raise typer.BadParameter("give --address or --repository, one of them")
    key = _key(key_file)
    assert key is not None  # noqa: S101  the option is required
    known = KnownInputs.read(inputs, key, column=column)
    console = Console(highlight=False, soft_wrap=True)
    with client_of(address, repository, connection, timeout_s=_TIMEOUT_S) as client:
        found = replay_records(read_records(folder), known, client)
        allowed = (
            Tolerance.of(client.score_tolerance())
            if tolerance is None
            else Tolerance(tolerance, "given")
        )
    differing = 0
    for noun, part, most, said, lack in (
        ("scores", found.scores, allowed.value, allowed, "have no text"),
        ("states", found.states, EXACT, EXACT, "have no earlier state, or its age,"),
        ("forecasts", found.forecasts, EXACT, EXACT, "have no prices, or no state,"),
    ):
        if not (part.compared or part.unmatched):
            continue
        worse = [each for each in part.compared if each.difference > most]
        _print_differing(worse, console)
        largest = max((each.difference for each in part.compared), default=0.0)
        console.print(
            f"{len(part.compared)} {noun} compared, {len(worse)} differ by more than "
            f"{said}, largest difference {largest:.2g}; {part.unmatched} {lack} in the file"
        )
        differing += len(worse)
    compared = (*found.scores.compared, *found.forecasts.compared)
    if not compared:
        console.print("nothing could be compared: no reply's inputs are in the file")
    for digest in sorted(found.other_digests):
        console.print(
            f"[yellow]![/] some were answered by another model, {digest}; this one is "
            f"{found.digest}"
        )
    if differing or not compared:
        raise typer.Exit(1)


def _print_differing(differing: Sequence[Compared], console: Console) -> None:
    for each in _listed(differing):
        console.print(
            f"[red]✗[/] {each.where}, row {each.row}: {each.output} differs by "
            f"{each.difference:.2g}: recorded {each.recorded}, now {each.now}"
        )
    if len(differing) > _LISTED:
        console.print(f"  and {len(differing) - _LISTED} more")


def _key(file: Path | None) -> AuditKey | None:
    from megatick_server.audit import AuditKey

    return None if file is None else AuditKey.read(file)


def _print(report: ChainReport, console: Console) -> None:
    good = not report.findings
    console.print(
        f"{'[green]✓[/]' if good else '[red]✗[/]'} {report.chain}: {report.records} records"
    )
    for finding in _listed(report.findings):
        console.print(f"  {finding.file.name}, line {finding.line}: {finding.problem}")
    if len(report.findings) > _LISTED:
        console.print(f"  and {len(report.findings) - _LISTED} more")
    if report.torn is not None:
        console.print(
            f"  {report.torn.file.name}, line {report.torn.line}: breaks off, as a kill in "
            "the middle of a write leaves it",
            style="dim",
        )
    if not report.ended:
        console.print(
            "  has no end: its server runs, was killed, or the end was cut off",
            style="dim",
        )
    if report.lost:
        console.print(f"  [yellow]{report.lost} replies were given without a record[/]")


def _listed(findings: Sequence[Any]) -> Sequence[Any]:
    return findings[:_LISTED]
