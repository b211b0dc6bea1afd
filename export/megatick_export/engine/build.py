"""Build the plan of an exported repository on the GPU that will run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from megatick_contract.files import whole
from megatick_contract.repository import ENGINE_RECORD_FILE, PLAN_FILE
from megatick_contract.steps import LANGUAGE_MODEL
from megatick_export.engine.compile import compile_graph
from megatick_export.engine.folder import EngineFolder
from megatick_export.engine.gpu import find_gpu
from megatick_export.engine.library import load_library
from megatick_export.engine.record import EngineRecord
from megatick_export.errors import EngineError, RepositoryError
from megatick_export.hashes import sha256


def build_engine(
    repository: Path,
    *,
    row_lengths: Iterable[int] | None = None,
    timing_cache: Path | None = None,
    rebuild: bool = False,
    progress: Callable[[str], None] = lambda stage: None,
) -> EngineRecord:
    """Build ``model.plan`` for the GPU of this machine, and write what it was built for.

    Args:
        repository: exported for TensorRT.
        row_lengths: tokens of typical texts, which the engine is made fastest at; None
            takes those of invented headlines.
        timing_cache: a file that makes the next build faster.
        rebuild: replace a plan that is there.
        progress: called with a few words as each stage begins.

    Returns:
        The record, also of a plan that was there and suits this machine.

    Raises:
        EngineError: no GPU, driver or library; a plan is there that was built for another
            GPU, library, version or graph; or the compiler refuses the graph.
        RepositoryError: the repository is absent or was exported for another target.
    """
    folder = EngineFolder.of(repository)
    gpu = find_gpu()
    library = load_library("tensorrt")
    plan = folder.path / "1" / PLAN_FILE
    graph_sha256 = sha256(folder.graph)
    if plan.exists() and not rebuild:
        record = read_record(repository)
        wrong = record.mismatches(gpu, library, graph_sha256)
        if wrong:
            raise EngineError(
                f"{plan}: does not suit this machine: {'; '.join(wrong)}.  Build it again "
                "with --rebuild, or serve it where it was built."
            )
        return record
    if timing_cache is not None and not timing_cache.absolute().parent.is_dir():
        raise EngineError(f"{timing_cache}: its folder does not exist: make it first")
    profile = folder.profile(row_lengths)
    progress(f"compiling for {gpu.name} with TensorRT {library.version}")
    compiled = compile_graph(library, folder.graph, profile, timing_cache=timing_cache)
    record = EngineRecord(
        library=library.name,
        library_version=library.version,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        graph_sha256=graph_sha256,
        profile=dict(profile.axes),
        layers=compiled.layers.layers,
        attentions=compiled.layers.attentions,
        fused_attentions=compiled.layers.fused_attentions,
        attention_precisions=compiled.layers.attention_precisions,
        linear_precisions=compiled.layers.precisions,
        build_s=round(compiled.seconds, 1),
        memory_bytes=compiled.memory_bytes,
        plan_bytes=len(compiled.plan),
    )
    _replace(plan, compiled.plan)
    _replace(folder.path / ENGINE_RECORD_FILE, record.to_json().encode())
    return record


def read_record(repository: Path) -> EngineRecord:
    """Read what a repository's plan was built with and for.

    Raises:
        EngineError: the record is absent or unreadable.
    """
    return EngineRecord.read(repository / LANGUAGE_MODEL.name / ENGINE_RECORD_FILE)


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole, or not at all."""
    try:
        with whole(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise RepositoryError(path, f"cannot be written: {error.strerror}") from error
