from __future__ import annotations

import numpy as np
import pytest

from megatick_contract import MAX_TEXT_BYTES
from megatick_server.validation import (
    Float32Array,
    check_prices,
    check_state,
    decode_texts,
)

NAN = np.nan


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        pytest.param(b"", "is blank", id="empty"),
        pytest.param(" \t\n\u3000".encode(), "is blank", id="only-space"),
        pytest.param(b"ok\xff", "not UTF-8 at byte 2 (0xff)", id="invalid-utf8"),
        pytest.param("é".encode("latin-1"), "not UTF-8 at byte 0", id="latin-1"),
        pytest.param(b"x" * (MAX_TEXT_BYTES + 1), "65537 bytes", id="one-byte-too-long"),
        pytest.param(b"x" * 1_000_000, "1000000 bytes", id="a-million-characters"),
    ],
)
def test_a_bad_text_is_named_by_its_row(raw: bytes, problem: str) -> None:
    texts, (rejection,) = decode_texts(np.array([[b"fine"], [raw]], object))

    assert texts[0] == "fine"
    assert (rejection.row, rejection.field) == (1, "TEXT")
    assert problem in rejection.problem


def test_the_longest_text_and_any_script_are_taken() -> None:
    longest = b"x" * MAX_TEXT_BYTES
    texts, rejections = decode_texts(
        np.array([[longest], ["利润大增 📈".encode()]], object)
    )

    assert rejections == []
    assert texts[1] == "利润大增 📈"


def window(*closes: float) -> Float32Array:
    padded = np.full((1, 64), NAN, np.float32)
    padded[0, 64 - len(closes) :] = closes
    return padded


@pytest.mark.parametrize(
    ("closes", "problem"),
    [
        pytest.param(window(), "no close (all NaN)", id="all-nan"),
        pytest.param(window(100, 0), "close 0 at bar 63", id="zero"),
        pytest.param(window(100, -5, 101), "close -5 at bar 62", id="negative"),
        pytest.param(window(100, np.inf, 101), "close inf at bar 62", id="infinite"),
        pytest.param(window(100, 101, NAN), "ends in NaN", id="last-bar-missing"),
        pytest.param(window(100), "has 1 close", id="one-close"),
    ],
)
def test_a_bad_price_window_is_named(closes: Float32Array, problem: str) -> None:
    good = window(100, NAN, 101)
    (rejection,) = check_prices(np.vstack((good, closes, good)))

    assert (rejection.row, rejection.field) == (1, "PRICES")
    assert problem in rejection.problem


@pytest.mark.parametrize(
    ("state", "elapsed_s", "field"),
    [
        pytest.param([NAN, 1, 0, 1], 0, "SENTIMENT_STATE", id="nan"),
        pytest.param([0, -1, 0, 1], 0, "SENTIMENT_STATE", id="negative-weight"),
        pytest.param([3, 2, 0, 2], 0, "SENTIMENT_STATE", id="sum-beyond-weight"),
        pytest.param([0, 1, 1.5, 1], 0, "SENTIMENT_STATE", id="last-beyond-one"),
        pytest.param([0, 1, 0, 1], -1, "ELAPSED_S", id="back-in-time"),
        pytest.param([0, 1, 0, 1], np.inf, "ELAPSED_S", id="for-ever"),
    ],
)
def test_a_bad_state_is_named(state: list[float], elapsed_s: float, field: str) -> None:
    states = np.array([[0, 0, 0, 0], state], np.float32)
    elapsed = np.array([[0], [elapsed_s]], np.float32)

    (rejection,) = check_state(states, elapsed)

    assert (rejection.row, rejection.field) == (1, field)


def test_a_state_that_the_server_summed_in_float32_is_taken() -> None:
    total = np.float32(0)
    for _ in range(10_000):
        total += np.float32(0.9999)
    state = np.array([[total, 10_000 * 0.9999, 0.9999, 10_000]], np.float32)

    assert check_state(state, np.zeros((1, 1), np.float32)) == []


def test_a_bad_row_among_good_ones_is_named_once_for_each_of_its_fields() -> None:
    states = np.zeros((4, 4), np.float32)
    states[1] = [0, -1, 0, 1]
    states[2] = [np.nan, 1, 2, 1]
    elapsed = np.array([[0], [-1], [0], [np.nan]], np.float32)

    found = check_state(states, elapsed)

    assert [(each.row, each.field, each.problem.split(",")[0]) for each in found] == [
        (1, "SENTIMENT_STATE", "holds a negative weight or count"),
        (1, "ELAPSED_S", "is -1 s"),
        (2, "SENTIMENT_STATE", "holds a value that is not finite"),
        (3, "ELAPSED_S", "is nan s"),
    ]
