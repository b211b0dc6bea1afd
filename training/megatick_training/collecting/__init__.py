"""Texts as they are published, from feeds and from EDGAR, kept with their times in UTC."""

from megatick_training.collecting.articles import Article
from megatick_training.collecting.edgar import Edgar
from megatick_training.collecting.feeds import collect_feed
from megatick_training.collecting.fetching import Fetcher
from megatick_training.collecting.outcome import Outcome
from megatick_training.collecting.store import Store

__all__ = ["Article", "Edgar", "Fetcher", "Outcome", "Store", "collect_feed"]
