"""Adapters beside linear layers, and what they leave in the weights."""

from __future__ import annotations

import pytest
import torch
from tiny import LLAMA, random_weights

from megatick_export.network import Network
from megatick_training.finetuning.lora import adapter_of, add_lora, lora_layers, merged


@pytest.fixture
def network() -> Network:
    network = Network(LLAMA)
    network.load_state_dict(random_weights(LLAMA))
    return network.eval().requires_grad_(requires_grad=False)


def adapt(network: Network, *, dropout: float = 0.0) -> None:
    torch.manual_seed(0)
    add_lora(network, rank=4, alpha=8.0, dropout=dropout)


IDS = torch.tensor([[5, 9, 2, 77]])


def test_training_begins_at_the_model_itself(network: Network) -> None:
    before = network(IDS)

    adapt(network)

    torch.testing.assert_close(network(IDS), before, rtol=0, atol=0)


def test_only_adapters_are_trained_on_every_linear_layer(network: Network) -> None:
    adapt(network)

    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    # Four linear layers in each of three layers, two factors each.
    assert len(trained) == 4 * LLAMA.num_layers * 2
    assert all(name.endswith((".down", ".up")) for name in trained)
    assert {name.split(".", 3)[3] for name, _ in lora_layers(network)} == {
        "self_attention.linear_qkv.weight",
        "self_attention.linear_proj.weight",
        "mlp.linear_fc1.weight",
        "mlp.linear_fc2.weight",
    }


def test_merged_weights_answer_as_the_adapted_network(network: Network) -> None:
    weights = random_weights(LLAMA)
    plain = network(IDS)
    adapt(network)
    for _, layer in lora_layers(network):
        torch.nn.init.normal_(layer.up, std=0.05)
    adapted = network(IDS)

    whole = Network(LLAMA)
    whole.load_state_dict(merged(weights, adapter_of(network)))

    torch.testing.assert_close(whole(IDS), adapted, rtol=1e-4, atol=1e-4)
    assert (adapted - plain).abs().max() > 0.01  # the adapters say something


def test_the_scale_is_alpha_over_rank() -> None:
    weights = {"w": torch.zeros(1, 2)}
    network = Network(LLAMA)
    adapt(network)
    layer = next(iter(lora_layers(network)))[1]

    assert layer.scale == 8.0 / 4
    # One row: B·A = [[2]]·[[1, 3]].
    adapter = {
        "w.lora_down": torch.tensor([[1.0, 3.0]]),
        "w.lora_up": torch.tensor([[2.0]]),
    }
    assert merged(weights, adapter)["w"].tolist() == [[2.0, 6.0]]


def test_dropout_is_of_training_alone(network: Network) -> None:
    adapt(network, dropout=0.5)
    for _, layer in lora_layers(network):
        torch.nn.init.normal_(layer.up, std=0.5)

    torch.testing.assert_close(network(IDS), network(IDS), rtol=0, atol=0)
    network.train()
    assert not torch.equal(network(IDS), network(IDS))


def test_an_adapter_of_another_model_is_refused() -> None:
    adapter = {"w.lora_down": torch.zeros(1, 3), "w.lora_up": torch.zeros(2, 1)}

    with pytest.raises(ValueError, match=r"adapter of w has shape \(2, 3\), expected"):
        merged({"w": torch.zeros(2, 2)}, adapter)
    with pytest.raises(KeyError):
        merged({}, adapter)
