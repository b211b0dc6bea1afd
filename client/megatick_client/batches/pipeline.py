"""Blocks through the scorer, many requests at a time, and out again in their order.

The blocking client in threads, and not ``AsyncClient``: a batch then runs in a notebook,
whose thread has an event loop already.  Its calls are made by a copy of the client that it
was begun with, with connections of its own, so that ending them leaves that client open.
A request of 32 texts costs the server far more than it costs a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from megatick_client.batches.answers import Answers
from megatick_contract.models import ROWS_PER_REQUEST
from megatick_contract.tables import BLOCK_ROWS, Block

Score: TypeAlias = Callable[[Sequence[Any]], Answers]

_AHEAD: Final = 2
"""Requests that are ready for each in flight, so that no thread waits for the reader."""


@dataclass(frozen=True)
class Scored:
    """A block, and what became of each of its rows.

    Attributes:
        block: the rows.
        answers: one a row; its problems are those of the block, too.
    """

    block: Block
    answers: Answers


def score_in_order(
    blocks: Iterable[Block],
    score: Score,
    *,
    stop: Callable[[], None],
    column: str,
    in_flight: int,
) -> Generator[Scored, None, None]:
    """Score blocks, ``in_flight`` requests at a time.

    Args:
        blocks: in their order.
        score: answers at most ``ROWS_PER_REQUEST`` texts.
        stop: called at the end, however it comes, so that no scorer waits on.
        column: of the texts.
        in_flight: calls of ``score`` at a time.

    Raises:
        Exception: whatever the scorer raised, at its block's turn.
    """
    most = max(2, -(-_AHEAD * in_flight * ROWS_PER_REQUEST // BLOCK_ROWS))
    waiting: deque[tuple[Block, list[tuple[list[int], Future[Answers]]]]] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="megatick-batch")
    try:
        for block in blocks:
            texts, places = texts_of(block, column)
            pieces = [
                places[start : start + ROWS_PER_REQUEST]
                for start in range(0, len(places), ROWS_PER_REQUEST)
            ]
            futures = [
                (piece, pool.submit(score, [texts[place] for place in piece]))
                for piece in pieces
            ]
            waiting.append((block, futures))
            while len(waiting) >= most:
                yield _together(*waiting.popleft())
        while waiting:
            yield _together(*waiting.popleft())
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def texts_of(block: Block, column: str) -> tuple[Sequence[Any], list[int]]:
    """Return the texts of a block, and the places of those that can be asked about."""
    if column not in block.table.column_names:
        return (), []
    texts = block.table[column].to_pylist()
    return texts, [place for place in range(block.rows) if place not in block.problems]


def _together(block: Block, pieces: list[tuple[list[int], Future[Answers]]]) -> Scored:
    answers = Answers.blank(block.rows)
    answers.problems.update(block.problems)
    for places, future in pieces:
        answers.put(places, future.result())
    return Scored(block, answers)
