"""What an engine was built with and for: a plan runs nowhere else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megatick_export.engine.gpu import Gpu
from megatick_export.engine.library import Library
from megatick_export.engine.profiles import Range
from megatick_export.errors import EngineError


@dataclass(frozen=True)
class EngineRecord:
    """What is written beside a plan.

    Attributes:
        library: ``tensorrt``.
        library_version: the runtime that loads the plan must have the same.
        gpu: name of the GPU it was built on.
        compute_capability: of that GPU, such as ``8.9``; the GPU that runs it must have
            the same.
        graph_sha256: of the ONNX file it was built from.
        profile: range of each input's axis, by name.
        layers: of the engine.
        attentions: in the graph.
        fused_attentions: of them in one kernel.
        attention_precisions: how many of these kernels take each precision.
        linear_precisions: how many linear layers have each precision.
        build_s: seconds.
        memory_bytes: reserved on the GPU for an execution.
        plan_bytes: of the file.
    """

    library: str
    library_version: str
    gpu: str
    compute_capability: str
    graph_sha256: str
    profile: dict[str, Range]
    layers: int
    attentions: int
    fused_attentions: int
    attention_precisions: dict[str, int]
    linear_precisions: dict[str, int]
    build_s: float
    memory_bytes: int | None
    plan_bytes: int

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> EngineRecord:
        """Read a record.

        Raises:
            EngineError: the file is absent or no record.
        """
        try:
            held: dict[str, Any] = json.loads(path.read_text())
            ranges = {name: Range(**axis) for name, axis in held.pop("profile").items()}
            return cls(profile=ranges, **held)
        except OSError as error:
            raise EngineError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EngineError(f"{path}: is not an engine's record: {error!r}") from error

    def mismatches(self, gpu: Gpu, library: Library, graph_sha256: str) -> list[str]:
        """Why the plan does not suit this machine and graph; empty if it does."""
        return [
            f"{what}: built for {built}, found {found}"
            for what, built, found in (
                ("GPU", self.gpu, gpu.name),
                ("compute capability", self.compute_capability, gpu.compute_capability),
                ("library", self.library, library.name),
                ("version", self.library_version, library.version),
                ("graph (SHA-256)", self.graph_sha256, graph_sha256),
            )
            if built != found
        ]
