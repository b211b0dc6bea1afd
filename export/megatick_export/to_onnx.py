"""The packed classifier as one ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import onnx
import onnx_ir
import onnx_ir.passes.common
import onnxscript.optimizer
import torch
from torch.export import Dim

from megatick_contract.packing import layer_output
from megatick_export.errors import ExportError
from megatick_export.onnx_attention import ATTENTION_TRANSLATIONS
from megatick_export.packed import PackedClassifier
from megatick_export.precision.fp8 import ONNX_TRANSLATIONS

OPSET: Final = 20
"""Attention is decomposed below opset 23; onnxruntime, OpenVINO and TensorRT fuse it."""

_LAST_PRODUCT: Final = re.compile(
    r"network\.decoder\.layers\.(\d+)\.mlp\.linear_fc2\.weight"
)
_ONE_FILE_BYTES: Final = 2 * 1024**3 - 16 * 1024**2
"""What fits into one file: protobuf ends at 2 GiB, and the graph itself takes some MB."""


def write_onnx(
    classifier: PackedClassifier,
    path: Path,
    *,
    metadata: Mapping[str, str] = MappingProxyType({}),
    one_file: bool = True,
) -> None:
    """Trace the packed classifier and write it, weights included, as one file.

    The graph's inputs are ``input_ids`` INT32 [tokens], ``row_lengths`` INT32 [rows] and
    ``max_seqlen`` INT32 [longest]; its outputs are ``logits`` FP32 [rows, classes] and,
    where the classifier gives it, ``embedding`` FP32 [rows, hidden].

    Args:
        classifier: in any precision; the graph has the same.
        path: the file to write.  Weights that do not fit into one ONNX file (2 GB) lie
            beside it, in a file of its name that ends in ``.data``.
        metadata: what else a reader should know, such as the classes' names; onnxruntime
            gives it as ``session.get_modelmeta().custom_metadata_map``.
        one_file: False puts the weights beside the graph whatever their size.  That takes
            a fraction of the memory, here and in every runtime that loads it: they are
            written one by one and mapped, where protobuf holds several copies of a file.
            ``move_onnx`` joins the two.

    Raises:
        ExportError: torch cannot write it.
    """
    # Any ragged batch serves as the example; no axis of it may be 0 or 1 long, which
    # torch.export would take for a constant.
    lengths = torch.tensor([3, 5], dtype=torch.int32)
    example = (
        torch.arange(8, dtype=torch.int32),
        lengths,
        torch.zeros(5, dtype=torch.int32),
    )
    axes = {
        "input_ids": {0: Dim("tokens", min=1)},
        "row_lengths": {0: Dim("rows", min=1)},
        "max_seqlen": {0: Dim("longest", min=1)},
    }
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            classifier.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            # Its rewriting rules take twice as long as the tracing, and runtimes fuse
            # for themselves; the graph is only tidied, below.
            optimize=False,
            input_names=list(axes),
            output_names=["logits", *(["embedding"] if classifier.embedding else [])],
            dynamic_shapes=axes,
            external_data=False,
            custom_translation_table={**ONNX_TRANSLATIONS, **ATTENTION_TRANSLATIONS},
            verbose=False,
        )
    if program is None:  # torch types it so; dynamo=True always returns a program
        raise ExportError(f"{path}: torch.onnx.export returned no program")
    _tidy(program.model)
    _name_layers(program.model)
    program.model.metadata_props.update(metadata)
    tensors = (value.const_value for value in program.model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    beside = not one_file or size > _ONE_FILE_BYTES
    program.save(str(path), external_data=beside)
    onnx.checker.check_model(str(path))


def move_onnx(graph: Path, place: Path) -> None:
    """Move a graph with its weights, into one file wherever they fit.

    Args:
        graph: as ``write_onnx`` wrote it; weights may lie beside it under its name.
        place: the file to become; larger weights lie beside it, under its name.
    """
    beside = graph.with_name(f"{graph.name}.data")
    if not beside.is_file():
        shutil.move(graph, place)
        return
    if graph.stat().st_size + beside.stat().st_size <= _ONE_FILE_BYTES:
        onnx.save(onnx.load(str(graph)), str(place))
        beside.unlink()
    else:
        data = place.with_name(f"{place.name}.data")
        model = onnx.load(str(graph), load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = data.name
        shutil.move(beside, data)
        onnx.save(model, str(place))
    graph.unlink()


def _tidy(model: onnx_ir.Model) -> None:
    """Fold what is constant, and drop what does nothing: the file is plain tensor code."""
    onnxscript.optimizer.fold_constants(model)
    onnx_ir.passes.Sequential(
        onnx_ir.passes.common.IdentityEliminationPass(),
        onnx_ir.passes.common.CommonSubexpressionEliminationPass(),
        onnx_ir.passes.common.LiftConstantsToInitializersPass(),
        onnx_ir.passes.common.DeduplicateInitializersPass(),
        onnx_ir.passes.common.RemoveUnusedNodesPass(),
    )(model)


def _name_layers(model: onnx_ir.Model) -> None:
    """Name what each layer adds up to, so that a runtime can be asked for it.

    The residual stream after layer 3 is called ``decoder.layers.3``: what the sum that
    follows the layer's last product gives.
    """
    for name, weight in model.graph.initializers.items():
        found = _LAST_PRODUCT.fullmatch(name)
        if found is None:
            continue
        (node,) = weight.consumers()
        while node.op_type != "Add" or node.inputs[1] is weight:
            (node,) = node.outputs[0].consumers()
        node.outputs[0].name = layer_output(int(found[1]))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's progress lines and its own deprecations off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
