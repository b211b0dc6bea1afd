"""Products whose result is split: parted, the same numbers, and nothing else touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import openvino
import pytest
from openvino import opset13 as opset

from megatick_contract.cpu_engine import openvino_core
from megatick_contract.split_products import part_split_products

IN, OUT = 5, 6
Given: TypeAlias = openvino.Output


def numbers(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def product(given: Given) -> Given:
    return opset.matmul(given, numbers(OUT, IN), False, True).output(0)


def plain(given: Given) -> Given:
    return opset.matmul(given, numbers(IN, OUT), False, False).output(0)


def scaled_and_shifted(given: Given) -> Given:
    shifted = opset.add(opset.multiply(product(given), np.float32(2)), numbers(OUT))
    return shifted.output(0)


def int8(given: Given) -> Given:
    steps = np.arange(OUT * IN, dtype=np.int8).reshape(OUT, IN)
    scales = opset.reshape(opset.constant(numbers(OUT)), np.array([OUT, 1]), False)
    weights = opset.multiply(opset.convert(opset.constant(steps), np.float32), scales)
    return opset.matmul(given, weights, False, True).output(0)


def activation(given: Given) -> Given:
    return opset.relu(product(given)).output(0)


def weighted_by_activations(given: Given) -> Given:
    return opset.multiply(product(given), activation(given)).output(0)


def model_of(make: Callable[[Given], Given], *, axis: int, parts: int) -> openvino.Model:
    given = opset.parameter([-1, IN])
    split = opset.split(make(given.output(0)), np.int64(axis), parts)
    return openvino.Model([*split.outputs()], [given])


def kinds(model: openvino.Model) -> Counter[str]:
    return Counter(node.get_type_name() for node in model.get_ops())


def answers(model: openvino.Model) -> list[npt.NDArray[np.float32]]:
    given = numbers(4, IN)
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino_core().compile_model(model, "CPU", options)(given)
    return [found[output] for output in range(len(model.outputs))]


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("make", [product, plain, scaled_and_shifted, int8])
def test_the_parts_are_products_of_their_own(
    make: Callable[[Given], Given], axis: int, parts: int
) -> None:
    model = model_of(make, axis=axis, parts=parts)
    expected = answers(model)

    part_split_products(model)

    assert (kinds(model)["Split"], kinds(model)["MatMul"]) == (0, parts)
    for part, each in zip(answers(model), expected, strict=True):
        np.testing.assert_allclose(part, each, rtol=1e-5)


def test_what_was_computed_once_for_all_still_is_for_others() -> None:
    given = opset.parameter([-1, IN])
    whole = product(given.output(0))
    split = opset.split(whole, np.int64(1), 2)
    model = openvino.Model([*split.outputs(), whole], [given])
    expected = answers(model)

    part_split_products(model)

    for part, each in zip(answers(model), expected, strict=True):
        np.testing.assert_allclose(part, each, rtol=1e-5)


@pytest.mark.parametrize("make", [activation, weighted_by_activations])
def test_what_is_no_product_of_weights_stays(make: Callable[[Given], Given]) -> None:
    model = model_of(make, axis=1, parts=2)
    before = kinds(model)

    part_split_products(model)

    assert kinds(model) == before


def test_rows_are_not_parted() -> None:
    given = opset.parameter([4, IN])
    split = opset.split(product(given.output(0)), np.int64(0), 2)
    model = openvino.Model([*split.outputs()], [given])

    part_split_products(model)

    assert kinds(model)["Split"] == 1
