"""``megatick export``: a checkpoint into a model repository, with its evidence."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatick_cli.reading import ArchitectureFile, read_with_bar
from megatick_contract import LABELS

if TYPE_CHECKING:
    from megatick_export import Receipt

TargetChoice = Literal["cpu", "tensorrt", "onnx"]
PrecisionChoice = Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"]
PRECISION_HELP = (
    "Of the served model; auto measures every one that the target has on this machine, and "
    "takes the fastest that keeps the labels and the score."
)
TOKENIZER_HELP = (
    "tokenizer.json, SentencePiece .model or WordPiece vocab.txt; or a folder with one of "
    "these, or with GPT-2's vocab.json and merges.txt."
)


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Megatron checkpoint: the tracker file's folder, or one iteration's."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Model repository to write; must not exist.")],
    target: Annotated[
        TargetChoice,
        typer.Option(
            help="cpu: OpenVINO behind Triton; tensorrt: a repository whose engine "
            "`megatick build-engine` builds on its GPU; onnx: the bare graph and its "
            "tokenizer."
        ),
    ] = "cpu",
    precision: Annotated[PrecisionChoice, typer.Option(help=PRECISION_HELP)] = "auto",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Texts to calibrate and measure on: CSV, JSON lines or Parquet with the "
            "column text and perhaps label, or .txt with a text a line.",
            show_default="512 invented headlines",
        ),
    ] = None,
    flip_budget: Annotated[
        float, typer.Option(min=0, max=1, help="Share of labels that may change.")
    ] = 0.002,
    score_budget: Annotated[
        float,
        typer.Option(
            min=0, max=2, help="Mean change that the score, in [-1, 1], may take."
        ),
    ] = 0.01,
    fp8_attention: Annotated[
        bool,
        typer.Option(
            "--fp8-attention",
            help="With fp8: attention's products as well; a TensorRT engine then computes "
            "attention over --max-tokens for every row.",
        ),
    ] = False,
    architecture: ArchitectureFile = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help=TOKENIZER_HELP, show_default="beside the checkpoint"),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(help="What the head's rows mean, in the checkpoint's own order."),
    ] = ",".join(LABELS),
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Take the classes from the model's own next word: a text with {text} in "
            r"it, \n for a new line, such as 'Headline: {text}\nSentiment:'.",
            show_default="the checkpoint's classification head",
        ),
    ] = None,
    verbalizers: Annotated[
        str | None,
        typer.Option(help="With --prompt: the word that means each label, in order."),
    ] = None,
    embedding: Annotated[
        bool,
        typer.Option(
            "--embedding",
            help="Give the pooled hidden state too: as the model `embedding` (cpu, "
            "tensorrt), or as the graph's second output (onnx).",
        ),
    ] = False,
    forecaster: Annotated[
        Path | None,
        typer.Option(help="Forecaster file.", show_default="the shipped one"),
    ] = None,
    max_tokens: Annotated[
        int,
        typer.Option(
            min=1, help="Longest text to read, in tokens; the model's window bounds it."
        ),
    ] = 512,
    max_batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most tokens in one run of the engine.",
            show_default="512, for tensorrt 4096",
        ),
    ] = None,
) -> None:
    """Export a checkpoint to a model repository that `megatick serve` hosts.

    The float32 graph is held to a reference network on 64 ragged rows, and each precision
    to the float32 graph on the texts, before anything is left at --out.  The figures,
    hashes and versions are in its receipt.json and receipt.html.

    Exit status: 0 written; 1 failed, and nothing is left at --out (one message on stderr
    says why); 2 bad usage.
    """
    from megatick_export import ExportOptions, export_repository
    from megatick_export.errors import OptionsError
    from megatick_export.repository import require_new
    from megatick_server.forecast import load_forecaster

    console = Console()
    try:
        options = ExportOptions(
            target=target,
            tokenizer=tokenizer,
            forecaster=forecaster,
            labels=_split(labels),
            prompt=None if prompt is None else prompt.replace(r"\n", "\n"),
            verbalizers=None if verbalizers is None else _split(verbalizers),
            embedding=embedding,
            precision=precision,
            calibration=calibration,
            flip_budget=flip_budget,
            score_budget=score_budget,
            fp8_attention=fp8_attention,
            max_tokens=max_tokens,
            max_batch_tokens=max_batch_tokens,
        )
    except OptionsError as error:
        raise typer.BadParameter(
            f"expected {error.expected}, found {error.found!r}",
            param_hint=f"--{error.option.replace('_', '-')}",
        ) from error
    if forecaster is not None:
        load_forecaster(forecaster)  # refuse here what the server would refuse later
    require_new(out)
    read = read_with_bar(checkpoint, architecture)
    with console.status("exporting …") as status:
        receipt = export_repository(
            read,
            out,
            options=options,
            command=("megatick", *sys.argv[1:]),
            progress=lambda stage: status.update(f"{stage} …"),
        )
    console.print(parity_line(receipt), style="dim")
    console.print(trials_table(receipt))
    texts = receipt.evaluation["texts"]
    if calibration is not None and 0 < texts * flip_budget < 1:
        console.print(
            f"[yellow]warning:[/] of {texts} texts one that flips is already "
            f"{1 / texts:.2%}: they cannot show what keeps within the budget of "
            f"{flip_budget:.2%}.  It takes {math.ceil(1 / flip_budget):,} or more."
        )
    following = {
        "cpu": f"megatick serve {out}",
        "tensorrt": f"megatick build-engine {out}, on its GPU",
        "onnx": f"load {out / 'model.onnx'}",
    }[target]
    console.print(
        f"[green]✓[/] {escape(str(out))}  [dim]next: {escape(following)}[/]", soft_wrap=True
    )


def parity_line(receipt: Receipt) -> str:
    """The float32 graph's evidence in one line."""
    return "; ".join(
        f"{each.engine}: max |Δlogit| {each.max_abs_diff:.1e}, {each.label_flips} of "
        f"{each.rows} labels flip"
        for each in receipt.parity
    )


