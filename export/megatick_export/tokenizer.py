"""The checkpoint's tokenizer: found, loaded, and held against the embedding's rows."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from megatick_contract.repository import TOKENIZER_FILE
from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import TokenizerError


def tokenizer_beside(checkpoint: Checkpoint) -> Path | None:
    """Look for a ``tokenizer.json`` in the iteration's folder, then in the one above."""
    for folder in (checkpoint.path, checkpoint.path.parent):
        if (folder / TOKENIZER_FILE).is_file():
            return folder / TOKENIZER_FILE
    return None


def find_tokenizer(checkpoint: Checkpoint, given: Path | None) -> Path:
    """Choose the tokenizer's file: the one given, else the one beside the checkpoint.

    Raises:
        TokenizerError: there is none.
    """
    if given is not None:
        if given.is_file():
            return given
        raise TokenizerError(given, "expected a tokenizer.json, found no file")
    beside = tokenizer_beside(checkpoint)
    if beside is not None:
        return beside
    raise TokenizerError(
        checkpoint.path,
        f"expected a {TOKENIZER_FILE} in this folder or the one above, found none: "
        "name it with --tokenizer",
    )


def check_tokenizer(path: Path, checkpoint: Checkpoint, *, max_tokens: int) -> None:
    """Load the tokenizer and check that the model can read what it gives.

    Every id must be a row of the embedding, and what it adds to every text must leave
    room for text in a row of ``max_tokens``.

    Raises:
        TokenizerError: corrupt, made for a larger vocabulary, or the row is too short.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise TokenizerError(
            path, f"is not a Hugging Face tokenizer.json: {error}"
        ) from error
    added = tokenizer.num_special_tokens_to_add(is_pair=False)
    if max_tokens <= added:
        raise TokenizerError(
            path,
            f"adds {added} tokens to every text, so a row of {max_tokens} holds no text: "
            f"expected --max-tokens above {added}",
        )
    known = tokenizer.get_vocab(with_added_tokens=True).values()
    highest = max((*known, *tokenizer.encode("").ids), default=-1)
    rows = checkpoint.architecture.vocab_size
    if highest >= rows:
        raise TokenizerError(
            path,
            f"gives token ids up to {highest}, the checkpoint's embedding has {rows} rows: "
            "it is another model's tokenizer",
        )
