from __future__ import annotations

import numpy as np
import pytest

from megatick_server.volatility import bar_returns, ewma_volatility

NAN = np.nan


def test_equal_returns_have_their_size_as_volatility() -> None:
    closes = np.exp(0.02 * np.arange(64))[None]

    np.testing.assert_allclose(ewma_volatility(closes, decay=0.94), [0.02], rtol=1e-12)


def test_newer_returns_weigh_more() -> None:
    # Returns 0.03 then 0.01 with decay 0.5: (0.5 * 9e-4 + 1 * 1e-4) / 1.5 = 3.6667e-4.
    closes = np.exp(np.array([[0.0, 0.03, 0.04]]))

    expected = np.sqrt(5.5e-4 / 1.5)
    np.testing.assert_allclose(ewma_volatility(closes, decay=0.5), [expected], rtol=1e-12)


def test_a_missing_bar_spreads_the_next_return_over_two() -> None:
    closes = np.exp(np.array([[NAN, 0.0, NAN, 0.04, 0.05]]))

    returns, spans = bar_returns(closes)

    np.testing.assert_allclose(returns, [[NAN, NAN, 0.04, 0.01]], atol=1e-12)
    np.testing.assert_allclose(spans[0, 2:], [2, 1])
    # Variances 0.04²/2 (weight 0.5) and 0.01² (weight 1), normalised by 1.5.
    expected = np.sqrt((0.5 * 8e-4 + 1e-4) / 1.5)
    np.testing.assert_allclose(ewma_volatility(closes, decay=0.5), [expected], rtol=1e-12)


@pytest.mark.parametrize("padding", [1, 40, 61])
def test_padding_on_the_left_changes_nothing(padding: int) -> None:
    random = np.random.default_rng(padding)
    closes = np.exp(np.cumsum(random.normal(0, 0.01, (3, 64)), axis=1))
    padded = closes.copy()
    padded[:, :padding] = NAN

    np.testing.assert_allclose(
        ewma_volatility(padded, decay=0.94),
        ewma_volatility(closes[:, padding:], decay=0.94),
        rtol=1e-12,
    )
