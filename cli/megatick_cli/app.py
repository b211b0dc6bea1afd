"""The command line: its sub-commands, and how an error ends the process.

Every sub-command is one module with one function.  The modules import what they run
inside that function, so ``megatick --help`` loads neither torch nor the server.
"""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated, Final, NoReturn

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


_BEGIN: Final = "Start here"
_EXPORT: Final = "Export a checkpoint"
_SERVE: Final = "Serve it"
_CALL: Final = "Call it"
_LOAD: Final = "Test it under load"
_MAKE: Final = "Make a model and a forecaster"

app.command(rich_help_panel=_BEGIN)(demo)
app.command(rich_help_panel=_BEGIN)(doctor)
app.command(rich_help_panel=_EXPORT)(inspect)
app.command(rich_help_panel=_EXPORT)(export)
app.command(rich_help_panel=_EXPORT)(build_engine)
app.command(rich_help_panel=_EXPORT)(verify)
app.command(rich_help_panel=_SERVE)(serve)
app.command(rich_help_panel=_SERVE)(health)
app.add_typer(audit, name="audit", rich_help_panel=_SERVE)
app.command(rich_help_panel=_CALL)(score)
app.add_typer(batch, name="batch", rich_help_panel=_CALL)
app.command(rich_help_panel=_CALL)(brief)
app.command(rich_help_panel=_LOAD)(loadtest)
app.command(rich_help_panel=_LOAD)(replay)
app.add_typer(collect, name="collect", rich_help_panel=_MAKE)
app.command(rich_help_panel=_MAKE)(clean)
app.command(rich_help_panel=_MAKE)(finetune)
app.command(rich_help_panel=_MAKE)(fit_forecaster)
app.command(rich_help_panel=_MAKE)(evaluate)
app.command(rich_help_panel=_MAKE)(evaluate_sentiment)
app.command(rich_help_panel=_MAKE)(evaluate_stocknet)


def main() -> None:
    """Run the command; exit 1 with one message on an error that we foresaw."""
    for word in sys.argv[1:]:
        if any("\ud800" <= each <= "\udfff" for each in word):  # bytes that Python kept
            _fail(f"expected UTF-8, found other bytes in {word!r}: rename the file", 2)
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


def _fail(message: str, status: int = 1) -> NoReturn:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(status)
