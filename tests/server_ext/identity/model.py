"""Answer with what was asked; and import what a real step imports."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils

import megatick_contract  # noqa: F401
import megatick_server  # noqa: F401


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        pass

    def execute(self, requests: list[Any]) -> list[Any]:
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUT", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
