"""A step that does nothing: what one hop through Triton costs by itself."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers every row with 0."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        rows = len(pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy())
        score = pb_utils.Tensor("SCORE", np.zeros((rows, 1), np.float32))
        return pb_utils.InferenceResponse(output_tensors=[score])
