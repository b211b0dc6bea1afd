from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatick_server.errors import ArtefactError
from megatick_server.forecast import FEATURES, feature_values, load_forecaster, observe

SHIPPED = (
    Path(__file__).parents[2]
    / "model_repository"
    / "shared"
    / "price_forecast"
    / "1"
    / "forecaster.json"
)
# Every return is 2 %, so the volatility is 0.02 whatever the weights.
CLOSES = np.exp(0.02 * np.arange(64))[None].astype(np.float32)
NO_NEWS = np.zeros((1, 4), np.float32)
NOW = np.zeros((1, 1), np.float32)


def write(folder: Path, **changes: Any) -> Path:
    plain = {
        "kind": "location_scale",
        "horizons_bars": [1, 4],
        "levels": [0.1, 0.5, 0.9],
        "bar_s": 86400.0,
        "half_life_s": 3600.0,
        "ewma_decay": 0.94,
        "quantiles": [[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]],
        "baseline_quantiles": [[-1.0, 0.0, 1.0], [-1.5, 0.0, 1.5]],
        "edge": [True, False],
        "edge_p_value": [0.01, 0.4],
        "fitted_on": "by hand",
    }
    path = folder / "forecaster.json"
    path.write_text(json.dumps(plain | changes))
    return path


def test_quantiles_grow_with_volatility_and_the_root_of_the_horizon(tmp_path: Path) -> None:
    forecast = load_forecaster(write(tmp_path)).forecast(CLOSES, NO_NEWS, NOW)

    # 0.02 * sqrt(1) and 0.02 * sqrt(4), times the standard quantiles.
    np.testing.assert_allclose(
        forecast.quantiles[0], [[-0.02, 0, 0.02], [-0.04, 0, 0.04]], rtol=1e-5
    )
    np.testing.assert_allclose(
        forecast.baseline_quantiles[0], [[-0.02, 0, 0.02], [-0.06, 0, 0.06]], rtol=1e-5
    )
    np.testing.assert_allclose(forecast.p_up, [[0.5, 0.5]])


def test_a_sentiment_aware_forecaster_leans_on_the_decayed_state(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        features=["sentiment_mean", "news_weight"],
        location=[[0.5, 0.0], [0.0, 0.0]],
        log_scale=[[0.0, 0.0], [0.0, 1.0]],
    )
    # Sum 0.8 over weight 2: a mean of 0.4, which ageing leaves; after one half-life the
    # weight is 1, and log(1 + 1) scales the second horizon by exp(log 2) = 2.
    state = np.array([[0.8, 2.0, 0.9, 2.0]], np.float32)
    forecast = load_forecaster(path).forecast(CLOSES, state, NOW + 3600)

    np.testing.assert_allclose(
        forecast.quantiles[0],
        [[0.02 * (-1 + 0.2), 0.02 * 0.2, 0.02 * 1.2], [-0.08, 0, 0.08]],
        rtol=1e-5,
        atol=1e-9,
    )
    # F(0) lies between the levels 0.1 at -0.8 and 0.5 at 0.2: 0.1 + 0.4 * 0.8 = 0.42.
    np.testing.assert_allclose(forecast.p_up, [[0.58, 0.5]], rtol=1e-5)


def test_without_news_a_sentiment_aware_forecaster_is_the_random_walk(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path,
        features=["sentiment_mean", "sentiment_last", "news_count"],
        location=[[0.5, 0.3, 0.1]] * 2,
        log_scale=[[0.1, 0.1, 0.1]] * 2,
    )
    leaning = load_forecaster(path).forecast(CLOSES, NO_NEWS, NOW)
    plain = load_forecaster(write(tmp_path)).forecast(CLOSES, NO_NEWS, NOW)

    np.testing.assert_array_equal(leaning.quantiles, plain.quantiles)


def test_however_its_features_lean_a_forecast_stays_finite(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        features=["news_count"],
        location=[[0.1]] * 2,
        log_scale=[[10.0], [-10.0]],
    )
    # log(1 + 1e9) = 20.7, so the log scale of ±207 is held at ±3.
    state = np.array([[0, 0, 0, 1e9]], np.float32)
    forecast = load_forecaster(path).forecast(CLOSES, state, NOW)

    widths = np.ptp(forecast.quantiles[0], axis=-1)
    expected = [0.02 * 2 * np.exp(3), 0.04 * 2 * np.exp(-3)]
    np.testing.assert_allclose(widths, expected, rtol=1e-3)


