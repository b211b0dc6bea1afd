"""Characters: mended, made visible, of one width; and the space between them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import ftfy

_MENDED: Final = ftfy.TextFixerConfig(
    unescape_html=False,  # markup has a step of its own
    fix_character_width=False,  # it would take Chinese its punctuation
    uncurl_quotes=False,
    explain=False,
)
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u2069\ufe00-\ufe0d\ufeff]"
)
# Between emoji, and in scripts that join their letters, a joiner is seen.
_JOINERS: Final = re.compile("(?<=[\0-\u024f\u3000-\u9fff\uff00-\uffef])[\u200c\u200d]")
_FULL_WIDTH: Final = {
    code: unicodedata.normalize("NFKC", chr(code))
    for code in range(0xFF01, 0xFF5F)
    if chr(code).isalnum() or chr(code) in "％＄＋－．／＆＃＠＜＞＝"
}
_SPACES: Final = re.compile(r"[^\S\n]+")
_LINES: Final = re.compile(r" ?\n[\n ]*")


def mend_encoding(text: str) -> str:
    r"""Undo what decoding did wrong, drop control characters, compose accents (NFC).

    Not NFKC, which turns 10³ into 103.

    >>> mend_encoding("CafÃ© Nestl\u00e9\x00 ﬁrm")
    'Café Nestlé firm'
    """
    return ftfy.fix_text(text, _MENDED)


def drop_invisible(text: str) -> str:
    r"""Drop what has no width: it splits a word for the tokenizer and not for the eye.

    >>> drop_invisible("pro\u200bfit \u202aup\u202c")
    'profit up'
    """
    return _JOINERS.sub("", _INVISIBLE.sub("", text))


def narrow_full_width(text: str) -> str:
    """Write full-width letters, digits and signs of figures as ASCII, as NFKC does.

    Full-width punctuation stays: it is how Chinese is written.

    >>> narrow_full_width("净利增１４．５％，Ａ股（深市）")
    '净利增14.5%，A股（深市）'
    """
    return text.translate(_FULL_WIDTH)


def collapse_space(text: str) -> str:
    r"""Leave one space between words, one line break between lines, none around.

    >>> collapse_space("  profit\t up \n\n \u3000oil\u00a0down ")
    'profit up\noil down'
    """
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()
