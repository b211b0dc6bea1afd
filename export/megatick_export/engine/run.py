"""Run a plan on this machine's GPU: what it answers, and so how fast it is.

Triton runs the plans that are served; this one measures them, with the calls that
TensorRT 10 and 11 have in common.  The buffers are torch's, and so is the memory that an
execution works in: as much as its own shapes need, where a context of TensorRT's own would
reserve the whole profile's for every precision that is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from megatick_contract.packing import packed_feed
from megatick_contract.steps import LONGEST
from megatick_export.engine.compile import compile_graph
from megatick_export.engine.gpu import find_gpu
from megatick_export.engine.library import Library, load_library, messages_of
from megatick_export.engine.profiles import MAX_SEQLEN, BatchLimits, Profile
from megatick_export.errors import EngineError
from megatick_export.parity import Engine, Outputs, Rows

_DEVICE: Final = "cuda:0"
"""The first GPU, for which ``compile_graph`` compiles."""


class PlanRunner:
    """A plan, loaded."""

    def __init__(self, library: Library, plan: bytes) -> None:
        """Load a plan.

        Args:
            library: the one, and in the version, that compiled it.
            plan: its bytes.

        Raises:
            EngineError: it was built for another GPU or version, or does not fit.
        """
        trt = library.module
        self._messages = messages_of(trt)
        self._messages.lines.clear()
        self._runtime = trt.Runtime(self._messages.logger)  # must outlive the engine
        self.engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise EngineError(f"the plan cannot be loaded: {self._messages.errors()}")
        self._context = self.engine.create_execution_context(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if self._context is None:
            raise EngineError(f"the plan cannot be run: {self._messages.errors()}")
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        self._outputs = [
            name
            for name in names
            if self.engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT
        ]

    def __call__(
        self, feed: Mapping[str, npt.NDArray[np.int32]]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Execute once, and wait for the answer.

        Args:
            feed: int32 arrays of one axis, for every input of the engine.

        Returns:
            float32 arrays, by the outputs' names.

        Raises:
            EngineError: a length is outside the profile, an input is missing, or the GPU
                failed.
        """
        context = self._context
        self._messages.lines.clear()
        stream = torch.cuda.Stream(_DEVICE)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            held = {
                name: torch.from_numpy(array).to(_DEVICE) for name, array in feed.items()
            }
            for name, tensor in held.items():
                if not context.set_input_shape(name, tuple(tensor.shape)):
                    raise EngineError(
                        f"input {name!r} of length {len(tensor)}: {self._messages.errors()}"
                    )
            missing = context.infer_shapes()
            if missing:
                raise EngineError(f"expected inputs {', '.join(missing)}, found none")
            for name in self._outputs:
                shape = tuple(context.get_tensor_shape(name))
                held[name] = torch.empty(shape, dtype=torch.float32, device=_DEVICE)
            for name, tensor in held.items():
                context.set_tensor_address(name, tensor.data_ptr())
            work_bytes = context.update_device_memory_size_for_shapes()
            work = torch.empty(max(work_bytes, 1), dtype=torch.uint8, device=_DEVICE)
            context.set_device_memory(work.data_ptr(), work_bytes)
            if not context.execute_async_v3(stream.cuda_stream):
                raise EngineError(f"the execution failed: {self._messages.errors()}")
            stream.synchronize()
            return {name: held[name].cpu().numpy() for name in self._outputs}


def plan_engine(run: PlanRunner, limits: BatchLimits) -> Engine:
    """Run rows through a plan as Triton's batcher would bring single texts.

    Args:
        run: the plan.
        limits: what it was built for.

    Returns:
        What takes any number of rows, ``limits.max_batch`` of them an execution, which is
        the batch that the profile is fastest at.
    """

    def engine(rows: Rows) -> Outputs:
        cuts = range(0, len(rows), limits.max_batch)
        feeds = (_feed(rows[cut : cut + limits.max_batch], limits) for cut in cuts)
        return Outputs.joined([Outputs.named(run(feed)) for feed in feeds])

    return engine


def gpu_library() -> Library:
    """Find all that running a plan needs: a GPU, ``tensorrt``, and torch for CUDA.

    Raises:
        EngineError: one of them is missing; it says which.
    """
    find_gpu()
    library = load_library("tensorrt")
    if not torch.cuda.is_available():
        raise EngineError(
            f"torch {torch.__version__} cannot reach this machine's GPU: install its build "
            "for CUDA"
        )
    return library


def gpu_compiler(
    limits: BatchLimits, row_lengths: Iterable[int]
) -> Callable[[Path], tuple[str, Engine]]:
    """Make what turns a graph into an engine on this machine's GPU.

    It compiles as ``build_engine`` does.

    Args:
        limits: what one execution may hold.
        row_lengths: tokens of typical texts, which the engines are made fastest at.

    Returns:
        A function of a graph's path: the engine's name and the engine.  It raises
        ``EngineError`` where TensorRT refuses the graph, as one in FP8 on a GPU without it.

    Raises:
        EngineError: this machine cannot run a plan.
    """
    library = gpu_library()
    profile = Profile.of(limits, row_lengths)

    def compiled(graph: Path) -> tuple[str, Engine]:
        plan = compile_graph(library, graph, profile).plan
        name = f"{library.name} {library.version}"
        return name, plan_engine(PlanRunner(library, plan), limits)

    return compiled


def _feed(
    rows: Sequence[npt.NDArray[np.int32]], limits: BatchLimits
) -> dict[str, npt.NDArray[np.int32]]:
    """The packed graph's feed, and the input that only Triton needs."""
    feed = packed_feed(rows)
    if limits.whole_window:
        feed[MAX_SEQLEN] = np.zeros(limits.longest, np.int32)
    return feed | {LONGEST.name: feed[MAX_SEQLEN]}
