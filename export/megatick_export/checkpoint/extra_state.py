"""What Transformer Engine's FP8 training recorded of a linear layer's input.

A layer's ``_extra_state`` is, by version, nothing, an empty tensor, the bytes of a pickle
in a uint8 tensor (2.x), or a BytesIO of ``torch.save`` (1.x).  Inside is a dictionary whose
``scale_fwd`` holds, a product, the scales of input, weight and output; a value is stored
as value x scale, and the scale is 448 / amax, so 448 / scale is the largest input.

It is read only when FP8 is asked for, so a state that cannot be read is in nobody's way.

Source: transformer_engine/pytorch/module/base.py (get_extra_state, set_extra_state) and
fp8.py (the scale from the history of amax), 1.4 to 2.x.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.deferred import Deferred
from megatick_export.checkpoint.names import canonical_name
from megatick_export.checkpoint.pickles import Inert, load_tensor_pickle, load_torch_file
from megatick_export.errors import CheckpointError

LARGEST_INPUT: Final = ".largest_input"
"""Ends the name of a number that travels with a layer's tensors until they are joined."""

_FP8_MAX: Final = 448.0
_INPUT: Final = 0  # of a product's columns input, weight, output
# In torch_dist a key counts the objects of all layers: .../shard_{layer}_{layers}.
_KEY: Final = re.compile(
    r"(.*\.linear_(?:qkv|proj|fc1|fc2))\._extra_state(?:/shard_(\d+)_\d+)?"
)


def largest_input_of(
    stored_name: str, read: Callable[[], object], *, path: Path
) -> dict[str, Deferred]:
    """Plan to read what a linear layer's extra state says of its input.

    Args:
        stored_name: any name of a training state.
        read: gives what is stored under it.
        path: the file, for messages.

    Returns:
        One number by canonical name, NaN where nothing was recorded; empty where the name
        is not that of a linear layer's extra state.
    """
    found = _KEY.fullmatch(stored_name)
    if found is None:
        return {}
    name = canonical_name(found[1])
    stack, numbered, rest = name.partition("decoder.layers.")
    if found[2] is not None and not rest.split(".")[0].isdigit():
        name = f"{stack}{numbered}{found[2]}.{rest}"

    def load(kept: bool) -> torch.Tensor:
        return torch.tensor(_largest(read(), path, name))

    return {name + LARGEST_INPUT: Deferred((), torch.float32, load)}


def _largest(state: object, path: Path, name: str) -> float:
    recorded = _recorded(state, path)
    if not isinstance(recorded, Mapping) or "scale_fwd" not in recorded:
        return math.nan
    scales = torch.as_tensor(recorded["scale_fwd"]).flatten()
    if scales.numel() == 0:
        return math.nan
    scale = float(scales[_INPUT])
    if not 0 < scale < math.inf:
        raise CheckpointError(
            path,
            tensor=f"{name}._extra_state",
            expected="a positive scale of the layer's input",
            found=f"{scale}",
            hint="The run's FP8 state is damaged: export an earlier iteration.",
        )
    return _FP8_MAX / scale


def _recorded(state: object, path: Path) -> Any:
    """Unpack a state to the dictionary in it, executing nothing."""
    if isinstance(state, list) and len(state) == 1:  # how torch_dist wraps objects
        return _recorded(state[0], path)
    if isinstance(state, torch.Tensor):
        payload = state.contiguous().view(torch.uint8).numpy().tobytes()
    elif isinstance(state, Inert):  # a BytesIO, whose state is (bytes, position, dict)
        kept = (*getattr(state, "state", ()), *getattr(state, "arguments", ()))
        payload = next((each for each in kept if isinstance(each, bytes)), b"")
    else:
        return state
    if not payload:
        return None
    if payload[:2] == b"PK":
        return load_torch_file(path, payload).value
    return load_tensor_pickle(path, payload)
