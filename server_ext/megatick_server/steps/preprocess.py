"""Check a whole request, and turn its texts into one ragged row of tokens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

import numpy as np

from megatick_contract.prices import ELAPSED_S, PRICES, SENTIMENT_STATE
from megatick_contract.rejections import Rejection
from megatick_contract.repository import TOKENIZER_FILE
from megatick_contract.steps import (
    AGE_S,
    INPUT_IDS,
    LONGEST,
    PREPROCESS,
    PREPROCESS_US,
    ROW_LENGTHS,
    STATE,
)
from megatick_contract.text import (
    TEXT,
    TOKENS,
    TRUNCATED,
    TRUNCATION_PARAMETER,
    TRUNCATIONS,
    TooLong,
    Truncation,
)
from megatick_server.adapter import Arrays, StepRequest
from megatick_server.audit.log import AuditLog
from megatick_server.errors import RequestRefused
from megatick_server.meters import Meters
from megatick_server.metrics import STAGE_SECONDS, TRUNCATED_TEXTS
from megatick_server.settings import ModelFolder, PreprocessSettings
from megatick_server.step_log import log_as_triton
from megatick_server.tokenization import TextTokenizer, TokenizedText
from megatick_server.validation import check_prices, check_state, decode_texts


class Preprocess:
    """The ``preprocess`` model."""

    model = PREPROCESS
    audit: AuditLog | None = None

    def __init__(
        self, tokenizer: TextTokenizer, *, meters: Meters, longest: int | None = None
    ) -> None:
        """Prepare texts with a tokenizer; ``longest`` is the settings'."""
        self.meters = meters
        meters.mention(TRUNCATED_TEXTS)
        meters.observe(STAGE_SECONDS, (), "preprocess")
        self._tokenizer = tokenizer
        self._longest = longest

    @classmethod
    def load(cls, triton_args: Mapping[str, str]) -> Self:
        """Load what the step needs from its version folder."""
        log_as_triton(cls.model.name)
        folder = ModelFolder.of(triton_args)
        settings = folder.settings(PreprocessSettings)
        tokenizer = TextTokenizer(
            folder.path / TOKENIZER_FILE, max_tokens=settings.max_tokens
        )
        meters = Meters(cls.model.name)
        step = cls(tokenizer, meters=meters, longest=settings.longest)
        step.audit = AuditLog.of_environment(step.meters, model_digest="")
        return step

    def __call__(
        self, requests: Sequence[StepRequest]
    ) -> Sequence[Arrays | RequestRefused]:
        """Tokenize each request's texts, or refuse it with all that is wrong."""
        started = time.perf_counter()
        answers = [self._prepare(request) for request in requests]
        elapsed_s = time.perf_counter() - started
        for answer in answers:
            if not isinstance(answer, RequestRefused):
                answer[PREPROCESS_US.name] = np.full((1, 1), elapsed_s * 1e6)
                self.meters.observe(STAGE_SECONDS, elapsed_s, "preprocess")
                truncated = int(answer[TRUNCATED.name].sum())
                self.meters.add(TRUNCATED_TEXTS, truncated)
        return answers

    def _prepare(self, request: StepRequest) -> Arrays | RequestRefused:
        texts, rejections = decode_texts(request.inputs[TEXT.name])
        rejections += _check_window(request.inputs)
        truncation = request.parameters.get(TRUNCATION_PARAMETER, "head")
        if truncation not in TRUNCATIONS:
            rejections.append(_unknown_truncation(truncation))
        if rejections:
            return RequestRefused(rejections, rows=len(texts))
        policy = cast("Truncation", truncation)
        tokenized = self._tokenizer.encode(texts, truncation=policy)
        rejections = self._check_tokens(tokenized)
        if rejections:
            return RequestRefused(rejections, rows=len(texts))
        lengths = np.array([len(row.input_ids) for row in tokenized], np.int32)
        answer: Arrays = {
            INPUT_IDS.name: np.concatenate([row.input_ids for row in tokenized])[None],
            ROW_LENGTHS.name: lengths[None],
            LONGEST.name: np.zeros((1, self._longest or lengths.max()), np.int32),
            TOKENS.name: lengths[:, None],
            TRUNCATED.name: np.array([[row.truncated] for row in tokenized]),
        }
        if SENTIMENT_STATE.name in request.inputs and ELAPSED_S.name in request.inputs:
            answer[STATE.name] = request.inputs[SENTIMENT_STATE.name][None]
            answer[AGE_S.name] = request.inputs[ELAPSED_S.name][None]
        return answer

    def _check_tokens(self, tokenized: Sequence[TokenizedText]) -> list[Rejection]:
        window = self._tokenizer.max_tokens
        rejections = []
        for row, text in enumerate(tokenized):
            tokens = len(text.input_ids)
            if tokens > window:
                problem = str(TooLong(tokens, window))
                rejections.append(Rejection(row, TEXT.name, problem))
            elif tokens == 0:
                problem = "holds nothing that the model's tokenizer knows"
                rejections.append(Rejection(row, TEXT.name, problem))
        return rejections


def _check_window(inputs: Mapping[str, Any]) -> list[Rejection]:
    """Check the prices and the state of a market view, where they came."""
    rejections: list[Rejection] = []
    if PRICES.name in inputs:
        rejections += check_prices(inputs[PRICES.name])
    if SENTIMENT_STATE.name in inputs and ELAPSED_S.name in inputs:
        rejections += check_state(inputs[SENTIMENT_STATE.name], inputs[ELAPSED_S.name])
    return rejections


def _unknown_truncation(found: object) -> Rejection:
    expected = ", ".join(TRUNCATIONS)
    problem = f"came with truncation {found!r}, expected one of {expected}"
    return Rejection(0, TEXT.name, problem)
