"""Stop words, for a lexicon that counts words, and never for a language model.

Of those that scikit-learn lists are *not*, *no*, *against*, *up*, *down*, *above* and
*below*: a bag of words does not miss them, a model that reads "not above" does.  The
Chinese list has 不, 非, 无, 上, 下 and the numerals.
"""

from __future__ import annotations

import re
from typing import Final

import rjieba
import stopwordsiso
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff"
_CHINESE: Final = re.compile(rf"[A-Za-z0-9]*[{_HAN}][A-Za-z0-9{_HAN}]*")
"""With the Latin letters and digits that touch it, for 股 alone is not what A股 is."""
_CHINESE_STOP_WORDS: Final = stopwordsiso.stopwords("zh")


def drop_stop_words(text: str) -> str:
    """Drop English and Chinese stop words, and set a space between the Chinese words left.

    >>> drop_stop_words("Profit was not above the outlook").split()
    ['Profit', 'outlook']
    >>> drop_stop_words("我们的利润没有增长")
    '利润 没有 增长'

    Source:
        ``ENGLISH_STOP_WORDS`` of scikit-learn, the list of Glasgow's Information Retrieval
        Group; the Chinese list of stopwords-iso, which is in simplified characters.  What
        a Chinese word is, jieba's dictionary and hidden Markov model decide.
    """
    return _WORD.sub(_without_english, _CHINESE.sub(_without_chinese, text))


def _without_english(found: re.Match[str]) -> str:
    return "" if found[0].lower() in ENGLISH_STOP_WORDS else found[0]


def _without_chinese(found: re.Match[str]) -> str:
    return " ".join(
        word for word in rjieba.cut(found[0]) if word not in _CHINESE_STOP_WORDS
    )
