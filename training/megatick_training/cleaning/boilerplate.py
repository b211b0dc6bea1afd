"""What a wire puts around its news: calls to click, copyright, datelines, bylines.

The patterns are few and hold to the edges of a line or sentence, for what they take is
gone; what else a source repeats is found by counting (``repeats``).
"""

from __future__ import annotations

import re
from typing import Final

_WIRES: Final = "Reuters|AP|Bloomberg|PRNewswire|Business Wire|GLOBE NEWSWIRE|ACCESSWIRE"
_ENGLISH: Final = (
    r"^RT @\w+:\s*",
    # NEW YORK, March 3 (Reuters) -
    rf"^(?:[A-Z][\w .,/'-]{{1,60}})?[(/](?:{_WIRES})[)/] ?(?:--?|–|—) ?",
    # Only as a sentence of its own: investors may subscribe to an issue.
    r"(?:^|(?<=[.!?…]\s)|(?<=[|»]\s))(?:Click here (?:to|for)|Read (?:more|the full \w+)|"
    r"Continue reading|Sign up (?:here|for)|Subscribe (?:now|to))\b[^.!?\n]*[.!?…]?$",
    r"(?:© ?|\(c\) ?|Copyright )(?:© ?)?(?:\d{4}|[^\n.]{1,40} \d{4})[^\n]*$",
    r"All rights reserved\.?$",
    r"^SOURCE [^\n]{2,80}$",
    r"^View (?:original content|source version)[^\n]*$",
)
_CHINESE: Final = (
    # 中国证券网讯, and a reporter in brackets
    r"^[\u4e00-\u9fff]{1,10}(?:网站|网|报|社|财经)讯(?=[\s（(：:，,]|\d)[\s：:，,]*",
    r"[（(](?:本报|见习)?(?:记者|编辑|来源)[^（）()]{0,24}[）)]",
    # 某某股份(行情600000,诊股)
    r"[（(]行情[^（）()]{0,24}[）)]",
    r"(?:点击(?:查看|进入|阅读)|扫描?[^。\n]{0,6}二维码|更多(?:精彩)?内容)[^。\n]*。?$",
    r"(?:免责声明|责任编辑)[:：][^\n]*$",
)
_PATTERNS: Final = tuple(
    re.compile(
        pattern, re.MULTILINE | re.IGNORECASE if pattern.startswith("(?:^") else re.M
    )
    for pattern in (*_ENGLISH, *_CHINESE)
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
