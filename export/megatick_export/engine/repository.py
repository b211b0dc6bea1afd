"""The configs of a repository whose language model is a TensorRT engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from megatick_contract.models import EMBEDDING_MODEL, MARKET_VIEW, SENTIMENT
from megatick_contract.repository import SETTINGS_FILE
from megatick_contract.steps import LANGUAGE_MODEL, LANGUAGE_MODEL_US
from megatick_export.engine.profiles import BatchLimits
from megatick_export.errors import RepositoryError

_TEMPLATE: Final = Path(__file__).with_name("language_model.pbtxt")
_EMBEDDING: Final = Path(__file__).with_name("embedding.pbtxt")
_MAX_BATCH: Final = re.compile(r"^max_batch_size: \d+", re.MULTILINE)
_US: Final = re.escape(LANGUAGE_MODEL_US.name)
_STAGE_TIME: Final = re.compile(
    rf'^ *(?:in|out)put_map {{ key: "{_US}" value: "{_US}" }}\n', re.MULTILINE
)
_HIDDEN: Final = re.compile(r"(?<=dims: \[ -1, )\d+")
_CONFIG: Final = "config.pbtxt"


def for_tensorrt(
    folder: Path, limits: BatchLimits, *, embedding: int | None = None
) -> None:
    """Turn the configs of a CPU repository into those of the TensorRT backend, in place.

    The language model becomes a ``tensorrt_plan`` with ragged batching, whose
    ``model.plan`` ``megatick build-engine`` will make; its Python adapter goes.  The
    ensembles no longer map the stage's time, which an engine does not tell, and take
    ``limits.max_batch`` rows a request.

    Args:
        folder: a repository written from the CPU templates.
        limits: what one execution of the engine may hold.
        embedding: its length, where the engine gives it and the repository has the model
            ``embedding``; None where neither does.

    Raises:
        RepositoryError: a config is not the template it was.
    """
    model = folder / LANGUAGE_MODEL.name
    config = _bounded(_TEMPLATE.read_text(), limits, _TEMPLATE)
    ensembles = [SENTIMENT, MARKET_VIEW]
    if embedding is not None:  # a field that stands twice is read as one list
        config += _HIDDEN.sub(str(embedding), _EMBEDDING.read_text())
        ensembles.append(EMBEDDING_MODEL)
    (model / _CONFIG).write_text(config)
    for left in ("model.py", SETTINGS_FILE):
        (model / "1" / left).unlink(missing_ok=True)
    for ensemble in ensembles:
        path = folder / ensemble.name / _CONFIG
        config, mapped = _STAGE_TIME.subn("", path.read_text())
        if mapped != 2:  # out of the language model, into the scores
            raise RepositoryError(
                path, f"expected 2 maps of {LANGUAGE_MODEL_US.name}, found {mapped}"
            )
        path.write_text(_bounded(config, limits, path))


def _bounded(config: str, limits: BatchLimits, path: Path) -> str:
    bounded, found = _MAX_BATCH.subn(f"max_batch_size: {limits.max_batch}", config)
    if found != 1:
        raise RepositoryError(path, f"expected one max_batch_size, found {found}")
    return bounded
