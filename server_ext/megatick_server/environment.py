"""What the launcher tells the steps, in the server's environment.

A setting that whoever serves chooses, and not the exporter: a repository's files stay as
they were exported.
"""

from __future__ import annotations

import os
from typing import Final

CACHED_TEXTS_VARIABLE: Final = "MEGATICK_CACHED_TEXTS"


def cached_texts() -> int:
    """Read how many texts' answers are to be kept; absent means 0.

    Raises:
        ValueError: the variable holds no number.
    """
    return int(os.environ.get(CACHED_TEXTS_VARIABLE, "0"))
