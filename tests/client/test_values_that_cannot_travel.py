"""What the client itself refuses, before anything is sent: no server is needed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from megatick_client import BadRequest, Client

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("texts", "rows", "problem"),
    [
        pytest.param(["a", None], (1,), "found None (NoneType)", id="none"),
        pytest.param(
            pd.Series(["a", None, "c"]), (1,), "found nan (float)", id="series-nan"
        ),
        pytest.param([3, "a", 4.5], (0, 2), "found 3 (int)", id="numbers"),
        pytest.param(["a", b"b"], (1,), "found b'b' (bytes)", id="bytes-in-a-list"),
        pytest.param("ab\ud800", (0,), "surrogate pair at character 2", id="surrogate"),
    ],
)
def test_texts(texts: list[str], rows: tuple[int, ...], problem: str) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest) as refused:
        client.score(texts)

    assert refused.value.rows == rows
    assert {r.field for r in refused.value.rejections} == {"TEXT"}
    assert problem in refused.value.rejections[0].problem
    assert str(refused.value).startswith("nothing was sent")


@pytest.mark.parametrize(
    ("prices", "rows", "problem"),
    [
        pytest.param([[1.0], ["2.0"]], (1,), "dtype <U3", id="text"),
        pytest.param([[1.0], [None, "2"]], (1,), "text among them", id="text-and-none"),
        pytest.param([True], (0,), "dtype bool", id="bool"),
        pytest.param(
            np.array(["2026-01-01"], "M8[D]"), (0,), "dtype datetime64", id="dates"
        ),
        pytest.param(np.ones((2, 3, 4)), (0, 1), "2 axes", id="3-d"),
    ],
)
def test_prices(prices: list[list[float]], rows: tuple[int, ...], problem: str) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest) as refused:
        client.forecast(prices)

    assert refused.value.rows == rows
    assert {r.field for r in refused.value.rejections} == {"PRICES"}
    assert problem in refused.value.rejections[0].problem


@pytest.mark.parametrize("prices", [7.0, "1, 2, 3", None], ids=repr)
def test_prices_that_are_no_history(prices: list[float]) -> None:
    with (
        Client(NOBODY) as client,
        pytest.raises(BadRequest, match="prices: expected closes"),
    ):
        client.forecast(prices)


@pytest.mark.parametrize("texts", [b"bytes", 7], ids=repr)
def test_texts_that_are_no_texts(texts: str) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest, match="texts: expected a str"):
        client.score(texts)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_every_call_has_a_deadline(timeout_s: float) -> None:
    with pytest.raises(BadRequest, match="timeout_s: expected a finite number"):
        Client(NOBODY, timeout_s=timeout_s)
    with Client(NOBODY) as client, pytest.raises(BadRequest, match="timeout_s"):
        client.score("a", timeout_s=timeout_s)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1", "127.0.0.1:", ":8001", "http://127.0.0.1:8001", "host:port"],
)
def test_addresses(address: str) -> None:
    with pytest.raises(BadRequest, match="address: expected HOST:PORT"):
        Client(address)
