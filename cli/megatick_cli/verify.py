"""``megatick verify``: is a repository still the model that was exported?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from megatick_cli.connection import Connection, with_connection

if TYPE_CHECKING:
    from megatick_client import Client
    from megatick_export.evidence import EmbeddingProbe
    from megatick_export.verification import Answers, Drift, EmbeddingAnswers, Exported

    Asked = Answers | EmbeddingAnswers

_TIMEOUT_S: Final = 120.0
_ALONE: Final = 8
_TOGETHER: Final = "served, many texts a request"
_APART: Final = f"served, {_ALONE} texts alone"


@with_connection
def verify(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Ask a server that runs already.",
            show_default="start one on a free port of loopback",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    connection: Connection,
) -> None:
    """Hash a repository's files again, and ask the served model what it answered at export.

    The answers are those of the float32 reference to invented headlines, and its embeddings
    where there are some; they may differ by twice what the chosen precision was measured to
    change there.
    A repository that has changed is not run: its files may be anyone's.

    Exit status: 0 all as exported; 1 something differs, or could not be verified; 2 bad
    usage.
    """
    from megatick_export.errors import RepositoryError
    from megatick_export.verification import changed_files, read_exported

    if connection and address is None:
        raise typer.BadParameter(
            "give --address as well: a server that is started here is not protected"
        )
    console = Console()
    exported = read_exported(repository)
    if exported.target == "onnx" and address is not None:
        raise typer.BadParameter("a bare graph is not served", param_hint="--address")
    with console.status("hashing …"):
        drifts = changed_files(exported)
    runs_here = not drifts and exported.target != "tensorrt"
    answers: list[Asked] = []
    if address is not None or runs_here:
        with console.status("asking the model …"):
            answers = _ask(exported, address, connection)
    _report(console, drifts, answers, as_json=as_json)
    if drifts or not all(each.good for each in answers):
        raise typer.Exit(1)
    if not answers:
        raise RepositoryError(
            repository,
            "its files are as exported; what it answers was not verified: a TensorRT "
            "repository is asked with --address HOST:PORT, once it is served on its GPU",
        )


def _ask(exported: Exported, address: str | None, connection: Connection) -> list[Asked]:
    """Ask a running server, or one that is started for it; a bare graph is run."""
    if address is not None:
        return _ask_at(address, exported, connection)
    if exported.target == "onnx":
        from megatick_export.verification import ask_graph

        return ask_graph(exported)
    from megatick_server.launcher import ServeOptions, TritonServer

    options = ServeOptions(grpc_port=0, metrics_port=None)
    with TritonServer(exported.path, options) as server:
        return _ask_at(server.endpoints.grpc, exported, connection)


def _ask_at(address: str, exported: Exported, connection: Connection) -> list[Asked]:
    """Send the probe in full requests, and some of its texts alone."""
    from megatick_client import Client
    from megatick_export.errors import RepositoryError

    probe = exported.probe
    with Client(
        address,
        timeout_s=_TIMEOUT_S,
        tls=connection.tls,
        headers=connection.headers,
    ) as client:
        digest = client.score(probe.texts[0], timings=True).reply.model_digest
        if digest != exported.model_digest:
            raise RepositoryError(
                exported.path,
                f"the server at {address} serves another model: expected the digest "
                f"{exported.model_digest}, found {digest}",
            )
        asked: list[Asked] = [*_ask_scores(client, exported)]
        if probe.embedding is not None:
            asked += _ask_embeddings(client, probe.texts, probe.embedding)
    return asked


def _ask_scores(client: Client, exported: Exported) -> list[Answers]:
    import numpy as np

    from megatick_client import Sentiments
    from megatick_export.verification import compare_answers

    texts = exported.probe.texts
    together = client.score(list(texts)).probabilities.astype(np.float32)
    scored = Sentiments(tuple(client.score(text) for text in texts[:_ALONE]))
    alone = scored.probabilities.astype(np.float32)
    mixed = np.concatenate([alone, together[len(alone) :]])
    return [
        compare_answers(_TOGETHER, together, exported),
        compare_answers(_APART, mixed, exported),
    ]


def _ask_embeddings(
    client: Client, texts: Sequence[str], probe: EmbeddingProbe
) -> list[EmbeddingAnswers]:
    import numpy as np

    from megatick_export.verification import compare_embeddings

    together = client.embed(list(texts[: len(probe.values)])).values
    alone = np.stack([client.embed(text).values for text in texts[:_ALONE]])
    mixed = np.concatenate([alone, together[len(alone) :]])
    return [
        compare_embeddings(_TOGETHER, together, probe),
        compare_embeddings(_APART, mixed, probe),
    ]


def _report(
    console: Console, drifts: tuple[Drift, ...], asked: list[Asked], *, as_json: bool
) -> None:
    from megatick_export.verification import Answers, EmbeddingAnswers

    answers = [each for each in asked if isinstance(each, Answers)]
    embeddings = [each for each in asked if isinstance(each, EmbeddingAnswers)]
    if as_json:
        document = {
            "files": [asdict(each) for each in drifts],
            "answers": [{**asdict(each), "good": each.good} for each in answers],
            "embeddings": [{**asdict(each), "good": each.good} for each in embeddings],
        }
        print(json.dumps(document, indent=2))  # noqa: T201 rich would wrap it
        return
    for each in drifts:
        console.print(f"[red]✗[/] {each.what} {each.problem}", highlight=False)
        console.print(f"  expected {each.expected or 'no such file'}", style="dim")
        console.print(f"  found    {each.found or 'no such file'}", style="dim")
    if not drifts:
        console.print("[green]✓[/] every file is as exported")
    if not answers:
        console.print("  its answers were not asked for", style="dim")
        return
    console.print(_answers_table(answers))
    if embeddings:
        console.print(_embeddings_table(embeddings))


def _answers_table(answers: list[Answers]) -> Table:
    table = _table("Probabilities", "labels that flip")
    for answer in answers:
        table.add_row(
            answer.asked,
            str(answer.texts),
            f"{answer.max_probability_error:.1e}",
            f"{answer.tolerance:.1e}",
            str(answer.label_flips),
            _mark(good=answer.good),
        )
    return table


def _embeddings_table(embeddings: list[EmbeddingAnswers]) -> Table:
    table = _table("Embeddings", "smallest cosine")
    for answer in embeddings:
        table.add_row(
            answer.asked,
            str(answer.texts),
            f"{answer.max_abs_diff:.1e}",
            f"{answer.tolerance:.1e}",
            f"{answer.min_cosine:.6f}",
            _mark(good=answer.good),
        )
    return table


def _table(title: str, figure: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("asked", "texts", "max |Δ|", "allowed", figure, ""):
        table.add_column(column, justify="left" if column in ("asked", "") else "right")
    return table


def _mark(*, good: bool) -> str:
    return "[green]✓[/]" if good else "[red]✗ drifted[/]"
