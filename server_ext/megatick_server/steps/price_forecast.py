"""Forecast each row's log returns from its closes and its sentiment state."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from megatick_contract.models import MODEL_DIGEST, STAGE_US
from megatick_contract.prices import (
    BAR_S,
    BASELINE_QUANTILES,
    EDGE,
    EDGE_P_VALUE,
    ELAPSED_S,
    HALF_LIFE_S,
    HORIZONS,
    LEVELS_OUT,
    P_UP,
    PRICES,
    QUANTILES,
    SENTIMENT_STATE,
)
from megatick_contract.repository import FORECASTER_FILE
from megatick_contract.steps import EARLIER_US, PRICE_FORECAST_STEP
from megatick_server.adapter import Arrays, StepRequest
from megatick_server.audit.log import AuditLog
from megatick_server.errors import RequestRefused
from megatick_server.forecast import Forecaster, load_forecaster
from megatick_server.meters import Meters
from megatick_server.metrics import MODEL_LOADED, STAGE_SECONDS
from megatick_server.settings import ModelFolder
from megatick_server.step_log import log_as_triton
from megatick_server.validation import check_prices, check_state


class PriceForecast:
    """The ``price_forecast`` model: a public model, and the last step of a market view."""

    model = PRICE_FORECAST_STEP
    audit: AuditLog | None = None

    def __init__(
        self, forecaster: Forecaster, *, model_digest: str, meters: Meters
    ) -> None:
        self.meters = meters
        meters.note(MODEL_LOADED, time.time(), model_digest)
        meters.observe(STAGE_SECONDS, (), "price_forecast")
        self._forecaster = forecaster
        self._about: dict[str, Any] = {
            HORIZONS.name: forecaster.horizons_bars,
            LEVELS_OUT.name: forecaster.levels,
            BAR_S.name: (forecaster.bar_s,),
            HALF_LIFE_S.name: (forecaster.half_life_s,),
            EDGE.name: forecaster.edge,
            EDGE_P_VALUE.name: forecaster.edge_p_value,
            MODEL_DIGEST.name: (model_digest.encode(),),
        }

    @classmethod
    def load(cls, triton_args: Mapping[str, str]) -> Self:
        """Load the forecaster of the version folder."""
        log_as_triton(cls.model.name)
        folder = ModelFolder.of(triton_args)
        digest = folder.model_digest()
        step = cls(
            load_forecaster(folder.path / FORECASTER_FILE),
            model_digest=digest,
            meters=Meters(cls.model.name),
        )
        step.audit = AuditLog.of_environment(step.meters, model_digest=digest)
        return step

    def __call__(
        self, requests: Sequence[StepRequest]
    ) -> Sequence[Arrays | RequestRefused]:
        """Forecast each request's rows, or refuse it with all that is wrong."""
        return [self._forecast(request) for request in requests]

    def _forecast(self, request: StepRequest) -> Arrays | RequestRefused:
        started = time.perf_counter()
        prices = request.inputs[PRICES.name]
        state = request.inputs[SENTIMENT_STATE.name]
        elapsed_s = request.inputs[ELAPSED_S.name]
        rows = len(prices)
        rejections = check_prices(prices) + check_state(state, elapsed_s)
        if rejections:
            return RequestRefused(rejections, rows=rows)
        forecast = self._forecaster.forecast(prices, state, elapsed_s)
        answer: Arrays = {
            QUANTILES.name: forecast.quantiles,
            BASELINE_QUANTILES.name: forecast.baseline_quantiles,
            P_UP.name: forecast.p_up,
        }
        for name in request.wanted & self._about.keys():
            values = np.array(self._about[name])
            answer[name] = np.broadcast_to(values, (rows, len(values)))
        took_s = time.perf_counter() - started
        self.meters.observe(STAGE_SECONDS, took_s, "price_forecast")
        took_us = np.full((rows, 1), took_s * 1e6)
        earlier = request.inputs.get(EARLIER_US.name, np.empty((rows, 0)))
        answer[STAGE_US.name] = np.hstack((earlier, took_us))
        return answer
