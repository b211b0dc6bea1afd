"""NVIDIA's compiler takes the real packed graph, for GPUs that are not there.

It runs nothing: what is proven is that the graph compiles with dynamic tokens, rows and
longest row, that attention is one kernel a layer, and which precision each product has.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from megatick_export.engine import Profile, check_compiles
from megatick_export.errors import EngineError

WriteGraph = Callable[[str, str], Path]

TARGETS = {"llama": ["SM89", "SM120"], "gpt2": ["SM89"], "bert": ["SM120"]}
ATTENTIONS = 2  # one a layer
LINEARS = 4 * 2  # QKV, projection and the MLP's two, a layer


@pytest.mark.parametrize("name", TARGETS)
def test_fp16_is_fused_attention_and_fp16_products(
    graph: WriteGraph, profile: Profile, name: str
) -> None:
    for check in check_compiles(graph(name, "fp16"), profile, TARGETS[name]):
        assert check.layers.attentions == ATTENTIONS
        assert check.layers.fused_attentions == ATTENTIONS
        assert check.layers.attention_precisions == {"FP16": ATTENTIONS}
        pooler = int(name == "bert")
        assert check.layers.precisions == {"FP16": LINEARS + pooler, "FP32": 1}


@pytest.mark.parametrize("name", TARGETS)
def test_fp8_is_every_linear_layer_in_fp8(
    graph: WriteGraph, profile: Profile, name: str
) -> None:
    for check in check_compiles(graph(name, "fp8"), profile, TARGETS[name]):
        assert check.layers.attention_precisions == {"FP16": ATTENTIONS}
        # The class rows stay in float32, and BERT's pooler in FP16.
        pooler = {"FP16": 1} if name == "bert" else {}
        assert check.layers.precisions == {"FP8": LINEARS, "FP32": 1} | pooler


@pytest.mark.parametrize("name", ["llama", "bert"])  # causal, and with a mask a row
def test_fp8_attention_is_one_fp8_kernel_a_layer_where_its_length_is_fixed(
    graph: WriteGraph, whole_window: Profile, name: str
) -> None:
    for check in check_compiles(graph(name, "fp8-attention"), whole_window, TARGETS[name]):
        assert check.layers.attentions == ATTENTIONS
        assert check.layers.attention_precisions == {"FP8": ATTENTIONS}
        pooler = {"FP16": 1} if name == "bert" else {}
        assert check.layers.precisions == {"FP8": LINEARS, "FP32": 1} | pooler


def test_with_a_dynamic_length_fp8_attention_is_not_fused(
    graph: WriteGraph, profile: Profile
) -> None:
    # The last layer alone is: each row has one query, whatever its length.  This is why
    # such a repository's profile fixes the length; should it fail, that need is gone.
    (check,) = check_compiles(graph("llama", "fp8-attention"), profile, ["SM89"])

    assert check.layers.attention_precisions == {"FP8": 1}
    assert check.layers.fused_attentions < check.layers.attentions


def test_one_layer_that_is_not_quantised_is_seen(
    graph: WriteGraph, profile: Profile
) -> None:
    (check,) = check_compiles(graph("gpt2", "fp8-but-the-last"), profile, ["SM89"])

    assert check.layers.precisions == {"FP8": LINEARS - 4, "FP16": 4, "FP32": 1}


@pytest.mark.parametrize("target", ["SM90", "NONE", "8.9"])
def test_a_target_that_it_does_not_compile_for_is_refused(
    graph: WriteGraph, profile: Profile, target: str
) -> None:
    with pytest.raises(EngineError, match="expected one of SM75, SM80, SM86, SM89, SM120"):
        check_compiles(graph("gpt2", "fp16"), profile, [target])


def test_what_is_no_graph_is_refused(tmp_path: Path, profile: Profile) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")

    with pytest.raises(EngineError, match=r"model\.onnx: tensorrt_rtx cannot read it"):
        check_compiles(path, profile, ["SM89"])
