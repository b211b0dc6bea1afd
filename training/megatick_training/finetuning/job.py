"""A whole run, from files to a folder: checkpoint, tokenizer, adapter, figures, report.

OUT/iter_0000468/ …          the Megatron checkpoint, and the tracker that names it
OUT/tokenizer.json           as it was trained with
OUT/adapter.safetensors      low-rank adapters and head, half precision
OUT/finetune.json            command, data hashes, options, figures
OUT/looks.csv                every look at the dev rows
OUT/report.html              the same to read
OUT/training.state           only until the run is done
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from safetensors.torch import save
from sklearn.metrics import ConfusionMatrixDisplay

from megatick_contract import LABELS
from megatick_export import reference_network
from megatick_export.checkpoint import Checkpoint
from megatick_export.evaluation import probabilities
from megatick_export.hashes import sha256
from megatick_export.packed import PackedClassifier
from megatick_export.tokenizer import PreparedTokenizer, tokenized
from megatick_training.evaluation.sentiment import SentimentJudgement, judge
from megatick_training.finetuning.finetune import (
    STATE_FILE,
    Trained,
    Watcher,
    continue_pretraining,
    finetune,
)
from megatick_training.finetuning.folder import (
    CARD_FILE,
    kept_for_one_run,
    write_weights,
)
from megatick_training.finetuning.fp8 import PACKAGE as FP8_PACKAGE
from megatick_training.finetuning.logs import looks_table
from megatick_training.finetuning.options import TrainingOptions
from megatick_training.finetuning.tasks import classified
from megatick_training.labelled_text import LabelledTexts
from megatick_training.near_duplicates import LEAKING_RESEMBLANCE
from megatick_training.reports import Section, write_report
from megatick_training.texts import Texts, repeating

ADAPTER_FILE: Final = "adapter.safetensors"
LOOKS_FILE: Final = "looks.csv"
REPORT_FILE: Final = "report.html"
_JUDGED_TOKENS: Final = 4096
_REPEATING: Final = "near-duplicates of train"
_PACKAGES: Final = ("megatick", "numpy", "tokenizers", "torch")


@dataclass(frozen=True)
class Job:
    """What a run is made of, and where it goes.

    Attributes:
        checkpoint: with the head that training begins with.
        tokenizer: the checkpoint's.
        options: how to train.
        out: folder to write; made if need be.
        device: where to train.
        command: that asked for it, a word an item.
        data: the files that the texts come from, by what they are for.
        split: how texts were held back, in a sentence for the report.
        notes: what else is worth keeping with the figures, for JSON.
    """

    checkpoint: Checkpoint
    tokenizer: PreparedTokenizer
    options: TrainingOptions
    out: Path
    device: torch.device
    command: Sequence[str]
    data: Mapping[str, Path]
    split: str
    notes: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        trained: its weights and looks.
        folder: the iteration that was written.
        judged: of each set of texts by name; empty for language.
    """

    trained: Trained
    folder: Path
    judged: Mapping[str, SentimentJudgement]


def run_finetuning(
    job: Job,
    *,
    train: LabelledTexts,
    dev: LabelledTexts,
    judged_on: Mapping[str, LabelledTexts],
    watcher: Watcher,
) -> Outcome:
    """Fine-tune, judge, and write everything.

    Args:
        job: the run.
        train: to train on.
        dev: to choose the best look and the temperature by.
        judged_on: by name, texts that nothing was chosen by.
        watcher: told how it goes.

    Raises:
        MegatickError: the state, the data or the folder is not what it should be.
    """
    with kept_for_one_run(job.out):
        trained = finetune(
            job.checkpoint,
            job.tokenizer.tokenizer,
            train=train,
            dev=dev,
            options=job.options,
            state=job.out / STATE_FILE,
            device=job.device,
            watcher=watcher,
        )
        sets = {"dev (chosen by)": dev, **judged_on}
        network = reference_network(trained.checkpoint).to(job.device)
        classifier = PackedClassifier(network)
        judged = {name: _judged(job, classifier, each) for name, each in sets.items()}
        return _finished(job, trained, judged, {"train": train, **sets})


def run_pretraining(job: Job, *, train: Texts, dev: Texts, watcher: Watcher) -> Outcome:
    """Go on with pre-training on plain texts, and write everything; as above."""
    with kept_for_one_run(job.out):
        trained = continue_pretraining(
            job.checkpoint,
            job.tokenizer.tokenizer,
            train=train,
            dev=dev,
            options=job.options,
            state=job.out / STATE_FILE,
            device=job.device,
            watcher=watcher,
        )
        return _finished(job, trained, {}, {"train": train, "dev": dev})


def _judged(
    job: Job, classifier: PackedClassifier, texts: LabelledTexts
) -> SentimentJudgement:
    rows = tokenized(
        job.tokenizer.tokenizer, texts.texts, max_tokens=job.options.max_tokens
    )
    logits = classified(
        classifier, rows, max_batch_tokens=_JUDGED_TOKENS, device=job.device
    )
    return judge(texts.classes, probabilities(logits))


