from __future__ import annotations

import pandas as pd
import pytest
import requests

from megatick_training import fetched_prices
from megatick_training.errors import PriceSourceFailed
from megatick_training.fetched_prices import PRICE_SOURCES, PriceSource, fetch_prices

DAYS = {"start": "2020-01-01", "end": "2020-02-01"}


@pytest.mark.parametrize("source", PRICE_SOURCES)
def test_without_a_network_the_library_the_host_and_the_way_out_are_named(
    monkeypatch: pytest.MonkeyPatch, source: PriceSource
) -> None:
    # Nothing listens on the discard port, so whatever network there is is not asked.
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    with pytest.raises(PriceSourceFailed, match=f"{source}: no prices of 'AAPL'") as caught:
        fetch_prices(["AAPL"], source=source, **DAYS)

    assert "." in caught.value.host
    assert "give the file with --prices" in str(caught.value)


def test_what_a_library_returns_becomes_adjusted_closes_in_utc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = pd.DataFrame(
        {"Close": [10.0, 12.0], "Adj Close": [5.0, 0.0]},
        index=pd.to_datetime(["2020-01-02", "2020-01-03"]),
    )
    monkeypatch.setattr(fetched_prices, "_read", lambda *asked: table)

    closes = fetch_prices(["A"], source="finance-datareader", **DAYS)

    assert closes.index[0] == pd.Timestamp("2020-01-02", tz="UTC")
    assert closes["A"].iloc[0] == 5.0
    assert closes["A"].isna().iloc[1]  # a close of 0 is a missing one


def test_a_refusal_names_the_host_that_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*asked: object) -> pd.DataFrame:
        request = requests.Request("GET", "https://prices.example/a").prepare()
        raise requests.HTTPError("403", request=request)

    monkeypatch.setattr(fetched_prices, "_read", refuse)

    with pytest.raises(PriceSourceFailed, match=r"from prices\.example: HTTPError"):
        fetch_prices(["A"], source="finance-datareader", **DAYS)
