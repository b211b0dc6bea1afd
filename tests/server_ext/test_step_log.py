"""What a step complains of is shown, as Triton's own warnings and errors are."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator

import pytest

from megatick_server.launcher.diagnosis import worth_showing
from megatick_server.step_log import log_as_triton


@pytest.fixture(autouse=True)
def _no_handler_is_left() -> Iterator[None]:
    logger = logging.getLogger("megatick_server")
    before = [*logger.handlers]
    yield
    logger.handlers[:] = before


def test_each_line_of_a_complaint_is_worth_showing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_as_triton("another")
    log_as_triton("scorer")  # the process's one step, loaded again
    log = logging.getLogger("megatick_server.audit.writer")

    log.info("not a complaint")
    log.warning("it is slow")
    try:
        raise OSError("the disk is full")
    except OSError:
        log.exception("it cannot be written")

    said = capsys.readouterr().err.splitlines()
    assert all(map(worth_showing, said))
    form = re.compile(rf"[WE]\d{{4}} \d\d:\d\d:\d\d\.\d{{6}} {os.getpid()} scorer\] ")
    assert [form.sub("", line) for line in (said[0], said[1], said[2], said[-1])] == [
        "it is slow",
        "it cannot be written",
        "Traceback (most recent call last):",
        "OSError: the disk is full",
    ]
    assert [line[0] for line in said] == ["W", *"E" * (len(said) - 1)]
