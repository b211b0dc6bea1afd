"""What a step complains of, in the form of Triton's log.

Whoever shows that log tells a complaint by its beginning (``diagnosis.worth_showing``), so
each line has one, those of a traceback too.
"""

from __future__ import annotations

import logging
import time
from typing import Final

_PACKAGE: Final = __name__.partition(".")[0]


class _TritonsForm(logging.Formatter):
    def __init__(self, model: str) -> None:
        super().__init__()
        self._model = model

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%m%d %H:%M:%S", time.gmtime(record.created))
        micros = int(record.created % 1 * 1e6)
        begin = f"{record.levelname[0]}{at}.{micros:06d} {record.process} {self._model}] "
        return "\n".join(begin + line for line in super().format(record).splitlines())


def log_as_triton(model: str) -> None:
    """Write what this package logs, from warnings on, to standard error.

    Args:
        model: the step whose process this is; each line names it.
    """
    logger = logging.getLogger(_PACKAGE)
    for former in [each for each in logger.handlers if _is_ours(each)]:
        logger.removeHandler(former)
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_TritonsForm(model))
    logger.addHandler(handler)


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, _TritonsForm)
