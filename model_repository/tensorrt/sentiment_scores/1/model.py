"""Triton's adapter of the ``sentiment_scores`` step."""

from typing import Any

import triton_python_backend_utils as pb_utils

from megatick_server.adapter import close, execute
from megatick_server.publisher import Publisher
from megatick_server.steps.sentiment_scores import SentimentScores


class TritonPythonModel:
    """Loads the step once, and hands it what Triton batched."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load what the step needs from its version folder."""
        self._step = SentimentScores.load(args)
        self._publisher = Publisher(self._step.meters, pb_utils)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request, in order."""
        return execute(self._step, requests, pb_utils)

    def finalize(self) -> None:
        """Tell the last metrics, and end."""
        close(self._step)
        self._publisher.close()
