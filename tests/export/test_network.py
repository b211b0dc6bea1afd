"""The reference network against logits that megatron-core itself computed.

``pytest tests/export/test_network.py --golden DIR`` adds every checkpoint of a folder laid
out as ``tests/golden`` is.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megatick_export.checkpoint import Checkpoint, read_checkpoint
from megatick_export.network import Network, attention, reference_network

GOLDEN = Path(__file__).parents[1] / "golden"
LOGIT_TOLERANCE = 5e-5  # absolute, in float32; tanh against erf GELU is 3e-3 apart


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "folder" in metafunc.fixturenames:
        parents = [GOLDEN, *map(Path, metafunc.config.getoption("--golden"))]
        files = [file for parent in parents for file in parent.glob("*/reference.npz")]
        folders = sorted(file.parent for file in files)
        metafunc.parametrize("folder", folders, ids=[f.name for f in folders])


def reference_of(folder: Path) -> dict[str, torch.Tensor]:
    with np.load(folder / "reference.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def inputs_of(reference: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    names = ("input_ids", "attention_mask", "tokentype_ids")
    return [reference[name] for name in names if name in reference]


def golden_network(name: str, **changes: Any) -> Network:
    checkpoint = read_checkpoint(GOLDEN / name)
    architecture = dataclasses.replace(checkpoint.architecture, **changes)
    return reference_network(dataclasses.replace(checkpoint, architecture=architecture))


def test_logits_are_megatrons(folder: Path) -> None:
    info = json.loads((folder / "info.json").read_text())
    checkpoint = read_checkpoint(folder, absent_args=info.get("args_if_absent"))
    network = reference_network(checkpoint)
    reference = reference_of(folder)
    inputs, logits = inputs_of(reference), reference["logits"]
    with torch.inference_mode():
        if logits.dim() == 3:  # of the vocabulary, also where there is a class head
            error = (network.language_logits(network.encode(*inputs)) - logits).abs()
        else:
            error = (network(*inputs) - logits).abs()
    if error.dim() == 3 and "attention_mask" in reference:
        error = error[reference["attention_mask"] > 0]  # padding has no meaning

    assert error.max().item() < LOGIT_TOLERANCE


def test_next_sentence_logits_are_megatrons() -> None:
    reference = reference_of(GOLDEN / "bert")
    network = golden_network("bert")

    logits = network.next_sentence_logits(network.encode(*inputs_of(reference))[:, 0])

    torch.testing.assert_close(logits, reference["binary_logits"], atol=1e-6, rtol=0)


def test_the_two_gelus_are_told_apart() -> None:
    """If these were close, parity would not notice the wrong one."""
    reference = reference_of(GOLDEN / "gpt2")

    exact = golden_network("gpt2", activation="gelu")(reference["input_ids"])

    assert (exact - reference["logits"]).abs().max().item() > 2 * LOGIT_TOLERANCE


def test_a_zero_centered_gamma_is_stored_minus_one() -> None:
    checkpoint = read_checkpoint(GOLDEN / "gpt2")
    shifted = {
        name: tensor - 1 if "layernorm.weight" in name else tensor
        for name, tensor in checkpoint.weights.items()
    }
    architecture = dataclasses.replace(checkpoint.architecture, zero_centered_gamma=True)
    network = reference_network(
        dataclasses.replace(checkpoint, weights=shifted, architecture=architecture)
    )
    reference = reference_of(GOLDEN / "gpt2")

    error = (network(reference["input_ids"]) - reference["logits"]).abs().max()

    assert error.item() < LOGIT_TOLERANCE


def test_the_state_dict_has_megatrons_names() -> None:
    checkpoint = read_checkpoint(GOLDEN / "options")

    state = reference_network(checkpoint).state_dict()

    assert set(state) == set(checkpoint.weights)
    assert all(torch.equal(state[name], checkpoint.weights[name]) for name in state)


@pytest.mark.parametrize("name", ["gpt2", "options", "bert"])
def test_layers_work_on_packed_tokens_as_on_rows(name: str) -> None:
    network = golden_network(name)
    rows, length = 2, 6
    ids = torch.arange(rows * length).reshape(rows, length)
    positions = torch.arange(length).repeat(rows)
    layer = network.layers[0]

    padded = network.embed(ids, torch.arange(length))
    packed = network.embed(ids.flatten(), positions)
    of_rows = layer.project(padded, network.rotation(torch.arange(length)))
    of_tokens = layer.project(packed, network.rotation(positions))
    attended = of_rows[0].flatten(-2)
    finished = layer.finish(padded, attended)

    for row_wise, token_wise in zip(of_rows, of_tokens, strict=True):
        torch.testing.assert_close(row_wise.flatten(0, 1), token_wise)
    torch.testing.assert_close(
        finished.flatten(0, 1), layer.finish(packed, attended.flatten(0, 1))
    )


class TestAttention:
    def test_by_hand(self) -> None:
        # One head of one channel, scale 1: the scores of query 1 are 0 and ln 3, so its
        # weights are 1/4 and 3/4; query 0 sees only itself.
        query = torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1)
        key = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1)
        value = torch.tensor([8.0, 4.0]).reshape(1, 2, 1, 1)
        mask = torch.tensor([[True, False], [True, True]])

        attended = attention(query, key, value, mask)

        torch.testing.assert_close(attended, torch.tensor([[[8.0], [5.0]]]))

    def test_neighbouring_heads_share_a_group(self) -> None:
        query = torch.zeros(1, 1, 4, 1)
        key = torch.zeros(1, 1, 2, 1)
        value = torch.tensor([1.0, 2.0]).reshape(1, 1, 2, 1)

        attended = attention(query, key, value, torch.ones(1, 1).bool())

        assert attended.flatten().tolist() == [1.0, 1.0, 2.0, 2.0]

    def test_a_row_with_nothing_to_see_averages_all(self) -> None:
        """As in Megatron, whose -10000 leaves equal scores equal; -inf would not."""
        query = torch.zeros(1, 1, 1, 1)
        value = torch.tensor([2.0, 4.0]).reshape(1, 2, 1, 1)

        attended = attention(query, value, value, torch.zeros(1, 2).bool())

        assert attended.item() == 3.0


def with_head(name: str, classes: int = 3) -> Checkpoint:
    """A golden checkpoint and a seeded classification head beside it."""
    checkpoint = read_checkpoint(GOLDEN / name)
    architecture = dataclasses.replace(checkpoint.architecture, classes=classes)
    generator = torch.Generator().manual_seed(0)
    head = {
        f"classification_head.{part}": torch.randn(shape, generator=generator)
        for part, shape in (
            ("weight", (classes, architecture.hidden_size)),
            ("bias", (classes,)),
        )
    }
    return dataclasses.replace(
        checkpoint, architecture=architecture, weights={**checkpoint.weights, **head}
    )


class TestClassification:
    def test_gpt_reads_each_rows_last_token(self) -> None:
        network = reference_network(with_head("llama"))
        ids = reference_of(GOLDEN / "llama")["input_ids"]
        lengths = torch.tensor([5, 16])

        logits = network(ids, row_lengths=lengths)

        assert logits.shape == (2, 3)
        for row, length in enumerate(lengths.tolist()):
            alone = network(ids[row : row + 1, :length])
            torch.testing.assert_close(logits[row : row + 1], alone)

    def test_gpt_head_is_linear_on_the_normed_state(self) -> None:
        checkpoint = with_head("llama")
        network = reference_network(checkpoint)
        ids = reference_of(GOLDEN / "llama")["input_ids"]
        weight = checkpoint.weights["classification_head.weight"]
        bias = checkpoint.weights["classification_head.bias"]

        expected = network.encode(ids)[:, -1] @ weight.T + bias

        torch.testing.assert_close(network(ids), expected)

    def test_bert_reads_the_pooled_first_token(self) -> None:
        checkpoint = with_head("bert")
        network = reference_network(checkpoint)
        inputs = inputs_of(reference_of(GOLDEN / "bert"))
        first = network.encode(*inputs)[:, 0]
        weights = checkpoint.weights
        pooled = torch.tanh(
            first @ weights["pooler.dense.weight"].T + weights["pooler.dense.bias"]
        )
        head = weights["classification_head.weight"], weights["classification_head.bias"]

        torch.testing.assert_close(network(*inputs), pooled @ head[0].T + head[1])


def test_bert_does_not_read_padding() -> None:
    network = golden_network("bert")
    ids, keep, types = inputs_of(reference_of(GOLDEN / "bert"))
    other = torch.where(keep > 0, ids, 9)

    same, logits = network(ids, keep, types), network(other, keep, types)

    torch.testing.assert_close(logits[keep > 0], same[keep > 0])
    assert not torch.equal(logits, network(other, None, types))


def test_gpt_refuses_an_attention_mask() -> None:
    ids = torch.zeros(1, 2, dtype=torch.int64)

    with pytest.raises(ValueError, match="takes no attention_mask"):
        golden_network("gpt2")(ids, torch.ones_like(ids))
