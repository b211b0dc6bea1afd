from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError, LeakageError
from megatick_training.evaluation.judged_rows import describe, rows_to_judge
from megatick_training.forecasting.windows import Windows, make_windows


def days(windows: Windows) -> list[str]:
    at = windows.at.astype("datetime64[D]")
    return [str(at.min()), str(at.max())]


def fitted_until(forecaster: Forecaster, day: date | None) -> Forecaster:
    return forecaster.model_copy(update={"fitted_until": day})


def test_it_begins_an_embargo_after_the_fit(
    windows: Windows, forecaster: Forecaster
) -> None:
    forecaster = fitted_until(forecaster, date(2020, 4, 30))

    rows = rows_to_judge(windows, forecaster, since=None, until=None, embargo_bars=5)

    # 1 to 5 May are left out.  The last close, of 27 August, has no bar after it.
    assert days(rows) == ["2020-05-06", "2020-08-26"]


def test_until_is_inclusive(windows: Windows, forecaster: Forecaster) -> None:
    rows = rows_to_judge(
        windows,
        forecaster,
        since=datetime(2020, 5, 1),
        until=datetime(2020, 5, 3),
        embargo_bars=20,
    )

    assert days(rows) == ["2020-05-01", "2020-05-03"]
    assert len(rows) == 4 * 3


def test_what_was_fitted_on_is_judged_only_if_told(
    windows: Windows, forecaster: Forecaster
) -> None:
    forecaster = fitted_until(forecaster, date(2020, 4, 30))

    def rows_from_april(*, allow_fitted: bool) -> Windows:
        return rows_to_judge(
            windows,
            forecaster,
            since=datetime(2020, 4, 30),
            until=None,
            embargo_bars=0,
            allow_fitted=allow_fitted,
        )

    with pytest.raises(LeakageError, match="--allow-fitted-dates"):
        rows_from_april(allow_fitted=False)

    rows = rows_from_april(allow_fitted=True)
    assert days(rows)[0] == "2020-04-30"
    assert "WERE FITTED ON" in describe(rows, forecaster, allow_fitted=True)


def test_an_embargo_is_as_long_where_exchanges_close_at_other_hours(
    closes: pd.DataFrame, forecaster: Forecaster
) -> None:
    other = closes.add_prefix("other ").shift(freq=pd.Timedelta(hours=9))
    both = make_windows(closes.join(other, how="outer"), news=None, half_life_s=1.0)
    forecaster = fitted_until(forecaster, date(2020, 4, 30))

    rows = rows_to_judge(both, forecaster, since=None, until=None, embargo_bars=5)

    assert days(rows)[0] == "2020-05-06"  # 1 to 5 May are left out


def test_since_does_not_reach_into_the_embargo(
    windows: Windows, forecaster: Forecaster
) -> None:
    forecaster = fitted_until(forecaster, date(2020, 4, 30))

    def rows_since(day: int, **more: bool) -> Windows:
        since = datetime(2020, 5, day)
        return rows_to_judge(
            windows, forecaster, since=since, until=None, embargo_bars=5, **more
        )

    # 1 to 5 May are the embargo.
    with pytest.raises(LeakageError, match=r"from 2020-05-06 00:00 on.*of 2020-05-05"):
        rows_since(5)
    assert days(rows_since(6))[0] == "2020-05-06"
    assert days(rows_since(5, allow_fitted=True))[0] == "2020-05-05"


def test_a_file_that_begins_after_the_fit_is_judged_from_where_it_is_asked(
    windows: Windows, forecaster: Forecaster
) -> None:
    # Forecasts begin on 4 March, months after the 31 December that was fitted until.
    rows = rows_to_judge(
        windows, forecaster, since=datetime(2020, 3, 6), until=None, embargo_bars=20
    )

    assert days(rows)[0] == "2020-03-06"


def test_no_forecast_at_all_is_said(windows: Windows, forecaster: Forecaster) -> None:
    none = windows.take(np.zeros(len(windows), np.bool_))

    with pytest.raises(EvaluationError, match="a symbol with more than 64"):
        rows_to_judge(none, forecaster, since=None, until=None, embargo_bars=20)


def test_someone_has_to_say_what_was_fitted_on(
    windows: Windows, forecaster: Forecaster
) -> None:
    with pytest.raises(EvaluationError, match="Give --since"):
        rows_to_judge(
            windows,
            fitted_until(forecaster, None),
            since=None,
            until=None,
            embargo_bars=20,
        )


def test_nothing_left_is_said(windows: Windows, forecaster: Forecaster) -> None:
    with pytest.raises(EvaluationError, match="bars from 2020-03-04 to 2020-08-26"):
        rows_to_judge(
            windows, forecaster, since=datetime(2021, 1, 1), until=None, embargo_bars=0
        )


def test_it_is_described(windows: Windows, forecaster: Forecaster) -> None:
    said = describe(windows, forecaster, allow_fitted=True)

    assert f"{len(windows)} forecasts for 4 symbols, made from 2020-03-04" in said
    assert forecaster.fitted_on in said
    assert "WERE FITTED ON" not in said
    assert "no width" not in said
    assert np.unique(windows.symbols).tolist() == list("ABCD")


def test_prices_that_stand_still_are_told(
    closes: pd.DataFrame, forecaster: Forecaster
) -> None:
    table = closes.assign(FLAT=7.0, A=closes["A"].where(closes.index > closes.index[99], 5))

    said = describe(
        make_windows(table, news=None, half_life_s=1.0), forecaster, allow_fitted=True
    )

    # FLAT's are 240 - 64; A stands still at first: bars 0 to 99 hold 37 windows of 64.
    assert f"{240 - 64 + 37} of them, of A, FLAT, are of prices that had not moved" in said
