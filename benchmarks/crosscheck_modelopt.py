"""Are our FP8 scales those of NVIDIA's own quantiser?  The same graph, the same texts.

ModelOpt pins other versions of onnx and numpy, so it has an environment of its own:

    python3.11 -m venv modelopt
    modelopt/bin/pip install torch==2.13.0 'nvidia-modelopt[onnx]==0.47.0' typer
    python benchmarks/crosscheck_modelopt.py prepare CHECKPOINT build/crosscheck
    modelopt/bin/python benchmarks/crosscheck_modelopt.py quantize build/crosscheck
    python benchmarks/crosscheck_modelopt.py compare build/crosscheck

``prepare`` writes the float32 packed graph, the batches of tokens to calibrate on, and the
same network with our FP8 linear layers, everything else in float32.  ``quantize`` gives
graph and batches to ModelOpt, for the same linear layers.  ``compare`` looks at the scales
and at what both graphs answer to the same texts.

If both measured the same largest values, all of ModelOpt's scales are one multiple of ours:
(448 / 127) ** 2 = 12.444 with version 0.47, whose ``onnx/quantization/fp8.py`` multiplies
INT8's scale, largest / 127, by 448 / 127, so that the largest value becomes 36; ours
becomes 448, the largest that E4M3 has.  The multiple is smaller for channels whose weights
are all so small that our scale is held at FP16's smallest normal number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import typer

# What prepare and compare import from the project, ModelOpt's environment lacks.

app = typer.Typer(add_completion=False, help=__doc__)

Folder = Annotated[Path, typer.Argument(help="Of the graphs, the batches and the scales.")]
Arrays = dict[str, npt.NDArray[Any]]

_BATCH_TOKENS: Final = 1024


@app.command()
def prepare(
    checkpoint: Annotated[Path, typer.Argument(help="With a head and a tokenizer.")],
    folder: Folder,
    texts: Annotated[int, typer.Option(min=1, help="Invented headlines to use.")] = 64,
) -> None:
    """Write the float32 graph, our FP8 graph, and the batches of tokens."""
    import torch

    from megatick_contract.packing import packed_feed, plan_batches
    from megatick_export import ExportOptions, read_checkpoint
    from megatick_export.headlines import headlines
    from megatick_export.precision.calibration import largest_inputs
    from megatick_export.precision.fp8 import LINEARS, quantize
    from megatick_export.precision.lowering import lowered
    from megatick_export.subject import prepare as prepare_subject
    from megatick_export.to_onnx import write_onnx

    folder.mkdir(parents=True)
    subject = prepare_subject(read_checkpoint(checkpoint), ExportOptions())
    classifier = subject.classifier
    rows = subject.rows(headlines(texts))
    plan = plan_batches([len(row) for row in rows], max_batch_tokens=_BATCH_TOKENS)
    batches = [[rows[row] for row in batch] for batch in plan]
    np.savez(
        folder / "batches.npz",
        **{
            f"{number}.{name}": array
            for number, batch in enumerate(batches)
            for name, array in packed_feed(batch).items()
        },
    )
    write_onnx(classifier.packed(), folder / "float32.onnx")
    network = lowered(classifier.network, torch.float32)  # a copy
    layers = range(network.architecture.num_layers)
    quantize(network, largest_inputs(classifier.packed(), batches), layers=layers)
    write_onnx(classifier.packed(network), folder / "ours.onnx")
    scales: Arrays = {}
    for layer in layers:
        for name in LINEARS:
            module: Any = network.layers[layer].get_submodule(name)
            weight = f"network.decoder.layers.{layer}.{name}.weight"
            scales[f"input of {weight}"] = module.round.scale.numpy()
            scales[weight] = module.weight_scale.numpy()
    np.savez(folder / "scales.npz", **scales)


@app.command(name="quantize")
def quantize_by_modelopt(folder: Folder) -> None:
    """Let ModelOpt make the FP8 graph, in its own environment."""
    from modelopt.onnx.quantization import quantize

    linears = _linears(onnx.load(str(folder / "float32.onnx"), load_external_data=False))
    quantize(
        str(folder / "float32.onnx"),
        quantize_mode="fp8",
        calibration_method="max",
        calibration_data_reader=_Batches(folder),
        calibration_eps=["cpu"],
        op_types_to_quantize=["MatMul", "Gemm"],
        nodes_to_quantize=list(linears.values()),
        high_precision_dtype="fp32",
        dq_only=True,
        output_path=str(folder / "modelopt.onnx"),
    )


@app.command()
def compare(folder: Folder) -> None:
    """Print how far scales and answers are apart, as JSON."""
    from megatick_export.parity import onnxruntime_session

    linears = _linears(onnx.load(str(folder / "float32.onnx"), load_external_data=False))
    theirs = _scales(onnx.load(str(folder / "modelopt.onnx")), linears)
    with np.load(folder / "scales.npz") as file:
        ours = dict(file)
    ratios: dict[str, list[float]] = {"input scales": [], "weight scales": []}
    for name in sorted(ours.keys() & theirs.keys()):
        ratio = np.ravel(theirs[name] / ours[name])
        kind = "input scales" if name.startswith("input of ") else "weight scales"
        ratios[kind] += ratio.tolist()
    answers: Arrays = {}
    for graph in ("float32", "ours", "modelopt"):
        session = onnxruntime_session(folder / f"{graph}.onnx")
        rows = [session.run(["logits"], feed)[0] for feed in _feeds(folder)]
        answers[graph] = np.concatenate(rows)
    document = {
        "linear layers": len(linears),
        "not quantised by ModelOpt": sorted(ours.keys() - theirs.keys()),
        "ModelOpt's scales in multiples of ours": {
            kind: {"compared": len(found), "smallest": min(found), "largest": max(found)}
            for kind, found in ratios.items()
        },
        "logits": {
            f"{one} against {other}": _distance(answers[one], answers[other])
            for one, other in (
                ("ours", "modelopt"),
                ("ours", "float32"),
                ("modelopt", "float32"),
            )
        },
    }
    typer.echo(json.dumps(document, indent=2))


class _Batches:
    """The batches, as onnxruntime's calibration reads them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.rewind()

    def get_next(self) -> Arrays | None:
        """The next batch; None after the last."""
        return next(self._left, None)

    def get_first(self) -> Arrays:
        """The first batch."""
        return next(_feeds(self._folder))

    def rewind(self) -> None:
        """Begin again."""
        self._left = _feeds(self._folder)


