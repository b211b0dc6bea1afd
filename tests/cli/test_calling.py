"""What `megatick serve` shows of how to call it."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from megatick_cli.calling import panel


@pytest.mark.parametrize(
    ("listens", "called"),
    [
        pytest.param("127.0.0.1:8001", 'Client("127.0.0.1:8001")', id="loopback"),
        # Nobody else reaches this machine by that name, and no certificate holds it.
        pytest.param("0.0.0.0:8001", 'Client("…:8001")', id="every-address"),
    ],
)
def test_the_example_names_an_address_that_can_be_called(listens: str, called: str) -> None:
    server = SimpleNamespace(
        endpoints=SimpleNamespace(grpc=listens, http=None, metrics=None),
        options=SimpleNamespace(tls=None, caller_key=None),
        repository=SimpleNamespace(
            models=("sentiment",), model_digest="0123", path=Path("repository")
        ),
    )
    console = Console(file=io.StringIO(), width=100)

    console.print(panel(server))  # type: ignore[arg-type]

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert called in shown
    assert listens in shown
