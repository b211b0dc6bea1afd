from __future__ import annotations

from pathlib import Path

import pytest
from tiny import byte_tokenizer
from tokenizers import processors

from megatick_server.errors import ArtefactError
from megatick_server.tokenization import TextTokenizer

END = 3


def write(folder: Path, *, ends: bool) -> Path:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens(["<stop>"])
    if ends:  # every text ends in one token more
        end = {"id": "end", "ids": [END], "tokens": [tokenizer.id_to_token(END)]}
        tokenizer.post_processor = processors.TemplateProcessing(
            single=["$A", "end"], special_tokens=[end]
        )
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def letters(text: str) -> list[int]:
    ids: list[int] = byte_tokenizer().encode(text).ids
    return ids


@pytest.mark.parametrize(
    ("truncation", "kept"), [("head", "abcd"), ("tail", "efgh")], ids=["head", "tail"]
)
def test_truncation_leaves_room_for_what_ends_every_text(
    tmp_path: Path, truncation: str, kept: str
) -> None:
    tokenizer = TextTokenizer(write(tmp_path, ends=True), max_tokens=5)

    short, long = tokenizer.encode(["abcd", "abcdefgh"], truncation=truncation)  # type: ignore[arg-type]

    assert short.input_ids.tolist() == [*letters("abcd"), END]
    assert not short.truncated
    assert long.input_ids.tolist() == [*letters(kept), END]
    assert long.truncated


def test_nothing_is_cut_where_the_caller_refuses(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(write(tmp_path, ends=False), max_tokens=4)

    (long,) = tokenizer.encode(["abcdefgh"], truncation="error")

    assert (len(long.input_ids), long.truncated) == (8, False)


def test_a_text_that_spells_a_control_token_is_only_a_text(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(write(tmp_path, ends=False), max_tokens=64)

    (row,) = tokenizer.encode(["buy <stop>"], truncation="head")

    assert row.input_ids.tolist() == letters("buy <stop>")
    assert len(row.input_ids) == 10


def test_a_tokenizers_own_truncation_is_not_obeyed(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding()
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    rows = TextTokenizer(tmp_path / "tokenizer.json", max_tokens=64).encode(
        ["abcd", "a"], truncation="head"
    )

    assert [len(row.input_ids) for row in rows] == [4, 1]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x80not json"])
def test_a_file_that_is_no_tokenizer_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ArtefactError, match=r"tokenizer\.json: "):
        TextTokenizer(path, max_tokens=4)
