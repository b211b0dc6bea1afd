"""What a wire puts around its news: calls to click, copyright, datelines, bylines.

The patterns are few and hold to the edges of a line or sentence, for what they take is
gone; what else a source repeats is found by counting (``repeats``).
"""

from __future__ import annotations

import re
from typing import Final

_WIRES: Final = "Reuters|AP|Bloomberg|PRNewswire|Business Wire|GLOBE NEWSWIRE|ACCESSWIRE"
_AFTER: Final = r"(?:(?!\A)^|(?<=[.!?…|»。！？]\s)|(?<=[。！？]))"
"""Where a line or sentence begins, but not the text: a headline may say all of it."""

_ENGLISH: Final = (
    r"^RT @\w+:\s*",
    # NEW YORK, March 3 (Reuters) -
    rf"^(?:[A-Z][\w .,/'-]{{1,60}})?[(/](?:{_WIRES})[)/] ?(?:--?|–|—) ?",
    # Only as a sentence of its own, after the news: investors may subscribe to an issue.
    rf"{_AFTER}(?i:Click here (?:to|for)|Read (?:more|the full \w+)|Continue reading|"
    r"Sign up (?:here|for)|Subscribe (?:now|to))\b[^.!?\n]*[.!?…]?$",
    # © 2026 Acme Media.  A court may rule on a copyright, and 501(c) is a law.
    r"(?:©|(?<![\w)])\([cC]\)|\bCopyright)(?: ?(?:©|\([cC]\)))? ?\d{4}\b[^\n]*$",
    rf"(?:©|{_AFTER}Copyright) ?[^\n.]{{1,40}} \d{{4}}(?:\.[^\n]*)?$",
    r"All rights reserved\.?$",
    r"(?!\A)^SOURCE [^\n]{2,80}$",
    r"^View (?:original content|source version)[^\n]*$",
)
_CHINESE: Final = (
    # 中国证券网讯, and a reporter in brackets
    r"^[\u4e00-\u9fff]{1,10}(?:网站|网|报|社|财经)讯(?=[\s（(：:，,]|\d)[\s：:，,]*",
    r"[（(](?:本报|见习)?(?:记者|编辑|来源)[^（）()]{0,24}[）)]",
    # 某某股份(行情600000,诊股)
    r"[（(]行情[^（）()]{0,24}[）)]",
    rf"{_AFTER}请?(?:点击(?:查看|进入|阅读)|更多(?:精彩)?内容(?=[，,：:请]|$))[^。\n]*。?$",
    # To follow somebody; by such a code one pays, too.
    r"扫描?[^。\n]{0,6}二维码[^。\n]{0,4}(?:关注|下载)[^。\n]*。?$",
    r"(?:免责声明|责任编辑)[:：][^\n]*$",
)
_PATTERNS: Final = tuple(
    re.compile(pattern, re.MULTILINE) for pattern in (*_ENGLISH, *_CHINESE)
)


def drop_boilerplate(text: str) -> str:
    """Drop the frame that a wire puts around its news.

    >>> drop_boilerplate("OSLO, March 3 (Reuters) - Acme rose 5%. Click here to read more.")
    'Acme rose 5%. '
    >>> drop_boilerplate("证券时报网讯（记者 某某）某某股份(行情600000,诊股)公告中标。")
    '某某股份公告中标。'
    """
    for pattern in _PATTERNS:
        text = pattern.sub("", text)
    return text
