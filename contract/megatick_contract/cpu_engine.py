"""How the packed graph runs on CPUs: what is measured at export is what is served."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import openvino

CpuPrecision = Literal["fp32", "bf16", "int8"]

_OPTIONS: Final[dict[CpuPrecision, dict[str, str]]] = {
    # A group size of 0: else OpenVINO would quantise products further on some CPUs.
    "fp32": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "int8": {"INFERENCE_PRECISION_HINT": "f32"},
}
_GROUPS: Final = range(32, 257, 32)


@cache
def openvino_core() -> openvino.Core:
    """Give OpenVINO, the same in the whole process and until its end.

    Each ``Core`` with a CPU plugin gives the thread that made it a signal stack, and puts
    back the one before when it goes.  Two that do not go in the opposite order (2026.4)
    leave that thread with a stack that is freed, and its next signal is a crash.

    It is imported here, so that what does without it, such as a build of a TensorRT
    engine, runs where it is not installed.  Importing it would report that to its maker,
    through Google, were the package that does so not hidden from it.

    Source: OpenVINO 2026.4, ``openvino/tools/ovc/__init__.py`` and ``telemetry_stub.py``.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino.Core()


def read_graph(path: Path, precision: CpuPrecision) -> openvino.Model:
    """Read a packed graph as it is to be compiled.

    In bf16 the sums of the residual stream stay float32 (``float32_sums``).

    A gated MLP's first product becomes two, its gate's and the other
    (``split_products``).

    Args:
        path: an ONNX file; one whose layers are not named is read as it is.
        precision: that it will be compiled in.

    Raises:
        RuntimeError: OpenVINO cannot read it.
    """
    model = openvino_core().read_model(str(path))
    from megatick_contract.float32_sums import keep_sums_float32
    from megatick_contract.split_products import part_split_products

    if precision == "bf16":
        keep_sums_float32(model)
    part_split_products(model)
    return model


def openvino_options(precision: CpuPrecision, model: openvino.Model) -> dict[str, str]:
    """OpenVINO's options for a graph.

    Args:
        precision: ``fp32``; ``bf16`` runs in bf16 what is float32 in the graph; ``int8``
            rounds the inputs of products with INT8 weights to INT8 as they come, in groups
            of channels of a token.
        model: that they are for, as ``read_graph`` gives it.
    """
    options = dict(_OPTIONS[precision])
    if precision == "int8":
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(served_input_group(model))
    return options


def served_input_group(model: openvino.Model) -> int:
    """Channels that share a scale where this version runs a graph in INT8.

    What was measured in other groups is another model: a repository states its own.
    """
    return input_group(_int8_widths(model))


def input_group(widths: Iterable[int]) -> int:
    """How many neighbouring channels of a product's input share a scale in INT8.

    OpenVINO takes one number for a whole graph.  The wider a group is, the less its scales
    cost: on the default model groups of 192 are 1.3 times as fast as of 32.

    Args:
        widths: input channels of the products with INT8 weights.

    Returns:
        The largest multiple of 32, up to 256, that divides them all, so that no group is
        cut short; 32 if none does.
    """
    common = gcd(*widths)
    return max((each for each in _GROUPS if common and common % each == 0), default=32)


def _int8_widths(model: openvino.Model) -> set[int]:
    """Input channels of the products whose weights are stored in INT8."""
    found = set()
    for node in model.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = node.input_value(1)
        source = weight.get_node()
        while source.get_input_size():  # Convert, Multiply by the scales, Transpose
            source = source.input_value(0).get_node()
        if source.get_element_type().to_string() == "i8":
            turned = node.get_attributes()["transpose_b"]
            found.add(weight.get_shape()[-1 if turned else -2])
    return found


def cpu_capabilities() -> tuple[str, ...]:
    """Name the arithmetic that OpenVINO finds in this CPU, such as ``BF16``, sorted."""
    return tuple(sorted(openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")))


def cpu_has_bf16() -> bool:
    """Whether OpenVINO finds bf16 arithmetic in this CPU."""
    return "BF16" in cpu_capabilities()
