"""Where a checkpoint's tokenizer is, and its kind: by its files' names and contents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from megatick_contract.repository import TOKENIZER_FILE
from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import TokenizerError

Kind = Literal["tokenizer.json", "GPT-2 BPE", "SentencePiece", "WordPiece"]
Origin = Literal["given", "beside the checkpoint", "named in the checkpoint's args"]

# Megatron's documentation keeps GPT-2's and BERT's files as gpt2-vocab.json,
# gpt2-merges.txt and bert-large-cased-vocab.txt; OpenAI's own names are encoder.json and
# vocab.bpe, Google's is vocab.txt.
_GPT2_VOCABULARIES: Final = ("*vocab.json", "encoder.json")
_GPT2_MERGES: Final = ("*merges.txt", "vocab.bpe")
_OTHER_FILES: Final[dict[Kind, str]] = {
    "tokenizer.json": TOKENIZER_FILE,
    "SentencePiece": "*.model",
    "WordPiece": "*vocab.txt",
}
_EXPECTED: Final = (
    f"a {TOKENIZER_FILE}, a SentencePiece .model, a WordPiece vocab.txt, or GPT-2's "
    "vocab.json and merges.txt (encoder.json and vocab.bpe)"
)
_SAYS_NOTHING: Final = {
    "TikTokenizer": "is not converted: make a tokenizer.json of it",
    "NullTokenizer": "reads no text: take the tokenizer that its data was made with",
    "NullMultimodalTokenizer": "reads no text: take the tokenizer of its data",
}


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer that was found.

    Attributes:
        kind: what it is.
        files: what it lies in; for GPT-2's the vocabulary, then the merges.
        origin: why these files.
    """

    kind: Kind
    files: tuple[Path, ...]
    origin: Origin


def find_tokenizer(checkpoint: Checkpoint, given: Path | None) -> TokenizerFiles:
    """Find the tokenizer's files.

    Args:
        checkpoint: it is looked for in the iteration's folder, then in the one above,
            then where the run's own args say that it was, if that is still there.
        given: the file or the folder to take instead.

    Raises:
        TokenizerError: there is none, half of one, or more than one.
    """
    if given is not None:
        return _in(given, "given")
    for folder in (checkpoint.path, checkpoint.path.parent):
        if list(_candidates(folder)):
            return _in(folder, "beside the checkpoint")
    origin: Origin = "named in the checkpoint's args"
    model, vocabulary, merges = (
        _existing(checkpoint.args.get(arg))
        for arg in ("tokenizer_model", "vocab_file", "merge_file")
    )
    if vocabulary is not None and merges is not None:
        return TokenizerFiles("GPT-2 BPE", (vocabulary, merges), origin)
    for path in (model, vocabulary):
        if path is not None:
            return _in(path, origin)
    kind = checkpoint.args.get("tokenizer_type")
    about = _SAYS_NOTHING.get(str(kind))
    raise TokenizerError(
        checkpoint.path,
        f"expected {_EXPECTED} in this folder or the one above, found none"
        + (f"; its run's {kind} {about}" if about else "")
        + ": name it with --tokenizer",
    )


def _in(path: Path, origin: Origin) -> TokenizerFiles:
    if path.is_dir():
        found = list(_candidates(path))
        if len(found) > 1:
            names = ", ".join(file.name for _, files in found for file in files)
            raise TokenizerError(
                path,
                f"expected one tokenizer, found {len(found)} ({names}): name one of these "
                "files with --tokenizer",
            )
        if not found:
            raise TokenizerError(path, f"expected {_EXPECTED}, found none of them")
        kind, files = found[0]
    elif path.is_file():
        kind, files = _identify(path)
    else:
        raise TokenizerError(path, f"expected {_EXPECTED}, found no file")
    if kind == "GPT-2 BPE" and [file.suffix == ".json" for file in files] != [True, False]:
        raise TokenizerError(
            path,
            "expected one vocabulary (vocab.json or encoder.json) and its merges "
            "(merges.txt or vocab.bpe) for a GPT-2 BPE, found "
            + ", ".join(file.name for file in files),
        )
    return TokenizerFiles(kind, files, origin)


def _candidates(folder: Path) -> Iterator[tuple[Kind, tuple[Path, ...]]]:
    """Every tokenizer in a folder, by name; of GPT-2's pair perhaps only one file."""
    for kind, pattern in _OTHER_FILES.items():
        for file in sorted(folder.glob(pattern)):
            if file.is_file():
                yield kind, (file,)
    pair = (*_matching(folder, _GPT2_VOCABULARIES), *_matching(folder, _GPT2_MERGES))
    if pair:
        yield "GPT-2 BPE", pair


def _identify(path: Path) -> tuple[Kind, tuple[Path, ...]]:
    """Tell a file's kind by what is in it."""
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "SentencePiece", (path,)
    if content.startswith(b"\n") and b"\x00" in content:
        return "SentencePiece", (path,)  # bytes that happen to be UTF-8
    if text.startswith("#version"):
        return "GPT-2 BPE", (*_matching(path.parent, _GPT2_VOCABULARIES), path)
    if "[UNK]" in text.splitlines():
        return "WordPiece", (path,)
    try:
        content_json: Any = json.loads(text)
    except ValueError:
        content_json = None
    if isinstance(content_json, list):
        raise TokenizerError(path, f"TikTokenizer {_SAYS_NOTHING['TikTokenizer']}")
    if isinstance(content_json, dict) and "model" not in content_json:
        return "GPT-2 BPE", (path, *_matching(path.parent, _GPT2_MERGES))
    if content_json is not None or path.suffix == ".json":
        return "tokenizer.json", (path,)
    raise TokenizerError(path, f"expected {_EXPECTED}, found none of them in this file")


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def _existing(arg: object) -> Path | None:
    """A path of the machine that trained, if it is absolute and here as well."""
    if not isinstance(arg, str) or not Path(arg).is_absolute() or not Path(arg).exists():
        return None
    return Path(arg)
