"""The ``megatick`` command: the only place that prints or reads the environment."""

import sys


def main() -> None:
    """Run the command; say which extra is missing where it cannot start."""
    try:
        from megatick_cli.app import main as run
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: the megatick command needs package {error.name!r}, which is not "
            "installed: pip install 'megatick[cli]'"
        )
    run()


__all__ = ["main"]
