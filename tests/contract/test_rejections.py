from __future__ import annotations

from urllib.parse import quote

import pytest

from megatick_contract import Rejection
from megatick_contract.rejections import MAX_MESSAGE_BYTES, describe, parse, unlisted


def test_one_bad_row_is_told_as_a_sentence() -> None:
    rejections = [Rejection(1, "TEXT", "is blank"), Rejection(3, "PRICES", "has no price")]

    assert describe(rejections, rows=5) == (
        "2 bad values in 5 rows: [row 1, TEXT] is blank; [row 3, PRICES] has no price"
    )


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        pytest.param([0], "[row 0, TEXT]", id="one"),
        pytest.param([0, 1], "[rows 0-1, TEXT]", id="neighbours"),
        pytest.param([1, 3], "[rows 1,3, TEXT]", id="apart"),
        pytest.param([6, 1, 4, 5], "[rows 1,4-6, TEXT]", id="any-order"),
        pytest.param(range(64), "[rows 0-63, TEXT]", id="all"),
    ],
)
def test_rows_share_their_problem(rows: list[int], told: str) -> None:
    rejections = [Rejection(row, "TEXT", "is blank") for row in rows]

    message = describe(rejections, rows=64)

    assert message.endswith(f" in 64 rows: {told} is blank")
    assert parse(message) == tuple(
        Rejection(row, "TEXT", "is blank") for row in sorted(rows)
    )


def test_what_is_read_is_what_was_told_by_row_and_field() -> None:
    """Two fields and two problems, mixed: the groups interleave, their rows do not."""
    odd = [Rejection(row, "TEXT", "is blank") for row in range(1, 64, 2)]
    even = [Rejection(row, "TEXT", "is not UTF-8") for row in range(0, 64, 2)]
    prices = [Rejection(row, "PRICES", "has no price") for row in (3, 9)]
    given = odd + even + prices

    message = describe(given, rows=64)

    assert message.startswith("66 bad values in 64 rows: [rows 0,2,4,")
    assert parse(f"in ensemble 'market_view', {message}") == tuple(
        sorted(given, key=lambda each: (each.row, each.field))
    )
    assert unlisted(message) == 0


def test_a_problem_cannot_forge_the_listing() -> None:
    rejections = (
        Rejection(0, "TEXT", "is blank; leave it out"),
        Rejection(7, "PRICES", "has close -1 at bar 3\nexpected > 0"),
        Rejection(8, "TEXT", "quotes; [row 9, TEXT] itself"),
        Rejection(9, "TEXT", "quotes; [rows 1-9, TEXT] itself"),
        Rejection(10, "TEXT", "is blank; and 3 more bad values"),
    )

    message = describe(rejections, rows=11)

    read = parse(message)
    assert [(r.row, r.field) for r in read] == [(r.row, r.field) for r in rejections]
    assert read[0].problem == "is blank; leave it out"
    assert read[1].problem == "has close -1 at bar 3 expected > 0"
    assert read[4].problem == "is blank, and 3 more bad values"
    assert unlisted(message) == 0


@pytest.mark.parametrize(
    "problem",
    [
        pytest.param("is {row} tokens long, the model reads 8: shorten it", id="plain"),
        pytest.param("came with {row} € too much", id="three-bytes-a-character"),
        pytest.param("{row} " + "🙂" * 5_000, id="longer-than-a-message"),
        pytest.param("{row} " + "%" * 100, id="percent-signs"),
    ],
)
def test_a_message_is_never_longer_than_grpc_carries(problem: str) -> None:
    """gRPC sends all but plain ASCII as ``%XX``, as ``quote`` does."""
    given = [Rejection(row, "TEXT", problem.format(row=row)) for row in range(256)]

    message = describe(given, rows=256)

    printable = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    assert len(quote(message, safe=printable)) <= MAX_MESSAGE_BYTES
    read = parse(message)
    assert 1 <= len(read) < 256
    assert [r.row for r in read] == list(range(len(read)))
    assert message.endswith(f"; and {256 - len(read)} more bad values")
    assert unlisted(message) == 256 - len(read)
    if len(problem) < 200:
        assert read == tuple(given[: len(read)])


def test_a_message_is_filled_before_it_is_cut() -> None:
    given = [Rejection(row, "TEXT", f"is {row} tokens long") for row in range(1000)]

    message = describe(given, rows=1000)

    assert MAX_MESSAGE_BYTES - 100 < len(message) <= MAX_MESSAGE_BYTES


def test_the_longest_list_of_rows_leaves_room_for_the_longest_problem() -> None:
    given = [Rejection(row, "TEXT", "🙂" * 5_000) for row in range(0, 256, 2)]

    assert len(parse(describe(given, rows=256))) == 128


@pytest.mark.parametrize(
    "message",
    [
        "unexpected shape for input 'PRICES'",
        "1 bad value in 2 rows: none",
        "2 bad values in 2 rows: and 2 more bad values",
    ],
)
def test_a_message_without_rejections_lists_none(message: str) -> None:
    assert parse(message) == ()


def test_no_more_rows_are_read_than_were_announced() -> None:
    """Else a short message would fill the reader's memory."""
    read = parse("2 bad values in 9 rows: [rows 0-999999999, TEXT] is blank")

    assert [rejection.row for rejection in read] == [0, 1]
