"""What the demo asks about: our own headlines, and real closes of real symbols.

The headlines are invented and name no company; the closes are those of the symbol that
each is paired with, up to ``AS_OF``.  The bars after it show what then happened.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

AS_OF: Final = "2022-11-28"
"""The last bar that a forecast may see; 21 more follow it in the data."""

CLOSE_TIME: Final = "21:00"
"""When New York closes in winter, UTC."""

_PUBLISHED_AT: Final = timedelta(hours=15)
_HISTORY_BARS: Final = 820
"""A brief tests its risk on 250 bars, each from 500 before it, with 64 closes behind."""


@dataclass(frozen=True)
class Sample:
    """One question.

    Attributes:
        symbol: whose closes these are.
        headline: invented.
        closes: float64, up to and including ``AS_OF``, oldest first.
        later: float64, the closes after it, oldest first.
    """

    symbol: str
    headline: str
    closes: npt.NDArray[np.float64]
    later: npt.NDArray[np.float64]

    def realised_return(self, horizon_bars: int) -> float:
        """Log return from ``AS_OF`` to so many bars later."""
        return float(np.log(self.later[horizon_bars - 1] / self.closes[-1]))


def load_samples() -> list[Sample]:
    """Read the headlines and the closes.

    Raises:
        DataPackageMissing: the package that carries the closes is not installed.
    """
    from megatick_contract import WINDOW_BARS
    from megatick_training.data_packages import STOCK_PRICES
    from megatick_training.prices import read_closes

    closes = read_closes(STOCK_PRICES.path())
    seen, later = closes.loc[:AS_OF].tail(WINDOW_BARS), closes.loc[AS_OF:].iloc[1:]
    file = resources.files(__package__).joinpath("headlines.csv")
    with file.open(encoding="utf-8") as lines:
        return [
            Sample(
                row["symbol"],
                row["headline"],
                seen[row["symbol"]].to_numpy(),
                later[row["symbol"]].to_numpy(),
            )
            for row in csv.DictReader(lines)
        ]


def write_tables(samples: Sequence[Sample], folder: Path) -> tuple[Path, Path]:
    """Write what `megatick brief` reads: closes of three years, and the headlines.

    Args:
        samples: as ``load_samples`` gives them.
        folder: that gets ``prices.csv`` and ``headlines.csv``, published on ``AS_OF``.

    Raises:
        DataPackageMissing: as ``load_samples``.
    """
    from megatick_training.data_packages import STOCK_PRICES
    from megatick_training.prices import read_closes

    prices, headlines = folder / "prices.csv", folder / "headlines.csv"
    closes = read_closes(STOCK_PRICES.path()).loc[:AS_OF].tail(_HISTORY_BARS)
    closes.to_csv(prices, date_format="%Y-%m-%d")
    published = datetime.fromisoformat(f"{AS_OF}T00:00+00:00") + _PUBLISHED_AT
    with headlines.open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(("symbol", "published_at", "text"))
        for sample in samples:
            table.writerow((sample.symbol, published.isoformat(), sample.headline))
    return prices, headlines
