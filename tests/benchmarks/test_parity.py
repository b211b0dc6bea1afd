"""The benchmark of every engine's distance from the reference network, on a tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
import torch
from exported import Exported, export_tiny
from tokenizers import Tokenizer

from megatick_client import Client
from megatick_contract import LABELS
from megatick_contract.cpu_engine import cpu_has_bf16
from megatick_export import read_checkpoint, reference_network
from megatick_export.parity import Engine, Outputs, Rows, onnxruntime_engine

TEXTS = [f"{verb} {n}% in {n} days" for n in range(2, 8) for verb in ("Up", "Loss")]
RAISED = 5.0
"""What an engine that is wrong adds to the first class's logit."""


def wrong_engine(path: Path) -> Engine:
    run = onnxruntime_engine(path)

    def wrong(rows: Rows) -> Outputs:
        return Outputs(run(rows).logits + np.array([RAISED, 0, 0], np.float32))

    return wrong


def macro_f1(classes: list[int], predicted: list[int]) -> float:
    """The mean over the classes of 2 hits / (rows of the class + rows taken for it)."""
    scores = []
    for each in set(classes) | set(predicted):
        hits = sum(c == p == each for c, p in zip(classes, predicted, strict=True))
        scores.append(2 * hits / (classes.count(each) + predicted.count(each)))
    return sum(scores) / len(scores)


@pytest.mark.triton
def test_every_engine_is_held_to_the_reference(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = reference_network(read_checkpoint(exported.checkpoint))
    tokenizer = Tokenizer.from_file(str(exported.checkpoint / "tokenizer.json"))
    rows = [torch.tensor([tokenizer.encode(text).ids]) for text in TEXTS]
    with torch.inference_mode():
        expected = torch.cat([network(row).softmax(-1) for row in rows]).numpy()
    best = expected.argmax(-1)
    classes = [int(c) if n % 4 else (int(c) + 1) % 3 for n, c in enumerate(best)]
    labelled = tmp_path / "labelled.csv"
    dev = [f"{text},{LABELS[c]},dev" for text, c in zip(TEXTS, classes, strict=True)]
    labelled.write_text("\n".join(["text,label,split", "Up,neutral,train", *dev]))
    repository = shutil.copytree(exported.out, tmp_path / "repository")
    asked: list[list[str]] = []
    score: Any = Client.score

    def noted(self: Client, texts: str | tuple[str, ...]) -> object:
        asked.append([texts] if isinstance(texts, str) else [*texts])
        return score(self, texts)

    monkeypatch.setattr(Client, "score", noted)
    monkeypatch.setattr(parity, "openvino_engine", lambda path, **_: wrong_engine(path))

    parity.main(
        labelled,
        checkpoint=exported.checkpoint,
        repository=repository,
        split="dev",
        out=tmp_path / "parity.json",
    )

    figures = json.loads((tmp_path / "parity.json").read_text())
    assert figures["texts"] == len(TEXTS)
    assert figures["max_abs_probability_diff_batched_or_alone"] < 1e-4
    of = {each.pop("engine"): each for each in figures["engines"]}
    wrong = [f"openvino {each}" for each in ("fp32", "bf16")[: 1 + cpu_has_bf16()]]
    right = ["reference network (torch fp32)", "onnxruntime fp32"]
    ours = ["served (fp32)", "served (fp32), each text alone"]
    assert list(of) == [*right, *wrong, *ours]
    assert sorted(asked[0]) == sorted(TEXTS)
    assert asked[1:] == [[text] for text in asked[0]]

    # One in four labels is another than the reference's.
    f1 = pytest.approx(macro_f1(classes, best.tolist()))
    for name in [*right, *ours]:
        assert (of[name]["accuracy"], of[name]["macro_f1"]) == (0.75, f1)
        assert of[name]["label_flips"] == 0
        assert of[name]["max_abs_probability_diff"] < 1e-4
    assert of[right[0]]["max_abs_logit_diff"] == 0
    assert of[right[1]]["max_abs_logit_diff"] < 1e-4
    assert of[ours[0]]["max_abs_logit_diff"] is None  # not on the wire

    # What a raised logit does, worked out from the reference's probabilities.
    raised = expected * np.exp([RAISED, 0, 0])
    raised /= raised.sum(-1, keepdims=True)
    taken = raised.argmax(-1)
    assert (taken != best).sum() > 0
    for name in wrong:
        assert of[name] == {
            "max_abs_logit_diff": pytest.approx(RAISED, abs=1e-4),
            "max_abs_probability_diff": pytest.approx(
                np.abs(raised - expected).max(), abs=1e-4
            ),
            "label_flips": int((taken != best).sum()),
            "accuracy": pytest.approx(np.mean(taken == classes)),
            "macro_f1": pytest.approx(macro_f1(classes, taken.tolist())),
        }


@pytest.mark.triton
def test_an_int8_repository_is_run_in_what_it_holds(tmp_path: Path) -> None:
    tiny = export_tiny(
        tmp_path / "exported", precision="int8", flip_budget=1.0, score_budget=2.0
    )
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("\n".join(["text,label", *(f"{text},neutral" for text in TEXTS)]))

    parity.main(
        labelled,
        checkpoint=tiny.checkpoint,
        repository=tiny.out,
        split=None,
        out=tmp_path / "parity.json",
    )

    figures = json.loads((tmp_path / "parity.json").read_text())
    moved = {
        each["engine"]: each["max_abs_probability_diff"] for each in figures["engines"]
    }
    assert list(moved) == [
        "reference network (torch fp32)",
        "onnxruntime, int8 weights",
        "openvino int8",
        "served (int8)",
        "served (int8), each text alone",
    ]
    assert moved["onnxruntime, int8 weights"] > 1e-4
    for served in ("served (int8)", "served (int8), each text alone"):
        assert moved[served] == pytest.approx(moved["openvino int8"], abs=1e-4)
