"""BERT's WordPiece: a ``vocab.txt``, converted, and read independently."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from megatick_export.errors import TokenizerError

UNKNOWN: Final = "[UNK]"
_CONTROL: Final = (UNKNOWN, "[CLS]", "[SEP]", "[PAD]", "[MASK]")
_LONGEST_WORD: Final = 200
"""Characters; a longer word is unknown (Google's ``max_input_chars_per_word``)."""
_IDEOGRAPHS: Final = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


def convert(path: Path, *, lower_case: bool) -> Tokenizer:
    """Build the tokenizer; it adds no token, and a text may spell ``[SEP]``.

    Raises:
        TokenizerError: not a BERT vocabulary.
    """
    steps: list[normalizers.Normalizer] = [
        # BertNormalizer's own cleaning also drops private-use characters; Google's
        # does not.
        normalizers.Replace(Regex(r"[\p{Cc}\p{Cf}\x{FFFD}&&[^\t\n\r]]"), ""),
    ]
    if lower_case:
        # Python lowers the sigma that ends a word to its final form, BertNormalizer not.
        steps.append(normalizers.Replace(Regex(r"(?<=[\p{L}\p{Mn}])Σ(?!\p{L})"), "ς"))
    steps.append(
        normalizers.BertNormalizer(
            clean_text=False,
            handle_chinese_chars=True,
            strip_accents=lower_case,
            lowercase=lower_case,
        )
    )
    tokenizer = Tokenizer(
        models.WordPiece(
            read_vocabulary(path),
            unk_token=UNKNOWN,
            max_input_chars_per_word=_LONGEST_WORD,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def reference(path: Path, *, lower_case: bool) -> Callable[[str], list[int]]:
    """The ids that BERT's own algorithm gives a text, in plain Python.

    Source:
        google-research/bert, tokenization.py, which Megatron's bert_tokenization.py is:
        BasicTokenizer, then WordpieceTokenizer.
    """
    ids = read_vocabulary(path)

    def encode(text: str) -> list[int]:
        spaced = "".join(map(_clean, text))
        return [
            ids[piece]
            for word in spaced.split()
            for part in _split_punctuation(_fold(word) if lower_case else word)
            for piece in _pieces(part, ids)
        ]

    return encode


def read_vocabulary(path: Path) -> dict[str, int]:
    """Read a ``vocab.txt``: one token a line, its id the line's number from 0.

    Raises:
        TokenizerError: not text, or without BERT's control tokens.
    """
    try:
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise TokenizerError(path, f"is not text: {error}") from error
    ids = {line.strip(): index for index, line in enumerate(lines)}
    missing = [token for token in _CONTROL if token not in ids]
    if missing:
        raise TokenizerError(
            path, f"is not a BERT vocabulary: it has no {', '.join(missing)}"
        )
    return ids


def has_capitals(path: Path) -> bool:
    """Whether a token other than ``[CLS]`` and its like holds a capital letter."""
    return any(
        token != token.lower() and not (token.startswith("[") and token.endswith("]"))
        for token in read_vocabulary(path)
    )


def _clean(character: str) -> str:
    """A space for white space, nothing for a control, room around an ideograph."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if character in "\x00\ufffd" or category in {"Cc", "Cf"}:
        return ""
    if any(first <= ord(character) <= last for first, last in _IDEOGRAPHS):
        return f" {character} "
    return character


def _fold(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word.lower())
    return "".join(each for each in decomposed if unicodedata.category(each) != "Mn")


def _split_punctuation(word: str) -> list[str]:
    """Cut before and after every character of punctuation, ASCII's signs included."""
    return "".join(f" {each} " if _is_punctuation(each) else each for each in word).split()


def _is_punctuation(character: str) -> bool:
    is_sign = character.isascii() and character.isprintable() and not character.isalnum()
    return is_sign or unicodedata.category(character).startswith("P")


def _pieces(word: str, ids: dict[str, int]) -> Iterator[str]:
    """The longest known piece from the left, again and again; all of it or ``[UNK]``."""
    found: list[str] = []
    at = 0
    while at < len(word) <= _LONGEST_WORD:
        prefix = "##" if at else ""
        ends = range(len(word), at, -1)
        end = next((end for end in ends if prefix + word[at:end] in ids), None)
        if end is None:
            break
        found.append(prefix + word[at:end])
        at = end
    yield from found if at == len(word) else [UNKNOWN]
