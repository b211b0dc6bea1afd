"""The ``megatick`` command: the only place that prints or reads the environment."""

from megatick_cli.app import main

__all__ = ["main"]
