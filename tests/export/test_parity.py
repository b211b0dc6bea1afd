"""The proof that a graph is the reference network, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import Exported
from tiny import WINDOW

from megatick_export import parity, read_checkpoint, reference_network
from megatick_export.errors import ParityError
from megatick_export.parity import Engine, Outputs, prove


@pytest.mark.parametrize("runtime", ["onnxruntime_engine", "openvino_engine"])
@pytest.mark.parametrize("off_by", [0.01, np.nan], ids=["a-hundredth", "nan"])
def test_an_engine_that_is_not_the_model_is_refused(
    exported_graph: Exported,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
    off_by: float,
) -> None:
    network = reference_network(read_checkpoint(exported_graph.checkpoint))
    graph = exported_graph.out / "model.onnx"
    real = getattr(parity, runtime)

    def broken(path: Path, **options: Any) -> Engine:
        engine = real(path, **options)
        return lambda rows: Outputs(engine(rows).logits + np.float32(off_by))

    prove(network, graph, max_tokens=WINDOW)
    monkeypatch.setattr(parity, runtime, broken)

    name = runtime.removesuffix("_engine")
    with pytest.raises(ParityError, match=f"{name} fp32: expected logits within 1e-03"):
        prove(network, graph, max_tokens=WINDOW)
