"""Triton's adapter of the ``scorer`` step."""

from typing import Any

import triton_python_backend_utils as pb_utils

from megatick_server.adapter import accept, close
from megatick_server.publisher import Publisher
from megatick_server.steps.scorer import Scorer


class TritonPythonModel:
    """Loads the step once, and hands it what Triton has."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load what the step needs from its version folder."""
        self._step = Scorer.load(args)
        self._publisher = Publisher(self._step.meters, pb_utils)

    def execute(self, requests: list[Any]) -> None:
        """Take the requests on; each is answered when it is done."""
        accept(self._step, requests, pb_utils)

    def finalize(self) -> None:
        """Answer what waits, and end."""
        self._step.close()
        close(self._step)
        self._publisher.close()
