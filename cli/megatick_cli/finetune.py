"""``megatick finetune``: a Megatron checkpoint in, a fine-tuned one out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from megatick_cli.frames import print_frame
from megatick_cli.reading import ArchitectureFile, read_with_bar
from megatick_contract import LABELS

if TYPE_CHECKING:
    import torch

    from megatick_export import Checkpoint
    from megatick_export.tokenizer import PreparedTokenizer
    from megatick_training.finetuning import Look, Watcher
    from megatick_training.finetuning.job import Outcome
    from megatick_training.texts import AnyTexts, HeldBack

    Run = Callable[..., Outcome]

SplitChoice = Literal["group", "time", "symbol"]


def finetune(
    checkpoint: Annotated[Path, typer.Argument(help="Megatron checkpoint to begin with.")],
    train: Annotated[
        Path, typer.Option(help="Texts to train on: columns text, label.", dir_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new checkpoint.")],
    labels: Annotated[
        str | None,
        typer.Option(help='What other labels mean, as \'{"bullish": "positive"}\'.'),
    ] = None,
    dev: Annotated[
        Path | None,
        typer.Option(help="Texts to choose by.", show_default="held back of --train"),
    ] = None,
    test: Annotated[
        list[Path] | None, typer.Option(help="Texts that are only judged; repeatable.")
    ] = None,
    dev_share: Annotated[
        float,
        typer.Option(
            min=0.001, max=0.9, help="Held back to choose by, where --dev is not given."
        ),
    ] = 0.1,
    test_share: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Held back to be judged and for nothing else."),
    ] = 0.0,
    split_by: Annotated[
        SplitChoice,
        typer.Option(
            help="What is held back: groups of near-duplicates at random, the latest texts "
            "(column published_at), or symbols (column symbol); near-duplicates never part."
        ),
    ] = "group",
    embargo_days: Annotated[
        float,
        typer.Option(
            min=0,
            help="Leave out what was published less than this before what is held back, "
            "where labels are made of later prices; with --split-by time.",
        ),
    ] = 0.0,
    split: Annotated[
        str | None, typer.Option(help="Only rows of --test whose column split is this.")
    ] = None,
    train_split: Annotated[
        str | None, typer.Option(help="Only rows of --train whose column split is this.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer.", show_default="beside the checkpoint")
    ] = None,
    architecture: ArchitectureFile = None,
    continue_pretraining: Annotated[
        bool,
        typer.Option(
            "--continue-pretraining",
            help="Learn each next token of the column text instead; no labels.",
        ),
    ] = False,
    head_words: Annotated[
        str | None,
        typer.Option(
            help="Begin the head as these words' rows (negative, neutral, positive), "
            "parted by commas, each one token; a leading space counts."
        ),
    ] = None,
    lora_rank: Annotated[
        int, typer.Option(min=0, help="Of the adapters; 0 trains every weight.")
    ] = 16,
    epochs: Annotated[int, typer.Option(min=1, help="Most times to see each row.")] = 3,
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 32,
    max_batch_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens computed at once; bounds the memory.")
    ] = 2048,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest row, in tokens.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="After the warm-up.")] = 4e-4,
    symbol_dropout: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of rows that lose cashtags, hashtags, handles."
        ),
    ] = 0.0,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Weigh rare classes up.")
    ] = False,
    label_smoothing: Annotated[
        float,
        typer.Option(
            min=0, max=0.99, help="Share of each target spread over all classes alike."
        ),
    ] = 0.0,
    precision: Annotated[
        str,
        typer.Option(
            help="auto, fp32, bf16 or fp8 (auto: bf16 where the machine has it; fp8: on a "
            "GPU of compute capability 8.9 or more, with transformer_engine)."
        ),
    ] = "auto",
    evaluations: Annotated[int, typer.Option(min=1, help="Dev looks an epoch.")] = 2,
    patience: Annotated[int, typer.Option(min=1, help="Looks without a better one.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Of splits, order, dropout.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="this machine's")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for TensorBoard's events.")
    ] = None,
) -> None:
    """Fine-tune a checkpoint on labelled texts, and write a checkpoint to export.

    A run that was cut off goes on where it was when the same command is given again.

    Exit status: 0 done; 1 it cannot be (one message on stderr says why); 2 bad usage.
    """
    import torch
    from pydantic import ValidationError

    from megatick_export.tokenizer import prepare_tokenizer
    from megatick_training.finetuning import TrainingOptions
    from megatick_training.finetuning.job import Job

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        options = TrainingOptions(
            epochs=epochs,
            batch_rows=batch_rows,
            max_batch_tokens=max_batch_tokens,
            max_tokens=max_tokens,
            learning_rate=learning_rate,
            lora_rank=lora_rank,
            symbol_dropout=symbol_dropout,
            balanced=balanced,
            label_smoothing=label_smoothing,
            precision=_precision(precision, device),
            evaluations=evaluations,
            patience=patience,
            seed=seed,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(
            f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}"
        ) from error
    if embargo_days and split_by != "time":
        raise typer.BadParameter("--embargo-days goes with --split-by time")
    if continue_pretraining and (test or test_share):
        raise typer.BadParameter(
            "--continue-pretraining judges no labels: leave --test and --test-share out"
        )
    files = _Files(
        train=train,
        dev=dev,
        test=tuple(test or ()),
        train_split=train_split,
        test_split=split,
        labels=labels,
        split_by=split_by,
        dev_share=0.0 if dev else dev_share,
        test_share=test_share,
        embargo=timedelta(days=embargo_days),
        seed=seed,
    )
    held, run = (_pretraining if continue_pretraining else _classification)(files)
    read = read_with_bar(checkpoint, architecture)
    prepared = prepare_tokenizer(read, tokenizer, max_tokens=max_tokens)
    job = Job(
        checkpoint=_headed(read, prepared, head_words, continue_pretraining, seed),
        tokenizer=prepared,
        options=options,
        out=out,
        device=device,
        command=["megatick", *sys.argv[1:]],
        data={
            "training texts": train,
            **({"dev texts": dev} if dev else {}),
            **{f"judged texts: {name}": file for name, file in files.judged.items()},
        },
        split=str(held),
        notes={
            "head_words": head_words,
            "dev_share": dev_share,
            "test_share": test_share,
            "split_by": split_by,
            "embargo_days": embargo_days,
            "left_out": held.left_out,
        },
    )
    if held.left_out:
        Console(stderr=True).print(str(held), highlight=False)
    with _Bar() as bar:
        watcher = bar.watcher if tensorboard is None else _also(bar.watcher, tensorboard)
        outcome = run(job, watcher=watcher)
    _tell(outcome, out)


def _also(watcher: Watcher, folder: Path) -> Watcher:
    """Tell TensorBoard, too."""
    from megatick_training.finetuning import Watcher
    from megatick_training.finetuning.logs import TensorBoardLog

    log = TensorBoardLog(folder)

    def step(done: int, steps: int, loss: float) -> None:
        watcher.step(done, steps, loss)
        log.step(done, steps, loss)

    def look(look: Look) -> None:
        watcher.look(look)
        log.look(look)

    return Watcher(step, look)


def _precision(asked: str, device: torch.device) -> Literal["fp32", "bf16", "fp8"]:
    """Take bf16 where the matrix products are in hardware.

    Raises:
        Fp8Unavailable: fp8 is asked for where it cannot be had.
    """
    import torch

    from megatick_contract.cpu_engine import cpu_has_bf16

    if asked == "fp32":
        return "fp32"
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = cpu_has_bf16()
    match asked:
        case "auto":
            return "bf16" if has else "fp32"
        case "bf16" if not has:
            raise typer.BadParameter(
                f"this {device.type} has no bf16 arithmetic: leave --precision at auto, or "
                "take fp32"
            )
        case "bf16":
            return asked
        case "fp8":
            from megatick_training.finetuning.fp8 import require_fp8

            require_fp8(device)
            return asked
        case _:
            raise typer.BadParameter(
                f"--precision: expected auto, fp32, bf16 or fp8, found {asked}"
            )


def _headed(
    checkpoint: Checkpoint,
    tokenizer: PreparedTokenizer,
    head_words: str | None,
    continue_pretraining: bool,
    seed: int,
) -> Checkpoint:
    from megatick_training.finetuning import with_head, with_word_head

    if continue_pretraining:
        if checkpoint.architecture.kind != "gpt":
            raise typer.BadParameter(
                "--continue-pretraining: expected a GPT, found a BERT, which does not read "
                "from left to right"
            )
        return checkpoint
    if head_words is not None:
        return with_word_head(checkpoint, tokenizer.tokenizer, head_words.split(","))
    headed = with_head(checkpoint, seed=seed)
    if (rows := checkpoint.architecture.classes) and headed is not checkpoint:
        _warn(
            f"{checkpoint.path}: its classification head of {rows} rows is left out, "
            f"expected one of {len(LABELS)}: {', '.join(LABELS)}.  Training begins with a "
            "new head, small and random."
        )
    return headed


def _warn(what: str) -> None:
    Console(stderr=True).print(
        f"[yellow]warning:[/] {escape(what)}", highlight=False, soft_wrap=True
    )


@dataclass(frozen=True)
class _Files:
    """Where the texts come from, and what is held back of ``train``."""

    train: Path
    dev: Path | None
    test: tuple[Path, ...]
    train_split: str | None
    test_split: str | None
    labels: str | None
    split_by: SplitChoice
    dev_share: float
    test_share: float
    embargo: timedelta
    seed: int

    @property
    def judged(self) -> dict[str, Path]:
        """The files of ``test`` by their names, or by their paths where names are alike."""
        names = [file.name for file in self.test]
        return {
            file.name if names.count(file.name) == 1 else str(file): file
            for file in self.test
        }

    def hold_back(self, texts: AnyTexts) -> HeldBack[AnyTexts]:
        from megatick_training.texts import hold_back

        return hold_back(
            texts,
            self.split_by,
            dev=self.dev_share,
            test=self.test_share,
            seed=self.seed,
            embargo=self.embargo,
        )


def _classification(files: _Files) -> tuple[HeldBack[Any], Run]:
    """Read and part labelled texts; give what learns their classes."""
    from megatick_training.finetuning.job import run_finetuning
    from megatick_training.labelled_text import read_labelled_texts, read_synonyms

    synonyms = {} if files.labels is None else read_synonyms(files.labels)
    held = files.hold_back(
        read_labelled_texts(files.train, split=files.train_split, synonyms=synonyms)
    )
    shown = {LABELS[each] for each in held.train.classes}
    if absent := [label for label in LABELS if label not in shown]:
        _warn(f"no text to train on is {' or '.join(absent)}, so that none will be learnt")
    dev = read_labelled_texts(files.dev, synonyms=synonyms) if files.dev else held.dev
    judged_on = {"held back": held.test} if len(held.test) else {}
    judged_on |= {
        name: read_labelled_texts(file, split=files.test_split, synonyms=synonyms)
        for name, file in files.judged.items()
    }
    return held, partial(run_finetuning, train=held.train, dev=dev, judged_on=judged_on)


def _pretraining(files: _Files) -> tuple[HeldBack[Any], Run]:
    """Read and part plain texts; give what learns each next token."""
    from megatick_training.finetuning.job import run_pretraining
    from megatick_training.texts import read_texts

    held = files.hold_back(read_texts(files.train, split=files.train_split))
    dev = read_texts(files.dev) if files.dev else held.dev
    return held, partial(run_pretraining, train=held.train, dev=dev)


class _Bar(Progress):
    """Steps, loss and time left on stderr; each look at the dev rows stays as a line."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self.add_task("", total=None, loss="–")

    @property
    def watcher(self) -> Watcher:
        from megatick_training.finetuning import Watcher

        return Watcher(self._step, self._look)

    def _step(self, done: int, steps: int, loss: float) -> None:
        self.update(self._task, completed=done, total=steps, loss=f"{loss:.3f}")

    def _look(self, look: Look) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in look.said.items())
        self.console.print(
            f"epoch {look.epoch:.2f}: loss {look.loss:.4f}, "
            f"dev {look.dev_loss:.4f}, {figures}",
            highlight=False,
        )


def _tell(outcome: Outcome, out: Path) -> None:
    from megatick_training.finetuning.job import REPORT_FILE, judged_table

    if outcome.judged:
        print_frame("Judged (95 % intervals)", judged_table(outcome.judged))
    Console().print(
        f"[bold]{escape(str(out))}[/]: a checkpoint of step "
        f"{outcome.trained.checkpoint.iteration}, and {REPORT_FILE}; next: megatick export "
        f"{escape(str(out))} --out REPOSITORY",
        soft_wrap=True,
    )