def _finished(
    job: Job,
    trained: Trained,
    judged: Mapping[str, SentimentJudgement],
    sets: Mapping[str, Texts],
) -> Outcome:
    """Write what there is to write; the state goes last."""
    out = job.out
    folder = write_weights(trained, out)
    job.tokenizer.write(out / "tokenizer.json")
    if trained.adapter is not None:
        tensors = {name: part.contiguous() for name, part in trained.adapter.items()}
        (out / ADAPTER_FILE).write_bytes(save(tensors))
    texts = texts_table(sets)
    looks = looks_table(trained.looks)
    looks.to_csv(out / LOOKS_FILE, index=False)
    packages = (*_PACKAGES, *([FP8_PACKAGE] if job.options.precision == "fp8" else []))
    card = {
        "command": list(job.command),
        "made_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "from": {file.name: sha256(file) for file in job.checkpoint.files},
        "data": {
            what: {"file": file.name, "sha256": sha256(file)}
            for what, file in job.data.items()
        },
        "rows": {name: len(each) for name, each in sets.items()},
        "repeating_train": dict(zip(sets, texts[_REPEATING].tolist(), strict=True)),
        "labels": list(LABELS),
        "options": job.options.model_dump(),
        "best_step": trained.checkpoint.iteration - job.checkpoint.iteration,
        "training_s": round(trained.looks[-1].elapsed_s, 1),
        "temperature": trained.temperature,
        "judged": {name: asdict(each) for name, each in judged.items()},
        "versions": {name: metadata.version(name) for name in packages},
        "threads": torch.get_num_threads(),
        **job.notes,
    }
    (out / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    write_report(
        out / REPORT_FILE,
        title="Fine-tuning" if judged else "Continued pre-training",
        command=job.command,
        data=job.data,
        sections=_sections(job, texts, looks, judged, card),
    )
    (out / STATE_FILE).unlink()
    return Outcome(trained, folder, judged)


def texts_table(sets: Mapping[str, Texts]) -> pd.DataFrame:
    """One row a set of texts, those that are trained on first."""
    train, *others = sets.values()
    repeats = 0, *repeating(train, *others)
    table = pd.DataFrame(
        {
            "texts": name,
            "rows": len(each),
            "from": None if each.published_at is None else each.published_at.min(),
            "until": None if each.published_at is None else each.published_at.max(),
            "symbols": None if each.symbols is None else len(set().union(*each.symbols)),
            _REPEATING: repeats_train,
        }
        for (name, each), repeats_train in zip(sets.items(), repeats, strict=True)
    )
    return table.dropna(axis="columns", how="all")


def judged_table(judged: Mapping[str, SentimentJudgement]) -> pd.DataFrame:
    """One row a set of texts; intervals are those of 95 %."""
    return pd.DataFrame(
        {
            "texts": name,
            "rows": each.texts,
            "accuracy": str(each.accuracy),
            "macro-F1": str(each.macro_f1),
            "calibration error": str(each.calibration_error),
        }
        for name, each in judged.items()
    )


def _sections(
    job: Job,
    texts: pd.DataFrame,
    looks: pd.DataFrame,
    judged: Mapping[str, SentimentJudgement],
    card: Mapping[str, Any],
) -> list[Section]:
    sections = [
        Section(
            "Texts",
            f"{job.split}  The last column counts what resembles a text that is trained on "
            f"by {LEAKING_RESEMBLANCE} or more.",
            table=texts,
        )
    ]
    if judged:
        sections.append(
            Section(
                "Judged",
                "Intervals hold 95 % of a bootstrap over the texts.",
                table=judged_table(judged),
            )
        )
    sections.append(
        Section(
            "Training",
            f"The weights are those of step {card['best_step']}, the best look at the dev "
            f"rows.  Training took {card['training_s'] / 60:.0f} minutes.",
            table=looks,
            figure=_curves(looks),
        )
    )
    sections += [
        Section(f"Confusion: {name}", figure=_confusion(each.confusion))
        for name, each in judged.items()
    ]
    options = pd.DataFrame(
        [(name, str(value)) for name, value in job.options.model_dump().items()],
        columns=["option", "value"],
    )
    return [*sections, Section("Options", table=options)]


def _curves(looks: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(looks["epoch"], looks["train_loss"], marker="o", label="training rows")
    axes.plot(looks["epoch"], looks["dev_loss"], marker="o", label="dev rows")
    axes.set(xlabel="epoch", ylabel="loss")
    axes.legend()
    return figure


def _confusion(confusion: Sequence[Sequence[int]]) -> Figure:
    figure = Figure(figsize=(4, 3.4), layout="constrained")
    ConfusionMatrixDisplay(np.array(confusion), display_labels=LABELS).plot(
        ax=figure.subplots(), colorbar=False, cmap="Blues"
    )
    return figure
