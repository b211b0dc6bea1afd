"""All that is computed of a text, in one process: the CPU's whole chain.

The steps are those that stand before and behind a TensorRT engine, called one after the
other; between them the rows of all requests wait for one engine together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Self, cast

import numpy as np
import numpy.typing as npt

from megatick_contract.admission import (
    DEFAULT_PRIORITY,
    PRIORITIES,
    PRIORITY_PARAMETER,
    Priority,
)
from megatick_contract.models import STAGE_US, STAGES
from megatick_contract.prices import (
    ELAPSED_S,
    NEXT_SENTIMENT_STATE,
    PRICES,
    SENTIMENT_STATE,
)
from megatick_contract.rejections import Rejection
from megatick_contract.repository import FORECASTER_FILE, GRAPH_FILE, TOKENIZER_FILE
from megatick_contract.steps import (
    AGE_S,
    EARLIER_US,
    INPUT_IDS,
    LOGITS,
    NEXT_ELAPSED_S,
    POOLED,
    PREPROCESS_US,
    ROW_LENGTHS,
    SCORER,
    STATE,
)
from megatick_contract.text import EMBEDDING, TEXT, TOKENS, TRUNCATED
from megatick_server.adapter import Arrays, Reply, StepRequest
from megatick_server.audit.log import AuditLog
from megatick_server.cpus import usable_cpus
from megatick_server.engine import PackedEngine
from megatick_server.engine_loop import EngineLoop
from megatick_server.environment import cached_texts
from megatick_server.errors import RequestDropped, RequestRefused
from megatick_server.forecast import load_forecaster
from megatick_server.job import Float32Array, Job
from megatick_server.meters import Meters
from megatick_server.metrics import (
    CACHE_HITS,
    CACHE_MISSES,
    PADDING_TOKENS,
    REQUEST_SECONDS,
    STAGE_SECONDS,
)
from megatick_server.row_cache import RowCache
from megatick_server.row_queue import MAX_JOBS, Limits, not_worth_it
from megatick_server.settings import ModelFolder, ScorerSettings
from megatick_server.step_log import log_as_triton
from megatick_server.steps.preprocess import Preprocess
from megatick_server.steps.price_forecast import PriceForecast
from megatick_server.steps.sentiment_scores import SentimentScores
from megatick_server.tokenization import TextTokenizer

_QUEUE, _LANGUAGE_MODEL = STAGES.index("queue"), STAGES.index("language_model")
_WARM_UP_TOKENS: Final = 64

LARGE_BYTES: Final = 32 * 1024
"""More text in a live request is tokenized aside; so much takes some 30 ms of a CPU."""


class Scorer:
    """The ``scorer`` model."""

    model = SCORER
    audit: AuditLog | None = None

    def __init__(
        self,
        preprocess: Preprocess,
        loop: EngineLoop,
        scores: SentimentScores,
        forecast: PriceForecast,
        cache: RowCache,
        meters: Meters,
    ) -> None:
        self.meters = meters
        meters.mention(REQUEST_SECONDS)
        for stage in ("queue", "language_model"):
            meters.observe(STAGE_SECONDS, (), stage)
        meters.watch(CACHE_HITS, lambda: cache.hits)
        meters.watch(CACHE_MISSES, lambda: cache.misses)
        self._preprocess = preprocess
        self._loop = loop
        self._scores = scores
        self._forecast = forecast
        self._cache = cache
        self._aside = {
            lane: ThreadPoolExecutor(1, thread_name_prefix=f"tokenize {lane}")
            for lane in PRIORITIES
        }
        self._room = threading.BoundedSemaphore(MAX_JOBS)

    @classmethod
    def load(cls, triton_args: Mapping[str, str]) -> Self:
        """Compile the graph of the version folder for this machine, and start its loop."""
        log_as_triton(cls.model.name)
        folder = ModelFolder.of(triton_args)
        settings = folder.settings(ScorerSettings)
        digest = folder.model_digest()
        engine = PackedEngine(
            folder.path / GRAPH_FILE,
            precision=settings.precision,
            threads=usable_cpus(),
            input_group=settings.input_group,
        )
        limits = Limits(settings.max_batch_tokens, settings.max_backfill_tokens)
        tokenizer = TextTokenizer(
            folder.path / TOKENIZER_FILE, max_tokens=settings.max_tokens
        )
        forecaster = load_forecaster(folder.path / FORECASTER_FILE)
        meters = Meters(cls.model.name)
        meters.watch(PADDING_TOKENS, lambda: engine.padding_tokens)
        step = cls(
            Preprocess(tokenizer, meters=meters),
            EngineLoop(engine, limits, warm_up=partial(_warm_up, engine), meters=meters),
            SentimentScores(settings, model_digest=digest, meters=meters),
            PriceForecast(forecaster, model_digest=digest, meters=meters),
            RowCache(cached_texts()),
            meters,
        )
        step.audit = AuditLog.of_environment(step.meters, model_digest=digest)
        return step

    def accept(self, request: StepRequest, reply: Reply) -> None:
        """Check a request, and let its rows wait for the engine.

        Backfill is tokenized on a thread of its own, and so is a live request of more than
        ``LARGE_BYTES``, so that no other one waits for that.

        Raises:
            RequestRefused: with all that is wrong with it.
            RequestDropped: it could not be answered in time.
        """
        arrived_s = time.monotonic()
        priority = _priority(request)
        at_once = priority == "live" and _bytes(request) <= LARGE_BYTES
        # What is known needs no turn, and what is known shows once it is tokenized.
        if not (at_once and len(self._cache)):
            self._loop.check(priority, timeout_s=request.timeout_s)
        if at_once:
            self._take(request, reply, priority, arrived_s)
            return
        if not self._room.acquire(blocking=False):
            raise RequestDropped("queue_full", f"{MAX_JOBS} requests wait already")
        self._aside[priority].submit(self._take_aside, request, reply, priority, arrived_s)

    def close(self) -> None:
        """Answer what waits, and end."""
        for thread in self._aside.values():
            thread.shutdown()
        self._loop.close()

    def _take_aside(
        self, request: StepRequest, reply: Reply, priority: Priority, arrived_s: float
    ) -> None:
        try:
            waited_s = time.monotonic() - arrived_s
            reason = not_worth_it(
                waited_s=waited_s,
                left_s=request.timeout_s - waited_s,
                cancelled=request.cancelled,
            )
            if reason is not None:
                raise reason
            self._take(request, reply, priority, arrived_s)
        except Exception as error:  # noqa: BLE001 the caller must hear of it
            reply(error)
        finally:
            self._room.release()

    def _take(
        self, request: StepRequest, reply: Reply, priority: Priority, arrived_s: float
    ) -> None:
        waited_s = time.monotonic() - arrived_s
        (prepared,) = self._preprocess([request])
        if isinstance(prepared, RequestRefused):
            raise prepared
        tokens, lengths = prepared[INPUT_IDS.name][0], prepared[ROW_LENGTHS.name][0]
        job = Job(
            rows=np.split(tokens, np.cumsum(lengths)[:-1]),
            wanted=frozenset(
                (LOGITS.name, POOLED.name)
                if EMBEDDING.name in request.wanted
                else (LOGITS.name,)
            ),
            priority=priority,
            finish=self._finish(request, prepared, reply, arrived_s),
            expires_s=arrived_s + request.timeout_s,
            cancelled=request.cancelled,
            waited_s=waited_s,
        )
        for row, ids in enumerate(job.rows):
            if (known := self._cache.get(ids, job.wanted)) is not None:
                job.fill(row, known)
        if job.done:
            job.finish(job, job.results)
        else:
            self._loop.submit(job)

    def _finish(
        self, request: StepRequest, prepared: Arrays, reply: Reply, arrived_s: float
    ) -> Callable[[Job, dict[str, Float32Array] | Exception], None]:
        def finish(job: Job, outcome: dict[str, Float32Array] | Exception) -> None:
            if isinstance(outcome, Exception):
                reply(outcome)
                return
            for row, ids in enumerate(job.rows):
                self._cache.put(ids, {name: all_[row] for name, all_ in outcome.items()})
            try:
                reply(self._answer(request, prepared, job))
            except Exception as error:  # noqa: BLE001 the caller must hear of it
                reply(error)
                return
            elapsed_s = time.monotonic() - arrived_s
            self.meters.observe(REQUEST_SECONDS, elapsed_s, job.priority)

        return finish

    def _answer(self, request: StepRequest, prepared: Arrays, job: Job) -> Arrays:
        """Do what follows the language model."""
        inputs = {name: result[None] for name, result in job.results.items()}
        for name in (PREPROCESS_US.name, STATE.name, AGE_S.name):
            if name in prepared:
                inputs[name] = prepared[name]
        (answer,) = self._scores([StepRequest(inputs, {}, request.wanted)])
        answer = cast("Arrays", answer)
        stages_us = answer[STAGE_US.name]
        stages_us[:, _QUEUE] = job.queue_s * 1e6
        stages_us[:, _LANGUAGE_MODEL] = job.engine_s * 1e6
        self.meters.observe(STAGE_SECONDS, job.queue_s, "queue")
        self.meters.observe(STAGE_SECONDS, job.engine_s, "language_model")
        answer |= {name: prepared[name] for name in (TOKENS.name, TRUNCATED.name)}
        if PRICES.name in request.inputs and STATE.name in prepared:
            window = {
                PRICES.name: request.inputs[PRICES.name],
                SENTIMENT_STATE.name: answer[NEXT_SENTIMENT_STATE.name],
                ELAPSED_S.name: answer[NEXT_ELAPSED_S.name],
                EARLIER_US.name: stages_us,
            }
            (forecast,) = self._forecast([StepRequest(window, {}, request.wanted)])
            if isinstance(forecast, RequestRefused):
                raise forecast
            answer |= forecast
        return answer


def _priority(request: StepRequest) -> Priority:
    found = request.parameters.get(PRIORITY_PARAMETER, DEFAULT_PRIORITY)
    if found not in PRIORITIES:
        problem = (
            f"came with {PRIORITY_PARAMETER} {found!r}, expected one of "
            f"{', '.join(PRIORITIES)}"
        )
        rejection = Rejection(0, TEXT.name, problem)
        raise RequestRefused([rejection], rows=len(request.inputs[TEXT.name]))
    return cast("Priority", found)


def _bytes(request: StepRequest) -> int:
    return sum(map(len, request.inputs[TEXT.name].flat))


def _warm_up(engine: PackedEngine) -> float:
    """Run the engine for the first time, which allocates, and tell its tokens a second."""
    row: npt.NDArray[np.int32] = np.zeros(_WARM_UP_TOKENS, np.int32)
    engine.run([row], engine.outputs)
    started_s = time.perf_counter()
    engine.run([row], engine.outputs)
    return _WARM_UP_TOKENS / (time.perf_counter() - started_s)
