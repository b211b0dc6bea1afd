"""What an export tells the configs of a repository whose language model is an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from megatick_contract.models import EMBEDDING_MODEL, MARKET_VIEW, SENTIMENT
from megatick_contract.steps import LANGUAGE_MODEL
from megatick_export.engine.profiles import BatchLimits
from megatick_export.errors import RepositoryError

_CONFIG: Final = "config.pbtxt"
_EMBEDDING: Final = Path(__file__).with_name("embedding.pbtxt")
_LENGTH: Final = re.compile(r"(?<=dims: \[ -1, )\d+")
_MAX_BATCH: Final = re.compile(r"^max_batch_size: \d+", re.MULTILINE)


def bound_batches(folder: Path, limits: BatchLimits) -> None:
    """Let the engine, and the ensembles that feed it, take ``limits.max_batch`` rows.

    Args:
        folder: a repository written from the templates for TensorRT.
        limits: what one execution of the engine may hold.

    Raises:
        RepositoryError: a config is not the template it was.
    """
    for model in (LANGUAGE_MODEL, SENTIMENT, MARKET_VIEW, EMBEDDING_MODEL):
        path = folder / model.name / _CONFIG
        if model is EMBEDDING_MODEL and not path.exists():
            continue
        bounded, found = _MAX_BATCH.subn(
            f"max_batch_size: {limits.max_batch}", path.read_text()
        )
        if found != 1:
            raise RepositoryError(path, f"expected one max_batch_size, found {found}")
        path.write_text(bounded)


def scatter_embedding(folder: Path, length: int) -> None:
    """Let Triton cut the engine's embeddings into those of each request.

    Args:
        folder: a repository written from the templates for TensorRT, whose graph gives
            the embedding.
        length: of one embedding, the model's hidden size.
    """
    path = folder / LANGUAGE_MODEL.name / _CONFIG
    scattered = _LENGTH.sub(str(length), _EMBEDDING.read_text())
    path.write_text(path.read_text() + scattered)  # a field given twice is one list
