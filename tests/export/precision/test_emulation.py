"""A 16-bit product on a CPU is the float32 product, rounded once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor

from megatick_export.precision.emulation import WideAccumulation

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]

OPERATIONS: dict[str, Operation] = {
    "mm": lambda a, b, c: a @ b,
    "linear": lambda a, b, c: F.linear(a, b.T),
    "linear with a bias": lambda a, b, c: F.linear(a, b.T, c),
    "bmm": lambda a, b, c: a.expand(3, -1, -1) @ b.expand(3, -1, -1),
    "heads": lambda a, b, c: a.expand(2, 3, -1, -1) @ b.expand(2, 3, -1, -1),
    "softmax": lambda a, b, c: a.softmax(-1),
    "layer norm": lambda a, b, c: F.layer_norm(a, (a.shape[-1],)),
    "gelu": lambda a, b, c: F.gelu(a, approximate="tanh"),
    "silu": lambda a, b, c: F.silu(a),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", OPERATIONS)
def test_it_is_the_float32_result_rounded_once(name: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in ((8, 512), (512, 6), 6)]
    a, b, c = (each.to(dtype) for each in given)
    expected = OPERATIONS[name](a.float(), b.float(), c.float()).to(dtype)

    with torch.inference_mode(), WideAccumulation():  # type: ignore[no-untyped-call]
        found = OPERATIONS[name](a, b, c)

    assert found.dtype == dtype
    assert torch.equal(found, expected)


def test_sums_that_pass_fp16s_end_and_return_are_finite() -> None:
    # 256 * 256 + 256 * 256 - 256 * 256 is 65536 at the end, and more on the way.
    a = torch.full((1, 4), 256, dtype=torch.float16)
    b = torch.tensor([[256], [256], [-256], [-128]], dtype=torch.float16)

    with WideAccumulation():  # type: ignore[no-untyped-call]
        assert (a @ b).item() == 256 * 128


def test_sums_outside_of_products_round_each_time() -> None:
    # The residual stream adds in 16 bits: 2048 + 1 is 2048 in FP16.
    with WideAccumulation():  # type: ignore[no-untyped-call]
        found = torch.tensor([2048.0]).half() + torch.tensor([1.0]).half()

    assert found.item() == 2048


def test_float32_is_left_alone() -> None:
    a = torch.randn((4, 4), generator=torch.Generator().manual_seed(0))

    with WideAccumulation():  # type: ignore[no-untyped-call]
        assert torch.equal(a @ a, a.mm(a))
        assert (a @ a).dtype == torch.float32