def _feeds(folder: Path) -> Iterator[Arrays]:
    with np.load(folder / "batches.npz") as file:
        arrays = dict(file)
    for number in range(len({name.split(".")[0] for name in arrays})):
        prefix = f"{number}."
        yield {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix)
        }


def _linears(model: onnx.ModelProto) -> dict[str, str]:
    """The transformer layers' linear layers: weight's name to product's node."""
    transposed = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Transpose"
    }
    products = {}
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            weight = transposed.get(node.input[1], node.input[1])
            if ".decoder.layers." in weight:
                products[weight] = node.name
    return products


def _scales(model: onnx.ModelProto, linears: dict[str, str]) -> Arrays:
    """The scales in front of each linear layer's product, by the names of ``prepare``."""
    made_by = {output: node for node in model.graph.node for output in node.output}
    stored = {each.name: each for each in model.graph.initializer}
    products = {node.name: node for node in model.graph.node}

    def scale(name: str) -> npt.NDArray[Any] | None:
        node = made_by.get(name)
        while node is not None and node.op_type in ("Transpose", "Cast"):
            node = made_by.get(node.input[0])
        if node is None or node.op_type != "DequantizeLinear":
            return None
        if node.input[1] in stored:
            return onnx.numpy_helper.to_array(stored[node.input[1]])
        return onnx.numpy_helper.to_array(made_by[node.input[1]].attribute[0].t)

    found: Arrays = {}
    for weight, product in linears.items():
        given = scale(products[product].input[0])
        kept = scale(products[product].input[1])
        if given is not None and kept is not None:
            found[f"input of {weight}"], found[weight] = given, kept
    return found


def _distance(
    one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> dict[str, float]:
    return {
        "largest difference": float(np.abs(one - other).max()),
        "mean difference": float(np.abs(one - other).mean()),
        "labels that differ": int((one.argmax(-1) != other.argmax(-1)).sum()),
        "texts": len(one),
    }


if __name__ == "__main__":
    app()
