"""Turn logits into probabilities and a score, and carry the sentiment state on.

What the language model gave for a request is one element; here it becomes rows again, the
embedding too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from megatick_contract.models import MODEL_DIGEST, STAGE_US
from megatick_contract.prices import NEXT_SENTIMENT_STATE
from megatick_contract.steps import (
    AGE_S,
    LOGITS,
    NEXT_ELAPSED_S,
    NEXT_STATE,
    POOLED,
    PREPROCESS_US,
    SENTIMENT_SCORES,
    STATE,
)
from megatick_contract.text import (
    EMBEDDING,
    LABELS,
    PROBABILITIES,
    SCORE,
    SCORE_TOLERANCE,
)
from megatick_server.adapter import Arrays, StepRequest
from megatick_server.audit.log import AuditLog
from megatick_server.errors import RequestRefused
from megatick_server.meters import Meters
from megatick_server.metrics import ANSWERS, MODEL_LOADED, SCORES, STAGE_SECONDS
from megatick_server.sentiment import (
    Float32Array,
    add_score,
    class_probabilities,
    decay,
    polarity,
)
from megatick_server.settings import ModelFolder, SentimentSettings
from megatick_server.step_log import log_as_triton


class SentimentScores:
    """The ``sentiment_scores`` model."""

    model = SENTIMENT_SCORES
    audit: AuditLog | None = None

    def __init__(
        self, settings: SentimentSettings, *, model_digest: str, meters: Meters
    ) -> None:
        self.meters = meters
        meters.mention(ANSWERS, SCORES)
        meters.note(MODEL_LOADED, time.time(), model_digest)
        meters.observe(STAGE_SECONDS, (), "sentiment_scores")
        self._settings = settings
        self._model_digest = model_digest.encode()

    @classmethod
    def load(cls, triton_args: Mapping[str, str]) -> Self:
        """Read the step's settings."""
        log_as_triton(cls.model.name)
        folder = ModelFolder.of(triton_args)
        digest = folder.model_digest()
        step = cls(
            folder.settings(SentimentSettings),
            model_digest=digest,
            meters=Meters(cls.model.name),
        )
        step.audit = AuditLog.of_environment(step.meters, model_digest=digest)
        return step

    def __call__(
        self, requests: Sequence[StepRequest]
    ) -> Sequence[Arrays | RequestRefused]:
        """Score each request's rows."""
        return [self._score(request) for request in requests]

    def _score(self, request: StepRequest) -> Arrays:
        started = time.perf_counter()
        inputs = request.inputs
        probabilities = class_probabilities(inputs[LOGITS.name][0])
        score = polarity(probabilities)
        rows = len(score)
        answer: Arrays = {
            PROBABILITIES.name: probabilities,
            SCORE.name: score,
            MODEL_DIGEST.name: np.full((rows, 1), self._model_digest, object),
        }
        if (tolerance := self._settings.score_tolerance) is not None:
            answer[SCORE_TOLERANCE.name] = np.full((rows, 1), tolerance)
        if STATE.name in inputs:
            aged = decay(
                inputs[STATE.name][0],
                inputs[AGE_S.name][0],
                half_life_s=self._settings.half_life_s,
            )
            following = add_score(aged, score)
            answer[NEXT_SENTIMENT_STATE.name] = answer[NEXT_STATE.name] = following
            answer[NEXT_ELAPSED_S.name] = np.zeros((rows, 1))
        if POOLED.name in inputs:
            answer[EMBEDDING.name] = inputs[POOLED.name][0]
        if request.wanted & {PROBABILITIES.name, SCORE.name}:
            self._count(probabilities, score)
        untold = np.full((1, 2), np.nan)  # the queue and the language model
        elapsed_s = time.perf_counter() - started
        self.meters.observe(STAGE_SECONDS, elapsed_s, "sentiment_scores")
        elapsed_us = np.full((1, 1), elapsed_s * 1e6)
        stages_us = np.hstack((inputs[PREPROCESS_US.name], untold, elapsed_us))
        answer[STAGE_US.name] = np.repeat(stages_us, rows, axis=0)
        return answer

    def _count(self, probabilities: Float32Array, score: Float32Array) -> None:
        self.meters.observe(SCORES, score)
        counts = np.bincount(probabilities.argmax(axis=1), minlength=len(LABELS))
        for label, texts in zip(LABELS, counts.tolist(), strict=True):
            self.meters.add(ANSWERS, texts, label)
