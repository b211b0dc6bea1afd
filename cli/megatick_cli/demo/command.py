"""``megatick demo``: make the default model, export it, serve it, call it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.console import Console
from rich.status import Status

from megatick_cli.export import PRECISION_HELP, parity_line, trial_lines
from megatick_contract.repository import RECEIPT_FILE

if TYPE_CHECKING:
    from megatick_cli.demo.report import Answer
    from megatick_cli.demo.sample import Sample

PrecisionChoice = Literal["auto", "fp32", "bf16", "int8"]

_MARK: Final = ".megatick-demo"
_MIN_WIDTH: Final = 100
_TIMEOUT_S: Final = 60.0


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoint, the repository, the result.")
    ] = Path("build/demo"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server up until Ctrl+C.")
    ] = False,
    precision: Annotated[PrecisionChoice, typer.Option(help=PRECISION_HELP)] = "auto",
) -> None:
    """Do the whole journey on the default model, and print what the server answered.

    SmolLM2-135M becomes a Megatron-core checkpoint, is exported to a packed ONNX graph,
    proven to be the same model, hosted by the real Triton behind an ensemble, and asked
    over gRPC about 12 invented headlines and the real closes of 12 stocks.  Nothing is
    downloaded.  What an earlier run left in the folder is replaced.

    Exit status: 0 done, and no server left running; 1 a stage failed (one message on
    stderr says which and why); 2 bad usage.
    """
    from megatick_cli.demo.report import table, verdict, write_json
    from megatick_cli.demo.sample import load_samples
    from megatick_cli.serving import run_until_signalled
    from megatick_export import ExportOptions, export_repository
    from megatick_server.launcher import ServeOptions, TritonServer
    from megatick_server.launcher.endpoints import choose_endpoints
    from megatick_training.default_model import write_default_checkpoint

    console = _console()
    clock = _StageClock(console)
    serving = ServeOptions() if keep else ServeOptions(grpc_port=0, metrics_port=None)
    choose_endpoints(serving)  # a port that is taken is told before minutes are spent
    samples = load_samples()
    claim_folder(out)
    checkpoint, repository = out / "checkpoint", out / "repository"
    for old in (checkpoint, repository):
        shutil.rmtree(old, ignore_errors=True)
    result = out / "result.json"
    result.unlink(missing_ok=True)

    with clock.stage("Megatron-core checkpoint of SmolLM2-135M"):
        write_default_checkpoint(checkpoint)
    with clock.stage("packed ONNX graph, proven, in a precision that keeps it") as stage:
        receipt = export_repository(
            checkpoint,
            repository,
            options=ExportOptions(precision=precision),
            progress=stage.detail,
        )
        stage.note(parity_line(receipt))
        for line in trial_lines(receipt):
            stage.note(line)
    server = TritonServer(repository, serving)
    try:
        with clock.stage(
            f"Triton with {len(server.repository.models)} models, on loopback"
        ):
            server.start()
            server.wait_ready()
        with clock.stage(f"{len(samples)} calls of market_view"):
            answers = _ask(samples, server.endpoints.grpc)
        with clock.stage("brief of prices, mood, portfolio and risk"):
            page = _brief(samples, out, server.endpoints.grpc, repository)
        write_json(result, answers, repository=repository, seconds=clock.seconds)

        console.print()
        console.print(table(answers))
        console.print(verdict(answers))
        console.print(f"Values: {result}   evidence: {repository / RECEIPT_FILE}")
        console.print(f"For decisions: {page}, as `megatick brief` writes it")
        if not keep:
            console.print(f"Next: megatick serve {repository}", soft_wrap=True)
        if keep:
            run_until_signalled(server, console)
    finally:
        server.stop()


def claim_folder(out: Path) -> None:
    """Make the demo's folder, or recognise it; never replace what is not the demo's own.

    Raises:
        typer.BadParameter: the path is taken by something else.
    """
    mark = out / _MARK
    if mark.is_file():
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise typer.BadParameter(
            f"{out} holds something that the demo did not make: choose another folder",
            param_hint="--out",
        )
    out.mkdir(parents=True, exist_ok=True)
    mark.write_text("Made by `megatick demo`, which replaces what is in here.\n")


def _console() -> Console:
    """A console wide enough for the table where the output is not a terminal."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _MIN_WIDTH)
    return console


def _ask(samples: list[Sample], address: str) -> list[Answer]:
    """Ask about each sample in a call of its own, after one call to warm up."""
    from megatick_cli.demo.report import Answer
    from megatick_client import Client

    with Client(address, timeout_s=_TIMEOUT_S) as client:
        client.market_view(samples[0].headline, samples[0].closes)
        answers = []
        for sample in samples:
            started = time.perf_counter()
            view = client.market_view(sample.headline, sample.closes)
            latency_ms = (time.perf_counter() - started) * 1e3
            answers.append(Answer(sample, view, latency_ms))
        return answers


def _brief(samples: list[Sample], out: Path, address: str, repository: Path) -> Path:
    """Write the page that `megatick brief` would, and name the command that does."""
    from megatick_cli.bar_closes import clock
    from megatick_cli.brief import BACKTEST_BARS, Files, write_brief
    from megatick_cli.demo.sample import CLOSE_TIME, write_tables
    from megatick_client import Client

    prices, headlines = write_tables(samples, out)
    files, page = Files(prices, headlines), out / "brief.html"
    options = {
        "prices": prices,
        "news": headlines,
        "close-time": CLOSE_TIME,
        "repository": repository,
        "out": page,
    }
    with Client(address, timeout_s=_TIMEOUT_S) as client:
        write_brief(
            client,
            files.read(closes_at=clock(CLOSE_TIME)),
            page,
            files=files,
            backtest_bars=BACKTEST_BARS,
            command=["megatick", "brief", *(f"--{k}={v}" for k, v in options.items())],
            console=Console(quiet=True),
        )
    return page


class _StageClock:
    """Prints each stage with the seconds it took, and keeps them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[_Stage]:
        """Time a stage, with a spinner while it lasts."""
        started = time.perf_counter()
        with self._console.status(f"{name} …") as status:
            stage = _Stage(name, status)
            yield stage
        self.seconds[name] = time.perf_counter() - started
        self._console.print(f"[green]✓[/] {name}  [dim]{self.seconds[name]:.1f} s[/]")
        for line in stage.notes:
            self._console.print(f"  [dim]{line}[/]")


class _Stage:
    """A stage at work."""

    def __init__(self, name: str, status: Status) -> None:
        self._name = name
        self._status = status
        self.notes: list[str] = []

    def detail(self, text: str) -> None:
        """Show what the stage is at."""
        self._status.update(f"{self._name}: {text} …")

    def note(self, line: str) -> None:
        """Print a line under the stage when it is done."""
        self.notes.append(line)
