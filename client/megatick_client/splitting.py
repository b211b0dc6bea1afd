"""A text longer than the model's window: cut between sentences, scored in parts, combined.

The client has no tokenizer.  A text is sent whole, and a server that refuses it as too long
tells how many tokens it has; from that follows how long its parts may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from megatick_client.attempts import Line, infer
from megatick_client.deadlines import Deadline
from megatick_client.errors import BadRequest
from megatick_client.sentiments import (
    Probabilities,
    Sentiment,
    Sentiments,
    read_sentiments,
    sentiment_request,
)
from megatick_client.steps import Exchange
from megatick_client.texts import TextRows, read_texts
from megatick_contract import LABELS, MAX_TEXT_BYTES, Rejection, Truncation
from megatick_contract.admission import Priority
from megatick_contract.models import ROWS_PER_REQUEST
from megatick_contract.text import TooLong

SplitOrTruncation: TypeAlias = Truncation | Literal["split"]
"""What becomes of a text longer than the model's window."""

_ROOM: Final = 0.9
"""A part gets so much of what the window holds at the text's own characters a token: parts
differ, and one that is too long still is sent once more, in two."""

_LONGEST_CHARACTER: Final = 4  # bytes of UTF-8
_PARAGRAPH: Final = re.compile(r"(\n\s*\n)")
_WORD: Final = re.compile(r"\s*\S+|\s+$")


@dataclass(eq=False)
class _Part:
    """A run of the text in a row, and what came of it: a sentiment, or parts of its own."""

    row: int
    text: str
    sentiment: Sentiment | None = None
    parts: Sequence[_Part] = ()


def score_split(
    rows: TextRows, priority: Priority, timings: bool, line: Line, deadline: Deadline
) -> Exchange[Sentiments]:
    """Score texts, those that are too long in parts.

    Args:
        rows: the texts.
        priority: as ``score`` takes it.
        timings: as ``score`` takes it.
        line: what the client's calls share.
        deadline: of the whole call.

    Raises:
        BadRequest: lists every bad text by its row.
        ClientError: see the class.
    """
    texts = [_Part(row, text) for row, text in enumerate(rows.texts)]
    for whole in texts:
        if len(whole.text.encode()) > MAX_TEXT_BYTES:
            _cut(whole, MAX_TEXT_BYTES // _LONGEST_CHARACTER)
    while waiting := [
        part for text in texts for part in _leaves(text) if not part.sentiment
    ]:
        refused: list[Rejection] = []
        for start in range(0, len(waiting), ROWS_PER_REQUEST):
            chunk = waiting[start : start + ROWS_PER_REQUEST]
            sent = read_texts([part.text for part in chunk])
            request = sentiment_request(sent, "error").in_lane(priority).timed(timings)
            try:
                reply = yield from infer(line, request, deadline)
            except BadRequest as error:
                if not error.rejections:
                    raise
                refused += _cut_too_long(error.rejections, chunk)
                refusal = error
                continue
            for part, found in zip(chunk, read_sentiments(reply, sent), strict=True):
                part.sentiment = found
        if refused:
            raise BadRequest.listing(
                refused,
                rows=len(texts),
                address=refusal.address,
                model=refusal.model,
                status=refusal.status,
                detail=refusal.detail,
            ) from refusal
    return Sentiments(tuple(map(_combined, texts)), rows.frame_index)


def _cut_too_long(
    rejections: Sequence[Rejection], chunk: Sequence[_Part]
) -> list[Rejection]:
    """Cut the parts that a request was refused for; the rest of it is sent again.

    Returns:
        What else is wrong, in the rows of the call.
    """
    others = []
    for rejection in rejections:
        part, found = chunk[rejection.row], TooLong.read(rejection.problem)
        if found is None or len(part.text) == 1:
            others.append(replace(rejection, row=part.row))
        else:
            share = _ROOM * found.window / found.tokens
            _cut(part, max(1, int(len(part.text) * share)))
    return others


def _cut(part: _Part, characters: int) -> None:
    """Give a part parts of its own, of at most so many characters."""
    part.parts = [_Part(part.row, run) for run in split(part.text, characters)]


def split(text: str, characters: int) -> list[str]:
    """Cut a text into runs, between sentences where these are short enough.

    Args:
        text: one that is not blank.
        characters: the longest run, >= 1.

    Returns:
        Runs that are not blank, each as long as whole sentences can make it; in a
        sentence that is too long whole words, in a word that is too long whole
        characters.  Together they are the text, but for space between paragraphs.
    """
    runs = [""]
    for unit in _units(text, characters):
        if len(runs[-1]) + len(unit) > characters:
            runs.append("")
        runs[-1] += unit
    return [run for run in runs if run.strip()]


def _units(text: str, characters: int) -> Iterator[str]:
    """What is not cut any further: sentences, or the words of a long one."""
    for sentence in _sentences(text):
        if len(sentence) <= characters:
            yield sentence
            continue
        for word in _WORD.findall(sentence):
            for start in range(0, len(word), characters):
                yield word[start : start + characters]


def _sentences(text: str) -> Iterator[str]:
    """Cut a text after its sentences.  The rules are English's and fit most languages."""
    import sentencex  # not before a text is too long

    for paragraph in _PARAGRAPH.split(text):  # of many at once it drops what is between
        yield from sentencex.segment("en", paragraph)


def _leaves(part: _Part) -> Iterator[_Part]:
    if not part.parts:
        yield part
    for each in part.parts:
        yield from _leaves(each)


def _combined(whole: _Part) -> Sentiment:
    """Put a text's parts together, each with the weight of its tokens."""
    parts = [part.sentiment for part in _leaves(whole) if part.sentiment]
    if whole.sentiment is not None:
        return whole.sentiment
    tokens = sum(part.tokens for part in parts)
    mean = {
        label: sum(getattr(p.probabilities, label) * p.tokens for p in parts) / tokens
        for label in LABELS
    }
    return Sentiment(
        whole.text,
        max(LABELS, key=mean.__getitem__),
        mean["positive"] - mean["negative"],
        Probabilities(**mean),
        tokens,
        False,
        parts[0].reply,
        tuple(parts),
    )
