"""What the exporter tells a step: one ``settings.json`` in the model's version folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from megatick_server.engine import Precision
from megatick_server.errors import ArtefactError

SETTINGS_FILE = "settings.json"

_Settings = TypeVar("_Settings", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreprocessSettings(_Strict):
    """Of the ``preprocess`` step: the model's window, in tokens."""

    max_tokens: int = Field(ge=1)


class LanguageModelSettings(_Strict):
    """Of the ``language_model`` step.

    Attributes:
        precision: of the matrix products.
        max_batch_tokens: most tokens in one run of the graph.
    """

    precision: Precision
    max_batch_tokens: int = Field(ge=1)


class SentimentSettings(_Strict):
    """Of the ``sentiment_scores`` step: what is served, and how fast news fades."""

    model_digest: str
    half_life_s: float = Field(gt=0)


class ForecastSettings(_Strict):
    """Of the ``price_forecast`` step: what is served."""

    model_digest: str


@dataclass(frozen=True)
class ModelFolder:
    """A model's version folder, as Triton names it to a starting step."""

    path: Path

    @classmethod
    def of(cls, triton_args: Mapping[str, str]) -> ModelFolder:
        """Find the folder from the arguments of Triton's ``initialize``."""
        return cls(Path(triton_args["model_repository"]) / triton_args["model_version"])

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
            raise ArtefactError(
                path, f"does not hold the settings: {error.errors()[0]['msg']}"
            ) from error
