"""Train the default model's three class rows on frozen features.

    python -m megatick_training.fit_head LABELLED.csv --out sentiment_head.safetensors

The features are the default model's final hidden state at each text's last token; the
rows are a multinomial logistic regression on them.  Regularisation is chosen by folds of
the training rows, and what is held back (by groups of near-duplicates) is only judged.  The
figures are written beside the head.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import track
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from megatick_contract import LABELS
from megatick_export import read_checkpoint, reference_network
from megatick_export.packed import PackedClassifier
from megatick_export.parity import openvino_engine, run_in_batches
from megatick_export.to_onnx import write_onnx
from megatick_server.tokenization import TextTokenizer
from megatick_training.default_model import write_default_checkpoint
from megatick_training.labelled_text import LabelledTexts, read_labelled_texts

Float32Array = npt.NDArray[np.float32]

MAX_TOKENS: Final = 128
HELD_BACK: Final = 0.15
_STRENGTHS: Final = tuple(10.0**power for power in range(-4, 1))
_BATCH_TOKENS: Final = 2048
_CHUNK_TEXTS: Final = 512


class FrozenFeatures:
    """The default model's final hidden state at a text's last token."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        """Build the model without its head in a scratch folder.

        A classification head that is the identity makes the packed graph give the hidden
        state itself.
        """
        write_default_checkpoint(folder / "checkpoint", head=None)
        checkpoint = read_checkpoint(folder / "checkpoint")
        hidden = checkpoint.architecture.hidden_size
        identity = {
            "classification_head.weight": torch.eye(hidden),
            "classification_head.bias": torch.zeros(hidden),
        }
        checkpoint = replace(
            checkpoint,
            architecture=replace(checkpoint.architecture, classes=hidden),
            weights={**checkpoint.weights, **identity},
        )
        graph = folder / "features.onnx"
        write_onnx(PackedClassifier(reference_network(checkpoint)), graph)
        self._engine = openvino_engine(graph, threads=threads)
        self._tokenizer = TextTokenizer(
            folder / "checkpoint" / "tokenizer.json", max_tokens=MAX_TOKENS
        )

    def of(self, texts: LabelledTexts, *, name: str) -> Float32Array:
        """Features of shape (texts, hidden)."""
        rows = [
            text.input_ids
            for text in self._tokenizer.encode(texts.texts, truncation="head")
        ]
        starts = range(0, len(rows), _CHUNK_TEXTS)
        return np.concatenate(
            [
                run_in_batches(
                    self._engine,
                    rows[start : start + _CHUNK_TEXTS],
                    max_batch_tokens=_BATCH_TOKENS,
                ).logits
                for start in track(
                    starts, description=f"features of {name}", transient=True
                )
            ]
        )


def fit_rows(
    features: Float32Array, texts: LabelledTexts, *, seed: int
) -> tuple[Float32Array, Float32Array]:
    """Fit the class rows.

    Args:
        features: shape (texts, hidden).
        texts: what they are features of.
        seed: of the folds that choose the regularisation, by macro-F1.

    Returns:
        weight (3, hidden) and bias (3,), for features as they are: the standardisation
        that the fit needs is folded into them.
    """
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        {"logisticregression__C": _STRENGTHS},
        scoring="f1_macro",
        cv=StratifiedGroupKFold(5, shuffle=True, random_state=seed),
    ).fit(features, texts.classes, groups=texts.groups())
    scaler, model = (step for _, step in search.best_estimator_.steps)
    weight = model.coef_ / scaler.scale_
    bias = model.intercept_ - weight @ scaler.mean_
    return weight.astype(np.float32), bias.astype(np.float32)


def write_head(path: Path, head: tuple[Float32Array, Float32Array]) -> None:
    """Write the rows as safetensors.

    Arrays are made contiguous first: safetensors writes the memory of a Fortran-ordered
    one, as scikit-learn returns, under its transposed shape.
    """
    weight, bias = map(np.ascontiguousarray, head)
    save_file({"weight": weight, "bias": bias}, path)


def judge(
    features: Float32Array, texts: LabelledTexts, head: tuple[Float32Array, Float32Array]
) -> dict[str, float | int]:
    """Accuracy and macro-F1 of a head on texts that it was not fitted on."""
    weight, bias = head
    predicted = (features @ weight.T + bias).argmax(-1)
    return {
        "texts": len(texts),
        "accuracy": round(float(accuracy_score(texts.classes, predicted)), 4),
        "macro_f1": round(float(f1_score(texts.classes, predicted, average="macro")), 4),
    }


def main(
    labelled: Annotated[Path, typer.Argument(help="CSV with the columns text, label.")],
    out: Annotated[Path, typer.Option(help="Head to write (safetensors).")],
    licence: Annotated[str, typer.Option(help="Licence of the labelled texts.")],
    judge_on: Annotated[
        list[Path] | None,
        typer.Option(help="Further CSV (text, label) to judge on, never fitted."),
    ] = None,
    judge_split: Annotated[
        str | None, typer.Option(help="Only rows of those whose column split is this.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split and the folds.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
) -> None:
    """Fit the head, judge it, and write it with its figures."""
    console = Console()
    texts = read_labelled_texts(labelled)
    others = {path: read_labelled_texts(path, split=judge_split) for path in judge_on or []}
    train, held_back = texts.split(held_back=HELD_BACK, seed=seed)
    with TemporaryDirectory() as scratch:
        with console.status("building the feature graph"):
            features = FrozenFeatures(Path(scratch), threads=threads)
        head = fit_rows(features.of(train, name="training rows"), train, seed=seed)
        figures = {
            "held back": judge(features.of(held_back, name="held back"), held_back, head)
        } | {
            path.name: judge(features.of(other, name=path.name), other, head)
            for path, other in others.items()
        }
    write_head(out, head)
    card = {
        "trained_on": labelled.name,
        "sha256": hashlib.sha256(labelled.read_bytes()).hexdigest(),
        "licence": licence,
        "labels": LABELS,
        "training_texts": len(train),
        "seed": seed,
        "judged": figures,
    }
    out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    console.print_json(data=card)


if __name__ == "__main__":
    typer.run(main)
