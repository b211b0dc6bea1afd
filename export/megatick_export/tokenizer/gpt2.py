"""GPT-2's byte-level BPE: a vocabulary and merges, converted, and read independently."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final

import regex
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from megatick_export.errors import TokenizerError

# How GPT-2 cuts a text into words: openai/gpt-2, src/encoder.py.
_WORDS: Final = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def convert(vocabulary: Path, merges: Path) -> Tokenizer:
    """Build the tokenizer; it adds no token, and a text may spell ``<|endoftext|>``.

    Raises:
        TokenizerError: a file that cannot be read, a byte without a token, or a merge
            whose parts or whole the vocabulary lacks.
    """
    ids, ranked = read_vocabulary(vocabulary), read_merges(merges)
    missing = [symbol for symbol in _byte_symbols() if symbol not in ids]
    if missing:
        raise TokenizerError(
            vocabulary,
            f"expected a token for each of the 256 bytes, found none for {len(missing)}: "
            "it is not the vocabulary of a GPT-2 BPE",
        )
    for pair in ranked:
        absent = [token for token in (*pair, "".join(pair)) if token not in ids]
        if absent:
            raise TokenizerError(
                merges,
                f"merges {' and '.join(pair)}, and {vocabulary.name} has no "
                f"{', '.join(absent)}: the two files are of different tokenizers",
            )
    tokenizer = Tokenizer(models.BPE(ids, ranked))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def reference(vocabulary: Path, merges: Path) -> Callable[[str], list[int]]:
    """The ids that GPT-2's own algorithm gives a text, in plain Python.

    Source:
        openai/gpt-2, src/encoder.py, which Megatron's gpt2_tokenization.py follows.
    """
    ids = read_vocabulary(vocabulary)
    ranks = {pair: rank for rank, pair in enumerate(read_merges(merges))}
    symbols = _byte_symbols()

    def encode(text: str) -> list[int]:
        return [
            ids[token]
            for word in _WORDS.findall(text)
            for token in _merge([symbols[byte] for byte in word.encode()], ranks)
        ]

    return encode


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read ``vocab.json`` or ``encoder.json``.

    Raises:
        TokenizerError: it is not an object of tokens and their ids, each id once.
    """
    try:
        ids = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TokenizerError(path, f"is not JSON: {error}") from error
    if not isinstance(ids, dict) or not all(
        type(value) is int and value >= 0 for value in ids.values()
    ):
        raise TokenizerError(path, "expected a JSON object of tokens and their ids")
    if len(set(ids.values())) < len(ids):
        raise TokenizerError(path, "expected each id once, found one for two tokens")
    return ids


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Read ``merges.txt`` or ``vocab.bpe``, the first to merge first.

    As in GPT-2 and Megatron the first line, a version, and the last, empty, are no merge.

    Raises:
        TokenizerError: a line is not two tokens.
    """
    try:
        lines = path.read_text("utf-8").split("\n")[1:-1]
    except UnicodeDecodeError as error:
        raise TokenizerError(path, f"is not text: {error}") from error
    merges = []
    for number, line in enumerate(lines, start=2):
        match line.split():
            case [left, right]:
                merges.append((left, right))
            case _:
                raise TokenizerError(
                    path, f"line {number}: expected two tokens to merge, found {line!r}"
                )
    return merges


def _byte_symbols() -> list[str]:
    """The character that stands for each byte: itself if it shows, else one from U+0100."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [
        chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)
    ]


def _merge(tokens: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merge the pair of the lowest rank everywhere, from the left, until none has one."""
    while len(tokens) > 1:
        best = min(pairwise(tokens), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        merged: list[str] = []
        at = 0
        while at < len(tokens):
            width = 2 if tuple(tokens[at : at + 2]) == best else 1
            merged.append("".join(tokens[at : at + width]))
            at += width
        tokens = merged
    return tokens
