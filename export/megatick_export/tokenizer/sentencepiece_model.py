"""A SentencePiece model file as data, read without the SentencePiece library.

The messages are those fields of sentencepiece's ``src/sentencepiece_model.proto``
(version 0.2.3) that decide how a text is cut.  They are declared here because the
classes that the library ships are bound to one release of protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from megatick_export.errors import TokenizerError

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "megatick.sentencepiece"


class Algorithm(IntEnum):
    """``TrainerSpec.ModelType``."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


class Role(IntEnum):
    """``SentencePiece.Type``: what a piece is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One piece; its id is its place in the model.

    Attributes:
        text: with ``▁`` for a space.
        score: log probability (Unigram), or minus the rank of its merge (BPE).
        role: what it is for.
    """

    text: str
    score: float
    role: Role


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says about cutting a text.

    Attributes:
        pieces: by id.
        algorithm: how a text is cut.
        byte_fallback: an unknown character becomes its bytes' pieces.
        suffix_whitespace: ``▁`` ends a word and does not begin it.
        normalization: name of the rule, e.g. ``nmt_nfkc``; empty for a rule of one's own.
        charsmap: the rule, compiled; empty for none.
        dummy_prefix: a ``▁`` is put before the text.
        squeeze_spaces: outer spaces are removed, inner ones become one.
        escape_spaces: a space becomes ``▁``.
        bos: the piece that begins a text, where a tokenizer adds one.
    """

    pieces: tuple[Piece, ...]
    algorithm: Algorithm
    byte_fallback: bool
    suffix_whitespace: bool
    normalization: str
    charsmap: bytes
    dummy_prefix: bool
    squeeze_spaces: bool
    escape_spaces: bool
    bos: str


def read_model(path: Path) -> SentencePieceModel:
    """Read a ``.model`` file.

    Raises:
        TokenizerError: it is not one, or holds no piece for what is unknown.
    """
    message = _model_class()()
    try:
        message.ParseFromString(path.read_bytes())
        pieces = tuple(
            Piece(each.piece, each.score, Role(each.type)) for each in message.pieces
        )
        algorithm = Algorithm(message.trainer_spec.model_type)
    except (DecodeError, ValueError) as error:
        raise TokenizerError(path, f"is not a SentencePiece model: {error}") from error
    if sum(piece.role is Role.UNKNOWN for piece in pieces) != 1:
        raise TokenizerError(
            path,
            f"is not a SentencePiece model: expected one <unk> in its {len(pieces)} pieces",
        )
    return SentencePieceModel(
        pieces=pieces,
        algorithm=algorithm,
        byte_fallback=message.trainer_spec.byte_fallback,
        suffix_whitespace=message.trainer_spec.treat_whitespace_as_suffix,
        normalization=message.normalizer_spec.name,
        charsmap=message.normalizer_spec.precompiled_charsmap,
        dummy_prefix=message.normalizer_spec.add_dummy_prefix,
        squeeze_spaces=message.normalizer_spec.remove_extra_whitespaces,
        escape_spaces=message.normalizer_spec.escape_whitespaces,
        bos=message.trainer_spec.bos_piece,
    )


def _model_class() -> Any:
    """Build the class of ``ModelProto``; fields are (name, number, type, default)."""
    file = descriptor_pb2.FileDescriptorProto(
        name="megatick/sentencepiece_model.proto", package=_PACKAGE, syntax="proto2"
    )
    piece = _message(
        file,
        "SentencePiece",
        ("piece", 1, _Field.TYPE_STRING, ""),
        ("score", 2, _Field.TYPE_FLOAT, "0"),
        ("type", 3, _Field.TYPE_INT32, "1"),
    )
    trainer = _message(
        file,
        "TrainerSpec",
        ("model_type", 3, _Field.TYPE_INT32, "1"),
        ("treat_whitespace_as_suffix", 24, _Field.TYPE_BOOL, "false"),
        ("byte_fallback", 35, _Field.TYPE_BOOL, "false"),
        ("bos_piece", 46, _Field.TYPE_STRING, "<s>"),
    )
    normalizer = _message(
        file,
        "NormalizerSpec",
        ("name", 1, _Field.TYPE_STRING, ""),
        ("precompiled_charsmap", 2, _Field.TYPE_BYTES, ""),
        ("add_dummy_prefix", 3, _Field.TYPE_BOOL, "true"),
        ("remove_extra_whitespaces", 4, _Field.TYPE_BOOL, "true"),
        ("escape_whitespaces", 5, _Field.TYPE_BOOL, "true"),
    )
    model = file.message_type.add(name="ModelProto")
    for name, number, kind, label in (
        ("pieces", 1, piece, _Field.LABEL_REPEATED),
        ("trainer_spec", 2, trainer, _Field.LABEL_OPTIONAL),
        ("normalizer_spec", 3, normalizer, _Field.LABEL_OPTIONAL),
    ):
        model.field.add(
            name=name,
            number=number,
            label=label,
            type=_Field.TYPE_MESSAGE,
            type_name=f".{_PACKAGE}.{kind}",
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{_PACKAGE}.ModelProto")
    )


def _message(
    file: descriptor_pb2.FileDescriptorProto,
    name: str,
    *fields: tuple[str, int, _Field.Type.ValueType, str],
) -> str:
    message = file.message_type.add(name=name)
    for field, number, kind, default in fields:
        message.field.add(
            name=field,
            number=number,
            label=_Field.LABEL_OPTIONAL,
            type=kind,
            default_value=default,
        )
    return name
