"""The real Triton with the stand-in models of tests/client/stand_in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from megatick_server.launcher import ServeOptions, TritonServer

STAND_IN: Final = Path(__file__).parents[1] / "client" / "stand_in"


def serve_stand_in(repository: Path, **options: Any) -> TritonServer:
    """Serve every stand-in model from an empty folder; ``options`` are the server's."""
    lay_out(repository, ())
    return TritonServer(repository, ServeOptions(grpc_port=0, metrics_port=None, **options))


def lay_out(repository: Path, models: tuple[str, ...]) -> None:
    """Write the stand-in as Triton wants it: one folder a model."""
    for config in STAND_IN.glob("*.pbtxt"):
        if models and config.stem not in models:
            continue
        version = repository / config.stem / "1"
        version.mkdir(parents=True)
        shutil.copy(config, version.parent / "config.pbtxt")
        if config.stem != "sentiment":  # an ensemble, without code of its own
            shutil.copy(STAND_IN / "model.py", version)
    (repository / "receipt.json").write_text("{}")
