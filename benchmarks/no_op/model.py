"""A step that does nothing: what one hop through Triton costs by itself."""

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

_NOTHING = {np.object_: b"nothing"}


class TritonPythonModel:
    """Answers every output of its config with zeros, and of strings "nothing"."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read what the outputs are."""
        self.outputs = [
            (
                output["name"],
                output["dims"],
                pb_utils.triton_string_to_numpy(output["data_type"]),
            )
            for output in json.loads(args["model_config"])["output"]
        ]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        rows = len(pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy())
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor(name, np.full((rows, *dims), _NOTHING.get(dtype, 0), dtype))
                for name, dims, dtype in self.outputs
                if name in wanted
            ]
        )
