"""A checkpoint as the model repository that Triton loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import megatick_export
from megatick_contract.cpu_engine import read_graph, served_input_group
from megatick_contract.models import EMBEDDING_MODEL, PRICE_FORECAST
from megatick_contract.repository import (
    DIGEST_FILE,
    FORECASTER_FILE,
    GRAPH_FILE,
    PROBE_FILE,
    RECEIPT_FILE,
    RECEIPT_PAGE,
    SETTINGS_FILE,
    TOKENIZER_FILE,
)
from megatick_contract.steps import (
    LANGUAGE_MODEL,
    PREPROCESS,
    SCORER,
    SENTIMENT_SCORES,
    TELL_THE_DIGEST,
)
from megatick_export.aside import written_aside
from megatick_export.checkpoint import Checkpoint, read_checkpoint
from megatick_export.engine import BatchLimits, bound_batches, scatter_embedding
from megatick_export.errors import RepositoryError
from megatick_export.evidence import Evidence, prove_and_choose
from megatick_export.hashes import hash_files, model_digest, sha256
from megatick_export.options import MAX_BACKFILL_TOKENS, ExportOptions
from megatick_export.receipt import Receipt, Source, machine, versions
from megatick_export.receipt_page import write_page
from megatick_export.subject import Subject, prepare
from megatick_export.to_onnx import move_onnx

_HOLDERS: Final = {"cpu": (SCORER, SCORER), "tensorrt": (PREPROCESS, LANGUAGE_MODEL)}
"""Which model holds the tokenizer, and which the graph."""

_EXISTS: Final = "already exists: remove it, or choose another --out; nothing was changed"


def export_repository(
    checkpoint: Path | str | Checkpoint,
    out: Path | str,
    *,
    options: ExportOptions | None = None,
    command: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Receipt:
    """Export a checkpoint to a model repository, or to a bare graph.

    Args:
        checkpoint: a checkpoint, or the folder to read it from.
        out: the folder to write; it must not exist.  It is written beside its place and
            renamed once it is whole.
        options: how it is to be served; None takes the defaults.
        command: what was typed, for the receipt.
        progress: called with a few words as each stage begins.

    Returns:
        The receipt, which is also written to ``out/receipt.json`` and, as a page to read,
        ``out/receipt.html``.

    Raises:
        ExportError: whatever is wrong; nothing is left at ``out``.
    """
    options = options or ExportOptions()
    # What this machine cannot measure, and a wrong forecaster, are told at once.
    options.candidates()
    forecaster = None if options.target == "onnx" else _about_forecaster(options)
    progress("reading the checkpoint")
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read_checkpoint(checkpoint)
    subject = prepare(checkpoint, options)
    with _written(Path(out)) as folder:
        scratch = folder / ".scratch"
        scratch.mkdir()
        evidence = prove_and_choose(subject, options, scratch, progress=progress)
        progress("writing the repository")
        if forecaster is None:
            graph, tokenizer = folder / GRAPH_FILE, folder / TOKENIZER_FILE
        else:
            half_life_s = forecaster["half_life_s"]
            _write_models(folder, subject, evidence, options, half_life_s=half_life_s)
            first, engine = _HOLDERS[options.target]
            graph = _version(folder, engine.name) / GRAPH_FILE
            tokenizer = _version(folder, first.name) / TOKENIZER_FILE
        move_onnx(evidence.choice.graph, graph)
        subject.write_tokenizer(tokenizer)
        (folder / PROBE_FILE).write_text(evidence.probe.to_json())
        shutil.rmtree(scratch)

        progress("hashing")
        files = hash_files(folder, (file for file in folder.rglob("*") if file.is_file()))
        digest = model_digest(files)
        for model in TELL_THE_DIGEST.get(options.target, ()):
            (_version(folder, model) / DIGEST_FILE).write_text(digest + "\n")
        receipt = Receipt(
            model_digest=digest,
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            command=tuple(command) if command else None,
            target=options.target,
            checkpoint=Source(
                path=str(checkpoint.path),
                layout=checkpoint.layout,
                iteration=checkpoint.iteration,
                parameters=checkpoint.num_parameters,
                files=hash_files(checkpoint.path, checkpoint.files),
            ),
            tokenizer=subject.tokenizer_evidence(),
            forecaster=forecaster,
            architecture=subject.classifier.network.architecture,
            labels=subject.classifier.labels,
            checkpoint_labels=options.labels,
            prompt=subject.classifier.prompt,
            embedding=options.embedding,
            precision=evidence.choice.precision,
            max_tokens=subject.max_tokens,
            parity=evidence.parity,
            evaluation=evidence.about_texts(),
            flip_budget=options.flip_budget,
            score_budget=options.score_budget,
            trials=evidence.choice.trials,
            tolerances=evidence.probe.tolerances(),
            layer_errors=evidence.layer_errors,
            files=files,
            versions=versions(),
            machine=machine(),
        )
        (folder / RECEIPT_FILE).write_text(receipt.to_json())
        write_page(receipt, folder / RECEIPT_PAGE)
    return receipt


def _write_models(
    folder: Path,
    subject: Subject,
    evidence: Evidence,
    options: ExportOptions,
    *,
    half_life_s: float,
) -> None:
    """Write the models that Triton loads, but for the graph and the tokenizer."""
    absent = () if options.embedding else (EMBEDDING_MODEL.name,)
    for models in (options.target, "shared"):
        shutil.copytree(
            templates() / models,
            folder,
            ignore=shutil.ignore_patterns("__pycache__", ".gitkeep", *absent),
            dirs_exist_ok=True,
        )
    forecaster = _version(folder, PRICE_FORECAST.name) / FORECASTER_FILE
    if options.forecaster is not None:
        shutil.copyfile(options.forecaster, forecaster)
    window = {"max_tokens": subject.max_tokens}
    scoring = {
        "half_life_s": half_life_s,
        "score_tolerance": evidence.probe.score_tolerance,
    }
    settings: dict[str, dict[str, Any]]
    if options.target == "tensorrt":
        limits = BatchLimits(subject.max_tokens, whole_window=options.fp8_attention)
        longest = {"longest": limits.longest} if limits.whole_window else {}
        settings = {PREPROCESS.name: window | longest, SENTIMENT_SCORES.name: scoring}
        bound_batches(folder, limits)
        if options.embedding:
            hidden = subject.classifier.network.architecture.hidden_size
            scatter_embedding(folder, hidden)
    else:
        running = {
            "precision": evidence.choice.precision,
            "max_batch_tokens": options.tokens_per_run,
            "max_backfill_tokens": min(MAX_BACKFILL_TOKENS, options.tokens_per_run),
        }
        if evidence.choice.precision == "int8":  # a server of other groups refuses it
            model = read_graph(evidence.choice.graph, "int8")
            running["input_group"] = served_input_group(model)
        settings = {SCORER.name: window | running | scoring}
        shutil.copyfile(forecaster, _version(folder, SCORER.name) / FORECASTER_FILE)
    for model, values in settings.items():
        text = json.dumps(values, indent=2) + "\n"
        (_version(folder, model) / SETTINGS_FILE).write_text(text)


def templates() -> Path:
    """The folder of model configs and adapters: in a checkout, or in an installed wheel.

    Raises:
        RepositoryError: neither is there.
    """
    package = Path(megatick_export.__file__).parent
    checkout = package.parents[1] / "model_repository"
    installed = package.parent / "megatick_model_repository"
    for folder in (checkout, installed):
        if (folder / "cpu" / "sentiment" / "config.pbtxt").is_file():
            return folder
    raise RepositoryError(checkout, "the model templates are missing: reinstall megatick")


def _version(repository: Path, model: str) -> Path:
    return repository / model / "1"


def _about_forecaster(options: ExportOptions) -> dict[str, Any]:
    """What the receipt says of the forecaster: the user's, or the shipped one.

    Raises:
        RepositoryError: the file is none.
    """
    shipped = _version(templates() / "shared", PRICE_FORECAST.name) / FORECASTER_FILE
    path = options.forecaster or shipped
    try:
        forecaster = json.loads(path.read_text())
        names = ("fitted_on", "horizons_bars", "edge", "edge_p_value", "half_life_s")
        told = {name: forecaster[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise RepositoryError(path, f"is not a forecaster: {error!r}") from error
    return {"sha256": sha256(path), **told}


def require_new(out: Path) -> None:
    """Refuse at once what ``export_repository`` would refuse after minutes of reading.

    Raises:
        RepositoryError: something is there, be it a link to nowhere; or the path is no
            UTF-8, in which onnx would have it.
    """
    if os.path.lexists(out):
        raise RepositoryError(out, _EXISTS)
    try:
        os.fspath(out.absolute()).encode()
    except UnicodeEncodeError as error:
        raise RepositoryError(out, "is no path in UTF-8: choose another --out") from error


@contextmanager
def _written(out: Path) -> Iterator[Path]:
    """Write aside, and say in our own words what went wrong with the files."""
    require_new(out)
    try:
        with written_aside(out) as folder:
            yield folder
    except FileExistsError as error:
        raise RepositoryError(out, _EXISTS) from error
    except OSError as error:
        raise RepositoryError(
            Path(error.filename or out),
            f"could not be written: {error.strerror or error}; nothing is left at {out}",
        ) from error
