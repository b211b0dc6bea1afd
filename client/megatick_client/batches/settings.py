"""What a batch is told once, and keeps to its end."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal, get_args

from megatick_client.batches.errors import SettingError
from megatick_client.deadlines import LONGEST_S
from megatick_contract import TRUNCATIONS, Truncation
from megatick_contract.admission import PRIORITIES, Priority

Engine = Literal["threads", "ray"]
ENGINES: Final[tuple[Engine, ...]] = get_args(Engine)

RESULTS: Final = (
    "label",
    "score",
    "negative",
    "neutral",
    "positive",
    "tokens",
    "truncated",
)
"""Columns that a batch adds, as ``Sentiments.to_frame`` names them."""


@dataclass(frozen=True)
class BatchSettings:
    """How the rows of a batch are scored.

    Attributes:
        column: of the input, that holds the texts.
        prefix: put before the names of the columns that are added, for an input that has
            a ``label`` or ``score`` of its own.
        truncation: what becomes of a text longer than the model's window: "head" or "tail"
            is read, or "error" makes it an error row.
        priority: "backfill" lets live calls pass; "live" does not.
        dedupe: score equal texts once.  Their answers are kept on disk beside the job.
        engine: "threads" of this process make the requests; or "ray" does, see
            ``megatick_client.batches.on_ray``.
        in_flight: requests (of up to 32 rows) that wait for an answer at a time, >= 1.
        timeout_s: of one request, seconds > 0.
        patience_s: how long servers may give no answer at all before the batch stops,
            seconds >= 0.

    Raises:
        SettingError: an attribute is out of its range.
    """

    column: str = "text"
    prefix: str = ""
    truncation: Truncation = "head"
    priority: Priority = "backfill"
    dedupe: bool = False
    engine: Engine = "threads"
    in_flight: int = 8
    timeout_s: float = 60.0
    patience_s: float = 600.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, choices in (
            ("truncation", TRUNCATIONS),
            ("priority", PRIORITIES),
            ("engine", ENGINES),
        ):
            value = getattr(self, name)
            if value not in choices:
                raise SettingError(
                    name, expected=f"one of {', '.join(choices)}", found=value
                )
        if not (isinstance(self.in_flight, int) and self.in_flight >= 1):
            raise SettingError(
                "in_flight", expected="an integer >= 1", found=self.in_flight
            )
        if not (_is_number(self.timeout_s) and 0 < self.timeout_s <= LONGEST_S):
            expected = f"seconds > 0, at most {LONGEST_S:g}"
            raise SettingError("timeout_s", expected=expected, found=self.timeout_s)
        if not (_is_number(self.patience_s) and self.patience_s >= 0):
            raise SettingError("patience_s", expected="seconds >= 0", found=self.patience_s)
        if self.dedupe and self.engine == "ray":
            raise SettingError("dedupe", expected='engine "threads"', found=self.engine)

    def check_engine(self) -> None:
        """Whether the engine is installed; who only looks at a batch does not need it.

        Raises:
            SettingError: it is not.
        """
        if self.engine == "ray" and find_spec("ray") is None:
            raise SettingError(
                "engine",
                expected="the package ray (pip install 'megatick[ray]')",
                found="no such package",
            )

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the columns that are added."""
        return tuple(self.prefix + name for name in RESULTS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
