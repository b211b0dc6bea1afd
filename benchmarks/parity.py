"""How far each way of running a model is from the reference network, on real texts.

    python benchmarks/parity.py LABELLED.csv --checkpoint C --repository R [--rows 1000]

The reference network runs in torch, float32, each text alone and unpadded; its distance
from Megatron's own logits is tested on the golden checkpoints.  The others run the packed
graph in ragged batches.  The last ones are the served model over gRPC: the same texts in
requests of many rows, and each in a request of its own with nothing beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import accuracy_score, f1_score

from megatick_client import Client
from megatick_contract.cpu_engine import cpu_has_bf16
from megatick_export import read_checkpoint, reference_network
from megatick_export.parity import (
    Engine,
    compare,
    onnxruntime_engine,
    openvino_engine,
    reference_logits,
    run_in_batches,
)
from megatick_export.receipt import machine
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_server.sentiment import class_probabilities
from megatick_server.tokenization import TextTokenizer
from megatick_training.labelled_text import read_labelled_texts

Float32Array = npt.NDArray[np.float32]

_CHUNK = 50


def main(
    labelled: Annotated[Path, typer.Argument(help="CSV with the columns text, label.")],
    checkpoint: Annotated[Path, typer.Option(help="What was exported.")],
    repository: Annotated[Path, typer.Option(help="What `megatick export` wrote.")],
    split: Annotated[
        str | None, typer.Option(help="Only rows whose column split is this.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Most texts, a seeded choice.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
) -> None:
    """Compare every engine with the reference network on the same texts."""
    console = Console()
    texts = read_labelled_texts(labelled, split=split)
    chosen = np.random.default_rng(0).permutation(len(texts))[:rows]
    texts = texts.take(chosen)
    receipt = json.loads((repository / "receipt.json").read_text())
    version = repository / "scorer" / "1"
    tokenizer = TextTokenizer(version / "tokenizer.json", max_tokens=receipt["max_tokens"])
    tokens = [row.input_ids for row in tokenizer.encode(texts.texts, truncation="head")]
    network = reference_network(read_checkpoint(checkpoint))
    reference = np.concatenate(
        [
            reference_logits(network, tokens[start : start + _CHUNK])
            for start in track(range(0, len(tokens), _CHUNK), description="reference")
        ]
    )
    graph = version / "model.onnx"
    engines: dict[str, Callable[[], Engine]] = {}
    if receipt["precision"] == "int8":  # its graph's weights are, whatever runs them
        engines["onnxruntime, int8 weights"] = lambda: onnxruntime_engine(graph)
        engines["openvino int8"] = lambda: openvino_engine(graph, precision="int8")
    else:
        engines["onnxruntime fp32"] = lambda: onnxruntime_engine(graph)
        engines["openvino fp32"] = lambda: openvino_engine(graph)
        if cpu_has_bf16():
            engines["openvino bf16"] = lambda: openvino_engine(graph, precision="bf16")
    logits = {"reference network (torch fp32)": reference}
    for name, load in engines.items():
        with console.status(name):
            logits[name] = run_in_batches(load(), tokens, max_batch_tokens=4096).logits
    probabilities = {name: class_probabilities(each) for name, each in logits.items()}
    served = f"served ({receipt['precision']})"
    options = ServeOptions(grpc_port=0, metrics_port=None)
    with TritonServer(repository, options) as server, console.status(served):
        probabilities[served] = _served(server.endpoints.grpc, texts.texts, at_once=True)
        probabilities[f"{served}, each text alone"] = _served(
            server.endpoints.grpc, texts.texts, at_once=False
        )

    in_batches, alone = list(probabilities.values())[-2:]
    moved = np.abs(in_batches - alone).max()
    figures = []
    for name, found in probabilities.items():
        comparison = compare(name, found, class_probabilities(reference))
        predicted = found.argmax(-1)
        figures.append(
            {
                "engine": name,
                "max_abs_logit_diff": float(np.abs(logits[name] - reference).max())
                if name in logits
                else None,
                "max_abs_probability_diff": comparison.max_abs_diff,
                "label_flips": comparison.label_flips,
                "accuracy": float(accuracy_score(texts.classes, predicted)),
                "macro_f1": float(f1_score(texts.classes, predicted, average="macro")),
            }
        )
    console.print(_table(figures, texts=len(texts)))
    console.print(
        f"A probability moves by up to {moved:.1e} with the batch it is served in."
    )
    if out is not None:
        document = {
            "texts": len(texts),
            "machine": machine(),
            "engines": figures,
            "max_abs_probability_diff_batched_or_alone": float(moved),
        }
        out.write_text(json.dumps(document, indent=2) + "\n")


def _served(address: str, texts: tuple[str, ...], *, at_once: bool) -> Float32Array:
    with Client(address, timeout_s=600) as client:
        scored = client.score(texts) if at_once else [client.score(text) for text in texts]
    return np.array(
        [
            [each.negative, each.neutral, each.positive]
            for each in (result.probabilities for result in scored)
        ],
        np.float32,
    )


def _table(figures: list[dict[str, str | float | None]], *, texts: int) -> Table:
    table = Table(title=f"{texts} texts, {machine()}", title_justify="left")
    for column in ("engine", "max |Δ logit|", "max |Δ p|", "labels that flip", "acc / F1"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for row in figures:
        logit = row["max_abs_logit_diff"]
        table.add_row(
            str(row["engine"]),
            "" if logit is None else f"{logit:.1e}",
            f"{row['max_abs_probability_diff']:.1e}",
            str(row["label_flips"]),
            f"{row['accuracy']:.3f} / {row['macro_f1']:.3f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
