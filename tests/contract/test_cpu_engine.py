"""OpenVINO's one core in a process, and what it leaves of the process's signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as opset

from megatick_contract.cpu_engine import (
    CpuPrecision,
    cpu_capabilities,
    input_group,
    openvino_core,
    openvino_options,
)

TWO_ENGINES_THEN_A_SIGNAL = """
import signal
import openvino
from openvino import opset13
from megatick_contract.cpu_engine import openvino_core

def compiled():
    given = opset13.parameter([1, 2])
    model = openvino.Model([opset13.relu(given)], [given])
    return openvino_core().compile_model(model, "CPU")

first, second = compiled(), compiled()
del first
del second
signal.signal(signal.SIGTERM, lambda *_: print("interrupted", flush=True))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_is_survived_whatever_order_engines_go_in() -> None:
    told = subprocess.run(
        [sys.executable, "-c", TWO_ENGINES_THEN_A_SIGNAL],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert (told.returncode, told.stdout) == (0, "interrupted\n"), told.stderr


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("openvino_core()", id="core"),
        pytest.param("import megatick_server.engine; openvino_core()", id="server"),
        pytest.param(
            "try: read_graph(Path('none.onnx'), 'fp32')\nexcept RuntimeError: pass",
            id="graph",
        ),
    ],
)
def test_openvino_reports_to_nobody(code: str, tmp_path: Path) -> None:
    """It would write a client's number, to be known by again, and send it to Google."""
    lines = (
        "import sys",
        "from pathlib import Path",
        "from megatick_contract.cpu_engine import openvino_core, read_graph",
        code,
        "assert 'openvino' in sys.modules",
    )
    subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=300,
    )

    assert list(tmp_path.iterdir()) == []


def test_a_process_has_one_core() -> None:
    assert openvino_core() is openvino_core()


def test_every_cpu_computes_float32() -> None:
    assert "FP32" in cpu_capabilities()


@pytest.mark.parametrize(
    ("widths", "group"),
    [
        ([576, 1536], 192),
        ([1024, 4096], 256),
        ([96], 96),
        ([64, 96], 32),
        ([512, 72], 32),
        ([], 32),
    ],
)
def test_a_group_of_channels_is_as_wide_as_divides_every_input(
    widths: list[int], group: int
) -> None:
    assert input_group(widths) == group


def two_products(stored: type[np.generic]) -> openvino.Model:
    """From 192 channels over 96 to 4, the second weight being [in, out]."""
    given = opset.parameter([-1, 192])
    first = opset.convert(opset.constant(np.ones((96, 192), stored)), np.float32)
    scaled = opset.multiply(first, opset.constant(np.ones((96, 1), np.float32)))
    narrow = opset.matmul(given, scaled, False, True)
    second = opset.convert(opset.constant(np.ones((96, 4), stored)), np.float32)
    return openvino.Model([opset.matmul(narrow, second, False, False)], [given])


@pytest.mark.parametrize(
    ("precision", "stored", "group"),
    [
        ("int8", np.int8, "96"),
        ("int8", np.float16, "32"),  # nothing to round inputs for
        ("fp32", np.int8, "0"),
        ("bf16", np.int8, "0"),
    ],
)
def test_int8_rounds_inputs_in_groups_that_fit_the_graph(
    precision: CpuPrecision, stored: type[np.generic], group: str
) -> None:
    options = openvino_options(precision, two_products(stored))

    assert options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == group
