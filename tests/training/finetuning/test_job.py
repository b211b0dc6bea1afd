"""A whole run on a tiny model: files in, a folder out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from html_page import Page
from safetensors.torch import load_file
from tiny import write_tiny

from megatick_export import read_checkpoint, reference_network
from megatick_export.hashes import sha256
from megatick_export.tokenizer import prepare_tokenizer
from megatick_training.finetuning import TrainingOptions, Watcher, finetune, merged
from megatick_training.finetuning.job import (
    Job,
    Outcome,
    run_finetuning,
    run_pretraining,
)
from megatick_training.labelled_text import LabelledTexts
from megatick_training.texts import Texts

CPU = torch.device("cpu")
WORDS = (("falls", "loses", "cuts"), ("meets", "names", "opens"), ("gains", "beats", "ups"))


def texts(count: int, *, seed: int) -> LabelledTexts:
    """The verb is the class."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, 3, count)
    rows = [
        f"{chr(65 + random.integers(26))}{chr(65 + random.integers(26))} "
        f"{WORDS[each][random.integers(3)]} {random.integers(100)}"
        for each in classes
    ]
    return LabelledTexts(tuple(rows), classes)


@pytest.fixture(scope="module")
def make_job(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    folder = tmp_path_factory.mktemp("finetuning")
    checkpoint = read_checkpoint(write_tiny(folder / "checkpoint"))
    data = folder / "train.csv"
    data.write_text("text,label\n")

    def make(out: str, **options: object) -> Job:
        given = {"epochs": 4, "learning_rate": 0.01, "lora_rank": 8, **options}
        return Job(
            checkpoint=checkpoint,
            tokenizer=prepare_tokenizer(checkpoint, None, max_tokens=64),
            options=TrainingOptions.model_validate(given),
            out=folder / out,
            device=CPU,
            command=["megatick", "finetune", "a checkpoint"],
            data={"training texts": data},
            split="What is held back is split by chance.",
            notes={"head_words": None},
        )

    return make


@pytest.fixture(scope="module")
def finished(make_job: Callable[..., Job]) -> tuple[Job, Outcome]:
    job = make_job("out")
    outcome = run_finetuning(
        job,
        train=texts(600, seed=0),
        dev=texts(150, seed=1),
        judged_on={"held back": texts(150, seed=2)},
        watcher=Watcher(),
    )
    return job, outcome


def test_it_learns_what_it_was_not_told(finished: tuple[Job, Outcome]) -> None:
    _, outcome = finished

    assert outcome.judged["held back"].accuracy.value > 0.95
    assert outcome.judged["held back"].texts == 150


def test_the_folder_is_a_checkpoint_of_what_was_judged(
    finished: tuple[Job, Outcome],
) -> None:
    job, outcome = finished

    read = read_checkpoint(job.out)

    best = max(outcome.trained.looks, key=lambda look: look.score)
    assert read.iteration == best.step
    assert read.path == outcome.folder.resolve()
    for name, weight in outcome.trained.checkpoint.weights.items():
        assert torch.equal(read.weights[name], weight), name
    prepare_tokenizer(read, None, max_tokens=64)  # finds it beside the checkpoint


def test_the_adapter_is_all_that_changed(finished: tuple[Job, Outcome]) -> None:
    job, outcome = finished

    adapter = load_file(job.out / "adapter.safetensors")

    assert {tensor.dtype for tensor in adapter.values()} == {torch.float16}
    head = {name: each for name, each in adapter.items() if "classification" in name}
    rebuilt = {**merged(job.checkpoint.weights, adapter)}
    rebuilt |= {name: rows.float() for name, rows in head.items()}
    for name, weight in outcome.trained.checkpoint.weights.items():
        assert torch.equal(rebuilt[name], weight), name


def test_the_checkpoint_it_began_with_is_untouched(
    make_job: Callable[..., Job], finished: tuple[Job, Outcome]
) -> None:
    job, _ = finished

    again = read_checkpoint(job.checkpoint.path)

    for name, weight in again.weights.items():
        assert torch.equal(job.checkpoint.weights[name], weight), name


def test_the_card_says_how_it_was_made(finished: tuple[Job, Outcome]) -> None:
    job, outcome = finished

    card = json.loads((job.out / "finetune.json").read_text())

    assert card["command"] == ["megatick", "finetune", "a checkpoint"]
    data = job.data["training texts"]
    assert card["data"] == {"training texts": {"file": data.name, "sha256": sha256(data)}}
    assert card["rows"] == {"train": 600, "dev (chosen by)": 150, "held back": 150}
    assert card["options"]["lora_rank"] == 8
    assert card["best_step"] == outcome.trained.checkpoint.iteration
    accuracy = outcome.judged["held back"].accuracy.value
    assert card["judged"]["held back"]["accuracy"]["value"] == accuracy


def test_looks_and_report_are_there_and_the_state_is_not(
    finished: tuple[Job, Outcome],
) -> None:
    job, outcome = finished

    looks = pd.read_csv(job.out / "looks.csv")
    assert list(looks["step"]) == [look.step for look in outcome.trained.looks]
    page = (job.out / "report.html").read_text()
    assert "Confusion: held back" in page
    assert "What is held back is split by chance." in page
    assert ["held back", "150"] in [row[:2] for row in Page(page).rows]
    assert page.count("<svg") == 3  # curves, and a confusion matrix for each set
    assert not (job.out / "training.state").exists()


def test_the_temperature_leaves_nothing_to_gain(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    from megatick_training.finetuning.calibration import fit_temperature
    from megatick_training.finetuning.tasks import classified

    job, dev = make_job("calibrated", epochs=1), texts(100, seed=4)
    trained = finetune(
        job.checkpoint,
        job.tokenizer.tokenizer,
        train=texts(100, seed=3),
        dev=dev,
        options=job.options,
        state=tmp_path / "state",
        device=CPU,
        watcher=Watcher(),
    )
    from megatick_export.packed import PackedClassifier
    from megatick_export.tokenizer import tokenized

    logits = classified(
        PackedClassifier(reference_network(trained.checkpoint)),
        tokenized(job.tokenizer.tokenizer, dev.texts, max_tokens=128),
        max_batch_tokens=512,
        device=CPU,
    )

    assert trained.temperature is not None
    assert trained.temperature != pytest.approx(1, abs=0.02)
    assert fit_temperature(logits, dev.classes) == pytest.approx(1, abs=0.02)


def test_every_weight_can_be_trained(make_job: Callable[..., Job]) -> None:
    job = make_job("full", lora_rank=0, epochs=2, learning_rate=0.003, symbol_dropout=0.5)

    outcome = run_finetuning(
        job,
        train=texts(400, seed=0),
        dev=texts(100, seed=1),
        judged_on={},
        watcher=Watcher(),
    )

    assert outcome.judged["dev (chosen by)"].accuracy.value > 0.6
    assert outcome.trained.adapter is None
    assert not (job.out / "adapter.safetensors").exists()
    before, after = job.checkpoint.weights, outcome.trained.checkpoint.weights
    assert not torch.equal(
        after["embedding.word_embeddings.weight"],
        before["embedding.word_embeddings.weight"],
    )


def test_pre_training_goes_on_with_plain_text(make_job: Callable[..., Job]) -> None:
    job = make_job("language", epochs=3)
    lines = tuple(f"shares of {chr(65 + i % 26)} were flat on the day" for i in range(200))

    outcome = run_pretraining(
        job, train=Texts(lines), dev=Texts(lines[:20]), watcher=Watcher()
    )

    first, last = outcome.trained.looks[0], outcome.trained.looks[-1]
    assert last.said["perplexity"] < first.said["perplexity"] < 256
    assert last.said["perplexity"] < 10
    assert outcome.trained.temperature is None
    assert read_checkpoint(job.out).architecture.classes == 3  # the head is kept
