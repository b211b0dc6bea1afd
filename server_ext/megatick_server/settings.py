"""What the exporter tells a step, in the model's version folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from megatick_contract.cpu_engine import CpuPrecision
from megatick_contract.repository import DIGEST_FILE, SETTINGS_FILE
from megatick_server.errors import ArtefactError

_Settings = TypeVar("_Settings", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreprocessSettings(_Strict):
    """Of the ``preprocess`` step.

    Attributes:
        max_tokens: the model's window, in tokens.
        longest: how long a request's ``longest`` always is, for an engine that is compiled
            for that length alone; None makes it as long as the request's longest row.
    """

    max_tokens: int = Field(ge=1)
    longest: int | None = Field(default=None, ge=1)


class SentimentSettings(_Strict):
    """Of the ``sentiment_scores`` step.

    Attributes:
        half_life_s: seconds in which news loses half its weight.
        score_tolerance: how far a score may move with the rows it is computed beside; None
            in a repository of before this was told, whose models have no output for it.
    """

    half_life_s: float = Field(gt=0, allow_inf_nan=False)
    score_tolerance: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class ScorerSettings(PreprocessSettings, SentimentSettings):
    """Of the ``scorer`` step, which is all of them.

    Attributes:
        precision: of the matrix products.
        input_group: in INT8, the channels of an input that shared a scale where it was
            measured; None in other precisions, and in a repository of before this was told.
        max_batch_tokens: most tokens in one run of the graph.
        max_backfill_tokens: the same where only backfill waits.
    """

    precision: CpuPrecision
    input_group: int | None = Field(default=None, ge=1)
    max_batch_tokens: int = Field(ge=1)
    max_backfill_tokens: int = Field(ge=1)


@dataclass(frozen=True)
class ModelFolder:
    """A model's version folder, as Triton names it to a starting step."""

    path: Path

    @classmethod
    def of(cls, triton_args: Mapping[str, str]) -> ModelFolder:
        """Find the folder from the arguments of Triton's ``initialize``."""
        return cls(Path(triton_args["model_repository"]) / triton_args["model_version"])

    def model_digest(self) -> str:
        """Read the SHA-256 of all that is served, in hex.

        Raises:
            ArtefactError: the file is absent.
        """
        path = self.path / DIGEST_FILE
        try:
            return path.read_text().strip()
        except OSError as error:
            raise ArtefactError(path, f"cannot be read: {error.strerror}") from error

    def settings(self, kind: type[_Settings]) -> _Settings:
        """Read the step's settings.

        Raises:
            ArtefactError: the file is absent or does not hold what the step needs.
        """
        path = self.path / SETTINGS_FILE
        try:
            return kind.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise ArtefactError(path, "expected settings, found no file") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise ArtefactError(
                path,
                "does not hold the settings that this version reads: "
                f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}; export again",
            ) from error
