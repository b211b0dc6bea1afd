"""The checkpoint's tokenizer: found, converted once to a ``tokenizer.json``, and proven.

    tokenizer = prepare_tokenizer(checkpoint, None, max_tokens=512)
    tokenizer.write(folder / "tokenizer.json")

Whatever Megatron can have trained with is converted by hand here, and what comes out is
held against an independent reading of the same files before it is used.
"""

from megatick_export.tokenizer.find import TokenizerFiles, find_tokenizer
from megatick_export.tokenizer.prepare import (
    PreparedTokenizer,
    load_tokenizer,
    prepare_tokenizer,
)
from megatick_export.tokenizer.prove import Proof
from megatick_export.tokenizer.rows import tokenized

__all__ = [
    "PreparedTokenizer",
    "Proof",
    "TokenizerFiles",
    "find_tokenizer",
    "load_tokenizer",
    "prepare_tokenizer",
    "tokenized",
]
