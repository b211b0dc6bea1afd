"""Every kind of tokenizer is found, converted to the same ids, or refused by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from full_disk import files_of_at_most
from tiny import BERT, LLAMA, byte_tokenizer
from tiny_tokenizers import write_gpt2, write_sentencepiece, write_wordpiece
from tokenizers import Tokenizer

from megatick_export import Architecture, Checkpoint
from megatick_export.errors import TokenizerError
from megatick_export.tokenizer import PreparedTokenizer, find_tokenizer, prepare_tokenizer

TEXT = "Saltash Water's net sales rise 12% <|endoftext|>[SEP]</s> in Osaka"


def make_checkpoint(
    path: Path, architecture: Architecture = LLAMA, *, rows: int = 2000, **args: Any
) -> Checkpoint:
    shape = {**vars(architecture), "vocab_size": rows}
    return Checkpoint(
        path=path,
        iteration=0,
        layout="torch_dist",
        architecture=Architecture(**shape),
        weights={"embedding.word_embeddings.weight": torch.zeros(1)},
        files=(),
        tensor_parallel=1,
        pipeline_parallel=1,
        args=args,
    )


def prepare(
    checkpoint: Checkpoint, given: Path | None = None, *, max_tokens: int = 64
) -> PreparedTokenizer:
    return prepare_tokenizer(checkpoint, given, max_tokens=max_tokens)


def served(prepared: PreparedTokenizer, path: Path) -> Tokenizer:
    """As the server loads it."""
    prepared.write(path)
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


@pytest.mark.parametrize(
    ("vocabulary", "merges"),
    [
        ("vocab.json", "merges.txt"),
        ("encoder.json", "vocab.bpe"),
        ("gpt2-vocab.json", "gpt2-merges.txt"),
    ],
)
def test_gpt2s_pair_is_found_beside_the_checkpoint(
    tmp_path: Path, vocabulary: str, merges: str
) -> None:
    write_gpt2(tmp_path, vocabulary=vocabulary, merges=merges)
    checkpoint = make_checkpoint(tmp_path / "iter_0000001")

    prepared = prepare(checkpoint)

    assert prepared.source.files == (tmp_path / vocabulary, tmp_path / merges)
    evidence = prepared.evidence()
    assert evidence["origin"] == "beside the checkpoint"
    assert (evidence["vocabulary"], evidence["embedding_rows"]) == (501, 2000)
    assert evidence["proof"]["texts"] > 1000
    assert evidence["proof"]["ties"] == 0
    tokenizer = served(prepared, tmp_path / "tokenizer.json")
    ids = tokenizer.encode(TEXT).ids
    assert 500 not in ids, "<|endoftext|> in a text is only text"
    assert tokenizer.decode(ids) == TEXT
    for given in (vocabulary, merges):  # either file of the two names both
        assert find_tokenizer(checkpoint, tmp_path / given).files == prepared.source.files


@pytest.mark.parametrize(
    ("kind", "capitals", "lower_case"),
    [
        pytest.param("BertWordPieceLowerCase", True, True, id="told-lower"),
        pytest.param("BertWordPieceCase", False, False, id="told-cased"),
        pytest.param(None, True, False, id="capitals-in-the-vocabulary"),
        pytest.param(None, False, True, id="no-capital-in-the-vocabulary"),
    ],
)
def test_a_berts_text_stands_between_cls_and_sep(
    tmp_path: Path, kind: str | None, capitals: bool, lower_case: bool
) -> None:
    write_wordpiece(tmp_path / "vocab.txt", capitals=capitals)
    checkpoint = make_checkpoint(tmp_path, BERT, tokenizer_type=kind)

    prepared = prepare(checkpoint)

    tokenizer = served(prepared, tmp_path / "tokenizer.json")
    tokens = (tmp_path / "vocab.txt").read_text().splitlines()
    read = [tokens[index] for index in tokenizer.encode("Osaka [SEP]").ids]
    assert read[0] == "[CLS]"
    assert read[-1] == "[SEP]"
    assert read.count("[SEP]") == 1, "a text that spells it is only text"
    assert ("o" in read[1][0]) is lower_case, read
    assert prepared.proof is not None
    assert prepared.proof.ties == 0


def test_a_gpt_trained_on_wordpieces_gets_no_cls(tmp_path: Path) -> None:
    write_wordpiece(tmp_path / "vocab.txt")
    prepared = prepare(make_checkpoint(tmp_path, LLAMA))

    tokenizer = served(prepared, tmp_path / "tokenizer.json")

    assert tokenizer.encode("").ids == []


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="as-sentencepiece-trains"),
        pytest.param(
            {
                "byte_fallback": True,
                "normalization_rule_name": "identity",
                "remove_extra_whitespaces": False,
                "vocab_size": 700,
            },
            id="as-llama-2",
        ),
        pytest.param(
            {
                "normalization_rule_name": "nmt_nfkc_cf",
                "add_dummy_prefix": False,
                "user_defined_symbols": ["$AAPL", "profit", "<sep>"],
                "control_symbols": ["<CLS>", "<mask>"],
            },
            id="folded-with-symbols",
        ),
        pytest.param(
            {"byte_fallback": True, "vocab_size": 800, "character_coverage": 0.98},
            id="bytes-for-rare-letters",
        ),
    ],
)
def test_sentencepiece_gives_the_librarys_ids(
    tmp_path: Path, algorithm: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "tokenizer.model"
    write_sentencepiece(path, model_type=algorithm, **options)
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))

    kind = "GPTSentencePieceTokenizer"
    prepared = prepare(make_checkpoint(tmp_path, tokenizer_type=kind))

    assert prepared.proof is not None
    assert prepared.proof.reference == "the sentencepiece library"
    assert algorithm == "unigram" or prepared.proof.ties == 0
    assert prepared.vocabulary == library.vocab_size()
    tokenizer = served(prepared, tmp_path / "tokenizer.json")
    for text in (TEXT, "<s> <unk> <0x41><CLS>", "$AAPL Profit  ﬁne\r\n", "Zürich 日本 🚀"):
        assert tokenizer.encode(text).ids == library.encode(text)


def test_llama2s_text_begins_with_bos_and_no_others_does(tmp_path: Path) -> None:
    write_sentencepiece(tmp_path / "tokenizer.model", model_type="bpe")
    library = sentencepiece.SentencePieceProcessor(str(tmp_path / "tokenizer.model"))

    for kind, before in (
        ("Llama2Tokenizer", [library.bos_id()]),
        ("GPTSentencePieceTokenizer", []),
        ("SentencePieceTokenizer", []),
    ):
        prepared = prepare(make_checkpoint(tmp_path, tokenizer_type=kind))
        tokenizer = served(prepared, tmp_path / f"{kind}.json")
        assert tokenizer.encode("<s> up").ids == before + library.encode("<s> up")


@pytest.mark.parametrize("kind", [None, "NullTokenizer"])
def test_whether_bos_is_added_is_never_guessed(tmp_path: Path, kind: str | None) -> None:
    pytest.importorskip("sentencepiece")
    write_sentencepiece(tmp_path / "tokenizer.model", model_type="bpe")

    with pytest.raises(TokenizerError, match=f"begins with <s> .* found {kind};"):
        prepare(make_checkpoint(tmp_path, tokenizer_type=kind))


def test_no_room_for_what_was_converted_is_an_error_of_the_system(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    prepared = prepare(make_checkpoint(tmp_path))

    with pytest.raises(OSError, match="File too large"), files_of_at_most(1000):
        prepared.write(tmp_path / "served.json")


def test_a_tokenizer_json_is_copied_byte_by_byte(tmp_path: Path) -> None:
    given = tmp_path / "mine.json"
    given.write_text(byte_tokenizer().to_str(pretty=True) + "\n\n")

    prepared = prepare(make_checkpoint(tmp_path), given)
    prepared.write(tmp_path / "copy.json")

    assert (tmp_path / "copy.json").read_bytes() == given.read_bytes()
    assert prepared.proof is None
    assert prepared.source.origin == "given"


def test_the_path_in_the_args_is_the_last_resort(tmp_path: Path) -> None:
    write_gpt2(tmp_path / "trained")
    vocabulary, merges = tmp_path / "trained/vocab.json", tmp_path / "trained/merges.txt"
    checkpoint = make_checkpoint(
        tmp_path / "run" / "iter_0000001",
        tokenizer_type="GPT2BPETokenizer",
        vocab_file=str(vocabulary),
        merge_file=str(merges),
    )

    source = find_tokenizer(checkpoint, None)

    assert source.files == (vocabulary, merges)
    assert source.origin == "named in the checkpoint's args"


@pytest.mark.parametrize("kind", ["TikTokenizer", "NullTokenizer"])
def test_what_megatron_knows_and_we_do_not_is_refused_by_name(
    tmp_path: Path, kind: str
) -> None:
    with pytest.raises(TokenizerError, match=f"{kind} .*name it with --tokenizer"):
        prepare(make_checkpoint(tmp_path, tokenizer_type=kind))


def test_tiktokens_own_vocabulary_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "tiktoken.vocab.json"
    file.write_text(json.dumps([{"rank": 0, "token_bytes": "AA==", "token_str": ""}]))

    with pytest.raises(TokenizerError, match="TikTokenizer is not converted"):
        prepare(make_checkpoint(tmp_path), file)


def test_two_tokenizers_in_a_folder_are_both_named(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    byte_tokenizer().save(str(tmp_path / "tokenizer.json"))

    with pytest.raises(
        TokenizerError,
        match=r"found 2 \(tokenizer.json, vocab.json, merges.txt\): name one of these",
    ):
        prepare(make_checkpoint(tmp_path))


@pytest.mark.parametrize("lost", ["vocab.json", "merges.txt"])
def test_half_a_pair_is_refused(tmp_path: Path, lost: str) -> None:
    write_gpt2(tmp_path)
    (tmp_path / lost).unlink()

    with pytest.raises(TokenizerError, match=r"expected one vocabulary .* and its merges"):
        prepare(make_checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        pytest.param("vocab.json", '": 0', '": "x"', "JSON object of tokens", id="no-id"),
        pytest.param("vocab.json", '": 1,', '": 0,', "each id once", id="twice"),
        pytest.param("vocab.json", '"!":', '"gone":', "none for 1:", id="no-byte"),
        pytest.param("vocab.json", "{", "", "is not JSON", id="cut"),
        pytest.param("merges.txt", "0.2\n", "0.2\na q\n", "has no aq", id="other-merges"),
        pytest.param("merges.txt", "0.2\n", "0.2\na\n", "line 2: expected two", id="odd"),
    ],
)
def test_a_corrupt_gpt2_is_named(
    tmp_path: Path, file: str, old: str, new: str, problem: str
) -> None:
    write_gpt2(tmp_path)
    content = (tmp_path / file).read_text("utf-8")
    assert old in content
    (tmp_path / file).write_text(content.replace(old, new, 1), "utf-8")

    with pytest.raises(TokenizerError, match=problem):
        prepare(make_checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param(
            "vocab.txt", b"[UNK]\na\n", "no .CLS., .SEP., .PAD., .MASK.", id="bert"
        ),
        pytest.param("vocab.txt", b"[UNK]\n\xff\xfe\n", "is not text", id="not-text"),
        pytest.param("spm.model", b"\n\x00\xff\xff", "not a SentencePiece", id="cut"),
        pytest.param("spm.model", b"", "expected one <unk> in its 0", id="empty"),
    ],
)
def test_a_corrupt_vocabulary_is_named(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(TokenizerError, match=problem):
        prepare(make_checkpoint(tmp_path, BERT if name == "vocab.txt" else LLAMA))


def test_a_file_that_is_none_of_them_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no tokenizer")

    for path, found in (
        (tmp_path / "notes.txt", "none of them in this file"),
        (tmp_path / "nowhere", "found no file"),
        (tmp_path, "found none of them"),
    ):
        with pytest.raises(TokenizerError, match=found):
            prepare(make_checkpoint(tmp_path), path)


def test_another_kind_than_the_model_was_trained_with_is_refused(tmp_path: Path) -> None:
    write_wordpiece(tmp_path / "vocab.txt")
    gpt = make_checkpoint(tmp_path, tokenizer_type="GPT2BPETokenizer")
    with pytest.raises(TokenizerError, match=r"is a WordPiece .* with a GPT2BPETokenizer"):
        prepare(gpt)

    write_gpt2(tmp_path / "gpt2")
    with pytest.raises(TokenizerError, match=r"is a GPT-2 BPE .* the model a BERT"):
        prepare(make_checkpoint(tmp_path, BERT), tmp_path / "gpt2")


def test_a_vocabulary_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    write_gpt2(tmp_path)
    assert prepare(make_checkpoint(tmp_path, rows=501)).vocabulary == 501

    with pytest.raises(TokenizerError, match="ids up to 500, the checkpoint's embedding"):
        prepare(make_checkpoint(tmp_path, rows=500))


def test_a_row_that_what_is_added_fills_is_refused(tmp_path: Path) -> None:
    write_wordpiece(tmp_path / "vocab.txt")

    with pytest.raises(TokenizerError, match="adds 2 tokens to every text"):
        prepare(make_checkpoint(tmp_path, BERT), max_tokens=2)


def test_the_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sentencepiece(tmp_path / "tokenizer.model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)

    with pytest.raises(TokenizerError, match=r"the package sentencepiece.* is missing"):
        prepare(make_checkpoint(tmp_path, tokenizer_type="Llama2Tokenizer"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model_type": "char"}, "model_type=char"),
        ({"model_type": "word"}, "model_type=word"),
        ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix=true"),
    ],
)
def test_a_sentencepiece_that_cannot_be_written_so_is_refused(
    tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    write_sentencepiece(tmp_path / "tokenizer.model", **options)

    with pytest.raises(TokenizerError, match=f"SentencePiece model with {problem}"):
        prepare(make_checkpoint(tmp_path))
