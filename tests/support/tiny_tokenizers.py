"""Tokenizers' files of every kind that Megatron trains with, small enough for a test."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from megatick_export.headlines import headlines

CONTROL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_gpt2(
    folder: Path, *, vocabulary: str = "vocab.json", merges: str = "merges.txt"
) -> None:
    """Train GPT-2's two files: 256 bytes, 244 merges, ``<|endoftext|>`` the last id."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(headlines(300), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    folder.mkdir(parents=True, exist_ok=True)
    ids = {**model["vocab"], "<|endoftext|>": 500}
    (folder / vocabulary).write_text(json.dumps(ids), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"]), ""]
    (folder / merges).write_text("\n".join(lines), "utf-8")


def write_wordpiece(path: Path, *, capitals: bool = False) -> None:
    """Train a ``vocab.txt`` on headlines, with letters of more scripts than theirs."""
    texts = [text if capitals else text.lower() for text in headlines(300)]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = list("αβγδεζηθικλμνξοπρσςτυφχψω日本銀行åößé$€%#@[]<>|/")
    trainer = trainers.WordPieceTrainer(
        vocab_size=600,
        special_tokens=list(CONTROL),
        initial_alphabet=letters,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = tokenizer.get_vocab()
    continued = [f"##{letter}" for letter in letters]
    tokens = [*sorted(ids, key=ids.__getitem__), *continued]
    path.write_text("\n".join(dict.fromkeys(tokens)) + "\n", "utf-8")


def write_sentencepiece(path: Path, **options: Any) -> None:
    """Train a ``.model`` file with the SentencePiece library."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(headlines(800)),
        model_writer=model,
        minloglevel=2,
        **{"vocab_size": 500, "hard_vocab_limit": False, "num_threads": 1, **options},
    )
    path.write_bytes(model.getvalue())
