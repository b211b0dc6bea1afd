"""Replays against the real Triton: both models, its refusals, and answers under load."""

from __future__ import annotations

import numpy as np
import pytest
from undisturbed import undisturbed

from megatick_client.load import (
    ReplayOptions,
    Texts,
    Tolerance,
    constant,
    market_view_calls,
    poisson,
    replay,
    sentiment_calls,
)

pytestmark = pytest.mark.triton

OPTIONS = ReplayOptions(references=4, score_tolerance=1e-6)


def test_sentiment(address: str) -> None:
    calls = sentiment_calls(Texts(("a +", "b -", "c", "d ++")), rows=2)

    result = replay(poisson(60, 1, seed=1), calls, address, options=OPTIONS)

    assert result.model == "sentiment"
    assert result.rows_per_call == 2
    assert result.outcome("answered") == len(result.records)
    assert result.answers.compared == len(result.records)
    assert result.answers.wrong == 0


def test_market_view(address: str) -> None:
    prices = {"A": np.array([10.0, 11]), "B": np.array([20.0, 21])}
    calls = market_view_calls(Texts(("a +", "b -", "c")), prices)

    result = replay(constant(40, 1), calls, address, options=OPTIONS)

    assert result.outcome("answered") == 40
    assert (result.answers.compared, result.answers.problems) == (40, {})


def test_the_server_s_own_tolerance_counts_unless_another_is_given(address: str) -> None:
    """The stand-in's sentiment states 1/8; its market_view has no output for it."""
    texts = Texts(("a +",))
    views = market_view_calls(texts, {"A": np.array([10.0, 11])})
    plan = constant(40, 0.1)

    stated = replay(plan, sentiment_calls(texts), address)
    unstated = replay(plan, views, address)
    given = replay(plan, sentiment_calls(texts), address, options=OPTIONS)

    assert stated.tolerance == Tolerance(0.125, "stated by the server")
    assert unstated.tolerance == Tolerance(1e-3, "default: the server states none")
    assert given.tolerance == Tolerance(1e-6, "given")


def test_a_stall_of_triton_is_seen_from_the_intended_start(address: str) -> None:
    """The one model instance sleeps half a second; 40 calls/s queue behind it."""
    calls = sentiment_calls(Texts(("a +", *("b",) * 9, "sleep 0.5", *("c",) * 29)))
    options = ReplayOptions(references=1, slo_s=0.1)

    result = undisturbed(lambda: replay(constant(40, 1), calls, address, options=options))

    waits_s = result.records.from_due_s
    assert result.outcome("answered") == 40
    assert waits_s[10] == pytest.approx(0.5, abs=0.15)
    assert waits_s[20] == pytest.approx(0.25, abs=0.15)
    assert 0.3 < result.good_share < 0.75


def test_refusals_and_failures_are_told_apart(address: str) -> None:
    calls = sentiment_calls(Texts(("a", " ", "crash")))
    options = ReplayOptions(references=1)

    result = replay(constant(30, 0.3), calls, address, options=options)

    assert result.outcome("answered") == 3
    assert result.outcome("BadRequest") == 3
    assert result.outcome("ServerError") == 3
