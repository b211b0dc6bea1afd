"""The command line: its sub-commands, and how an error ends the process.

Every sub-command is one module with one function.  The modules import what they run
inside that function, so ``megatick --help`` loads neither torch nor the server.
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from megatick_cli.audit import audit
from megatick_cli.batch import batch
from megatick_cli.brief import brief
from megatick_cli.build_engine import build_engine
from megatick_cli.clean import clean
from megatick_cli.collect import collect
from megatick_cli.demo.command import demo
from megatick_cli.doctor import doctor
from megatick_cli.evaluate import evaluate
from megatick_cli.evaluate_sentiment import evaluate_sentiment
from megatick_cli.evaluate_stocknet import evaluate_stocknet
from megatick_cli.export import export
from megatick_cli.finetune import finetune
from megatick_cli.fit_forecaster import fit_forecaster
from megatick_cli.health import health
from megatick_cli.inspect import inspect
from megatick_cli.loadtest import loadtest
from megatick_cli.replay import replay
from megatick_cli.score import score
from megatick_cli.serve import serve
from megatick_cli.verify import verify
from megatick_contract import MegatickError

app = typer.Typer(
    name="megatick",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"megatick {metadata.version('megatick')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Serve a Megatron-LM checkpoint with Triton: export it, host it, call it."""


app.command()(demo)
app.command()(inspect)
app.command()(finetune)
app.command()(export)
app.command()(build_engine)
app.command()(fit_forecaster)
app.command()(verify)
app.command()(evaluate)
app.command()(evaluate_sentiment)
app.command()(evaluate_stocknet)
app.command()(serve)
app.command()(health)
app.command()(score)
app.command()(brief)
app.add_typer(audit, name="audit")
app.add_typer(batch, name="batch")
app.command()(replay)
app.command()(loadtest)
app.add_typer(collect, name="collect")
app.command()(clean)
app.command()(doctor)


def main() -> None:
    """Run the command; exit 1 with one message on an error that we foresaw."""
    try:
        app()
    except MegatickError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(
            f"this command needs package {error.name!r}, which is not installed: "
            "pip install 'megatick[all]'"
        )
    except OSError as error:
        _fail(f"{error.filename or 'this machine'}: {error.strerror or error}")


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(1)
