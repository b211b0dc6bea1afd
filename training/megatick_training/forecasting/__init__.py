"""Fitting a forecaster: windows, candidates, conformal quantiles, the judgement."""

from megatick_training.forecasting.fitting import HALF_LIFE_S, Fitted, fit_forecaster
from megatick_training.forecasting.forced import forced_candidates
from megatick_training.forecasting.news import News, read_news
from megatick_training.forecasting.periods import Periods, make_periods
from megatick_training.forecasting.windows import Windows, make_windows

__all__ = [
    "HALF_LIFE_S",
    "Fitted",
    "News",
    "Periods",
    "Windows",
    "fit_forecaster",
    "forced_candidates",
    "make_periods",
    "make_windows",
    "read_news",
]
