"""SentencePiece: the model file, converted, and the library itself to hold it against."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.normalizers import Normalizer

from megatick_export.errors import TokenizerError
from megatick_export.tokenizer.sentencepiece_model import (
    Algorithm,
    Piece,
    Role,
    SentencePieceModel,
    read_model,
)

_SPACE: Final = "▁"
_LAST_CHARACTER: Final = 0x10FFFD  # private use: no text means anything by it
_COMPOSING_RULES: Final = frozenset({"nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf"})


def convert(path: Path) -> Tokenizer:
    """Build the tokenizer that cuts a text as the model file does; it adds no token.

    Three things differ from a plain copy of the pieces, because a text may spell any
    piece, and SentencePiece never lets it reach those that are not for text:

    - the name of a control piece and of ``<unk>`` ends in a space, which no normalized
      text holds;
    - a byte's piece, ``<0x41>``, is kept from the text by a cut inside its spelling;
    - a user-defined symbol, which SentencePiece takes whole before anything else, stands
      in the vocabulary as one private-use character, put in its place while normalizing.

    Raises:
        TokenizerError: not a model file, or one that cannot be written so.
    """
    model = read_model(path)
    _refuse_what_cannot_be_converted(model, path)
    symbols = {
        piece.text: chr(_LAST_CHARACTER - index)
        for index, piece in enumerate(model.pieces)
        if piece.role is Role.USER_DEFINED
    }
    names = [_name(piece, symbols) for piece in model.pieces]
    roles = [piece.role for piece in model.pieces]
    unknown = roles.index(Role.UNKNOWN)
    if model.algorithm is Algorithm.UNIGRAM:
        scores = [0.0 if p.role is Role.USER_DEFINED else p.score for p in model.pieces]
        core: models.Model = models.Unigram(
            list(zip(names, scores, strict=True)), unknown, model.byte_fallback
        )
    else:
        core = models.BPE(
            {name: index for index, name in enumerate(names)},
            _merges(model.pieces),
            unk_token=names[unknown],
            fuse_unk=True,
            byte_fallback=model.byte_fallback,
        )
    tokenizer = Tokenizer(core)
    tokenizer.normalizer = normalizers.Sequence(_normalizers(model, symbols))
    if model.byte_fallback and model.algorithm is Algorithm.UNIGRAM:
        spelt_byte = Regex("<(?=0x[0-9A-F]{2}>)")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(spelt_byte, "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [
            *(decoders.Replace(character, text) for text, character in symbols.items()),
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if model.dummy_prefix else []),
        ]
    )
    return tokenizer


def reference(path: Path) -> Callable[[str], list[int]]:
    """The ids that the SentencePiece library gives a text, without BOS and EOS.

    Raises:
        TokenizerError: the library is missing, or does not load the file.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise TokenizerError(
            path,
            "is a SentencePiece model, and the package sentencepiece, which its "
            "conversion is proven with, is missing: pip install 'megatick[export]'",
        ) from error
    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise TokenizerError(path, f"is not a SentencePiece model: {error}") from error
    return lambda text: list(processor.encode(text))


def is_unigram(path: Path) -> bool:
    """Whether it cuts a text by summed scores, which may tie, and not by ranked merges."""
    return read_model(path).algorithm is Algorithm.UNIGRAM


def beginning(path: Path) -> tuple[str, int]:
    """The name and the id of the control piece that begins a text.

    Raises:
        TokenizerError: the model has none.
    """
    model = read_model(path)
    for index, piece in enumerate(model.pieces):
        if piece.role is Role.CONTROL and piece.text == model.bos:
            return piece.text, index
    raise TokenizerError(
        path,
        f"has no control piece {model.bos!r}, and the checkpoint's Llama2Tokenizer begins "
        "every text with it",
    )


def _refuse_what_cannot_be_converted(model: SentencePieceModel, path: Path) -> None:
    refused = {
        f"model_type={model.algorithm.name.lower()}": model.algorithm
        not in {Algorithm.UNIGRAM, Algorithm.BPE},
        "treat_whitespace_as_suffix=true": model.suffix_whitespace,
        "escape_whitespaces=false": not model.escape_spaces,
        "unused pieces": any(piece.role is Role.UNUSED for piece in model.pieces),
    }
    for what, is_so in refused.items():
        if is_so:
            raise TokenizerError(
                path,
                f"a SentencePiece model with {what} is not converted: expected unigram or "
                "bpe with its usual settings; name a tokenizer.json with --tokenizer",
            )


def _name(piece: Piece, symbols: dict[str, str]) -> str:
    if piece.role in {Role.CONTROL, Role.UNKNOWN}:
        return f"{piece.text} "
    return symbols.get(piece.text, piece.text)


def _merges(pieces: tuple[Piece, ...]) -> list[tuple[str, str]]:
    """Every way to join two pieces into a third, the best score first.

    SentencePiece joins any two neighbours whose union is a piece; the order within one
    union is that of the longer left part, which only decides overlapping repetitions.
    """
    normal = {piece.text: piece.score for piece in pieces if piece.role is Role.NORMAL}
    ranked = sorted(normal, key=lambda text: -normal[text])
    return list(
        chain.from_iterable(
            (
                (text[:cut], text[cut:])
                for cut in range(len(text) - 1, 0, -1)
                if text[:cut] in normal and text[cut:] in normal
            )
            for text in ranked
        )
    )


def _normalizers(model: SentencePieceModel, symbols: dict[str, str]) -> list[Normalizer]:
    """SentencePiece's ``Normalizer::Normalize`` in its own order of steps.

    There, a symbol is looked for twice: before the charsmap, which must not touch it, and
    in what came out.
    """
    longest_first = sorted(symbols.items(), key=lambda item: -len(item[0]))
    hide: list[Normalizer] = [normalizers.Replace(*item) for item in longest_first]
    show: list[Normalizer] = [
        normalizers.Replace(character, text) for text, character in longest_first
    ]
    steps: list[Normalizer] = []
    if model.charsmap:
        # The charsmap's reader looks up a grapheme of up to five bytes as one, else each
        # character; SentencePiece takes the longest match.  Where the rule composes, text
        # that is composed before and after it leaves rare marks as the only difference.
        composed = [normalizers.NFC()] if model.normalization in _COMPOSING_RULES else []
        line_ends = (
            [normalizers.Replace("\r\n", "  ")]
            if model.normalization.startswith("nmt_")
            else []
        )
        charsmap = normalizers.Precompiled(model.charsmap)
        steps += [*hide, *line_ends, *composed, charsmap, *composed, *show]
    if model.squeeze_spaces:
        steps += [
            normalizers.Replace(Regex(r"\A +"), ""),
            normalizers.Replace(Regex(f"[ {_SPACE}]+\\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    if model.dummy_prefix:
        steps.append(normalizers.Prepend(_SPACE))
    return [*steps, normalizers.Replace(" ", _SPACE), *hide]
