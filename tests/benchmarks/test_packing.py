"""The benchmark of packed against padded batches, and what it runs on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import packing
import pytest
import typer
from exported import Exported
from mixes import mixed_lengths, rows_of
from tiny import WINDOW


def test_packed_and_padded_answer_alike(exported: Exported, tmp_path: Path) -> None:
    packing.main(
        [exported.out],
        tokens=1024,
        rounds=1,
        batches="3,8",
        builds=tmp_path / "model",
        out=tmp_path,
    )

    (model,) = json.loads((tmp_path / "packing.json").read_text())["models"]
    headlines, mixed = model["mixes"]
    assert mixed["mix"] == f"5 to {WINDOW} tokens"
    for mix in (headlines, mixed):
        assert mix["tokens"] == pytest.approx(1024, rel=0.2)
        assert [(each["order"], each["batch_texts"]) for each in mix["padded"]] == [
            ("sorted", 3),
            ("sorted", 8),
            ("as they come", 3),
            ("as they come", 8),
        ]
        for each in mix["padded"]:
            # Logits are of the order of 1; another row's would differ by as much.
            assert each["max_logit_difference"] < 1e-4
            assert each["labels_alike"] == 1
            # Of a single turn.
            assert each["packed_over_it"] == pytest.approx(each["ms"] / mix["packed_ms"])
        sizes = [each["packed_over_it"] for each in mix["padded"]]
        assert mix["packed_over_padded"] == {
            "sorted": min(sizes[:2]),
            "as they come": min(sizes[2:]),
        }
        sorted_, unsorted = mix["padded"][1], mix["padded"][3]
        assert sorted_["computed_over_real_tokens"] >= 1
        assert sorted_["computed_over_real_tokens"] < unsorted["computed_over_real_tokens"]


def test_batches_are_of_equal_numbers() -> None:
    rows = rows_of([9, 2, 7, 2, 5])

    assert [each.tolist() for each in packing.padded_batches(rows, 2, in_order=True)] == [
        [1, 3],
        [4, 2],
        [0],
    ]
    assert [each.tolist() for each in packing.padded_batches(rows, 2, in_order=False)] == [
        [0, 1],
        [2, 3],
        [4],
    ]


def test_int8_has_no_padded_graph(exported: Exported, tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    version = copy / "scorer" / "1"
    version.mkdir(parents=True)
    for name in ("receipt.json", "scorer/1/tokenizer.json"):
        (copy / name).write_bytes((exported.out / name).read_bytes())
    settings = json.loads((exported.out / "scorer/1/settings.json").read_text())
    (version / "settings.json").write_text(json.dumps(settings | {"precision": "int8"}))

    with pytest.raises(typer.BadParameter, match=r"is in int8.*export it in fp32 or bf16"):
        packing.main([copy], builds=tmp_path / "model", out=tmp_path)

    assert not (tmp_path / "model").exists()  # said before anything is made


@pytest.mark.parametrize("tokens", [100, 1000, 8192])
def test_mixed_lengths_reach_from_end_to_end(tokens: int) -> None:
    lengths = mixed_lengths(tokens, window=512)

    assert (lengths[0], lengths[-1]) == (5, 512)
    assert sum(lengths) == pytest.approx(tokens, rel=0.2) or len(lengths) == 2
    # As many below the middle by logarithm as above.
    middle = math.sqrt(5 * 512)
    assert abs(np.sum(np.array(lengths) < middle) - len(lengths) / 2) <= 1
