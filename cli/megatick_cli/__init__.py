"""The ``megatick`` command: the only place that prints or reads the environment."""

import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run the command; say which extra is missing where it cannot start.

    SIGTERM ends it as an exception would, so that nothing half-written is left, and ends
    it at all where it is a container's first process, to which Linux gives no signal that
    it does not handle.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from megatick_cli.app import main as run
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: the megatick command needs package {error.name!r}, which is not "
            "installed: pip install 'megatick[cli]'"
        )
    run()


def _terminate(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


__all__ = ["main"]
