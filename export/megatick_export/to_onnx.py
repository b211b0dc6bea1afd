"""The packed classifier as one ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
import onnx_ir
import onnx_ir.passes.common
import onnxscript.optimizer
import torch
from torch.export import Dim

from megatick_export.errors import ExportError
from megatick_export.packed import PackedClassifier

OPSET: Final = 20
"""Attention is decomposed below opset 23; onnxruntime, OpenVINO and TensorRT fuse it."""

_PROTOBUF_LIMIT_BYTES: Final = 2 * 1024**3 - 1


def write_onnx(classifier: PackedClassifier, path: Path) -> None:
    """Trace the packed classifier and write it, weights included, as one file.

    The graph's inputs are ``input_ids`` INT32 [tokens], ``row_lengths`` INT32 [rows] and
    ``max_seqlen`` INT32 [longest]; its output is ``logits`` FP32 [rows, classes].

    Raises:
        ExportError: the weights do not fit into one ONNX file (2 GB).
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
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            classifier.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            # Its rewriting rules take twice as long as the tracing, and runtimes fuse
            # for themselves; the graph is only tidied, below.
            optimize=False,
            input_names=list(axes),
            output_names=["logits"],
            dynamic_shapes=axes,
            external_data=False,
            verbose=False,
        )
    if program is None:  # torch types it so; dynamo=True always returns a program
        raise ExportError(f"{path}: torch.onnx.export returned no program")
    _tidy(program.model)
    tensors = (value.const_value for value in program.model.graph.initializers.values())
    size = sum(tensor.nbytes for tensor in tensors if tensor is not None)
    if size > _PROTOBUF_LIMIT_BYTES:
        raise ExportError(
            f"{path}: the graph's weights take {size / 1e9:.1f} GB, one ONNX file holds "
            f"{_PROTOBUF_LIMIT_BYTES / 1e9:.1f} GB: larger models are not exported yet"
        )
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path))


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
