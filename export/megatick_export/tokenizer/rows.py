"""Texts as the rows that the server's first step makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer


def tokenized(
    tokenizer: Tokenizer, texts: Sequence[str], *, max_tokens: int
) -> list[npt.NDArray[np.int32]]:
    """Tokenize texts; those past the window keep their head.

    Args:
        tokenizer: as ``tokenizer.json`` has it; it is left as it is.
        texts: any number.
        max_tokens: longest row, what the tokenizer adds included.

    Returns:
        int32 tokens of each text, each of shape (tokens,).
    """
    own = Tokenizer.from_str(tokenizer.to_str())
    own.no_padding()
    own.encode_special_tokens = True  # a text that spells a control token is only text
    own.enable_truncation(max_tokens)
    return [np.array(each.ids, np.int32) for each in own.encode_batch(list(texts))]
