"""What ``import megatick_client`` loads: a trading process wants it light."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    code = "import sys, megatick_client; print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in printed.stdout.split()}


@pytest.mark.parametrize(
    "heavy",
    [
        "torch",
        "onnx",
        "openvino",
        "pytriton",
        "tokenizers",
        "transformers",
        "pandas",
        "pyarrow",
    ],
)
def test_import_is_light(loaded: set[str], heavy: str) -> None:
    assert heavy not in loaded
    assert {"megatick_client", "tritonclient", "grpc"} <= loaded


def test_public_names_exist() -> None:
    import megatick_client

    assert all(hasattr(megatick_client, name) for name in megatick_client.__all__)
