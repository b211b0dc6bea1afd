from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from megatick_contract import ContractError
from megatick_contract.prices import PRICES, QUANTILES
from megatick_contract.text import TEXT


@pytest.mark.parametrize(
    ("tensor", "array"),
    [
        pytest.param(PRICES, np.ones((2, 64), np.float32), id="rows-of-64"),
        pytest.param(TEXT, np.array([[b"x"]], object), id="bytes-are-objects"),
        pytest.param(QUANTILES, np.ones((1, 3, 7), np.float32), id="open-axes"),
    ],
)
def test_a_tensor_takes_rows_of_its_shape(tensor: Any, array: Any) -> None:
    tensor.check(array)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.ones((2, 64)), id="float64"),
        pytest.param(np.ones((2, 63), np.float32), id="one-bar-short"),
        pytest.param(np.ones(64, np.float32), id="no-row-axis"),
        pytest.param(np.ones((0, 64), np.float32), id="no-row"),
    ],
)
def test_a_tensor_refuses_others_and_says_what_it_found(array: Any) -> None:
    with pytest.raises(ContractError, match=r"PRICES.*FP32 \[rows, 64\], found") as caught:
        PRICES.check(array)

    assert str(list(array.shape)) in caught.value.found
