"""Linear layers in FP8 (E4M3), with the quantisation spelt out in the graph.

TensorRT takes its precisions from the graph, so every linear layer gets explicit
QuantizeLinear and DequantizeLinear: its weight is stored in FP8 with a scale for each
output channel, its input is rounded to FP8 with one scale.  Accumulation stays wide.

The two operations are torch operators of our own, so that the module which runs here is
the module that is exported; what they compute in torch is what ONNX defines.

Sources: Micikevicius et al. 2022, FP8 Formats for Deep Learning (E4M3 has no infinity and
reaches 448); ONNX operators QuantizeLinear and DequantizeLinear, opset 19.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from onnxscript import opset20 as op
from torch import Tensor, nn

from megatick_export.network import Network
from megatick_export.transformer import CoreAttention, Rounding, attention

FP8_MAX: Final = 448.0
"""Largest value of E4M3; larger ones saturate to it."""

LINEARS: Final = (
    *("self_attention.linear_qkv", "self_attention.linear_proj"),
    *("mlp.linear_fc1", "mlp.linear_fc2"),
)
"""The linear layers of a transformer layer."""

ATTENDED: Final = tuple(
    f"self_attention.core_attention.{part}" for part in ("query", "key", "value")
)
"""What a transformer layer's attention reads."""

_SMALLEST_SCALE: Final = 2.0**-14
"""The smallest normal FP16; of a channel of zeros, say."""


@torch.library.custom_op("megatick::fp8_round_trip", mutates_args=())
def _round_trip(given: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Quantise to FP8 with one scale, saturating, and back."""
    quantised = _to_fp8(given.float() / scale.float())
    return (quantised.float() * scale.float()).to(given.dtype)


@_round_trip.register_fake
def _(given: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return torch.empty_like(given)


@torch.library.custom_op("megatick::fp8_weight", mutates_args=())
def _weight(quantised: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Dequantise a weight [out, in] with a scale for each output channel."""
    return (quantised.float() * scale.float()[:, None]).to(scale.dtype)


@_weight.register_fake
def _(quantised: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return torch.empty(quantised.shape, dtype=scale.dtype, device=scale.device)


def _onnx_round_trip(given: Any, scale: Any, zero: Any) -> Any:
    quantised = op.QuantizeLinear(given, scale, zero)
    return op.DequantizeLinear(quantised, scale, zero)


def _onnx_weight(quantised: Any, scale: Any, zero: Any) -> Any:
    return op.DequantizeLinear(quantised, scale, zero, axis=0)


ONNX_TRANSLATIONS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.megatick.fp8_round_trip.default: _onnx_round_trip,
    torch.ops.megatick.fp8_weight.default: _onnx_weight,
}
"""How the two operators are written in ONNX; for ``torch.onnx.export``."""


class Fp8Scale(nn.Module):
    """One scale, and the rounding of tensors by it."""

    def __init__(self, largest: float, dtype: torch.dtype) -> None:
        """Make it for values up to ``largest``, which becomes 448; tensors of ``dtype``."""
        super().__init__()
        scale = max(largest / FP8_MAX, _SMALLEST_SCALE)
        self.register_buffer("scale", torch.tensor(scale, dtype=dtype))
        self.register_buffer("zero", _to_fp8(torch.zeros(())))

    def forward(self, given: Tensor) -> Tensor:
        """Round a tensor of any shape to FP8 and back."""
        rounded: Tensor = torch.ops.megatick.fp8_round_trip(given, self.scale, self.zero)
        return rounded


class Fp8Linear(nn.Module):
    """A linear layer whose weight is FP8 and whose input is rounded to FP8."""

    def __init__(self, linear: nn.Linear, *, largest_input: float) -> None:
        """Quantise a linear layer.

        Args:
            linear: in FP16, BF16 or float32, which becomes the dtype of scales and output.
            largest_input: largest absolute value of its input; what is larger saturates.
        """
        super().__init__()
        dtype = linear.weight.dtype
        wide = linear.weight.float()
        scale = (wide.abs().amax(dim=1) / FP8_MAX).clamp(min=_SMALLEST_SCALE).to(dtype)
        self.round = Fp8Scale(largest_input, dtype)
        self.register_buffer("weight", _to_fp8(wide / scale.float()[:, None]))
        self.register_buffer("weight_scale", scale)
        self.register_buffer("weight_zero", _to_fp8(torch.zeros(len(scale))))
        self.bias = linear.bias

    def forward(self, given: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        weight = torch.ops.megatick.fp8_weight(
            self.weight, self.weight_scale, self.weight_zero
        )
        return F.linear(self.round(given.to(weight.dtype)), weight, self.bias)


class Fp8CoreAttention(CoreAttention):
    """Attention whose two products take FP8: queries, keys, values and weights."""

    def __init__(
        self, largest: Sequence[float], dtype: torch.dtype, *, channels: int
    ) -> None:
        """Take the largest absolute values of queries, keys and values.

        Queries and keys are rounded once they are scaled: a compiler fuses what stands
        right before a product.
        """
        super().__init__()
        query, key, value = largest
        scale = channels**-0.25
        self.round_query = Fp8Scale(query * scale, dtype)
        self.round_key = Fp8Scale(key * scale, dtype)
        self.round_value = Fp8Scale(value, dtype)
        self.round_weights = Fp8Scale(1.0, dtype)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend; arguments and result are ``attention``'s."""
        rounding = Rounding(
            self.round_query, self.round_key, self.round_value, self.round_weights
        )
        return attention(
            query, key, value, mask, wide_softmax=self.wide_softmax, rounding=rounding
        )


def quantize(
    network: Network,
    largest: Mapping[str, float],
    *,
    layers: Collection[int],
    in_attention: bool = False,
) -> None:
    """Put linear layers of a lowered network into FP8, in place.

    Args:
        network: in FP16 or BF16; see ``lowering``.
        largest: largest absolute input by name, as ``calibration.largest_inputs`` gives.
        layers: numbers of the transformer layers to quantize.
        in_attention: attention's own two products take FP8 as well.
    """
    for layer in layers:
        block = network.layers[layer]
        prefix = f"decoder.layers.{layer}."
        dtype = block.self_attention.linear_qkv.weight.dtype
        for name in LINEARS:
            parent, _, leaf = name.rpartition(".")
            linear: nn.Linear = block.get_submodule(name)  # type: ignore[assignment]
            quantised = Fp8Linear(linear, largest_input=largest[prefix + name])
            setattr(block.get_submodule(parent), leaf, quantised)
        if in_attention:
            core = Fp8CoreAttention(
                [largest[prefix + name] for name in ATTENDED],
                dtype,
                channels=network.architecture.kv_channels,
            )
            core.wide_softmax = block.self_attention.core_attention.wide_softmax
            block.self_attention.core_attention = core


def _to_fp8(values: Tensor) -> Tensor:
    return values.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
