"""OpenVINO's one core in a process, and what it leaves of the process's signals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from megatick_contract.cpu_engine import cpu_capabilities, openvino_core

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