def trials_table(receipt: Receipt) -> Table:
    """Every precision that was tried."""
    texts = f"{receipt.evaluation['texts']} texts ({receipt.evaluation['source']})"
    table = Table(title=f"Against float32, on {texts}", title_justify="left")
    table.add_column("precision")
    table.add_column("flips", justify="right")
    table.add_column("mean Δ score", justify="right")
    table.add_column("accuracy", justify="right")
    if receipt.embedding:
        table.add_column("smallest cosine", justify="right")
    table.add_column("texts/s", justify="right")
    table.add_column("MB", justify="right")
    table.add_column("verdict")
    for trial in receipt.trials:
        errors = trial.errors
        kept = [f"kept in float32: {', '.join(trial.float32)}"] if trial.float32 else []
        if trial.layers_16_bit:
            kept.append(f"{len(trial.layers_16_bit)} layers kept in 16 bits")
        embedding = [] if trial.embedding is None else [f"{trial.embedding.min_cosine:.6f}"]
        table.add_row(
            trial.precision,
            str(errors.label_flips),
            f"{errors.score_error:.1e}",
            "–" if errors.accuracy is None else f"{errors.accuracy:.3f}",
            *embedding,
            "–" if trial.texts_per_s is None else f"{trial.texts_per_s:.0f}",
            f"{trial.graph_bytes / 1e6:.1f}",
            "; ".join([trial.verdict, *kept]),
        )
    return table


def trial_lines(receipt: Receipt) -> list[str]:
    """Each precision in a line."""
    lines = []
    for trial in receipt.trials:
        speed = "" if trial.texts_per_s is None else f"{trial.texts_per_s:.0f} texts/s, "
        lines.append(f"{trial.precision}: {speed}{trial.verdict}")
    return lines


def _split(given: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.split(","))
