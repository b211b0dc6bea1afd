"""What is exported fits together: the tokenizer and the texts to measure on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exported import Exported
from tiny import byte_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from megatick_export import ExportOptions, read_checkpoint
from megatick_export.errors import OptionsError, TokenizerError
from megatick_export.subject import prepare

INVISIBLE = "\u200b"  # no white space to Python
FP32 = ExportOptions(precision="fp32")


@pytest.fixture
def clearing(tmp_path: Path) -> ExportOptions:
    """Options with a tokenizer that drops ``INVISIBLE``, as BERT's does."""
    tokenizer = byte_tokenizer()
    tokenizer.normalizer = normalizers.Replace(INVISIBLE, "")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return replace(FP32, tokenizer=tmp_path / "tokenizer.json")


def test_texts_without_a_token_are_left_out(
    exported: Exported, clearing: ExportOptions, tmp_path: Path
) -> None:
    """As a server refuses them; their rows would have no last token."""
    (tmp_path / "a.csv").write_text(
        f"text,label\n{INVISIBLE},neutral\nup,positive\ndown,negative\n", "utf-8"
    )
    options = replace(clearing, calibration=tmp_path / "a.csv")

    texts = prepare(read_checkpoint(exported.checkpoint), options).texts

    assert texts.texts == ("up", "down")
    assert texts.classes is not None
    assert texts.classes.tolist() == [2, 0]


def test_true_classes_are_in_the_order_that_is_served(
    exported: Exported, tmp_path: Path
) -> None:
    """Whatever the order of the checkpoint's own rows, which are put into that one."""
    (tmp_path / "a.csv").write_text("text,label\nup,positive\ndown,negative\n")
    options = replace(
        FP32,
        calibration=tmp_path / "a.csv",
        labels=("positive", "negative", "neutral"),
    )

    subject = prepare(read_checkpoint(exported.checkpoint), options)

    assert subject.classifier.labels == ("negative", "neutral", "positive")
    assert subject.texts.classes is not None
    assert subject.texts.classes.tolist() == [2, 0]


def test_nothing_but_such_texts_is_refused(
    exported: Exported, clearing: ExportOptions, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(INVISIBLE, "utf-8")
    options = replace(clearing, calibration=tmp_path / "a.txt")

    with pytest.raises(OptionsError, match=r"hold something .* found 'none in .*a\.txt"):
        prepare(read_checkpoint(exported.checkpoint), options)


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        pytest.param(
            models.BPE({digit: int(digit) for digit in "0123456789"}, []),
            "has no token for anything in '",
            id="digits-alone",
        ),
        pytest.param(
            models.WordLevel({"profit": 0}, unk_token="[UNK]"),
            r"cannot read one of the texts: .*\[UNK\]",
            id="no-unknown-token",
        ),
    ],
)
def test_a_tokenizer_that_cannot_read_a_headline_is_refused(
    exported: Exported, tmp_path: Path, model: models.Model, problem: str
) -> None:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    options = replace(FP32, tokenizer=tmp_path / "tokenizer.json")

    with pytest.raises(TokenizerError, match=rf"tokenizer\.json: {problem}"):
        prepare(read_checkpoint(exported.checkpoint), options)
