"""A checkpoint becomes a repository whole, or not at all and says why."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import Exported
from full_disk import files_of_at_most
from tiny import LLAMA, WINDOW, byte_tokenizer, random_weights, write_tiny
from tokenizers import processors

from megatick_contract import MegatickError
from megatick_export import (
    ExportOptions,
    export_repository,
    parity,
    read_checkpoint,
    reference_network,
    write_checkpoint,
)
from megatick_export.errors import (
    HeadError,
    OptionsError,
    ParityError,
    RepositoryError,
    TokenizerError,
)
from megatick_export.parity import (
    Outputs,
    onnxruntime_engine,
    ragged_rows,
    reference_logits,
)

FP32 = ExportOptions(precision="fp32")


@pytest.fixture
def checkpoint(exported: Exported) -> Path:
    return exported.checkpoint


@pytest.fixture
def repository(exported: Exported) -> Path:
    return exported.out


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_receipt_hashes_every_file_and_holds_the_evidence(
    repository: Path, checkpoint: Path
) -> None:
    receipt = json.loads((repository / "receipt.json").read_text())

    written = {
        path.relative_to(repository).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in repository.rglob("*")
        if path.is_file()
        and path.name not in {"receipt.json", "receipt.html", "model_digest.txt"}
    }
    assert receipt["files"] == written
    assert "scorer/1/model.onnx" in written
    tokenizer = checkpoint / "tokenizer.json"
    assert receipt["tokenizer"] == {
        "kind": "tokenizer.json",
        "origin": "beside the checkpoint",
        "vocabulary": 256,
        "embedding_rows": 256,
        "proof": None,
        "files": {str(tokenizer): hashlib.sha256(tokenizer.read_bytes()).hexdigest()},
    }
    assert set(receipt["checkpoint"]["files"]) >= {"common.pt", ".metadata"}
    assert receipt["max_tokens"] == WINDOW, "the model's window bounds the default of 512"
    assert receipt["architecture"]["num_query_groups"] == 2
    engines = {each["engine"]: each for each in receipt["parity"]}
    assert set(engines) == {"onnxruntime fp32", "openvino fp32"}
    assert 0 < engines["onnxruntime fp32"]["max_abs_diff"] < 1e-4
    settings = json.loads((repository / "scorer/1/settings.json").read_text())
    assert settings["score_tolerance"] == 2 * receipt["tolerances"]["probability"]
    for step in ("scorer", "price_forecast"):
        digest = (repository / step / "1" / "model_digest.txt").read_text()
        assert digest.strip() == receipt["model_digest"]


def test_only_what_every_repository_has_is_written_unless_more_is_asked_for(
    repository: Path,
) -> None:
    assert {path.name for path in repository.iterdir() if path.is_dir()} == {
        "market_view",
        "price_forecast",
        "scorer",
        "sentiment",
    }


def test_an_int8_repository_states_the_groups_it_was_measured_in(tmp_path: Path) -> None:
    """192 is the largest multiple of 32, up to 256, that divides 192 and 384."""
    wide = replace(LLAMA, hidden_size=192, kv_channels=48, ffn_hidden_size=384)
    checkpoint, out = write_tiny(tmp_path / "wide", wide), tmp_path / "out"
    options = ExportOptions(precision="int8", flip_budget=1, score_budget=2)

    export_repository(checkpoint, out, options=options)

    settings = json.loads((out / "scorer/1/settings.json").read_text())
    assert (settings["precision"], settings["input_group"]) == ("int8", 192)


def test_the_digest_follows_what_is_served(
    repository: Path, checkpoint: Path, tmp_path: Path
) -> None:
    forecaster = json.loads((repository / "price_forecast/1/forecaster.json").read_text())
    forecaster["half_life_s"] = 60.0
    changed = tmp_path / "forecaster.json"
    changed.write_text(json.dumps(forecaster))

    changes: dict[str, dict[str, Any]] = {
        "out": {"forecaster": changed},
        "window": {"max_tokens": 50},
        "same": {},
    }
    digests = {
        export_repository(  # a path may be a string
            str(checkpoint), str(tmp_path / name), options=replace(FP32, **change)
        ).model_digest
        for name, change in changes.items()
    }

    first = json.loads((repository / "receipt.json").read_text())
    assert len(digests) == 3
    assert first["model_digest"] in digests, "the same export has the same digest"
    settings = json.loads((tmp_path / "out/scorer/1/settings.json").read_text())
    assert settings["half_life_s"] == 60.0


def test_a_head_in_another_order_is_put_into_the_contracts(
    checkpoint: Path, tmp_path: Path
) -> None:
    # The checkpoint's rows are said to be (positive, negative, neutral), as FinBERT's.
    options = replace(FP32, labels=("positive", "negative", "neutral"))
    export_repository(checkpoint, tmp_path / "out", options=options)
    rows = ragged_rows(vocab_size=256, max_tokens=WINDOW)

    served = onnxruntime_engine(tmp_path / "out/scorer/1/model.onnx")(rows).logits

    own = reference_logits(reference_network(read_checkpoint(checkpoint)), rows)
    np.testing.assert_allclose(served, own[:, [1, 2, 0]], atol=2e-5)


def test_what_is_there_is_never_overwritten(repository: Path, checkpoint: Path) -> None:
    before = (repository / "receipt.json").read_bytes()

    with pytest.raises(RepositoryError, match="already exists"):
        export_repository(checkpoint, repository, options=FP32)

    assert (repository / "receipt.json").read_bytes() == before


def test_a_path_that_onnx_cannot_be_told_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / os.fsdecode(b"out\xff")

    with pytest.raises(RepositoryError, match="is no path in UTF-8: choose another --out"):
        export_repository(checkpoint, out, options=FP32)

    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        pytest.param(None, "no classification head, expected one of 3 rows", id="none"),
        pytest.param(5, "head of 5 rows, expected 3", id="five"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    tmp_path: Path, classes: int | None, problem: str
) -> None:
    architecture = replace(LLAMA, classes=classes)
    weights = {
        name: tensor
        for name, tensor in random_weights(replace(LLAMA, classes=classes or 3)).items()
        if classes or not name.startswith("classification_head")
    }
    write_checkpoint(tmp_path / "checkpoint", architecture, weights)
    byte_tokenizer().save(str(tmp_path / "checkpoint" / "tokenizer.json"))

    with pytest.raises(HeadError, match=problem):
        export_repository(tmp_path / "checkpoint", tmp_path / "out", options=FP32)

    assert leftovers(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(
            {"labels": ("negative", "negative", "positive")},
            "labels: expected each of negative, neutral, positive once",
            id="labels",
        ),
        pytest.param({"max_tokens": 0}, "max_tokens: expected at least 1", id="window"),
        pytest.param(
            {"forecaster": Path("nope.json")},
            "forecaster: expected a forecaster's",
            id="file",
        ),
    ],
)
def test_options_that_cannot_be_served_are_refused_at_once(
    change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OptionsError, match=problem):
        replace(FP32, **change)


def test_a_window_without_room_for_text_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    ending = byte_tokenizer()
    ending.post_processor = processors.TemplateProcessing(
        single=["$A", "end"],
        special_tokens=[{"id": "end", "ids": [1, 2, 3], "tokens": ["a", "b", "c"]}],
    )
    ending.save(str(tmp_path / "ending.json"))
    options = replace(FP32, tokenizer=tmp_path / "ending.json", max_tokens=3)

    with pytest.raises(TokenizerError, match="adds 3 tokens to every text"):
        export_repository(checkpoint, tmp_path / "out", options=options)


def test_a_corrupt_tokenizer_is_named(checkpoint: Path, tmp_path: Path) -> None:
    corrupt = tmp_path / "tokenizer.json"
    corrupt.write_text('{"model": {"type": "BPE", "vocab"')

    with pytest.raises(TokenizerError, match=r"tokenizer\.json: is not a Hugging Face"):
        export_repository(
            checkpoint, tmp_path / "out", options=replace(FP32, tokenizer=corrupt)
        )

    assert leftovers(tmp_path) == ["tokenizer.json"]


def test_another_models_tokenizer_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    larger = byte_tokenizer()
    larger.add_tokens(["<beyond the embedding>"])
    larger.save(str(tmp_path / "larger.json"))

    with pytest.raises(
        TokenizerError, match="ids up to 256, the checkpoint's embedding has"
    ):
        export_repository(
            checkpoint,
            tmp_path / "out",
            options=replace(FP32, tokenizer=tmp_path / "larger.json"),
        )


def test_a_missing_tokenizer_is_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    write_checkpoint(bare, LLAMA, random_weights(LLAMA))

    with pytest.raises(TokenizerError, match="name it with --tokenizer"):
        export_repository(bare, tmp_path / "out", options=FP32)


def test_a_forecaster_that_is_none_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "forecaster.json"
    wrong.write_text("[]")
    options = replace(FP32, forecaster=wrong)
    stages: list[str] = []

    with pytest.raises(MegatickError, match="is not a forecaster") as caught:
        export_repository(
            checkpoint, tmp_path / "out", options=options, progress=stages.append
        )

    assert str(wrong) in str(caught.value)
    assert stages == [], "it is told before minutes are spent"
    assert leftovers(tmp_path) == ["forecaster.json"]


def test_a_disk_that_fills_leaves_nothing_that_looks_whole(
    checkpoint: Path, tmp_path: Path
) -> None:
    refused = pytest.raises(RepositoryError, match=r"could not be written.*nothing is left")
    with refused, files_of_at_most(100_000):
        export_repository(checkpoint, tmp_path / "out", options=FP32)

    assert leftovers(tmp_path) == []


def test_a_graph_that_is_not_the_model_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which engines are held to it, and how closely, is in ``test_parity.py``."""
    real = parity.reference_outputs

    def other(*given: Any, **options: Any) -> Outputs:
        return Outputs(real(*given, **options).logits + np.float32(0.01))

    monkeypatch.setattr(parity, "reference_outputs", other)

    with pytest.raises(ParityError, match="onnxruntime fp32: expected logits within 1e-03"):
        export_repository(checkpoint, tmp_path / "out", options=FP32)

    assert leftovers(tmp_path) == []
