"""Which candidate a user wants whatever the folds say, for an ablation by command."""

from __future__ import annotations

from collections.abc import Sequence

from megatick_contract import HORIZONS_BARS
from megatick_training.errors import CandidateError
from megatick_training.forecasting.candidates import FROM_NEWS, Candidate, candidates_of


def forced_candidates(asked: Sequence[str], *, news: bool) -> dict[int, Candidate]:
    """Read what is to be forced at which horizon.

    Args:
        asked: each a candidate's name, for every horizon that no other names; or
            ``BARS=NAME``, for the one of so many bars.
        news: whether there is news that a candidate could lean on.

    Returns:
        By horizon in bars, rising; those that nobody asked for are left to be chosen.

    Raises:
        CandidateError: no such name or horizon, news is needed and there is none, or a
            horizon is asked for twice.

    >>> everywhere = forced_candidates(["random walk", "20=scale: volatility"], news=False)
    >>> [(bars, candidate.name) for bars, candidate in everywhere.items()]
    [(1, 'random walk'), (5, 'random walk'), (20, 'scale: volatility')]
    """
    everywhere: Candidate | None = None
    at: dict[int, Candidate] = {}
    for each in asked:
        place, separator, name = each.rpartition("=")
        candidate = _named(name.strip(), news=news)
        if not separator:
            if everywhere is not None:
                raise CandidateError(each, f"one for all horizons, {everywhere.name!r} is")
            everywhere = candidate
            continue
        bars = _horizon(place.strip())
        if bars in at:
            raise CandidateError(each, f"one at {bars} bars, {at[bars].name!r} is")
        at[bars] = candidate
    if everywhere is not None:
        at = dict.fromkeys(HORIZONS_BARS, everywhere) | at
    return dict(sorted(at.items()))


def _named(name: str, *, news: bool) -> Candidate:
    candidates = {candidate.name: candidate for candidate in candidates_of(news=news)}
    if name in candidates:
        return candidates[name]
    if name in {candidate.name for candidate in FROM_NEWS}:
        raise CandidateError(name, "--news FILE as well, which it leans on")
    raise CandidateError(name, "one of " + "; ".join(map(repr, candidates)))


def _horizon(place: str) -> int:
    horizons = {str(bars): bars for bars in HORIZONS_BARS}
    if place not in horizons:
        raise CandidateError(
            place, f"a horizon in bars before the =, one of {', '.join(horizons)}"
        )
    return horizons[place]
