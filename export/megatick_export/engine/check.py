"""Prove, on a machine without a GPU, that NVIDIA's compiler takes the graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from megatick_export.engine.compile import compile_graph
from megatick_export.engine.folder import EngineFolder
from megatick_export.engine.layers import LayerReport
from megatick_export.engine.library import load_library
from megatick_export.engine.profiles import Profile


@dataclass(frozen=True)
class CompileCheck:
    """A graph that compiled.  It has not run, and what was compiled is not kept.

    Attributes:
        target: the GPU it was compiled for, such as ``SM89``.
        library_version: of ``tensorrt_rtx``.
        layers: what the compiler made of the graph.
        seconds: the build took.
        plan_bytes: size of what was compiled.
    """

    target: str
    library_version: str
    layers: LayerReport
    seconds: float
    plan_bytes: int


def check_compiles(
    graph: Path, profile: Profile, targets: Sequence[str]
) -> list[CompileCheck]:
    """Compile a packed graph for GPUs that are not there, with TensorRT-RTX.

    Args:
        graph: ONNX, as ``write_onnx`` writes it.
        profile: ranges of its inputs.
        targets: such as ``("SM89", "SM120")``.

    Raises:
        EngineError: ``tensorrt_rtx`` is absent, or refuses the graph or a target.
    """
    library = load_library("tensorrt_rtx")
    checks = []
    for target in targets:
        compiled = compile_graph(library, graph, profile, target=target)
        checks.append(
            CompileCheck(
                target=target,
                library_version=library.version,
                layers=compiled.layers,
                seconds=compiled.seconds,
                plan_bytes=len(compiled.plan),
            )
        )
    return checks


def check_repository(
    repository: Path, targets: Sequence[str], *, row_lengths: Iterable[int] | None = None
) -> list[CompileCheck]:
    """Compile the graph of a repository, with the profile that its plan would have.

    Args:
        repository: exported for TensorRT.
        targets: as ``check_compiles`` takes them.
        row_lengths: as ``build_engine`` takes them.

    Raises:
        EngineError: as ``check_compiles`` raises it.
        RepositoryError: the repository is absent or was exported for another target.
    """
    folder = EngineFolder.of(repository)
    return check_compiles(folder.graph, folder.profile(row_lengths), targets)
