"""What Transformer Engine's FP8 training recorded of a linear layer's input.

A layer's ``_extra_state`` is, by version, nothing, an empty tensor, the bytes of a pickle
in a uint8 tensor (2.x), or a BytesIO of ``torch.save`` (1.x).  Inside is a dictionary whose
``scale_fwd`` holds, a product, the scales of input, weight and output; a value is stored
as value × scale, and the scale is 448 / amax, so 448 / scale is the largest input.

Source: transformer_engine/pytorch/module/base.py (get_extra_state, set_extra_state) and
fp8.py (scale from the history of amax), 1.4 to 2.x.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from megatick_export.checkpoint.pickles import Inert, load_torch_file, tensor_unpickler
from megatick_export.errors import CheckpointError

_FP8_MAX: Final = 448.0
_INPUT: Final = 0  # columns are input, weight, output


def largest_trained_input(state: object, *, path: Path, name: str) -> float | None:
    """Read the largest input that FP8 training scaled a linear layer for.

    Args:
        state: what the checkpoint has under ``{name}._extra_state``.
        path: the file, for messages.
        name: of the layer.

    Returns:
        The largest absolute value, > 0; None where no delayed scaling was recorded.

    Raises:
        HostileCheckpoint: its pickle names something outside the allow-list.
        CheckpointError: it is damaged, or its scale is not a positive number.
    """
    recorded = _recorded(state, path)
    if not isinstance(recorded, Mapping) or "scale_fwd" not in recorded:
        return None
    scale = torch.as_tensor(recorded["scale_fwd"]).flatten()
    if scale.numel() == 0:
        return None
    value = float(scale[_INPUT])
    if not 0 < value < float("inf"):
        raise CheckpointError(
            path,
            tensor=f"{name}._extra_state",
            expected="a positive scale of the input",
            found=f"{value}",
            hint="Export without FP8, or calibrate a checkpoint without extra state.",
        )
    return _FP8_MAX / value


def _recorded(state: object, path: Path) -> Any:
    """Unpack a state to the dictionary in it, executing nothing."""
    if isinstance(state, list) and len(state) == 1:  # how torch_dist wraps objects
        return _recorded(state[0], path)
    if isinstance(state, torch.Tensor):
        payload = state.contiguous().view(torch.uint8).numpy().tobytes()
    elif isinstance(state, Inert):  # a BytesIO, as (bytes, position, attributes)
        kept = getattr(state, "state", None) or state.arguments
        payload = next((each for each in kept or () if isinstance(each, bytes)), b"")
    else:
        return state
    if not payload:
        return None
    if payload[:2] == b"PK":
        return load_torch_file(path, payload)
    try:
        return tensor_unpickler(io.BytesIO(payload), path).load()
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError) as error:
        raise CheckpointError(
            path,
            expected="Transformer Engine's extra state",
            found=f"{type(error).__name__}: {error}",
            hint="The file is damaged: copy it again.",
        ) from error
