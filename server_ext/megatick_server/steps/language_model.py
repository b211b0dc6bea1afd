"""Run the packed language model on all the rows of all the requests that wait."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from megatick_contract.repository import GRAPH_FILE
from megatick_contract.steps import (
    INPUT_IDS,
    LANGUAGE_MODEL,
    LANGUAGE_MODEL_US,
    LOGITS,
    POOLED,
    ROW_LENGTHS,
)
from megatick_server.adapter import Arrays, StepRequest
from megatick_server.engine import PackedEngine
from megatick_server.errors import RequestRefused
from megatick_server.settings import LanguageModelSettings, ModelFolder

_WARM_UP_TOKENS = 16


class LanguageModel:
    """The ``language_model`` model."""

    model = LANGUAGE_MODEL

    def __init__(self, engine: PackedEngine) -> None:
        self._engine = engine
        self._given = engine.outputs & {LOGITS.name, POOLED.name}

    @classmethod
    def load(cls, triton_args: Mapping[str, str]) -> Self:
        """Compile the graph of the version folder for this machine."""
        folder = ModelFolder.of(triton_args)
        settings = folder.settings(LanguageModelSettings)
        engine = PackedEngine(
            folder.path / GRAPH_FILE,
            precision=settings.precision,
            max_batch_tokens=settings.max_batch_tokens,
            threads=len(os.sched_getaffinity(0)),
        )
        # The first run allocates and picks kernels; no request should wait for that.
        engine.logits([np.zeros(_WARM_UP_TOKENS, np.int32)])
        return cls(engine)

    def __call__(
        self, requests: Sequence[StepRequest]
    ) -> Sequence[Arrays | RequestRefused]:
        """Give every row of every request its logits, and its embedding if asked to.

        A batch with one such request copies the embedding out of the graph, which has it
        at hand for the logits; the other requests of that batch get no more than they ask.
        """
        started = time.perf_counter()
        rows = []
        counts = []
        for request in requests:
            lengths = request.inputs[ROW_LENGTHS.name][0]
            tokens = request.inputs[INPUT_IDS.name][0]
            rows += np.split(tokens, np.cumsum(lengths)[:-1])
            counts.append(len(lengths))
        wanted = {name for request in requests for name in request.wanted}
        results = self._engine.run(rows, wanted & self._given)  # each (all rows, …)
        elapsed_us = (time.perf_counter() - started) * 1e6
        answers: list[Arrays] = [
            {LANGUAGE_MODEL_US.name: np.full((1, 1), elapsed_us)} for _ in requests
        ]
        ends = np.cumsum(counts)[:-1]
        for name, result in results.items():
            for answer, part in zip(answers, np.split(result, ends), strict=True):
                answer[name] = part[None]
        return answers
