"""Evidence by occlusion: leave words out, and see by how much the score moves.

A compiled engine passes no gradients, so the model is asked instead.  Words are removed
rather than masked: a GPT has no token that means "nothing", and any word put in their place
has a sentiment of its own.  What is left may be no sentence; and what a text says twice
moves nothing when it is left out once, which the figures of fidelity in an ``Explanation``
then tell.  In a text that was truncated the words behind the window move up as others go.

A text of few words is tried word by word; one of many in equal runs, of which those that
move the score are cut further.  Neighbours that pull the same way are tried together, as a
phrase; then all that supports the score is left out, and kept alone.

Source:
    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014,
    section 4.2 (occlusion); Li, Monroe and Jurafsky, "Understanding Neural Networks through
    Representation Erasure", arXiv:1612.08220, 2016 (erasure of words).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from megatick_client.attempts import Line, infer_all
from megatick_client.deadlines import Deadline
from megatick_client.errors import BadRequest
from megatick_client.explanations import Evidence, Explanation, Explanations
from megatick_client.requests import Request
from megatick_client.sentiments import Sentiment, read_sentiments
from megatick_client.steps import Exchange
from megatick_client.texts import TextRows, read_texts
from megatick_client.words import Word, without, words_of
from megatick_contract.text import SCORE, TEXT, TRUNCATION_PARAMETER

MAX_SPANS: Final = 5
MAX_VARIANTS: Final = 128
"""Four requests of 32 rows; a headline of 40 words needs some 50 variants."""

LEAST_EFFECT: Final = 0.005
"""Half of the last digit of a score as it is shown: what moves it less is no evidence."""

LONGEST_PHRASE: Final = 5
"""Words; one that is longer names half of a headline."""

_PARTS: Final = 8
"""A run that moves the score is cut into so many."""

_FIDELITY: Final = 2  # variants: without the evidence, and the evidence alone

_SHARE: Final = 0.5
"""Of the time left, what one round may take: the rounds after it need some as well."""

T = TypeVar("T")
Effects: TypeAlias = Mapping[range, float]
"""By how much each run of words, by their numbers, moves the score."""

Search: TypeAlias = Generator[Sequence[str], Sequence[float] | None, T]
"""Yields texts, is sent their scores, and ends in a ``T``."""


@dataclass(eq=False)
class _Pace:
    """How many variants of each text there is time for.

    Attributes:
        deadline: of the whole call.
        running: texts whose search goes on.
        each_s: seconds that a variant took in the latest round.
    """

    deadline: Deadline
    running: int
    each_s: float = 0.0

    def room(self) -> int:
        """Variants of one text that the next round has time for."""
        return int(_SHARE * self.deadline.left_s() / self.running / self.each_s)


def explain_rows(
    rows: TextRows,
    request: Request,
    line: Line,
    deadline: Deadline,
    *,
    max_spans: int,
    max_variants: int,
) -> Exchange[Explanations]:
    """Explain texts together, so that a request holds variants of them all.

    Args:
        rows: the texts, at least one.
        request: for their sentiments.
        line: what the client's calls share.
        deadline: of the whole call.
        max_spans: most spans of a text.
        max_variants: most variants of a text.

    Raises:
        BadRequest: lists every bad text by its row.
        ClientError: see the class.
    """
    count = len(rows.texts)
    pace = _Pace(deadline, running=count)
    started_s = time.monotonic()
    sentiments = read_sentiments((yield from infer_all(line, request, deadline)), rows)
    pace.each_s = (time.monotonic() - started_s) / count
    searches = [
        search(each, pace.room, max_spans=max_spans, max_variants=max_variants)
        for each in sentiments
    ]
    found: dict[int, Explanation] = {}
    scores: dict[int, Sequence[float] | None] = dict.fromkeys(range(count))
    while scores:
        asked: list[tuple[int, str]] = []
        for row, told in scores.items():
            try:
                asked += ((row, variant) for variant in searches[row].send(told))
            except StopIteration as end:
                found[row] = end.value
        scores = {}
        if asked:
            started_s = time.monotonic()
            scores = yield from _scores(asked, request, count, line, deadline)
            pace.each_s = (time.monotonic() - started_s) / len(asked)
            pace.running = len(scores)
    return Explanations(tuple(found[row] for row in range(count)), rows.frame_index)


def _scores(
    asked: Sequence[tuple[int, str]],
    like: Request,
    count: int,
    line: Line,
    deadline: Deadline,
) -> Exchange[dict[int, Sequence[float] | None]]:
    """Score variants, each of the text in a row, and give each row its own.

    Raises:
        BadRequest: the server refuses a variant; it names the rows of the call.
    """
    variants = read_texts([variant for _, variant in asked])
    # One that is too long still, since its text was, is cut as its text would be.
    truncation = "tail" if like.parameters[TRUNCATION_PARAMETER] == "tail" else "head"
    parameters = {**like.parameters, TRUNCATION_PARAMETER: truncation}
    request = replace(like, inputs={TEXT: variants.array}, parameters=parameters)
    try:
        reply = yield from infer_all(line, request, deadline)
    except BadRequest as error:
        if not error.rejections:
            raise
        raise BadRequest.listing(
            [
                replace(
                    each,
                    row=asked[each.row][0],
                    problem=f"without some words {each.problem}",
                )
                for each in error.rejections
            ],
            rows=count,
            address=error.address,
            model=error.model,
            status=error.status,
            detail=error.detail,
        ) from error
    scores: dict[int, Sequence[float] | None] = {}
    told = iter(reply[SCORE][:, 0].tolist())
    for row, group in itertools.groupby(row for row, _ in asked):
        scores[row] = [next(told) for _ in group]
    return scores


def search(
    sentiment: Sentiment,
    room: Callable[[], int],
    *,
    max_spans: int = MAX_SPANS,
    max_variants: int = MAX_VARIANTS,
) -> Search[Explanation]:
    """Look for what the score of one text rests on.

    Args:
        sentiment: of the text.
        room: how many variants there is time for in the next round.
        max_spans: most spans, >= 1.
        max_variants: most variants in all, >= 4.
    """
    text, score = sentiment.text, sentiment.score
    words = words_of(text)
    left = max_variants

    def effects_of(runs: Sequence[range]) -> Search[dict[range, float]]:
        nonlocal left
        left -= len(runs)
        told = (yield [without(text, words, run) for run in runs]) if runs else ()
        assert told is not None  # noqa: S101  only the first step is sent nothing
        return {run: score - found for run, found in zip(runs, told, strict=True)}

    def allowed() -> int:
        return min(left - _FIDELITY, room())

    fresh = _cut(range(len(words)), _first(len(words), allowed()))
    effects: dict[range, float] = {}
    while fresh:
        effects |= yield from effects_of(fresh)
        fresh = []
        for run in _unrefined(effects):
            if parts := _cut(run, min(_PARTS, allowed() - len(fresh))):
                del effects[run]
                fresh += parts
    refined = not _unrefined(effects)
    phrases = _phrases(effects, longest=min(LONGEST_PHRASE, len(words) - 1))
    phrases = phrases[: max(0, allowed())]
    effects = _merged(effects, (yield from effects_of(phrases)))
    named = [run for run in _strongest(effects)[:max_spans] if _moves(effects[run])]
    figures = yield from _fidelity(text, score, words, {n: effects[n] for n in named})
    left -= 0 if figures is None else _FIDELITY
    comprehensiveness, sufficiency, additivity = figures or (None, None, None)
    return Explanation(
        text,
        sentiment.label,
        score,
        tuple(_evidence(text, words, run, effects[run]) for run in named),
        comprehensiveness,
        sufficiency,
        additivity,
        refined=refined,
        variants=max_variants - left,
        truncated=sentiment.truncated,
    )


def _fidelity(
    text: str, score: float, words: Sequence[Word], effects: Effects
) -> Search[tuple[float, float, float] | None]:
    """Comprehensiveness, sufficiency and additivity, as ``Explanation`` says."""
    supporting = {run: e for run, e in effects.items() if (e > 0) == (score > 0)}
    inside = set(itertools.chain.from_iterable(supporting))
    if not 0 < len(inside) < len(words):
        return None
    outside = set(range(len(words))) - inside
    told = yield [without(text, words, inside), without(text, words, outside)]
    assert told is not None  # noqa: S101  as above
    towards = 1 if score > 0 else -1
    without_it, alone = (towards * (score - found) for found in told)
    return without_it, alone, without_it - sum(map(abs, supporting.values()))


def _cut(run: range, parts: int) -> list[range]:
    """Cut a run into at most so many, of equal lengths or nearly; none where it stays."""
    parts = min(parts, len(run))
    if parts < 2:
        return []
    bounds = [run.start + len(run) * n // parts for n in range(parts + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]


def _first(words: int, allowed: int) -> int:
    """Parts of a text in the first round: its words, or what leaves as many for later.

    None of a lone word, without which the text is blank.
    """
    if words < 2:
        return 0
    return words if words <= allowed else max(2, allowed // 2)


def _moves(effect: float) -> bool:
    return abs(effect) >= LEAST_EFFECT


def _strongest(effects: Effects) -> list[range]:
    return sorted(effects, key=lambda run: abs(effects[run]), reverse=True)


def _unrefined(effects: Effects) -> list[range]:
    """The runs of several words that move the score, the strongest first."""
    return [r for r in _strongest(effects) if len(r) > 1 and _moves(effects[r])]


def _phrases(effects: Effects, *, longest: int) -> list[range]:
    """Join neighbouring words that move the score the same way, the strongest first."""

    def kind(word: range) -> tuple[bool, bool]:
        return _moves(effects[word]), effects[word] > 0

    singles = sorted((run for run in effects if len(run) == 1), key=lambda run: run.start)
    phrases: list[range] = []
    for (moves, _), group in itertools.groupby(singles, kind):
        if moves:
            phrases += _neighbours(list(group), effects, longest)
    strength = {p: sum(abs(effects[range(w, w + 1)]) for w in p) for p in phrases}
    return [phrase for phrase in _strongest(strength) if len(phrase) > 1]


def _neighbours(words: list[range], effects: Effects, longest: int) -> Iterator[range]:
    """Part words where they are none, and where too many are, at the weakest pair."""
    if words[-1].stop - words[0].start == len(words) <= longest:
        yield range(words[0].start, words[-1].stop)
        return

    def bond(at: int) -> float:
        before, after = words[at - 1], words[at]
        if before.stop != after.start:
            return -1.0
        return abs(effects[before]) + abs(effects[after])

    at = min(range(1, len(words)), key=bond)
    yield from _neighbours(words[:at], effects, longest)
    yield from _neighbours(words[at:], effects, longest)


def _merged(effects: Effects, phrases: Effects) -> dict[range, float]:
    """Put a phrase in the place of its words where it moves the score more than each."""
    merged = dict(effects)
    for phrase, effect in phrases.items():
        words = [range(word, word + 1) for word in phrase]
        if abs(effect) > max(abs(effects[word]) for word in words):
            for word in words:
                del merged[word]
            merged[phrase] = effect
    return merged


def _evidence(text: str, words: Sequence[Word], run: range, effect: float) -> Evidence:
    start, end = words[run.start].start, words[run.stop - 1].stop
    return Evidence(start, end, text[start:end], effect)
