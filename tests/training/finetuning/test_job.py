"""A whole run on a tiny model: files in, a folder out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from html_page import Page
from safetensors.torch import load_file
from tiny import write_tiny

from megatick_export import read_checkpoint, reference_network, write_checkpoint
from megatick_export.errors import CheckpointError
from megatick_export.hashes import sha256
from megatick_export.tokenizer import prepare_tokenizer
from megatick_training.errors import NothingToPredict, TrainingStateError
from megatick_training.finetuning import TrainingOptions, Watcher, finetune, merged
from megatick_training.finetuning.folder import kept_for_one_run
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


def begun(job: Job, train: LabelledTexts, dev: LabelledTexts) -> None:
    """Train for a step, as if the machine had stopped then."""

    def stop(done: int, steps: int, loss: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_finetuning(job, train=train, dev=dev, judged_on={}, watcher=Watcher(step=stop))
    assert (job.out / "training.state").exists()


def test_what_another_run_has_of_its_own_is_refused(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megatick_training.finetuning.trainer.SAVE_EVERY_S", 0.0)
    job, train, dev = make_job("begun", epochs=1), texts(100, seed=0), texts(20, seed=1)
    begun(job, train, dev)
    relabelled = replace(dev, classes=np.roll(dev.classes, 1))
    moved = LabelledTexts((*train.texts, dev.texts[0]), np.append(train.classes, 0))
    tokenizer = replace(
        job.tokenizer,
        tokenizer=job.tokenizer.tokenizer.from_str(job.tokenizer.tokenizer.to_str()),
    )
    tokenizer.tokenizer.add_tokens(["falls"])
    architecture = replace(job.checkpoint.architecture, norm_epsilon=1e-6)
    others: list[tuple[Job, LabelledTexts, LabelledTexts]] = [
        (job, train, relabelled),
        (job, moved, dev.take(np.arange(1, 20))),
        (replace(job, tokenizer=tokenizer), train, dev),
        (
            replace(job, checkpoint=replace(job.checkpoint, architecture=architecture)),
            train,
            dev,
        ),
    ]

    for other, its_train, its_dev in others:
        with pytest.raises(TrainingStateError, match="another checkpoint, other data"):
            run_finetuning(
                other, train=its_train, dev=its_dev, judged_on={}, watcher=Watcher()
            )

    outcome = run_finetuning(job, train=train, dev=dev, judged_on={}, watcher=Watcher())
    assert outcome.trained.looks[-1].epoch == 1


def test_texts_for_language_stay_in_their_set(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megatick_training.finetuning.trainer.SAVE_EVERY_S", 0.0)
    job, lines = make_job("language begun", epochs=1, batch_rows=2), texts(8, seed=0).texts

    def stop(done: int, steps: int, loss: float) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_pretraining(
            job, train=Texts(lines[:6]), dev=Texts(lines[6:]), watcher=Watcher(step=stop)
        )

    with pytest.raises(TrainingStateError, match="another checkpoint, other data"):
        run_pretraining(
            job, train=Texts(lines[:7]), dev=Texts(lines[7:]), watcher=Watcher()
        )


def test_a_run_that_was_killed_as_it_was_written_is_written_again(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, train, dev = make_job("killed", epochs=1), texts(60, seed=0), texts(20, seed=1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("megatick_training.finetuning.job.write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            run_finetuning(job, train=train, dev=dev, judged_on={}, watcher=Watcher())
    left = read_checkpoint(job.out)

    steps: list[int] = []
    outcome = run_finetuning(
        job,
        train=train,
        dev=dev,
        judged_on={},
        watcher=Watcher(step=lambda done, of, loss: steps.append(done)),
    )

    assert steps == []  # all of them had been done
    assert read_checkpoint(job.out).iteration == left.iteration
    assert outcome.folder == job.out / f"iter_{left.iteration:07d}"
    assert (job.out / "report.html").exists()
    assert not (job.out / "training.state").exists()


def test_another_checkpoint_of_the_number_stays(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, train, dev = make_job("taken", epochs=1), texts(60, seed=0), texts(20, seed=1)
    for step in (1, 2):
        write_checkpoint(
            job.out,
            job.checkpoint.architecture,
            job.checkpoint.weights,
            iteration=job.checkpoint.iteration + step,
        )

    with pytest.raises(CheckpointError, match="an iteration that is not there yet"):
        run_finetuning(job, train=train, dev=dev, judged_on={}, watcher=Watcher())


def test_a_folder_is_one_run_s(
    make_job: Callable[..., Job], finished: tuple[Job, Outcome]
) -> None:
    job, _ = finished
    train, dev = texts(60, seed=0), texts(20, seed=1)

    with pytest.raises(TrainingStateError, match=r"out: holds a run that is done.*--out"):
        run_finetuning(job, train=train, dev=dev, judged_on={}, watcher=Watcher())

    another = make_job("two at once")
    with (
        kept_for_one_run(another.out),
        pytest.raises(TrainingStateError, match="another run writes to this folder"),
    ):
        run_pretraining(another, train=train, dev=dev, watcher=Watcher())


def test_a_text_of_symbols_alone_keeps_them(make_job: Callable[..., Job]) -> None:
    job = make_job("symbols", epochs=1, symbol_dropout=1.0)
    train = LabelledTexts(("$AAPL", "$TSLA #x", "Oil falls"), np.array([1, 1, 0]))

    outcome = run_finetuning(
        job, train=train, dev=texts(10, seed=1), judged_on={}, watcher=Watcher()
    )

    assert outcome.trained.looks[-1].epoch == 1


@pytest.mark.parametrize(
    ("train", "dev", "name"),
    [(("a", "b"), ("Oil falls",), "training"), (("Oil falls",), ("a",), "dev")],
)
def test_language_wants_a_token_after_another(
    make_job: Callable[..., Job], train: tuple[str, ...], dev: tuple[str, ...], name: str
) -> None:
    with pytest.raises(NothingToPredict, match=f"^{name} texts: expected one of two"):
        run_pretraining(
            make_job("short"), train=Texts(train), dev=Texts(dev), watcher=Watcher()
        )
