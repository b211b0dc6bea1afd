"""What the stand-in server answers: the wire's tensors, by arithmetic a reader can redo.

The SDK's tests run against a real Triton server, and this is the model.py of each of its
models.  A text of
``p`` plus signs and ``m`` minus signs has the probabilities (1 + m, 1, 1 + p) / (3 + m +
p); its words are its tokens, of which the "model" reads 8.  The forecast's quantiles are
a straight line; its other outputs give back what was sent, so that a test sees what
reached the server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatick_contract import HORIZONS_BARS, LEVELS, MAX_TEXT_BYTES
from megatick_contract.rejections import Rejection, describe
from megatick_contract.text import TooLong

pb_utils: Any = import_module("triton_python_backend_utils")  # exists inside Triton alone

WINDOW_TOKENS = 8
SCORE_TOLERANCE = 0.125  # market_view's config has no output that would tell it
Arrays = dict[str, npt.NDArray[Any]]


class BadRows(Exception):
    """The request is refused for these values."""


def check(inputs: Arrays, *, truncation: str) -> None:
    """Refuse blank and huge texts, long ones where asked to, and windows of NaN."""
    bad = []
    for row, (raw,) in enumerate(inputs.get("TEXT", ())):
        tokens = len(raw.split())
        if not tokens:
            bad.append(Rejection(row, "TEXT", "is blank"))
        if len(raw) > MAX_TEXT_BYTES:
            bad.append(Rejection(row, "TEXT", f"is {len(raw)} bytes long"))
        elif tokens > WINDOW_TOKENS and truncation == "error":
            bad.append(Rejection(row, "TEXT", str(TooLong(tokens, WINDOW_TOKENS))))
    for row, window in enumerate(inputs.get("PRICES", ())):
        if np.isnan(window).all():
            bad.append(Rejection(row, "PRICES", "has no price"))
    if bad:
        raise BadRows(describe(bad, rows=len(next(iter(inputs.values())))))


def hold(folder: Path) -> None:
    """Tell that it has begun, and wait to be let go."""
    (folder / "begun").touch()
    end_s = time.monotonic() + 60
    while not (folder / "over").exists() and time.monotonic() < end_s:
        time.sleep(0.01)


def sentiment(inputs: Arrays, *, timeout_ms: int) -> Arrays:
    """Score texts.

    ``sleep S`` first sleeps S seconds; ``hold FOLDER`` makes the file ``begun`` there and
    waits for the file ``over``, a minute at the most; ``crash`` raises; ``timeout`` counts
    the request's timeout in milliseconds as its tokens.
    """
    texts = [text.decode() for text in inputs["TEXT"][:, 0]]
    for text in texts:
        if text.startswith("sleep "):
            time.sleep(float(text.split()[1]))
        if text.startswith("hold "):
            hold(Path(text.split()[1]))
        if text == "crash":
            raise RuntimeError("the stand-in was told to crash")
    signs = np.array([[t.count("-"), 0, t.count("+")] for t in texts], np.float32)
    probabilities = (1 + signs) / (3 + signs.sum(axis=1, keepdims=True))
    words = np.array([[len(text.split())] for text in texts], np.int32)
    tokens = np.minimum(words, WINDOW_TOKENS)
    tokens[[text == "timeout" for text in texts]] = timeout_ms
    return {
        "PROBABILITIES": probabilities,
        "SCORE": probabilities[:, 2:] - probabilities[:, :1],
        "SCORE_TOLERANCE": np.full(words.shape, SCORE_TOLERANCE, np.float32),
        "TOKENS": tokens,
        "TRUNCATED": words > WINDOW_TOKENS,
        "MODEL_DIGEST": np.full(words.shape, b"5" * 64, object),
    }


def embedding(inputs: Arrays, **options: Any) -> Arrays:
    """Count minus signs, plus signs and characters; ``sentiment`` reads the texts too."""
    texts = [text.decode() for text in inputs["TEXT"][:, 0]]
    counts = [[t.count("-"), t.count("+"), len(t)] for t in texts]
    return {**sentiment(inputs, **options), "EMBEDDING": np.array(counts, np.float32)}


def forecast(inputs: Arrays, **_: Any) -> Arrays:
    """Answer straight lines, and echo the inputs.

    ``QUANTILES[h, q]`` is (q - 3) * horizon / 1000.  ``BASELINE_QUANTILES`` is filled
    with the first close in the window.  ``P_UP`` is (bars from the first close to
    the end of the window / 64, elapsed seconds / 1000, texts of the state / 1000).
    """
    prices, state = inputs["PRICES"], inputs["SENTIMENT_STATE"]
    given = ~np.isnan(prices)
    rows = len(prices)
    lines = np.outer(HORIZONS_BARS, np.arange(len(LEVELS)) - 3) / 1000
    start = given.argmax(axis=1)
    first = prices[np.arange(rows), start]
    p_up = np.column_stack(
        [1 - start / given.shape[1], inputs["ELAPSED_S"][:, 0] / 1000, state[:, 3] / 1000]
    )
    return {
        "QUANTILES": _rows(lines, rows),
        "BASELINE_QUANTILES": np.ones((rows, *lines.shape), np.float32)
        * first[:, np.newaxis, np.newaxis],
        "P_UP": p_up.astype(np.float32),
        "HORIZONS": _rows(HORIZONS_BARS, rows, np.int32),
        "LEVELS": _rows(LEVELS, rows),
        "BAR_S": _rows([86_400.0], rows),
        "HALF_LIFE_S": _rows([7_200.0], rows),
        "EDGE": _rows([False, False, True], rows, np.bool_),
        "EDGE_P_VALUE": _rows([0.5, 0.25, 0.03125], rows),
    }


def market_view(inputs: Arrays, **options: Any) -> Arrays:
    """Answer both, and add the text to the state without any decay."""
    read = sentiment(inputs, **options)
    score, state = read["SCORE"][:, 0], inputs["SENTIMENT_STATE"]
    following = np.column_stack(
        [state[:, 0] + score, state[:, 1] + 1, score, state[:, 3] + 1]
    )
    return {
        **read,
        **forecast(inputs),
        "NEXT_SENTIMENT_STATE": following.astype(np.float32),
    }


ANSWERS: dict[str, Callable[..., Arrays]] = {
    "sentiment_step": sentiment,
    "embedding": embedding,
    "price_forecast": forecast,
    "market_view": market_view,
}


class TritonPythonModel:
    """What Triton's python backend looks for."""

    def initialize(self, args: dict[str, str]) -> None:
        self.answer = ANSWERS[args["model_name"]]
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self.respond(request) for request in requests]

    def respond(self, request: Any) -> Any:
        """Answer one request; a refusal or a failure is its own alone."""
        inputs = {
            name: pb_utils.get_input_tensor_by_name(request, name).as_numpy()
            for name in self.inputs
        }
        truncation = json.loads(request.parameters()).get("truncation", "head")
        try:
            check(inputs, truncation=truncation)
            outputs = self.answer(inputs, timeout_ms=request.timeout() // 1000)
        except BadRows as error:
            refusal = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse([], error=refusal)
        except RuntimeError as error:
            return pb_utils.InferenceResponse([], error=pb_utils.TritonError(str(error)))
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, outputs[name]) for name in wanted]
        )


def _rows(value: Any, rows: int, dtype: Any = np.float32) -> npt.NDArray[Any]:
    """Repeat one row's value for every row."""
    return np.repeat(np.asarray(value, dtype)[np.newaxis], rows, axis=0)
