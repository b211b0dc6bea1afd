"""The receipt's page: whole, readable, and text where it tells what others wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tiny import LLAMA

from megatick_export import Receipt
from megatick_export.evaluation import EmbeddingErrors, Errors
from megatick_export.heads import Prompt
from megatick_export.parity import Comparison
from megatick_export.precision.trials import Trial
from megatick_export.receipt import Source
from megatick_export.receipt_page import write_page

ERRORS = Errors(0.012, 1, 0.0034, 0.05, 40, 0.875, 0.0625)
FP32 = Trial(
    "fp32", "openvino fp32", (), (), replace(ERRORS, label_flips=0), 51.2, 4_000_000, None
)
FP8 = Trial(
    *("fp8", "onnxruntime fp8", ("norms",), (3, 7), ERRORS, None, 1_000_000),
    "1 of 40 labels flip (2.50%), the budget is 0.20%",
)
PROMPT = Prompt(
    template="<b>{text}</b>\nMood:",
    verbalizers=("bad", "so-so", "good"),
    prefix_ids=(1, 2),
    suffix_ids=(3,),
    verbalizer_ids=(4, 5, 6),
    content_free=(0.2, 0.3, 0.5),
    compared_texts=300,
)
RECEIPT = Receipt(
    model_digest="d" * 64,
    created_utc="2026-01-02T03:04:05+00:00",
    command=("megatick", "export", "<script>"),
    target="cpu",
    checkpoint=Source(
        "runs/<i>7</i>/iter_0000007", "torch_dist", 7, 1234567, {"a": "1" * 64}
    ),
    tokenizer={"kind": "tokenizer.json", "proof": None, "files": {"t.json": "2" * 64}},
    forecaster=None,
    architecture=LLAMA,
    labels=("negative", "neutral", "positive"),
    checkpoint_labels=("negative", "neutral", "positive"),
    prompt=None,
    embedding=False,
    precision="fp32",
    max_tokens=96,
    parity=(Comparison("openvino fp32", 2.5e-6, 0, 64),),
    evaluation={"source": "a<b.csv", "sha256": "3" * 64, "texts": 40, "labelled": True},
    flip_budget=0.002,
    score_budget=0.01,
    trials=(replace(FP32, chosen=True), FP8),
    tolerances={"probability": 0.0123},
    layer_errors=(0.0, 0.25),
    files={"model.onnx": "4" * 64},
    versions={"python": "3.11", "torch": "2.13.0"},
    machine="a CPU",
)
_VOID = {"meta", "br"}


class Page(HTMLParser):
    """Collects the text; every element that is opened has to be closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [str(v) for name, v in attributes if name in ("src", "href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(receipt: Receipt, folder: Path) -> Page:
    write_page(receipt, folder / "receipt.html")
    page = Page()
    page.feed((folder / "receipt.html").read_text("utf-8"))
    page.close()
    assert page.open == []
    return page


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="cpu"),
        pytest.param({"prompt": PROMPT, "embedding": True}, id="prompt"),
        pytest.param({"target": "onnx", "layer_errors": None}, id="onnx-no-layers"),
        pytest.param({"layer_errors": (0.0, 0.0)}, id="layers-without-error"),
        pytest.param(
            {"target": "tensorrt", "precision": "fp8", "command": None}, id="tensorrt"
        ),
    ],
)
def test_it_is_whole_and_loads_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    receipt = replace(RECEIPT, **changes)

    page = read(receipt, tmp_path)

    assert page.addresses == []
    assert f"{receipt.precision} for {receipt.target}" in page.text
    assert ("Layer by layer" in page.text) == (receipt.layer_errors is not None)
    assert ("Mood:" in page.text) == (receipt.prompt is not None)


def test_what_others_wrote_is_text(tmp_path: Path) -> None:
    page = read(replace(RECEIPT, prompt=PROMPT), tmp_path)

    assert not page.tags & {"script", "i", "b"}
    assert "runs/<i>7</i>/iter_0000007" in page.text
    assert "megatick export '<script>'" in page.text  # as a shell wants it
    assert "<b>{text}</b>" in page.text
    assert "a<b.csv" in page.text


def test_its_figures_are_the_receipts(tmp_path: Path) -> None:
    text = read(RECEIPT, tmp_path).text

    for figure in ("1.2e-02", "3.4e-03", "0.875", "0.062", "51.2", "4.0", "1,234,567"):
        assert figure in text
    for words in ("chosen", "1 of 40 labels flip", "norms", "layers 3, 7", "2.5e-06"):
        assert words in text
    for letter in "d1234":
        assert letter * 64 in text


def test_the_embeddings_figures_are_the_receipts(tmp_path: Path) -> None:
    trials = (
        replace(FP32, embedding=EmbeddingErrors(0.999999, 1.0, 1.5e-5, 12.25)),
        replace(FP8, embedding=EmbeddingErrors(0.875432, 0.987654, 0.321, 12.25)),
    )
    proven = replace(RECEIPT.parity[0], embedding=EmbeddingErrors(1.0, 1.0, 4.7e-6, 12.25))
    receipt = replace(
        RECEIPT,
        embedding=True,
        trials=trials,
        parity=(proven,),
        tolerances={"probability": 0.0123, "embedding": 0.0642},
    )

    text = read(receipt, tmp_path).text

    for figure in ("0.999999", "0.875432", "0.987654", "3.2e-01", "4.7e-06", "12.2"):
        assert figure in text
    assert "1.2e-02 in a probability and 6.4e-02 in an embedding's number" in text
    without = read(RECEIPT, tmp_path).text
    assert "1.2e-02 in a probability" in without
    assert "mbedding" not in without.split("What it is")[0]


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    source = replace(RECEIPT.checkpoint, iteration=None)
    unlabelled = replace(ERRORS, accuracy=None, calibration_error=None)
    evaluation = {"source": "invented", "sha256": None, "texts": 40, "labelled": False}

    page = read(
        replace(
            RECEIPT,
            checkpoint=source,
            evaluation=evaluation,
            trials=(replace(FP32, errors=unlabelled),),
            prompt=None,
        ),
        tmp_path,
    )

    assert "iteration" not in page.text
    assert "None" not in page.text.split("What it is")[0]


def test_a_trial_that_answered_with_no_numbers_can_be_written(tmp_path: Path) -> None:
    nan = float("nan")
    broken = replace(ERRORS, max_logit_error=nan, score_error=nan, max_score_error=nan)
    receipt = replace(RECEIPT, trials=(FP32, replace(FP8, errors=broken)))

    told = json.loads(receipt.to_json(), parse_constant=pytest.fail)

    assert told["trials"][1]["errors"]["score_error"] is None
    assert told["trials"][0]["errors"]["score_error"] == 0.0034
    assert "nan" in read(receipt, tmp_path).text
