"""The brief as a page: one module a part."""

from megatick_decisions.page.impacts import impact_sections, impact_table
from megatick_decisions.page.moods import mood_section, mood_table
from megatick_decisions.page.prices import price_section, price_table
from megatick_decisions.page.risks import (
    backtest_section,
    backtest_table,
    holdings_table,
    risk_sections,
    risk_table,
)

__all__ = [
    "backtest_section",
    "backtest_table",
    "holdings_table",
    "impact_sections",
    "impact_table",
    "mood_section",
    "mood_table",
    "price_section",
    "price_table",
    "risk_sections",
    "risk_table",
]
