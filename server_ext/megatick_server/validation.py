"""What a row must be, told for every bad row at once.

Each function takes the whole request's rows and lists what is wrong with them; an empty
list means the rows are fit to compute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from megatick_contract.prices import (
    ELAPSED_S,
    PRICES,
    SENTIMENT_STATE,
    STATE_LAST_SCORE,
    STATE_SCORE_SUM,
    STATE_TEXTS,
    STATE_WEIGHT,
)
from megatick_contract.rejections import Rejection
from megatick_contract.text import MAX_TEXT_BYTES, TEXT

Float32Array = npt.NDArray[np.float32]

MIN_CLOSES = 2
"""One return is the least from which a volatility can be estimated."""

_ROUNDING = 1e-3
"""Slack for sums that a client accumulated in float32."""


def decode_texts(
    encoded: npt.NDArray[Any],
) -> tuple[list[str], list[Rejection]]:
    """Decode the rows of ``TEXT``.

    Args:
        encoded: object array of ``bytes``, shape (rows, 1).

    Returns:
        The texts, one a row (empty where the row is bad), and what is wrong.
    """
    texts: list[str] = []
    rejections: list[Rejection] = []
    for row, raw in enumerate(encoded[:, 0]):
        text, problem = _decode(raw)
        texts.append(text)
        if problem:
            rejections.append(Rejection(row, TEXT.name, problem))
    return texts, rejections


def _decode(raw: bytes) -> tuple[str, str | None]:
    if len(raw) > MAX_TEXT_BYTES:
        return "", (
            f"is {len(raw)} bytes long, expected at most {MAX_TEXT_BYTES}: "
            "send the part that matters"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return "", (
            f"is not UTF-8 at byte {error.start} (0x{raw[error.start]:02x}): "
            "encode the text as UTF-8"
        )
    if not text.strip():
        return "", "is blank, expected a text: leave the row out"
    return text, None


def check_prices(prices: Float32Array) -> list[Rejection]:
    """List what is wrong with price windows of shape (rows, 64), oldest close first."""
    known = ~np.isnan(prices)
    wrong = known & ~(np.isfinite(prices) & (prices > 0))
    bad = wrong.any(axis=1) | ~known[:, -1] | (known.sum(axis=1) < MIN_CLOSES)
    return [
        Rejection(
            int(row), PRICES.name, _price_problem(prices[row], known[row], wrong[row])
        )
        for row in np.flatnonzero(bad)
    ]


def _price_problem(
    window: Float32Array, known: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]
) -> str:
    if not known.any():
        return "has no close (all NaN), expected the latest closes, oldest first"
    if wrong.any():
        at = int(wrong.argmax())
        return f"has close {window[at]:g} at bar {at}, expected finite closes above 0"
    if not known[-1]:
        return "ends in NaN, expected the last known close last: shift the window right"
    return f"has 1 close, expected at least {MIN_CLOSES} to estimate volatility"


def check_state(state: Float32Array, elapsed_s: Float32Array) -> list[Rejection]:
    """List what is wrong with sentiment states (rows, 4) and their ages (rows, 1)."""
    ages_s = elapsed_s[:, 0]
    weight, last = state[:, STATE_WEIGHT], state[:, STATE_LAST_SCORE]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named so
        strange = {
            "holds a value that is not finite": ~np.isfinite(state).all(axis=1),
            "holds a negative weight or count": (weight < 0) | (state[:, STATE_TEXTS] < 0),
            "holds scores outside [-1, 1]": (np.abs(last) > 1)
            | (np.abs(state[:, STATE_SCORE_SUM]) > weight * (1 + _ROUNDING)),
        }
    unfit = ~(np.isfinite(ages_s) & (ages_s >= 0))
    expected = "expected a state that the server gave back, or zeros"
    rejections: list[Rejection] = []
    for row in map(int, np.flatnonzero(np.any([unfit, *strange.values()], axis=0))):
        problem = next((what for what, rows in strange.items() if rows[row]), "")
        if problem:
            rejections.append(
                Rejection(row, SENTIMENT_STATE.name, f"{problem}, {expected}")
            )
        if unfit[row]:
            found = f"is {ages_s[row]:g} s, expected a finite time of at least 0"
            rejections.append(Rejection(row, ELAPSED_S.name, found))
    return rejections
