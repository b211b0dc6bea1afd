from __future__ import annotations

import pandas as pd
import pytest

from megatick_training.as_of import join_as_of, refuse_later
from megatick_training.errors import LookAheadError, TimeError

NEWS = pd.DataFrame(
    {
        "published_at": ["2026-01-05T15:00:00Z", "2026-01-05T16:00:00+01:00"],
        "symbol": ["ACME", "WILE"],
        "score": [0.5, -0.5],
    }
)


def decisions(*at: str, symbol: str = "ACME") -> pd.DataFrame:
    return pd.DataFrame({"as_of": at, "symbol": symbol})


def test_only_what_was_known_before_the_moment_is_joined() -> None:
    moments = decisions(
        "2026-01-05T15:00:01Z", "2026-01-05T15:00:00Z", "2026-01-05T16:00:00+00:00"
    ).set_index(pd.Index([7, 3, 5]))

    joined = join_as_of(moments, NEWS, by=["symbol"])

    assert joined.index.tolist() == [7, 3, 5]
    assert joined["score"].tolist()[::2] == [0.5, 0.5]
    assert pd.isna(joined["score"].loc[3])  # published in that very second


def test_news_can_be_too_old() -> None:
    moments = decisions("2026-01-05T15:30:00Z", "2026-01-05T17:00:00Z")

    joined = join_as_of(moments, NEWS, by=["symbol"], within=pd.Timedelta(hours=1))

    assert joined["score"].notna().tolist() == [True, False]


def test_times_without_a_zone_are_refused() -> None:
    with pytest.raises(TimeError, match="as_of, row 0"):
        join_as_of(decisions("2026-01-05 15:00"), NEWS)
    with pytest.raises(TimeError, match="published_at, row 1"):
        join_as_of(
            decisions("2026-01-05T15:00Z"),
            NEWS.assign(published_at=["2026-01-05T15:00Z", "2026-01-05 15:00"]),
        )


def test_news_shifted_from_the_future_is_caught() -> None:
    honest = join_as_of(decisions("2026-01-06T00:00Z"), NEWS, by=["symbol"])
    refuse_later(honest)

    shifted = honest.assign(published_at=honest["published_at"] + pd.Timedelta(days=1))
    with pytest.raises(LookAheadError, match="known before 2026-01-06"):
        refuse_later(shifted)
    with pytest.raises(LookAheadError):
        refuse_later(honest.assign(published_at=honest["as_of"]))
