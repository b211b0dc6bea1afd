"""The table that turns a gRPC status into an error, and the errors themselves."""

from __future__ import annotations

import pickle

import grpc  # type: ignore[import-untyped]
import pytest

from megatick_client import (
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    Rejection,
    ServerError,
    ServerUnavailable,
    Unauthenticated,
)
from megatick_client.statuses import BY_STATUS, translate
from megatick_contract import MegatickError


def test_every_grpc_status_is_mapped() -> None:
    assert set(BY_STATUS) == {status.name for status in grpc.StatusCode}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("INVALID_ARGUMENT", BadRequest),
        ("OUT_OF_RANGE", BadRequest),
        ("DEADLINE_EXCEEDED", DeadlineExceeded),
        ("RESOURCE_EXHAUSTED", Overloaded),
        ("NOT_FOUND", ModelNotReady),
        ("UNAUTHENTICATED", Unauthenticated),
        ("PERMISSION_DENIED", Unauthenticated),
        ("UNAVAILABLE", ServerUnavailable),
        ("CANCELLED", ServerUnavailable),
        ("INTERNAL", ServerError),
        ("UNIMPLEMENTED", ServerError),
    ],
)
def test_status(status: str, error: type[ClientError]) -> None:
    raised = translate(
        status, "words", address="h:1", model="sentiment", rows=1, timeout_s=0.5
    )

    assert type(raised) is error
    assert (raised.address, raised.model, raised.status) == ("h:1", "sentiment", status)
    assert raised.detail == "words"
    assert "h:1" in str(raised)
    assert "words" in str(raised)


def test_a_deadline_says_how_long_it_was() -> None:
    raised = translate(
        "DEADLINE_EXCEEDED", "", address="h:1", model=None, rows=0, timeout_s=0.25
    )

    assert "no answer in time of 0.25 s" in str(raised)


def test_a_listing_becomes_rejections() -> None:
    raised = translate(
        "INVALID_ARGUMENT",
        "in ensemble 'sentiment', 1 bad value in 2 rows: [row 1, TEXT] is blank",
        address="h:1",
        model="sentiment",
        rows=2,
        timeout_s=1,
    )

    assert isinstance(raised, BadRequest)
    assert raised.rejections == (Rejection(1, "TEXT", "is blank"),)


def test_a_listing_of_more_rows_than_were_sent_is_no_listing() -> None:
    raised = translate(
        "INVALID_ARGUMENT",
        "1 bad value in 2 rows: [row 1, TEXT] is blank",
        address="h:1",
        model="sentiment",
        rows=1,
        timeout_s=1,
    )

    assert isinstance(raised, BadRequest)
    assert raised.rejections == ()
    assert "[row 1, TEXT] is blank" in str(raised)


def test_a_listing_that_the_server_cut_says_so() -> None:
    raised = translate(
        "INVALID_ARGUMENT",
        "9 bad values in 9 rows: [rows 1-2, TEXT] is blank; and 7 more bad values",
        address="h:1",
        model="sentiment",
        rows=9,
        timeout_s=1,
    )

    assert isinstance(raised, BadRequest)
    assert (raised.rows, raised.unlisted) == ((1, 2), 7)
    assert "at least 2 of 9 rows refused" in str(raised)
    assert "; and 7 more.  " in str(raised)
    assert "(.rejections has the first 2)" in str(raised)


def test_a_long_listing_is_cut_in_the_message_alone() -> None:
    rejections = [Rejection(row, "TEXT", "is blank") for row in range(300)]

    refused = BadRequest.listing(rejections, rows=400)

    assert refused.rows == tuple(range(300))
    assert "300 of 400 rows" in str(refused)
    assert "and 290 more" in str(refused)
    assert "row 10," not in str(refused)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (BadRequest, ValueError),
        (DeadlineExceeded, TimeoutError),
        (ServerUnavailable, ConnectionError),
        (Unauthenticated, PermissionError),
    ],
)
def test_errors_are_also_what_python_calls_them(
    error: type[ClientError], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, MegatickError)


def test_errors_cross_processes() -> None:
    refused = BadRequest.listing([Rejection(1, "TEXT", "is blank")], rows=2, address="h:1")

    copy = pickle.loads(pickle.dumps(refused))

    assert (str(copy), copy.rejections, copy.address) == (
        str(refused),
        refused.rejections,
        "h:1",
    )
