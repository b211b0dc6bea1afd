"""``megatick score`` against a gRPC server of this process, which speaks KServe v2 and
gives a text of p plus signs the probabilities (1, 1, 1 + p) / (3 + p)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor
from typer.testing import CliRunner

from megatick_cli import app as command
from megatick_contract.rejections import Rejection, describe

WIDE = {"COLUMNS": "120"}


class Plusses(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """A ``sentiment`` model that counts plus signs, and refuses ``bad``."""

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's name
        texts = [
            t.decode() for t in deserialize_bytes_tensor(request.raw_input_contents[0])
        ]
        bad = [Rejection(i, "TEXT", "is bad") for i, t in enumerate(texts) if t == "bad"]
        if bad:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, describe(bad, rows=len(texts)))
        signs = np.array([[0, 0, text.count("+")] for text in texts])
        probabilities = (1 + signs) / (3 + signs.sum(axis=1, keepdims=True))
        words = [[len(text.split())] for text in texts]
        answers = {
            "PROBABILITIES": ("FP32", probabilities.astype(np.float32)),
            "SCORE": (
                "FP32",
                (probabilities[:, 2:] - probabilities[:, :1]).astype(np.float32),
            ),
            "TOKENS": ("INT32", np.array(words, np.int32)),
            "TRUNCATED": ("BOOL", np.array(words) > 3),
        }
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for output in request.outputs:
            datatype, array = answers[output.name]
            response.outputs.add(name=output.name, datatype=datatype, shape=array.shape)
            response.raw_output_contents.append(array.tobytes())
        return response


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Plusses(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(grace=None).wait()


def run(*arguments: str, stdin: str | bytes | None = None) -> tuple[int, str, str]:
    """Run ``megatick score`` as the shell would; its status, stdout and stderr."""
    result = CliRunner().invoke(command.app, ["score", *arguments], input=stdin, env=WIDE)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_table(address: str) -> None:
    """``up +`` is (1, 1, 2) / 4, and brackets in a text are text."""
    status, printed, _ = run("up +", "[b]flat[/b] and so on", "--address", address)

    assert status == 0
    cells = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]
    assert ["up +", "positive", "+0.25", "0.25", "0.25", "0.50", "2"] in cells
    assert ["[b]flat[/b] and so on", "negative", "+0.00", *["0.33"] * 3, "4 (cut)"] in cells
    assert "2 texts in" in printed
    assert f"ms at {address}" in printed


def test_json_lines(address: str) -> None:
    status, printed, _ = run("up +", "±0", "--json", "--address", address)

    assert status == 0
    first, second = map(json.loads, printed.splitlines())
    assert first == {
        "text": "up +",
        "label": "positive",
        "score": 0.25,
        "probabilities": {"negative": 0.25, "neutral": 0.25, "positive": 0.5},
        "tokens": 2,
        "truncated": False,
    }
    assert second["text"] == "±0"


def test_explained_table(address: str) -> None:
    """``up + or flat`` is (1, 1, 2) / 4, and without its plus (1, 1, 1) / 3."""
    status, printed, _ = run("up + [b]", "flat", "--explain", "--address", address)

    assert status == 0
    cells = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]
    assert ["up + [b]", "positive", "+0.25", "+0.25 +", "0.25 without it"] in cells
    assert ["0.00 with it alone"] in cells
    assert ["flat", "negative", "+0.00"] in cells
    assert "2 texts in" in printed


def test_explained_json_lines(address: str) -> None:
    status, printed, _ = run("±0 + 涨", "--explain", "--json", "--address", address)

    assert status == 0
    (line,) = printed.splitlines()
    assert json.loads(line) == {
        "text": "±0 + 涨",
        "label": "positive",
        "score": 0.25,
        "spans": [{"start": 3, "end": 4, "text": "+", "effect": 0.25}],
        "comprehensiveness": 0.25,
        "sufficiency": 0.0,
        "additivity": 0.0,
        "refined": True,
        "variants": 5,
        "truncated": False,
    }


@pytest.mark.parametrize("source", ["file", "stdin", "dash"])
def test_one_text_a_line(address: str, tmp_path: Path, source: str) -> None:
    text = "up +\n\n  \nflat ≈\n"
    (tmp_path / "headlines.txt").write_text(text, encoding="utf-8")
    file = str(tmp_path / "headlines.txt")
    given = {"file": ("--file", file), "stdin": (), "dash": ("-",)}[source]

    _, printed, _ = run(*given, "--json", "--address", address, stdin=text)

    assert [json.loads(line)["text"] for line in printed.splitlines()] == ["up +", "flat ≈"]


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        pytest.param(["a", "--file", "{file}"], b"a", "not both", id="two-sources"),
        pytest.param(
            ["--file", "{file}"], b"a\n\xff", "line 2: expected UTF-8", id="latin"
        ),
        pytest.param(["--file", "{file}"], b"\n \n", "found none", id="blank"),
        pytest.param(["--file", "{file}.no"], b"", "does not exist", id="no-file"),
    ],
)
def test_bad_usage_is_2(
    tmp_path: Path, arguments: list[str], content: bytes, message: str
) -> None:
    file = tmp_path / "f"
    file.write_bytes(content)

    status, printed, said = run(*(each.format(file=file) for each in arguments))

    assert (status, printed) == (2, "")
    assert message in " ".join(said.replace("│", " ").split())


def test_a_failure_is_1_and_one_message(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["megatick", "score", "fine", "bad", "--address", address]
    monkeypatch.setattr("sys.argv", arguments)

    with pytest.raises(SystemExit) as ended:
        command.main()

    assert ended.value.code == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    message = " ".join(said.split())
    assert message.startswith(f"error: {address}: 1 of 2 rows refused: row 1, TEXT: is bad")
