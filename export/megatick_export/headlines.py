"""Invented financial headlines: text to measure on where the user brings none.

Neither data set nor model is behind them: a small grammar is drawn from with a seeded
generator.  They have the vocabulary, the figures and the lengths of headlines (5 to 60
tokens), which random tokens have not; what they lack is the variety of real ones, so
figures on a user's own texts are worth more.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

_COMPANIES: Final = (
    *("Alderon", "Birchfield Foods", "Calder & Wynn", "Dunmore Energy", "Eastlake Bank"),
    *("Fenwick Motors", "Garrow Steel", "Hallam Pharma", "Inverloch", "Jessop Retail"),
    *("Kestrel Airlines", "Lindqvist AB", "Marlow Chips", "Norhaven Oyj", "Orsini SpA"),
    *("Pembury Homes", "Quillfeldt AG", "Rosslare Shipping", "Saltash Water", "Tarn Media"),
    *("the lender", "the chipmaker", "the drugmaker", "the grocer", "the insurer"),
    *("$ALDN", "$KSTL", "$MRLW", "a supplier of Fenwick", "the miner"),
)
_MEASURES: Final = (
    *("quarterly profit", "net sales", "operating profit", "revenue", "order intake"),
    *("same-store sales", "net interest income", "free cash flow", "earnings per share"),
    *("the operating margin", "new bookings", "full-year EBITDA"),
)
_UP: Final = ("rises", "climbs", "jumps", "grows", "increases", "advances", "edges up")
_DOWN: Final = ("falls", "drops", "slides", "shrinks", "declines", "tumbles", "slips")
_BECAUSE_GOOD: Final = (
    *("on strong demand in Asia", "as costs ease", "after price increases hold"),
    *("helped by a weaker euro", "as a new plant starts up", "on record exports"),
)
_BECAUSE_BAD: Final = (
    *("on weak demand in Europe", "as input costs rise", "after a recall"),
    *(
        "hurt by a strike at its largest plant",
        "as customers delay orders",
        "on write-downs",
    ),
)
_PERIODS: Final = (
    *("in the first quarter", "in the second quarter", "in the third quarter"),
    *("in the January-September period", "last year", "in fiscal 2023", "this quarter"),
)
_PLACES: Final = ("Rotterdam", "Tampere", "Austin", "Pune", "Leipzig", "Osaka", "Lima")
_PRODUCTS: Final = (
    *("a battery plant", "a data centre", "a distribution hub", "12 container ships"),
    *("5G base stations", "its payments unit", "a gas field", "a vaccine", "two cranes"),
)
_MONTHS: Final = ("March", "May", "June", "September", "October", "November")


def headlines(count: int, *, seed: int = 0) -> list[str]:
    """Draw distinct headlines.

    Args:
        count: how many, ≥ 0; the grammar gives millions.
        seed: of the generator; the same seed gives the same list, and a shorter list is
            the beginning of a longer one.

    Returns:
        ``count`` headlines, no two alike.

    >>> headlines(1)
    ['The insurer holds its annual general meeting in Pune on 2 June']
    """
    draw = random.Random(seed)  # noqa: S311 nothing here is secret
    found: dict[str, None] = {}
    while len(found) < count:
        text = draw.choice(_KINDS)(draw)
        found[text[0].upper() + text[1:]] = None
    return list(found)


def _percent(draw: random.Random) -> str:
    return f"{draw.randint(1, 60)}.{draw.randint(0, 9)}%"


def _money(draw: random.Random) -> str:
    unit = draw.choice(("million", "mn", "m", "thousand"))
    return f"{draw.choice(('EUR ', '$', '€', '£', 'USD '))}{draw.randint(1, 900)} {unit}"


def _result(draw: random.Random) -> str:
    good = draw.random() < 0.5
    verb = draw.choice(_UP if good else _DOWN)
    reason = draw.choice(_BECAUSE_GOOD if good else _BECAUSE_BAD)
    company, measure, period = map(draw.choice, (_COMPANIES, _MEASURES, _PERIODS))
    short = f"{company}: {measure} {verb} {_percent(draw)} {period}"
    if draw.random() < 0.3:
        return short
    if draw.random() < 0.5:
        return f"{short} {reason}"
    return f"{short}, to {_money(draw)} from {_money(draw)} a year earlier, {reason}"


def _guidance(draw: random.Random) -> str:
    company, measure = draw.choice(_COMPANIES), draw.choice(_MEASURES)
    verb = draw.choice(("raises", "cuts", "confirms", "withdraws", "narrows", "lifts"))
    tail = draw.choice(("", " after a strong start", " as orders slow", " for this year"))
    return f"{company} {verb} its guidance for {measure}{tail}"


def _deal(draw: random.Random) -> str:
    company, place, product = map(draw.choice, (_COMPANIES, _PLACES, _PRODUCTS))
    verb = draw.choice(("wins an order for", "sells", "agrees to buy", "will build"))
    worth = draw.choice(("", f" worth {_money(draw)}", f" for about {_money(draw)}"))
    return f"{company} {verb} {product} in {place}{worth}"


def _jobs(draw: random.Random) -> str:
    company, place = draw.choice(_COMPANIES), draw.choice(_PLACES)
    many = f"{draw.randint(2, 95) * 10:,}"
    verb = draw.choice(("to cut", "to hire", "lays off", "temporarily lays off", "adds"))
    return f"{company} {verb} {many} people in {place}, union says"


def _share_price(draw: random.Random) -> str:
    company = draw.choice(_COMPANIES)
    verb, why = draw.choice(((_UP, _BECAUSE_GOOD), (_DOWN, _BECAUSE_BAD)))
    firm = draw.choice(("analyst", "broker", "rating agency"))
    move = draw.choice(("upgrade", "downgrade", "review", "price-target cut"))
    return (
        f"shares of {company} {draw.choice(verb)} {_percent(draw)} {draw.choice(why)}, "
        f"{draw.choice(('after', 'despite', 'ahead of'))} a {firm}'s {move}"
    )


def _neutral(draw: random.Random) -> str:
    company, place = draw.choice(_COMPANIES), draw.choice(_PLACES)
    day, month = draw.randint(1, 28), draw.choice(_MONTHS)
    said: tuple[str, ...] = (
        f"will publish its interim report on {day} {month}",
        f"appoints a new head of its unit in {place}",
        f"reshuffles management at its unit in {place}",
        f"holds its annual general meeting in {place} on {day} {month}",
        f"moves its headquarters to {place}, the company said on {day} {month}",
        f"issues {draw.randint(1, 90) * 1000:,} new shares to employees",
    )
    return f"{company} {draw.choice(said)}"


_KINDS: Final[tuple[Callable[[random.Random], str], ...]] = (
    *(_result, _result, _guidance, _deal, _jobs, _share_price, _neutral, _neutral),
)
