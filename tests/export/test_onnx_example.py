"""What docs/onnx.md tells a reader to type works as printed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from exported import Exported
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from megatick_export import read_checkpoint, reference_network

PAGE = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
TYPES: dict[int, int] = {
    onnx.TensorProto.INT32: model_config_pb2.TYPE_INT32,
    onnx.TensorProto.FLOAT: model_config_pb2.TYPE_FP32,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture
def bare(exported_graph: Exported, tmp_path: Path) -> Path:
    """An export in the folder that the page names."""
    shutil.copytree(exported_graph.out, tmp_path / "sentiment_onnx")
    return tmp_path / "sentiment_onnx"


def test_the_python_tells_what_the_reference_network_answers(
    exported_graph: Exported, bare: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join(blocks("python"))],
        cwd=bare.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    network = reference_network(read_checkpoint(exported_graph.checkpoint))
    *lines, openvino = done.stdout.splitlines()
    assert len(lines) == 2
    labels, difference = openvino.split(": runtimes differ by ")
    assert labels == "negative, neutral, positive"
    assert float(difference) < 1e-4
    for line in lines:
        text, told = line.split(": ")
        ids = torch.tensor([byte_ids(text)])
        with torch.inference_mode():
            shares = network(ids)[0].softmax(0).tolist()
        names = ("negative", "neutral", "positive")
        for part, name, share in zip(told.split(", "), names, shares, strict=True):
            assert part.split()[0] == name
            assert float(part.split()[1]) == pytest.approx(share, abs=6e-4)  # printed to 3


def byte_ids(text: str) -> list[int]:
    """A plain ASCII text's tokens: ranks of its bytes, a space's being that of Ġ.

    The tiny tokenizer numbers the byte alphabet of GPT-2 in code point order: ! is 0, and
    the bytes that have no printable sign of their own come after ÿ, which is 187.  Ġ,
    U+0120, stands for the space, the 33rd of these.
    """
    return [188 + 32 if sign == " " else ord(sign) - ord("!") for sign in text]


def test_the_config_names_the_tensors_of_the_graph(bare: Path) -> None:
    (printed,) = blocks("pbtxt")
    config = text_format.Parse(printed, model_config_pb2.ModelConfig())

    graph = onnx.load(str(bare / "model.onnx")).graph
    for told, real in ((config.input, graph.input), (config.output, graph.output)):
        assert [each.name for each in told] == [each.name for each in real]
        for ours, theirs in zip(told, real, strict=True):
            tensor = theirs.type.tensor_type
            assert ours.data_type == TYPES[tensor.elem_type]
            sizes = [each.dim_value or -1 for each in tensor.shape.dim]
            assert list(ours.dims) == sizes
    assert config.max_batch_size == 0
