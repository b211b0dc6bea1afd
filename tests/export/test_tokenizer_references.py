"""The references are the published algorithms; the proof notices a single wrong id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import byte_tokenizer
from tiny_tokenizers import CONTROL
from tokenizers import pre_tokenizers

from megatick_export.errors import TokenizerError
from megatick_export.tokenizer import gpt2, wordpiece
from megatick_export.tokenizer.prove import prove


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Merges by rank: (l, o), (lo, w), (e, r), (Ġ, low).
        pytest.param("low", ["low"], id="two-merges"),
        pytest.param("lower low", ["low", "er", "Ġlow"], id="a-space-belongs-to-its-word"),
        pytest.param("lo wer", ["lo", "Ġ", "w", "er"], id="no-merge-across-words"),
        pytest.param("llow", ["l", "low"], id="from-the-left"),
        pytest.param("é", ["Ã", "©"], id="bytes-C3-A9"),
        pytest.param("\x00\n ", ["Ā", "Ċ", "Ġ"], id="hidden-bytes-from-U+0100"),
        pytest.param("we're", ["w", "e", "'", "r", "e"], id="contraction-is-a-word"),
    ],
)
def test_gpt2_by_hand(tmp_path: Path, text: str, expected: list[str]) -> None:
    merged = ["lo", "low", "er", "Ġlow"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: index for index, token in enumerate([*alphabet, *merged])}
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocabulary.write_text(json.dumps(ids))
    merges.write_text("#version: 0.2\nl o\nlo w\ne r\nĠ low\n", "utf-8")

    assert gpt2.reference(vocabulary, merges)(text) == [ids[token] for token in expected]
    converted = gpt2.convert(vocabulary, merges).encode(text)
    assert converted.tokens == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The example of Google's tokenization.py: un ##aff ##able.
        pytest.param("UNaffable", "un ##aff ##able", id="googles-example"),
        pytest.param("unaffable!", "un ##aff ##able !", id="punctuation-apart"),
        pytest.param("u\u0308N", "un", id="accents-go"),
        pytest.param("unx", "[UNK]", id="no-piece-no-word"),
        pytest.param("日un本", "日 un [UNK]", id="ideographs-apart"),
        pytest.param("u\u00adn\x00\ufffd\u200b", "un", id="controls-go"),
        pytest.param("u\ue000n", "[UNK]", id="private-use-stays"),
        pytest.param("un\u3000un\tun\r\n", "un un un", id="white-space"),
        pytest.param("ΣΑΣ", "σ ##α ##ς", id="final-sigma"),
        pytest.param("[SEP]", "[ [UNK] ]", id="a-spelt-control-is-text"),
        pytest.param("a" * 200, " ".join(["a", *["##a"] * 199]), id="200-letters"),
        pytest.param("a" * 201, "[UNK]", id="201-letters"),
    ],
)
def test_wordpiece_by_hand(tmp_path: Path, text: str, expected: str) -> None:
    tokens = [*CONTROL, "un", "##aff", "##able", "!", "日", "[", "]", "a", "##a"]
    tokens += ["σ", "##α", "##ς", "##σ"]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(tokens) + "\n", "utf-8")

    found = wordpiece.reference(path, lower_case=True)(text)

    assert [tokens[index] for index in found] == expected.split()
    converted = wordpiece.convert(path, lower_case=True).encode(text)
    assert converted.tokens == expected.split()


def test_the_proof_shows_the_first_text_that_differs(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()

    def encode(text: str) -> list[int]:
        ids = tokenizer.encode(text).ids
        return [*ids[:-1], 7] if "$AAPL" in text else ids

    with pytest.raises(TokenizerError, match=r"for the text '\$AAPL .* others gives \["):
        prove(tokenizer, encode, reference="others", path=tmp_path)


def test_another_order_of_the_same_tokens_is_a_tie_only_where_it_may_be(
    tmp_path: Path,
) -> None:
    tokenizer = byte_tokenizer()

    def encode(text: str) -> list[int]:
        ids = tokenizer.encode(text).ids
        return ids[::-1] if text.startswith("EPS") else ids

    proof = prove(tokenizer, encode, reference="others", path=tmp_path, may_tie=True)
    assert proof.ties == 1

    with pytest.raises(TokenizerError, match="cannot be converted"):
        prove(tokenizer, encode, reference="others", path=tmp_path)
