"""The step: texts of all requests that Triton's dynamic batcher joined, padded, scored."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

# Triton's stub reads no PYTHONPATH; this file is a link into the checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from peers.padding import Padder, probabilities


class TritonPythonModel:
    """Triton's entry point."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load tokenizer and graph."""
        parameters = json.loads(args["model_config"])["parameters"]
        folder = Path(parameters["folder"]["string_value"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.padder = Padder(folder)
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Score one batch."""
        asked = [
            pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().ravel()
            for request in requests
        ]
        texts = [text.decode() for each in asked for text in each]
        ids, mask = self.padder(texts)
        (logits,) = self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        shares = probabilities(logits)
        ends = np.cumsum([len(each) for each in asked])[:-1]
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("PROBABILITIES", part)])
            for part in np.split(shares, ends)
        ]
