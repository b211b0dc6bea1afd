"""The language model of an exported repository, as an engine's builder sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer

from megatick_contract.repository import GRAPH_FILE, SETTINGS_FILE, TOKENIZER_FILE
from megatick_contract.steps import LANGUAGE_MODEL, PREPROCESS
from megatick_export.engine.profiles import BatchLimits, Profile
from megatick_export.errors import RepositoryError
from megatick_export.headlines import headlines

_PLATFORM: Final = re.compile(r'^platform: "tensorrt_plan"', re.MULTILINE)
_MAX_BATCH: Final = re.compile(r"^max_batch_size: (\d+)", re.MULTILINE)
_HEADLINES: Final = 2000


@dataclass(frozen=True)
class EngineFolder:
    """The language model's folder in an exported repository, and what bounds its batches.

    Attributes:
        path: the model's folder.
        graph: the ONNX file.
        limits: what its configs let in.
        tokenizer: the repository's tokenizer.
    """

    path: Path
    graph: Path
    limits: BatchLimits
    tokenizer: Path

    @classmethod
    def of(cls, repository: Path) -> EngineFolder:
        """Find it.

        Raises:
            RepositoryError: it is absent, or was exported for another target.
        """
        folder = repository / LANGUAGE_MODEL.name
        before = repository / PREPROCESS.name / "1"
        try:
            config = (folder / "config.pbtxt").read_text()
            settings = json.loads((before / SETTINGS_FILE).read_text())
            max_tokens = int(settings["max_tokens"])
            whole_window = settings.get("longest") is not None
        except OSError as error:
            raise RepositoryError(
                Path(error.filename or repository),
                f"cannot be read: {error.strerror}; expected a model repository that "
                "`megatick export --target tensorrt` wrote",
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise RepositoryError(
                before / SETTINGS_FILE, f"does not hold the settings: {error!r}"
            ) from error
        max_batch = _MAX_BATCH.search(config)
        if not _PLATFORM.search(config) or max_batch is None:
            raise RepositoryError(
                repository,
                "was not exported for TensorRT: export it with --target tensorrt",
            )
        graph = folder / "1" / GRAPH_FILE
        if not graph.is_file():
            raise RepositoryError(graph, "is missing: export the repository again")
        limits = BatchLimits(max_tokens, int(max_batch[1]), whole_window=whole_window)
        return cls(folder, graph, limits, before / TOKENIZER_FILE)

    def profile(self, row_lengths: Iterable[int] | None = None) -> Profile:
        """The engine's profile.

        Args:
            row_lengths: tokens of typical texts; None takes the lengths that invented
                headlines have with the repository's tokenizer.
        """
        if row_lengths is None:
            tokenizer = Tokenizer.from_file(str(self.tokenizer))
            encoded = tokenizer.encode_batch(headlines(_HEADLINES))
            row_lengths = [len(each.ids) for each in encoded]
        return Profile.of(self.limits, row_lengths)
