"""What cannot be served is refused before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from megatick_export import ExportOptions, options
from megatick_export.errors import OptionsError


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param(
            {"precision": "fp16"}, "auto for target cpu, found 'fp16'", id="cpu-fp16"
        ),
        pytest.param({"precision": "fp8"}, "for target cpu, found 'fp8'", id="cpu-fp8"),
        pytest.param(
            {"precision": "int8", "target": "tensorrt"}, "found 'int8'", id="tensorrt-int8"
        ),
        pytest.param({"flip_budget": -0.1}, "flip_budget: expected 0 to 1", id="flips"),
        pytest.param({"flip_budget": float("nan")}, "expected 0 to 1", id="flips-nan"),
        pytest.param({"score_budget": 2.1}, "score_budget: expected 0 to 2", id="score"),
        pytest.param({"max_tokens": 0}, "max_tokens: expected at least 1", id="tokens"),
        pytest.param(
            {"max_batch_tokens": 0}, "max_batch_tokens: expected at least 1", id="batch"
        ),
        pytest.param({"prompt": "{text}:"}, "verbalizers: expected both", id="prompt"),
        pytest.param(
            {"verbalizers": ("a", "b", "c")}, "prompt: expected both", id="verbalizers"
        ),
        pytest.param(
            {"fp8_attention": True, "precision": "fp32"}, "precision fp8", id="attention"
        ),
        pytest.param({"labels": ("up", "flat", "down")}, "target onnx", id="cpu-labels"),
        pytest.param(
            {"labels": ("up", "up"), "target": "onnx"}, "distinct names", id="equal-labels"
        ),
        pytest.param({"labels": ("up",), "target": "onnx"}, "distinct names", id="one"),
    ],
)
def test_what_cannot_be_served_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionsError) as refused:
        ExportOptions(**given)

    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("given", "bf16", "expected"),
    [
        pytest.param({}, True, ("fp32", "bf16", "int8"), id="cpu"),
        pytest.param({}, False, ("fp32", "int8"), id="cpu-without-bf16"),
        pytest.param(
            {"target": "onnx"}, False, ("fp32", "fp16", "bf16", "int8", "fp8"), id="onnx"
        ),
        pytest.param({"precision": "fp32"}, True, ("fp32",), id="by-name"),
        pytest.param(
            {"precision": "bf16", "target": "tensorrt"}, False, ("bf16",), id="for-a-gpu"
        ),
    ],
)
def test_auto_measures_what_this_machine_can(
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    bf16: bool,
    expected: tuple[str, ...],
) -> None:
    monkeypatch.setattr(options, "cpu_has_bf16", lambda: bf16)

    assert ExportOptions(**given).candidates() == expected


def test_auto_for_tensorrt_is_refused_where_no_plan_can_be_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("megatick_export.engine.gpu._DRIVER", "libnowhere.so.1")

    with pytest.raises(OptionsError) as refused:
        ExportOptions(target="tensorrt").candidates()

    for part in ("fp32, fp16, bf16, fp8 by name", "no NVIDIA driver", "libnowhere.so.1"):
        assert part in str(refused.value)


def test_auto_for_tensorrt_compares_all_where_plans_can_be_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(options, "gpu_library", lambda: None)

    found = ExportOptions(target="tensorrt").candidates()

    assert found == ("fp32", "fp16", "bf16", "fp8")


def test_bf16_is_refused_where_it_cannot_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(options, "cpu_has_bf16", lambda: False)

    with pytest.raises(OptionsError, match="a CPU with bf16 arithmetic"):
        ExportOptions(precision="bf16").candidates()


@pytest.mark.parametrize(("target", "tokens"), [("cpu", 512), ("tensorrt", 4096)])
def test_a_run_of_the_engine_is_as_large_as_suits_the_target(
    target: Any, tokens: int
) -> None:
    assert ExportOptions(target=target, precision="fp32").tokens_per_run == tokens
    chosen = ExportOptions(target=target, precision="fp32", max_batch_tokens=64)
    assert chosen.tokens_per_run == 64
