"""Stop words, for a lexicon that counts words, and never for a language model.

Of those that scikit-learn lists are *not*, *no*, *against*, *up*, *down*, *above* and
*below*: a bag of words does not miss them, a model that reads "not above" does.
"""

from __future__ import annotations

import re
from typing import Final

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def drop_stop_words(text: str) -> str:
    """Drop English stop words.

    >>> drop_stop_words("Profit was not above the outlook").split()
    ['Profit', 'outlook']

    Source:
        ``ENGLISH_STOP_WORDS`` of scikit-learn, the list of Glasgow's Information Retrieval
        Group.
    """
    return _WORD.sub(
        lambda found: "" if found[0].lower() in ENGLISH_STOP_WORDS else found[0], text
    )
