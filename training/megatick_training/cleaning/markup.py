"""Markup: the text that a browser would show."""

from __future__ import annotations

import html
import re
from typing import Final

from bs4 import BeautifulSoup

_NAMES: Final = (
    "a|abbr|article|aside|b|blockquote|body|br|caption|center|code|dd|div|dl|dt|em|"
    "figcaption|figure|font|footer|h[1-6]|head|header|hr|html|i|iframe|img|li|link|main|"
    "meta|nav|noscript|ol|p|pre|q|s|script|section|small|span|strong|style|sub|sup|table|"
    "tbody|td|tfoot|th|thead|time|title|tr|u|ul|video|wbr"
)
_TAG: Final = re.compile(rf"</?(?:{_NAMES})(?:\s[^<>]*)?/?>|<!--", re.IGNORECASE)
# A Reuters code in angle brackets (<ACME.O>), or "a < b", is no tag.
_NO_TAG: Final = re.compile(rf"<(?!/?(?:{_NAMES})[\s/>]|!--)", re.IGNORECASE)
# Without its semicolon an entity may be part of a name, as in R&D or AT&T.
_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z]\w{1,31});")
_UNSEEN: Final = ("head", "iframe", "noscript", "script", "style")
_OWN_LINE: Final = (
    *("blockquote", "br", "dd", "div", "dt", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("hr", "li", "p", "section", "tr"),
)
_TIMES: Final = 3
"""How often a feed may have escaped its text; those that do so twice are common."""


def strip_markup(text: str) -> str:
    """Take away HTML's tags and what is not shown, and resolve its entities.

    >>> strip_markup("<p>R&amp;D at <b>Acme</b> &lt;ACME.O&gt;</p><script>x()</script>")
    'R&D at Acme <ACME.O>'
    """
    for _ in range(_TIMES):
        if _TAG.search(text):
            text = _shown(text)
        elif _ENTITY.search(text):
            text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
        else:
            break
    return text


def _shown(text: str) -> str:
    page = BeautifulSoup(_NO_TAG.sub("&lt;", text), "html.parser")
    for unseen in page(_UNSEEN):
        unseen.decompose()
    for tag in page(_OWN_LINE):
        tag.insert_before("\n")
        tag.insert_after("\n")
    for cell in page(("td", "th")):
        cell.insert_after(" ")
    return page.get_text().strip("\n")
