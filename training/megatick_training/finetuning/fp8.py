"""Linear layers that multiply in FP8, by NVIDIA's Transformer Engine.

Inputs and weights are rounded to E4M3, gradients to E5M2, each tensor scaled by its own
largest value.  No scale is carried from step to step, so a run that goes on from its state
computes what it would have.  Weights stay in float32, under the names that they have.

Source: transformer_engine 2.20, pytorch/module/linear.py, pytorch/quantization.py and
common/recipe (Float8CurrentScaling); Micikevicius et al., "FP8 formats for deep learning",
2022, arXiv:2209.05433.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from megatick_export.network import Network
from megatick_export.transformer import Linear
from megatick_training.errors import Fp8Unavailable

PACKAGE: Final = "transformer_engine"

_LEAST_CAPABILITY: Final = (8, 9)
"""Ada's; Hopper has 9.0."""
_MULTIPLE: Final = 16
"""Of every side of an FP8 product (cuBLAS)."""
_INSTALL: Final = (
    "Install it for this torch and CUDA: pip install --no-build-isolation "
    "'transformer_engine[pytorch]>=2.9', or take --precision bf16."
)


def require_fp8(device: torch.device) -> Any:
    """Give ``transformer_engine.pytorch``, where it can multiply in FP8 on a device.

    Raises:
        Fp8Unavailable: no GPU that can, or no Transformer Engine.
    """
    least = ".".join(map(str, _LEAST_CAPABILITY))
    gpu = f"a CUDA GPU of compute capability {least} or more (Ada, Hopper or later)"
    if device.type != "cuda":
        raise Fp8Unavailable(gpu, f"a {device.type} device", "Take --precision bf16.")
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_CAPABILITY:
        found = f"{torch.cuda.get_device_name(device)} of {'.'.join(map(str, capability))}"
        raise Fp8Unavailable(gpu, found, "Take --precision bf16.")
    try:
        library = importlib.import_module(f"{PACKAGE}.pytorch")
    except (ImportError, AssertionError, OSError, RuntimeError) as error:  # its loader's
        raise Fp8Unavailable(f"package {PACKAGE}", f"none: {error}", _INSTALL) from error
    if not hasattr(library, "autocast"):
        raise Fp8Unavailable(f"package {PACKAGE} 2.9 or later", "an older one", _INSTALL)
    able, reason = library.is_fp8_available(return_reason=True)
    if not able:
        raise Fp8Unavailable("FP8 products on this GPU", reason, "Take --precision bf16.")
    return library


def multiply_in_fp8(network: Network, device: torch.device) -> None:
    """Put FP8 layers in the place of every linear layer of every transformer layer.

    The low-rank adapters beside them, the head and attention stay as they are.

    Args:
        network: on ``device``, changed in place.
        device: a GPU.

    Raises:
        Fp8Unavailable: as ``require_fp8``, or a layer is no multiple of 16 wide.
    """
    make = _maker(require_fp8(device))
    layers = [
        (f"decoder.layers.{name}", module)
        for name, module in network.decoder.layers.named_modules()
        if isinstance(module, Linear)
    ]
    for name, layer in layers:
        if layer.in_features % _MULTIPLE or layer.out_features % _MULTIPLE:
            raise Fp8Unavailable(
                f"linear layers whose sides are multiples of {_MULTIPLE}",
                f"{name} from {layer.in_features} to {layer.out_features}",
                "Take --precision bf16.",
            )
    for name, layer in layers:
        network.set_submodule(name, make(layer))


def fp8_arithmetic(
    device: torch.device,
) -> Callable[[], AbstractContextManager[Any]]:
    """Give what makes a context: within it those layers multiply in FP8, elsewhere not.

    Raises:
        Fp8Unavailable: as ``require_fp8``.
    """
    library = require_fp8(device)
    recipe = importlib.import_module(f"{PACKAGE}.common.recipe").Float8CurrentScaling()
    return partial(library.autocast, enabled=True, recipe=recipe)


def _maker(library: Any) -> Callable[[Linear], nn.Module]:
    """Give what makes the library's layer of one of ours, with its weights."""

    class Padded(library.Linear):  # type: ignore[misc]
        """Takes any number of tokens: it adds empty ones up to a multiple of 16."""

        def forward(self, given: Tensor) -> Tensor:
            """Map ``[..., in]`` to bfloat16 ``[..., out]``."""
            tokens = given.flatten(0, -2).bfloat16()  # (N, in)
            empty = -len(tokens) % _MULTIPLE
            # Its weights are float32, and it takes bfloat16 beside them only so.
            with torch.autocast(tokens.device.type, dtype=torch.bfloat16):
                answered: Tensor = super().forward(F.pad(tokens, (0, 0, 0, empty)))
            return answered[: len(tokens)].reshape(*given.shape[:-1], -1)

    def make(layer: Linear) -> nn.Module:
        weight, bias = layer.weight, layer.bias
        made: nn.Module = Padded(
            layer.in_features,
            layer.out_features,
            bias=bias is not None,
            params_dtype=weight.dtype,
            device=weight.device,
        )
        with torch.no_grad():
            made.get_parameter("weight").copy_(weight)
            if bias is not None:
                made.get_parameter("bias").copy_(bias)
        made.requires_grad_(weight.requires_grad)
        return made.train(layer.training)

    return make
