"""Links and cashtags, which are no words."""

from __future__ import annotations

import re
from typing import Final, Literal

Cashtags = Literal["keep", "bare", "drop"]
"""Of ``$ACME``: keep it, in capitals; leave ``ACME``; or drop it."""

_LINK: Final = re.compile(
    r"(?:https?://|www\.|pic\.twitter\.com/|t\.co/)[!#-&(-;=?-~]*[\w/#&=%~+-]",
    re.IGNORECASE | re.ASCII,
)
# $ACME and $BRK.B, not $1.5B and not US$.
_CASHTAG: Final = re.compile(r"(?<![\w$])\$([A-Za-z]{1,6}(?:[._-][A-Za-z]{1,2})?)(?![\w$])")


def drop_links(text: str) -> str:
    """Drop web addresses; what a link says stands in the words around it.

    >>> drop_links("Acme cut to hold https://t.co/x1, see www.acme.example.")
    'Acme cut to hold , see .'
    """
    return _LINK.sub("", text)


def cashtags_of(text: str) -> tuple[str, ...]:
    """The symbols that a text names with a dollar sign, once each, in capitals.

    >>> cashtags_of("$ACME and $brk.b up, $acme at $12.5B")
    ('ACME', 'BRK.B')
    """
    return tuple(dict.fromkeys(found.upper() for found in _CASHTAG.findall(text)))


def keep_cashtags(text: str) -> str:
    """Write them in capitals.

    >>> keep_cashtags("$acme up $5")
    '$ACME up $5'
    """
    return _CASHTAG.sub(lambda found: found[0].upper(), text)


def bare_cashtags(text: str) -> str:
    """Leave the symbol as a word.

    >>> bare_cashtags("$acme up $5")
    'ACME up $5'
    """
    return _CASHTAG.sub(lambda found: found[1].upper(), text)


def drop_cashtags(text: str) -> str:
    """Drop them, for a model that must not know of whom a text speaks.

    >>> drop_cashtags("$acme up $5").strip()
    'up $5'
    """
    return _CASHTAG.sub("", text)
