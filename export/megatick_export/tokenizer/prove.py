"""The evidence that a converted tokenizer gives the ids that its source gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from megatick_export.errors import TokenizerError
from megatick_export.headlines import headlines
from megatick_export.tokenizer.hard_texts import HARD_TEXTS

_HEADLINES: Final = 1000


@dataclass(frozen=True)
class Proof:
    """Texts on which both gave the same ids.

    Attributes:
        reference: what the tokenizer was held against.
        texts: how many were compared, invented headlines and hard cases.
        ties: how many of these only have the same tokens in another order.  Two such ways
            to cut a text have the same score, and SentencePiece's choice is then that of
            its rounding in single precision.
    """

    reference: str
    texts: int
    ties: int


def prove(
    tokenizer: Tokenizer,
    encode: Callable[[str], list[int]],
    *,
    reference: str,
    path: Path,
    may_tie: bool = False,
) -> Proof:
    """Compare ids, what the tokenizer adds to a text left out.

    Args:
        tokenizer: as it will be served: a text that spells a control token is only text.
        encode: the reference; a text's ids.
        reference: its name.
        path: the file that both were read from.
        may_tie: the same tokens in another order are as good.

    Raises:
        TokenizerError: with the first text that differs, and both lists of ids.
    """
    texts = (*HARD_TEXTS, *headlines(_HEADLINES))
    tokenizer.encode_special_tokens = True
    ties = 0
    for text in texts:
        expected = encode(text)
        found = tokenizer.encode(text, add_special_tokens=False).ids
        if found == expected:
            continue
        if not may_tie or sorted(found) != sorted(expected):
            raise TokenizerError(
                path,
                f"cannot be converted to a tokenizer.json exactly: for the text {text!r} "
                f"{reference} gives {expected}, the converted tokenizer {found}.  Name a "
                "tokenizer.json with --tokenizer to use that instead",
            )
        ties += 1
    return Proof(reference, len(texts), ties)
