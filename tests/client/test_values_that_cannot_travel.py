"""What the client itself refuses, before anything is sent: no server is needed."""

from __future__ import annotations

import re
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from megatick_client import BadRequest, Client, SentimentState, ServerUnavailable

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
        pytest.param([[[1], [1, 2]], [1.0]], (0,), "inhomogeneous shape", id="ragged"),
        pytest.param([1.0, [2.0]], (0,), "inhomogeneous shape", id="a-row-among-closes"),
        pytest.param([10**400], (0,), "too large", id="beyond-a-float"),
    ],
)
def test_prices(prices: list[list[float]], rows: tuple[int, ...], problem: str) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest) as refused:
        client.forecast(prices)

    assert refused.value.rows == rows
    assert {r.field for r in refused.value.rejections} == {"PRICES"}
    assert problem in refused.value.rejections[0].problem


@pytest.mark.parametrize(
    "prices", [7.0, "1, 2, 3", None, {1.0, 2.0}, np.array(7.0)], ids=repr
)
def test_prices_that_are_no_history(prices: list[float]) -> None:
    with (
        Client(NOBODY) as client,
        pytest.raises(BadRequest, match="prices: expected closes"),
    ):
        client.forecast(prices)


@pytest.mark.parametrize("texts", [b"bytes", 7, np.array("a")], ids=repr)
def test_texts_that_are_no_texts(texts: str) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest, match="texts: expected a str"):
        client.score(texts)


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param({"ACME": "Profit doubles"}, id="mapping"),
        pytest.param(pd.DataFrame({"headline": ["Profit doubles"]}), id="frame"),
        pytest.param(pa.table({"headline": ["Profit doubles"]}), id="arrow"),
    ],
)
def test_names_are_no_texts(texts: Any) -> None:
    """To iterate over these yields the names, which are str."""
    advice = r"texts: expected .*  Pass its values, or one column\."
    with Client(NOBODY) as client:
        with pytest.raises(BadRequest, match=advice):
            client.score(texts)
        with pytest.raises(BadRequest, match=advice):
            client.market_view(texts, [[1.0]], errors="return")


@pytest.mark.parametrize("truncation", [None, ["x"], b"head", "middle", 1], ids=repr)
def test_truncations(truncation: Any) -> None:
    expected = "truncation: expected one of head, tail, error, found "
    with Client(NOBODY) as client:
        with pytest.raises(BadRequest, match=expected + re.escape(repr(truncation))):
            client.score("a", truncation=truncation)
        with pytest.raises(BadRequest, match=expected):
            client.market_view("a", [1.0], truncation=truncation)


@pytest.mark.parametrize(
    ("states", "found"),
    [
        pytest.param(5, "one state, or 1, found 5", id="number"),
        pytest.param("x", "found 'x' in row 0", id="str"),
        pytest.param([None], "found None in row 0", id="none"),
        pytest.param(
            SentimentState(score_sum=cast("float", "much")),
            "expected numbers, found SentimentState.*in row 0",
            id="text-in-a-state",
        ),
    ],
)
def test_states(states: Any, found: str) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest, match=found):
        client.forecast([1.0], sentiment_state=states)


@pytest.mark.parametrize("elapsed_s", ["soon", object(), 10**400, [[1], [1, 2]]], ids=type)
def test_seconds(elapsed_s: Any) -> None:
    with Client(NOBODY) as client, pytest.raises(BadRequest, match="elapsed_s: expected"):
        client.forecast([1.0], elapsed_s=elapsed_s)


@pytest.mark.parametrize(
    "timeout_s",
    [0, -1, float("nan"), float("inf"), 10**400, 1e15, "5", b"5", [5], 5j],
    ids=lambda timeout_s: f"{timeout_s!r:.10}",
)
def test_every_call_has_a_deadline(timeout_s: Any) -> None:
    with pytest.raises(BadRequest, match="timeout_s: expected a finite number"):
        Client(NOBODY, timeout_s=timeout_s)
    with Client(NOBODY) as client, pytest.raises(BadRequest, match="timeout_s"):
        client.score("a", timeout_s=timeout_s)


def test_a_client_without_a_deadline_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"timeout_s: expected .* found None"):
        Client(NOBODY, timeout_s=cast("float", None))


@pytest.mark.parametrize("timeout_s", [1, np.float32(0.5), np.int64(1), 1e9], ids=repr)
def test_any_real_number_is_a_deadline(timeout_s: Any) -> None:
    """It is sent: what fails is that nobody is there."""
    with Client(NOBODY) as client, pytest.raises(ServerUnavailable):
        client.score("a", timeout_s=timeout_s)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":8001",
        "http://127.0.0.1:8001",
        "host:port",
        "host:\u0663",
        "127.0.0.1:65536",
        "[::1]:" + 5000 * "9",
        "::1:8001",
        "[::1:8001",
        "\ud800:8001",
        "a\0b:8001",
        None,
        8001,
        b"127.0.0.1:8001",
    ],
    ids=lambda address: ascii(address)[:30],
)
def test_addresses(address: Any) -> None:
    """gRPC would call the port 0 of the one, and the port 443 of another, in silence."""
    with pytest.raises(BadRequest, match="address: expected HOST:PORT"):
        Client(address)


@pytest.mark.parametrize("address", ["[::1]:65535", "[fe80::1%eth0]:8001", "a.b:1"])
def test_good_addresses(address: str) -> None:
    assert Client(address).addresses == (address,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retries": 3}, "retries: expected Retries, found int"),
        ({"retries": None}, "retries: expected Retries, found NoneType"),
        ({"hedging": 95.0}, "hedging: expected Hedging or None, found float"),
        ({"tls": "ca.pem"}, "tls: expected Tls or None, found str"),
    ],
)
def test_settings_of_another_kind(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        Client(NOBODY, **settings)


NEWEST_FIRST = pd.Series(
    [3.0, 2.0, 1.0], index=pd.date_range("2024-01-01", periods=3)[::-1]
)


@pytest.mark.parametrize("prices", [NEWEST_FIRST, NEWEST_FIRST.to_frame("ACME")])
def test_dates_that_run_backwards_are_refused(prices: Any) -> None:
    with pytest.raises(BadRequest, match=r"oldest first, found an index from 2024-01-03"):
        Client(NOBODY).forecast(prices)


def test_a_column_that_is_no_price_is_named() -> None:
    frame = pd.DataFrame(
        {"Date": pd.date_range("2024-01-01", periods=2), "close": [1.0, 2.0]}
    )

    with pytest.raises(BadRequest, match="numbers in column 'Date'"):
        Client(NOBODY).forecast(frame)
