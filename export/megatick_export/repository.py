"""A checkpoint as the model repository that Triton loads.

The repository is written beside its place and renamed once it is whole, so that what is
found under its name can be served.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import openvino

import megatick_export
from megatick_contract import LABELS, Label
from megatick_export.checkpoint import Checkpoint, read_checkpoint
from megatick_export.errors import ExportError, HeadError, RepositoryError
from megatick_export.network import Network, reference_network
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    FP32_TOLERANCE,
    Comparison,
    ParityError,
    compare,
    onnxruntime_engine,
    openvino_engine,
    ragged_rows,
    reference_logits,
)
from megatick_export.receipt import (
    RECEIPT_FILE,
    Receipt,
    Source,
    hash_files,
    machine,
    model_digest,
    sha256,
    versions,
)
from megatick_export.to_onnx import write_onnx
from megatick_export.tokenizer import TOKENIZER_FILE, check_tokenizer, find_tokenizer

Precision = Literal["auto", "fp32", "bf16"]

DEFAULT_MAX_TOKENS: Final = 512
DEFAULT_MAX_BATCH_TOKENS: Final = 4096

_OPENVINO_NAMES: Final = {"fp32": "f32", "bf16": "bf16"}
_FORECASTER: Final = Path("price_forecast", "1", "forecaster.json")


@dataclass(frozen=True)
class ExportOptions:
    """How a checkpoint is to be served.

    Attributes:
        tokenizer: a ``tokenizer.json``; None takes the one beside the checkpoint.
        forecaster: a forecaster's file; None takes the random walk.
        labels: what the checkpoint's class rows mean, in its own order.
        precision: ``auto`` takes bf16 where this CPU has it, else fp32.
        max_tokens: longest row to read, in tokens; the model's own window bounds it.
        max_batch_tokens: most tokens in one run of the engine.
    """

    tokenizer: Path | None = None
    forecaster: Path | None = None
    labels: tuple[Label, ...] = LABELS
    precision: Precision = "auto"
    max_tokens: int = DEFAULT_MAX_TOKENS
    max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS


def export_repository(
    checkpoint: Path | Checkpoint,
    out: Path,
    *,
    options: ExportOptions = ExportOptions(),
    progress: Callable[[str], None] = lambda stage: None,
) -> Receipt:
    """Export a checkpoint to a model repository for the CPU.

    Args:
        checkpoint: a checkpoint, or the folder to read it from.
        out: the repository to write; it must not exist.
        options: how it is to be served.
        progress: called with a few words as each stage begins.

    Returns:
        The receipt, which is also written to ``out/receipt.json``.

    Raises:
        ExportError: whatever is wrong; nothing is left at ``out``.
    """
    with _written_aside(out) as aside:
        progress("reading the checkpoint")
        if isinstance(checkpoint, Path):
            checkpoint = read_checkpoint(checkpoint)
        _check_head(checkpoint, options.labels)
        tokenizer = find_tokenizer(checkpoint, options.tokenizer)
        check_tokenizer(tokenizer, checkpoint)
        precision = _choose_precision(options.precision)
        max_tokens = min(
            options.max_tokens, checkpoint.architecture.max_position_embeddings
        )
        _copy_templates(aside)
        shutil.copyfile(tokenizer, aside / "preprocess" / "1" / TOKENIZER_FILE)
        if options.forecaster is not None:
            shutil.copyfile(options.forecaster, aside / _FORECASTER)

        progress("building the reference network")
        network = reference_network(checkpoint)
        _order_classes(network, options.labels)
        onnx_path = aside / "language_model" / "1" / "model.onnx"
        progress("writing the packed ONNX graph")
        write_onnx(PackedClassifier(network), onnx_path)
        progress("proving that it is the same model")
        parity = _prove(network, onnx_path, precision=precision, max_tokens=max_tokens)

        progress("hashing")
        files = hash_files(aside, (file for file in aside.rglob("*") if file.is_file()))
        digest = model_digest(files)
        forecaster = _about_forecaster(aside / _FORECASTER)
        settings: dict[str, dict[str, Any]] = {
            "preprocess": {"max_tokens": max_tokens},
            "language_model": {
                "precision": precision,
                "max_batch_tokens": options.max_batch_tokens,
            },
            "sentiment_scores": {
                "model_digest": digest,
                "half_life_s": forecaster["half_life_s"],
            },
            "price_forecast": {"model_digest": digest},
        }
        for model, values in settings.items():
            path = aside / model / "1" / "settings.json"
            path.write_text(json.dumps(values, indent=2) + "\n")
        receipt = Receipt(
            model_digest=digest,
            created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            checkpoint=Source(
                path=str(checkpoint.path),
                layout=checkpoint.layout,
                iteration=checkpoint.iteration,
                parameters=checkpoint.num_parameters,
                files={file.name: sha256(file) for file in checkpoint.files},
            ),
            tokenizer={"file": str(tokenizer), "sha256": sha256(tokenizer)},
            forecaster=forecaster,
            architecture=checkpoint.architecture,
            labels=options.labels,
            precision=precision,
            max_tokens=max_tokens,
            parity=parity,
            files=files,
            versions=versions(),
            machine=machine(),
        )
        (aside / RECEIPT_FILE).write_text(receipt.to_json())
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


def _copy_templates(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".gitkeep")
    shutil.copytree(templates(), target, ignore=ignored, dirs_exist_ok=True)


def _check_head(checkpoint: Checkpoint, labels: Sequence[Label]) -> None:
    classes = checkpoint.architecture.classes
    if classes is None:
        raise HeadError(
            checkpoint.path,
            f"has no classification head, expected one of {len(LABELS)} rows: "
            "fine-tune one first",
        )
    if classes != len(LABELS):
        raise HeadError(
            checkpoint.path,
            f"has a classification head of {classes} rows, expected {len(LABELS)}: "
            f"{', '.join(LABELS)}",
        )
    if sorted(labels) != sorted(LABELS):
        raise HeadError(
            checkpoint.path,
            f"labels {', '.join(labels)} were given for its rows, expected each of "
            f"{', '.join(LABELS)} once",
        )


def _order_classes(network: Network, labels: Sequence[Label]) -> None:
    """Put the head's rows into the contract's class order."""
    order = [labels.index(label) for label in LABELS]
    head = network.classification_head
    head.weight.data = head.weight.data[order]
    head.bias.data = head.bias.data[order]


def _choose_precision(asked: Precision) -> Literal["fp32", "bf16"]:
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    has_bf16 = "BF16" in capabilities
    if asked == "auto":
        return "bf16" if has_bf16 else "fp32"
    if asked == "bf16" and not has_bf16:
        raise ExportError(
            "precision bf16: this CPU has no bf16 arithmetic, so parity cannot be "
            "measured here: export with --precision fp32, or on the serving machine"
        )
    return asked


def _prove(
    network: Network, onnx_path: Path, *, precision: str, max_tokens: int
) -> tuple[Comparison, ...]:
    """Run the same ragged rows through every engine.

    Raises:
        ParityError: float32 differs by more than rounding.
    """
    rows = ragged_rows(vocab_size=network.architecture.vocab_size, max_tokens=max_tokens)
    reference = reference_logits(network, rows)
    exact = compare("onnxruntime fp32", onnxruntime_engine(onnx_path)(rows), reference)
    if not exact.max_abs_diff <= FP32_TOLERANCE:  # a NaN is refused as well
        raise ParityError(exact, tolerance=FP32_TOLERANCE)
    comparisons = [exact]
    for name in dict.fromkeys(("fp32", precision)):
        engine = openvino_engine(onnx_path, precision=_OPENVINO_NAMES[name])
        comparisons.append(compare(f"openvino {name}", engine(rows), reference))
    return tuple(comparisons)


def _about_forecaster(path: Path) -> dict[str, Any]:
    try:
        forecaster = json.loads(path.read_text())
        names = ("fitted_on", "horizons_bars", "edge", "edge_p_value", "half_life_s")
        told = {name: forecaster[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise RepositoryError(path, f"is not a forecaster: {error!r}") from error
    return {"sha256": sha256(path), **told}


@contextlib.contextmanager
def _written_aside(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` to write to; rename it to ``out`` if all went well."""
    if out.exists():
        raise RepositoryError(
            out, "already exists: remove it, or choose another --out; nothing was changed"
        )
    aside = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        aside.mkdir(parents=True)
        yield aside
        aside.rename(out)
    except OSError as error:
        raise RepositoryError(
            Path(error.filename or out),
            f"could not be written: {error.strerror or error}; nothing is left at {out}",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
