"""OpenVINO's one core in a process, and what it leaves of the process's signals."""

from __future__ import annotations

import subprocess
import sys

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
        timeout=60,
        check=False,
    )

    assert (told.returncode, told.stdout) == (0, "interrupted\n"), told.stderr


def test_a_process_has_one_core() -> None:
    assert openvino_core() is openvino_core()


def test_every_cpu_computes_float32() -> None:
    assert "FP32" in cpu_capabilities()