def test_a_price_that_never_moves_has_a_point_forecast(tmp_path: Path) -> None:
    flat = np.full((1, 64), 7, np.float32)
    path = write(
        tmp_path, features=["last_return"], location=[[1.0]] * 2, log_scale=[[0.0]] * 2
    )
    forecast = load_forecaster(path).forecast(flat, NO_NEWS, NOW)

    assert (forecast.quantiles == 0).all()
    assert np.isfinite(forecast.p_up).all()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"levels": [0.5, 0.1, 0.9]}, "levels must rise", id="levels"),
        pytest.param({"edge": [True]}, "edge must hold one value per horizon", id="edge"),
        pytest.param(
            {"quantiles": [[1.0, 0.0, -1.0]] * 2}, "quantiles must rise", id="crossing"
        ),
        pytest.param({"quantiles": [[0.0, 1.0]] * 2}, "has shape (2, 2)", id="shape"),
        pytest.param(
            {"features": ["astrology"]}, "['astrology'] are unknown", id="feature"
        ),
        pytest.param({"features": ["last_return"]}, "location must be 2 rows", id="rows"),
        pytest.param({"location": [[0.1]] * 2}, "location must be 0 rows", id="no-feature"),
        pytest.param({"quantiles": [[-1e300, 0, 1e300]] * 2}, "quantiles", id="huge"),
        pytest.param({"horizons_bars": [1, 2**33]}, "horizons_bars", id="beyond-int32"),
        pytest.param({"levels": [0.1, 0.5, 0.5 + 1e-12]}, "levels must rise", id="float32"),
        pytest.param({"bar_s": 1e39}, "bar_s", id="bar"),
        pytest.param({"edge_p_value": [1.0, 0.4]}, "edge is claimed at", id="p-value"),
        pytest.param({"half_life_s": 0}, "half_life_s", id="half-life"),
        pytest.param({"colour": "red"}, "colour", id="unknown-name"),
    ],
)
def test_a_forecaster_that_does_not_fit_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = write(tmp_path, **changes)

    with pytest.raises(ArtefactError) as caught:
        load_forecaster(path)

    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_an_absent_forecaster_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="found no file"):
        load_forecaster(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # The volatility of these returns, 0.01 sixty-two times and then -0.04, with a decay
        # of 0.5: weights 1 and 1 (1/2 + 1/4 + …), so √((0.04² + 0.01²) / 2) = 0.029155.
        pytest.param("log_volatility", np.log(2.9155), id="in-per-cent"),
        pytest.param("last_return", -0.04 / 0.029155, id="last"),
        pytest.param("last_move", 0.04 / 0.029155, id="its-size"),
        pytest.param("momentum_5", (4 * 0.01 - 0.04) / 0.029155 / 5**0.5, id="of-5"),
        pytest.param("momentum_20", (19 * 0.01 - 0.04) / 0.029155 / 20**0.5, id="of-20"),
        pytest.param("momentum_63", (62 * 0.01 - 0.04) / 0.029155 / 63**0.5, id="of-63"),
        pytest.param("absolute_5", np.log(0.08 / 5 / 0.029155), id="size-of-5"),
        pytest.param("absolute_20", np.log(0.23 / 20 / 0.029155), id="size-of-20"),
        pytest.param("absolute_63", np.log(0.66 / 63 / 0.029155), id="size-of-63"),
    ],
)
def test_features_of_the_closes(name: str, expected: float) -> None:
    returns = np.append(np.full(62, 0.01), -0.04)
    closes = np.exp(np.append(0, np.cumsum(returns)))[None].astype(np.float32)

    seen = observe(closes, NO_NEWS, NOW, ewma_decay=0.5, half_life_s=1.0)

    assert feature_values(seen, [name])[0, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("known", [[63], [0, 63], [61, 63], list(range(50, 64))])
@pytest.mark.parametrize("moves", [False, True])
def test_features_are_finite_whatever_closes_are_missing(
    known: list[int], moves: bool
) -> None:
    closes = np.full((1, 64), np.nan, np.float32)
    closes[0, known] = np.linspace(5, 6, len(known)) if moves else 5
    if len(known) == 1:
        closes[0, 0] = 5  # a forecast needs two

    seen = observe(closes, NO_NEWS, NOW, ewma_decay=0.94, half_life_s=1.0)

    assert np.isfinite(feature_values(seen, list(FEATURES))).all()


def test_the_shipped_forecaster_leans_on_prices_alone_and_around_zero() -> None:
    shipped = load_forecaster(SHIPPED)

    assert not any(name.startswith(("news", "sentiment")) for name in shipped.features)
    assert not np.any(shipped.location)
    for quantiles in (*shipped.quantiles, *shipped.baseline_quantiles):
        np.testing.assert_array_equal(quantiles, -np.array(quantiles)[::-1])
