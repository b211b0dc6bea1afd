"""A checkpoint as the model repository that Triton loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import megatick_export
from megatick_contract.models import PRICE_FORECAST
from megatick_contract.repository import (
    DIGEST_FILE,
    FORECASTER_FILE,
    GRAPH_FILE,
    RECEIPT_FILE,
    SETTINGS_FILE,
    TOKENIZER_FILE,
)
from megatick_contract.steps import LANGUAGE_MODEL, PREPROCESS, SENTIMENT_SCORES
from megatick_export.aside import written_aside
from megatick_export.checkpoint import Checkpoint, read_checkpoint
from megatick_export.errors import RepositoryError
from megatick_export.head import check_head, order_classes
from megatick_export.network import reference_network
from megatick_export.options import ExportOptions
from megatick_export.packed import PackedClassifier
from megatick_export.parity import prove
from megatick_export.receipt import (
    Receipt,
    Source,
    hash_files,
    machine,
    model_digest,
    sha256,
    versions,
)
from megatick_export.to_onnx import write_onnx
from megatick_export.tokenizer import prepare_tokenizer


def export_repository(
    checkpoint: Path | str | Checkpoint,
    out: Path | str,
    *,
    options: ExportOptions | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Receipt:
    """Export a checkpoint to a model repository for the CPU.

    Args:
        checkpoint: a checkpoint, or the folder to read it from.
        out: the repository to write; it must not exist.  It is written beside its place
            and renamed once it is whole.
        options: how it is to be served; None takes the defaults.
        progress: called with a few words as each stage begins.

    Returns:
        The receipt, which is also written to ``out/receipt.json``.

    Raises:
        ExportError: whatever is wrong; nothing is left at ``out``.
    """
    options = options or ExportOptions()
    progress("reading the checkpoint")
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read_checkpoint(checkpoint)
    check_head(checkpoint)
    max_tokens = min(options.max_tokens, checkpoint.architecture.max_position_embeddings)
    progress("converting the tokenizer")
    tokenizer = prepare_tokenizer(checkpoint, options.tokenizer, max_tokens=max_tokens)
    precision = options.choose_precision()

    with _written(Path(out)) as folder:
        shutil.copytree(
            templates(),
            folder,
            ignore=shutil.ignore_patterns("__pycache__", ".gitkeep"),
            dirs_exist_ok=True,
        )
        tokenizer.write(_version(folder, PREPROCESS.name) / TOKENIZER_FILE)
        forecaster = _version(folder, PRICE_FORECAST.name) / FORECASTER_FILE
        if options.forecaster is not None:
            shutil.copyfile(options.forecaster, forecaster)
        about_forecaster = _about_forecaster(forecaster)
        settings: dict[str, dict[str, Any]] = {
            PREPROCESS.name: {"max_tokens": max_tokens},
            LANGUAGE_MODEL.name: {
                "precision": precision,
                "max_batch_tokens": options.max_batch_tokens,
            },
            SENTIMENT_SCORES.name: {"half_life_s": about_forecaster["half_life_s"]},
        }
        for model, values in settings.items():
            text = json.dumps(values, indent=2) + "\n"
            (_version(folder, model) / SETTINGS_FILE).write_text(text)

        progress("building the reference network")
        network = reference_network(checkpoint)
        order_classes(network, options.labels)
        progress("writing the packed ONNX graph")
        graph = _version(folder, LANGUAGE_MODEL.name) / GRAPH_FILE
        write_onnx(PackedClassifier(network), graph)
        progress("proving that it is the same model")
        parity = prove(network, graph, precision=precision, max_tokens=max_tokens)

        progress("hashing")
        files = hash_files(folder, (file for file in folder.rglob("*") if file.is_file()))
        digest = model_digest(files)
        for model in (SENTIMENT_SCORES.name, PRICE_FORECAST.name):
            (_version(folder, model) / DIGEST_FILE).write_text(digest + "\n")
        receipt = Receipt(
            model_digest=digest,
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            checkpoint=Source(
                path=str(checkpoint.path),
                layout=checkpoint.layout,
                iteration=checkpoint.iteration,
                parameters=checkpoint.num_parameters,
                files=hash_files(checkpoint.path, checkpoint.files),
            ),
            tokenizer={
                **tokenizer.evidence(),
                "files": {str(file): sha256(file) for file in tokenizer.source.files},
            },
            forecaster=about_forecaster,
            architecture=checkpoint.architecture,
            labels=options.labels,
            precision=precision,
            max_tokens=max_tokens,
            parity=parity,
            files=files,
            versions=versions(),
            machine=machine(),
        )
        (folder / RECEIPT_FILE).write_text(receipt.to_json())
    return receipt


def templates() -> Path:
    """The folder of model configs and adapters: in a checkout, or in an installed wheel.

    Raises:
        RepositoryError: neither is there.
    """
    package = Path(megatick_export.__file__).parent
    checkout = package.parents[1] / "model_repository"
    installed = package.parent / "megatick_model_repository"
    for folder in (checkout, installed):
        if (folder / "sentiment" / "config.pbtxt").is_file():
            return folder
    raise RepositoryError(checkout, "the model templates are missing: reinstall megatick")


def _version(repository: Path, model: str) -> Path:
    return repository / model / "1"


def _about_forecaster(path: Path) -> dict[str, Any]:
    try:
        forecaster = json.loads(path.read_text())
        names = ("fitted_on", "horizons_bars", "edge", "edge_p_value", "half_life_s")
        told = {name: forecaster[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise RepositoryError(path, f"is not a forecaster: {error!r}") from error
    return {"sha256": sha256(path), **told}


@contextmanager
def _written(out: Path) -> Iterator[Path]:
    """Write aside, and say in our own words what went wrong with the files."""
    try:
        with written_aside(out) as folder:
            yield folder
    except FileExistsError as error:
        raise RepositoryError(
            out, "already exists: remove it, or choose another --out; nothing was changed"
        ) from error
    except OSError as error:
        raise RepositoryError(
            Path(error.filename or out),
            f"could not be written: {error.strerror or error}; nothing is left at {out}",
        ) from error
