"""How a label looks on a terminal."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from megatick_contract import Label

_COLOURS: Final[dict[Label, str]] = {
    "negative": "red",
    "neutral": "yellow",
    "positive": "green",
}


def coloured(label: Label) -> Text:
    """The label in its colour."""
    return Text(label, style=_COLOURS[label])
