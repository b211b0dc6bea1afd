"""A tokenizer's files, whatever their kind, as the ``tokenizer.json`` that is served."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer, processors

from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import TokenizerError
from megatick_export.tokenizer import gpt2, sentencepiece, wordpiece
from megatick_export.tokenizer.find import Kind, TokenizerFiles, find_tokenizer
from megatick_export.tokenizer.prove import Proof, prove

_KINDS: Final[Mapping[str, Kind]] = {
    "GPT2BPETokenizer": "GPT-2 BPE",
    "BertWordPieceLowerCase": "WordPiece",
    "BertWordPieceCase": "WordPiece",
    "SentencePieceTokenizer": "SentencePiece",
    "GPTSentencePieceTokenizer": "SentencePiece",
    "Llama2Tokenizer": "SentencePiece",
    "HuggingFaceTokenizer": "tokenizer.json",
    "SFTTokenizer": "tokenizer.json",
    "MultimodalTokenizer": "tokenizer.json",
    "TikTokenizer": "tokenizer.json",
}
"""By Megatron's ``tokenizer_type``; a ``tokenizer.json`` may stand in for any of them."""


@dataclass(frozen=True)
class PreparedTokenizer:
    """A tokenizer that the checkpoint's model can read, ready to be served.

    Attributes:
        tokenizer: what ``tokenizer.json`` will say.
        source: its files.
        vocabulary: how many tokens it has.
        embedding_rows: how many the model has, ≥ every id + 1; Megatron pads the number.
        proof: the comparison with the source's own algorithm; None for a
            ``tokenizer.json``, which is served as it is.
    """

    tokenizer: Tokenizer
    source: TokenizerFiles
    vocabulary: int
    embedding_rows: int
    proof: Proof | None

    def write(self, path: Path) -> None:
        """Write the ``tokenizer.json``; one that was given is copied byte by byte."""
        if self.source.kind == "tokenizer.json":
            shutil.copyfile(self.source.files[0], path)
        else:
            # Its own save() raises a bare Exception where there is no room.
            path.write_text(self.tokenizer.to_str(pretty=True), "utf-8")

    def evidence(self) -> dict[str, Any]:
        """What a receipt says of it, its files' hashes excepted; for JSON."""
        return {
            "kind": self.source.kind,
            "origin": self.source.origin,
            "vocabulary": self.vocabulary,
            "embedding_rows": self.embedding_rows,
            "proof": None if self.proof is None else asdict(self.proof),
        }


def prepare_tokenizer(
    checkpoint: Checkpoint, given: Path | None, *, max_tokens: int
) -> PreparedTokenizer:
    """Find, convert and prove the tokenizer, and check that the model can read its ids.

    Args:
        checkpoint: its args say what files cannot: lower-casing, and what is added.
        given: a file or a folder; None looks beside the checkpoint.
        max_tokens: longest row that is to be served, what is added included.

    Raises:
        TokenizerError: none, half of one or several; corrupt; not to be converted
            exactly; made for a larger vocabulary; or the row has no room for text.
    """
    source = find_tokenizer(checkpoint, given)
    tokenizer = load_tokenizer(checkpoint, source)
    path = source.files[0]
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
    return PreparedTokenizer(
        tokenizer=tokenizer,
        source=source,
        vocabulary=tokenizer.get_vocab_size(with_added_tokens=True),
        embedding_rows=rows,
        proof=_prove(checkpoint, source, tokenizer),
    )


def load_tokenizer(checkpoint: Checkpoint, source: TokenizerFiles) -> Tokenizer:
    """Convert the files, or load their ``tokenizer.json``; nothing is proven yet.

    A BERT's texts are put between ``[CLS]`` and ``[SEP]``, as Megatron fine-tunes
    (``tasks/data_utils.py``); ``Llama2Tokenizer`` begins every text with ``<s>``; the
    other tokenizers' ``tokenize`` adds nothing (``megatron/training/tokenizer``).

    Raises:
        TokenizerError: corrupt, or not of the kind that the model was trained with.
    """
    path = source.files[0]
    if source.kind == "tokenizer.json":
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the Rust side raises bare Exception
            raise TokenizerError(
                path, f"is not a Hugging Face tokenizer.json: {error}"
            ) from error
    trained_with = str(checkpoint.args.get("tokenizer_type"))
    expected = _KINDS.get(trained_with, source.kind)
    if expected != source.kind:
        raise TokenizerError(
            path,
            f"is a {source.kind} tokenizer, the checkpoint was trained with a "
            f"{trained_with}: expected {expected}, or a tokenizer.json made of it",
        )
    is_bert = checkpoint.architecture.kind == "bert"
    if is_bert and source.kind != "WordPiece":
        raise TokenizerError(
            path,
            f"is a {source.kind} tokenizer, and the model a BERT, which reads [CLS] and "
            "[SEP]: expected a WordPiece vocab.txt or a tokenizer.json",
        )
    match source.kind:
        case "GPT-2 BPE":
            tokenizer = gpt2.convert(*source.files)
        case "SentencePiece":
            tokenizer = sentencepiece.convert(path)
            if _KINDS.get(trained_with) != "SentencePiece":
                raise TokenizerError(
                    path,
                    "is a SentencePiece model, and whether a text begins with <s> is said "
                    "by the checkpoint's tokenizer_type alone: expected Llama2Tokenizer, "
                    "GPTSentencePieceTokenizer or SentencePieceTokenizer, found "
                    f"{trained_with}; name a tokenizer.json with --tokenizer",
                )
            if trained_with == "Llama2Tokenizer":
                _surround(tokenizer, before=sentencepiece.beginning(path))
        case "WordPiece":
            tokenizer = wordpiece.convert(path, lower_case=_lower_case(checkpoint, path))
            if is_bert:
                ids = wordpiece.read_vocabulary(path)
                _surround(
                    tokenizer,
                    before=("[CLS]", ids["[CLS]"]),
                    after=("[SEP]", ids["[SEP]"]),
                )
    # What is proven and counted is what a server will load.
    return Tokenizer.from_str(tokenizer.to_str())


def _prove(
    checkpoint: Checkpoint, source: TokenizerFiles, tokenizer: Tokenizer
) -> Proof | None:
    path = source.files[0]
    match source.kind:
        case "tokenizer.json":
            return None
        case "GPT-2 BPE":
            encode = gpt2.reference(*source.files)
            reference = "GPT-2's algorithm in Python"
        case "SentencePiece":
            encode = sentencepiece.reference(path)
            reference = "the sentencepiece library"
        case "WordPiece":
            encode = wordpiece.reference(path, lower_case=_lower_case(checkpoint, path))
            reference = "BERT's algorithm in Python"
    may_tie = source.kind == "SentencePiece" and sentencepiece.is_unigram(path)
    return prove(tokenizer, encode, reference=reference, path=path, may_tie=may_tie)


def _lower_case(checkpoint: Checkpoint, path: Path) -> bool:
    """What Megatron was told; else, whether the vocabulary has no capital to spare."""
    told = {"BertWordPieceLowerCase": True, "BertWordPieceCase": False}
    trained_with = str(checkpoint.args.get("tokenizer_type"))
    return told.get(trained_with, not wordpiece.has_capitals(path))


def _surround(
    tokenizer: Tokenizer,
    *,
    before: tuple[str, int],
    after: tuple[str, int] | None = None,
) -> None:
    """Make the tokenizer put its control tokens around every text."""
    added = [before] if after is None else [before, after]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join([before[0], "$A", *([after[0]] if after else [])]),
        special_tokens=added,
    )
