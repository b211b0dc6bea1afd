"""Texts: the class order, the score, the embedding, and the limits on a text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from megatick_contract.tensors import ANY, Tensor

Label = Literal["negative", "neutral", "positive"]

LABELS: Final[tuple[Label, ...]] = get_args(Label)
"""The class axis, everywhere: 0 negative, 1 neutral, 2 positive."""

MAX_TEXT_BYTES: Final = 64 * 1024
"""The longest text accepted, in bytes of UTF-8, inclusive."""

Truncation = Literal["head", "tail", "error"]
"""What to do with a text longer than the model's window: keep its head (the first
tokens), keep its tail, or refuse it."""

TRUNCATIONS: Final[tuple[Truncation, ...]] = get_args(Truncation)
TRUNCATION_PARAMETER: Final = "truncation"
"""The request parameter that carries a ``Truncation``; absent means ``head``."""


@dataclass(frozen=True)
class TooLong:
    """Why a text is refused where ``truncation`` is ``error``.

    Attributes:
        tokens: of the text.
        window: tokens that the model reads.
    """

    tokens: int
    window: int

    def __str__(self) -> str:
        return (
            f"is {self.tokens} tokens long, the model reads {self.window}: shorten it, or "
            "choose truncation head or tail"
        )

    @classmethod
    def read(cls, problem: str) -> TooLong | None:
        """Read it back from a rejection's problem; None where that is another one.

        >>> TooLong.read(str(TooLong(tokens=9, window=8)))
        TooLong(tokens=9, window=8)
        """
        found = _TOO_LONG.match(problem)
        return cls(int(found["tokens"]), int(found["window"])) if found else None


_TOO_LONG: Final = re.compile(
    r"is (?P<tokens>\d{1,9}) tokens long, the model reads (?P<window>\d{1,9}):"
)

TEXT: Final = Tensor(
    "TEXT", "BYTES", (1,), f"UTF-8, not blank, at most {MAX_TEXT_BYTES} bytes"
)
PROBABILITIES: Final = Tensor(
    "PROBABILITIES", "FP32", (3,), "P(negative), P(neutral), P(positive); sums to 1"
)
SCORE: Final = Tensor("SCORE", "FP32", (1,), "P(positive) - P(negative), in [-1, 1]")
SCORE_TOLERANCE: Final = Tensor(
    "SCORE_TOLERANCE",
    "FP32",
    (1,),
    "how far SCORE may move with the rows it is computed beside, as measured at export",
    on_request=True,
)
TOKENS: Final = Tensor("TOKENS", "INT32", (1,), "tokens the model read")
TRUNCATED: Final = Tensor("TRUNCATED", "BOOL", (1,), "part of the text was not read")
EMBEDDING: Final = Tensor(
    "EMBEDDING",
    "FP32",
    (ANY,),
    "[hidden] the pooled token's hidden state after the final norm, not normalised",
)
