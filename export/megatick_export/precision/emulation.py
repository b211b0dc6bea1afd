"""16-bit arithmetic on a CPU as a GPU's tensor cores do it.

Without it torch falls back to scalar code for FP16 on most CPUs, some fifty times slower
than float32, and sums in another order than any GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_NARROW: Final = (torch.float16, torch.bfloat16)
_aten = torch.ops.aten
_WIDE: Final = frozenset(
    {
        *(_aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.linear.default),
        *(_aten.matmul.default, _aten._softmax.default, _aten.softmax.int),
        *(_aten.native_layer_norm.default, _aten.layer_norm.default),
        *(_aten.gelu.default, _aten.silu.default),
    }
)
"""Products, and the functions that hardware evaluates in float32 in any case."""


class WideAccumulation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, 16-bit products sum in float32 and round their result to 16 bits.

    with WideAccumulation():
        logits = lowered(network, torch.float16)(input_ids)
    """

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation."""
        kwargs = dict(kwargs or {})
        if func not in _WIDE:
            return func(*args, **kwargs)
        narrow = next(
            (a.dtype for a in args if isinstance(a, Tensor) and a.dtype in _NARROW), None
        )
        if narrow is None:
            return func(*args, **kwargs)
        answer = func(*tree_map(_widened, args), **tree_map(_widened, kwargs))
        return tree_map(lambda each: _narrowed(each, narrow), answer)


def _widened(value: Any) -> Any:
    narrow = isinstance(value, Tensor) and value.dtype in _NARROW
    return value.float() if narrow else value


def _narrowed(value: Any, dtype: torch.dtype) -> Any:
    wide = isinstance(value, Tensor) and value.dtype == torch.float32
    return value.to(dtype) if wide else value
