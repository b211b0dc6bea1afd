"""In a TensorRT engine's place: the packed graph of a request, in onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        version = Path(args["model_repository"]) / args["model_version"]
        self._session = onnxruntime.InferenceSession(str(version / "model.onnx"))

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        def read(name: str) -> Any:
            return pb_utils.get_input_tensor_by_name(request, name).as_numpy()[0]

        feed = {
            "input_ids": read("input_ids"),
            "row_lengths": read("row_lengths"),
            "max_seqlen": read("longest"),
        }
        wanted = list(request.requested_output_names())
        given = zip(wanted, self._session.run(wanted, feed), strict=True)
        tensors = [
            pb_utils.Tensor(name, np.asarray(array, np.float32)[None])
            for name, array in given
        ]
        return pb_utils.InferenceResponse(output_tensors=tensors)
