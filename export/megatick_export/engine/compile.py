"""Parse the graph, set the profile, build: the same calls for both libraries."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from megatick_contract.files import whole
from megatick_contract.steps import LOGITS, LONGEST
from megatick_export.engine.layers import (
    LayerReport,
    read_engine_layers,
    read_graph_layers,
    report_layers,
)
from megatick_export.engine.library import Library, messages_of
from megatick_export.engine.profiles import Profile
from megatick_export.errors import EngineError

_STRONG_BY_DEFAULT: Final = 11
"""From this major version of ``tensorrt`` on, precisions come from the graph alone."""


@dataclass(frozen=True)
class Compiled:
    """An engine.

    Attributes:
        plan: its bytes.
        layers: what the compiler made of the graph.
        seconds: the build took.
        memory_bytes: what an execution reserves on the GPU; None where no GPU tells it.
    """

    plan: bytes
    layers: LayerReport
    seconds: float
    memory_bytes: int | None


def compile_graph(
    library: Library,
    graph: Path,
    profile: Profile,
    *,
    target: str | None = None,
    timing_cache: Path | None = None,
) -> Compiled:
    """Compile a packed graph.

    Args:
        library: what compiles; its network is strongly typed, so that the graph alone
            decides each precision.
        graph: ONNX, as ``write_onnx`` writes it.
        profile: ranges of its inputs.
        target: a GPU that need not be there, such as ``SM89``; ``tensorrt_rtx`` only.
            None compiles for the GPU at hand.
        timing_cache: a file that is read if it is there, and written; it makes the next
            build of a similar graph on the same GPU faster.

    Raises:
        EngineError: the library refuses the graph or the target.
    """
    trt = library.module
    messages = messages_of(trt)
    messages.lines.clear()
    builder = trt.Builder(messages.logger)
    network = _parse(library, builder, graph)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if target is not None:
        _aim(trt, config, target)
    ranges = builder.create_optimization_profile()
    for name, axis in profile.axes.items():
        ranges.set_shape(name, (axis.smallest,), (axis.typical,), (axis.largest,))
    config.add_optimization_profile(ranges)
    cache = None
    if timing_cache is not None:
        known = timing_cache.read_bytes() if timing_cache.is_file() else b""
        cache = config.create_timing_cache(known)
        if not config.set_timing_cache(cache, False):
            raise EngineError(
                f"{timing_cache}: is the timing cache of another GPU or version: name "
                "another file with --timing-cache"
            )
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise EngineError(
            f"{graph}: {library.name} {library.version} cannot compile it"
            f"{f' for {target}' if target else ''}: {messages.errors()}"
        )
    if timing_cache is not None and cache is not None:
        with whole(timing_cache) as unfinished:
            unfinished.write_bytes(bytes(cache.serialize()))
    description, memory_bytes = _describe(library, plan, at_hand=target is None)
    engine_layers = read_engine_layers(description)
    return Compiled(
        bytes(plan),
        report_layers(engine_layers, read_graph_layers(graph)),
        seconds,
        memory_bytes,
    )


def _parse(library: Library, builder: Any, graph: Path) -> Any:
    """Read the graph into a network, with the one input that only Triton needs."""
    trt = library.module
    flags = 0
    if library.name == "tensorrt" and library.major < _STRONG_BY_DEFAULT:
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, messages_of(trt).logger)
    if not parser.parse_from_file(str(graph)):
        problems = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"{graph}: {library.name} cannot read it: {problems}")
    # Triton makes max_seqlen from a request's `longest`, and lets a request have only
    # inputs that the engine has.  Nothing reads this one; TensorRT keeps unread inputs.
    network.add_input(LONGEST.name, trt.int32, (-1,))
    outputs = {
        output.name: output.dtype
        for output in (network.get_output(i) for i in range(network.num_outputs))
    }
    if LOGITS.name not in outputs or set(outputs.values()) != {trt.float32}:
        raise EngineError(
            f"{graph}: expected outputs of float32, {LOGITS.name!r} among them, found "
            f"{ {name: str(dtype) for name, dtype in outputs.items()} }: export it again"
        )
    return network


def _aim(trt: Any, config: Any, target: str) -> None:
    """Compile for a GPU that is not there."""
    known = trt.ComputeCapability.__members__
    if target not in known or not target.startswith("SM"):
        names = ", ".join(sorted((n for n in known if n.startswith("SM")), key=_number))
        raise EngineError(
            f"target {target!r}: expected one of {names}, which are what this version of "
            "TensorRT-RTX compiles for; other GPUs need `tensorrt` and the GPU itself"
        )
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(known[target], 0):
        raise EngineError(f"target {target!r}: TensorRT-RTX refuses it")


def _number(target: str) -> int:
    return int(target.removeprefix("SM"))


def _describe(library: Library, plan: Any, *, at_hand: bool) -> tuple[str, int | None]:
    """The engine's layers, one a line, and the memory it reserves."""
    trt = library.module
    messages = messages_of(trt)
    if not at_hand:  # no GPU to load it: the builder has logged them
        for _, text in messages.lines:
            if text.startswith("Layers:"):
                return text, None
        return "", None
    engine = trt.Runtime(messages.logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"the new engine cannot be loaded: {messages.errors()}")
    inspector = engine.create_engine_inspector()
    description = inspector.get_engine_information(trt.LayerInformationFormat.ONELINE)
    return str(description), int(engine.device_memory_size_v2)
