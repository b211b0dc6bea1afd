"""Text to token ids, with the model's window and the truncation policy kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from megatick_contract.text import Truncation
from megatick_server.errors import ArtefactError

# Its threads are one pool for all callers, so a headline would wait for whoever came before
# with megabytes; and the CPUs are the engine's.  The library looks at it in every call.
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@dataclass(frozen=True)
class TokenizedText:
    """One text as the model reads it.

    Attributes:
        input_ids: int32, shape (tokens,).
        truncated: part of the text was cut off.
    """

    input_ids: npt.NDArray[np.int32]
    truncated: bool


class TextTokenizer:
    """A ``tokenizer.json`` and the longest row that the model takes."""

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        """Load the tokenizer.

        Raises:
            ArtefactError: the file is absent or not a ``tokenizer.json``.
        """
        if not path.is_file():
            raise ArtefactError(path, "expected a tokenizer.json, found no file")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise ArtefactError(path, f"is not a tokenizer.json: {error}") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A text that spells a control token, such as <|im_end|>, is only a text.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._added = tokenizer.num_special_tokens_to_add(is_pair=False)
        self.max_tokens = max_tokens

    def encode(
        self, texts: Sequence[str], *, truncation: Truncation
    ) -> list[TokenizedText]:
        """Tokenize texts; those past the window keep their head or their tail.

        With ``truncation="error"`` nothing is cut: the caller refuses the rows that are
        longer than ``max_tokens``.
        """
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._fit(encoding, truncation) for encoding in encodings]

    def _fit(self, encoding: Encoding, truncation: Truncation) -> TokenizedText:
        room = self.max_tokens - self._added
        truncated = len(encoding) > room and truncation != "error"
        if truncated:
            # "right" cuts on the right: the head stays.
            direction = "right" if truncation == "head" else "left"
            encoding.truncate(room, direction=direction)
        whole = self._tokenizer.post_process(encoding)
        return TokenizedText(np.array(whole.ids, np.int32), truncated)
