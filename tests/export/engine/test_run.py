"""How a plan is run, with a stand-in for the library that reads and writes real memory.

Its methods are those of TensorRT-RTX's own classes, which are TensorRT's; its "GPU" is
this machine's memory, and its engine gives the sum of each row's tokens.
"""

from __future__ import annotations

import contextlib
import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorrt_rtx
import torch

from megatick_export.engine import BatchLimits, PlanRunner, gpu_library, plan_engine
from megatick_export.engine.gpu import Gpu
from megatick_export.engine.library import Library, Messages
from megatick_export.errors import EngineError

INPUTS = ("input_ids", "row_lengths", "max_seqlen", "longest")
OUTPUTS = {"logits": 3, "embedding": 2}
"""How many numbers a row each has."""

LIMITS = BatchLimits(max_tokens=8, max_batch=2)
STREAM = 77


class Context:
    """Executes: of a row's sum, logits are (1, 2, 3) times it, the embedding (-1, 4)."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.memory: tuple[int, int] | None = None
        self.executions: list[dict[str, tuple[int, ...]]] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return name != "max_seqlen" or shape[0] <= self.longest

    def infer_shapes(self) -> list[str]:
        return [name for name in INPUTS if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        return self.shapes["row_lengths"][0], OUTPUTS[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def update_device_memory_size_for_shapes(self) -> int:
        return 0

    def set_device_memory(self, address: int, size: int) -> None:
        self.memory = (address, size)

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == STREAM
        assert self.memory is not None
        ids, lengths = self._read("input_ids"), self._read("row_lengths")
        logits = self._memory("logits", ctypes.c_float, 3 * len(lengths))
        embedding = self._memory("embedding", ctypes.c_float, 2 * len(lengths))
        for row, ends in enumerate(np.cumsum(lengths)):
            total = float(ids[ends - lengths[row] : ends].sum())
            logits[3 * row : 3 * row + 3] = [total, 2 * total, 3 * total]
            embedding[2 * row : 2 * row + 2] = [-total, 4 * total]
        self.executions.append(dict(self.shapes))
        return True

    def _read(self, name: str) -> npt.NDArray[np.int32]:
        return np.array(self._memory(name, ctypes.c_int32, self.shapes[name][0]))

    def _memory(self, name: str, kind: Any, count: int) -> Any:
        return (kind * count).from_address(self.addresses[name])


class Engine:
    def __init__(self) -> None:
        self.context = Context(longest=8)
        self.names = (*INPUTS, *OUTPUTS)
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, number: int) -> str:
        return self.names[number]

    def get_tensor_mode(self, name: str) -> Any:
        modes = tensorrt_rtx.TensorIOMode
        return modes.OUTPUT if name in OUTPUTS else modes.INPUT

    def create_execution_context(self, strategy: Any) -> Context:
        assert strategy == tensorrt_rtx.ExecutionContextAllocationStrategy.USER_MANAGED
        return self.context


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> tuple[Library, Engine]:
    """The library, and the engine that it loads from ``b"plan"``."""
    engine = Engine()

    class Runtime:
        def __init__(self, logger: Any) -> None:
            pass

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            return engine if plan == b"plan" else None

    module = SimpleNamespace(
        Runtime=Runtime,
        ILogger=tensorrt_rtx.ILogger,
        TensorIOMode=tensorrt_rtx.TensorIOMode,
        ExecutionContextAllocationStrategy=tensorrt_rtx.ExecutionContextAllocationStrategy,
    )
    where = "megatick_export.engine.run"
    stream = SimpleNamespace(cuda_stream=STREAM, synchronize=lambda: None)
    monkeypatch.setattr(f"{where}._DEVICE", "cpu")
    monkeypatch.setattr(f"{where}.messages_of", Messages)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    return Library("tensorrt", "10.9.0.34", module), engine


def rows(*lengths: int) -> list[npt.NDArray[np.int32]]:
    return [np.arange(1, length + 1, dtype=np.int32) for length in lengths]


def test_the_stand_in_has_no_method_that_the_library_lacks() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(Context) <= set(dir(tensorrt_rtx.IExecutionContext))
    assert public(Engine) <= set(dir(tensorrt_rtx.ICudaEngine))


def test_rows_are_run_a_full_batch_at_a_time(stand_in: tuple[Library, Engine]) -> None:
    library, engine = stand_in

    found = plan_engine(PlanRunner(library, b"plan"), LIMITS)(rows(1, 4, 2))

    # 1, 1 + 2 + 3 + 4 and 1 + 2, each times 1, 2 and 3, and -1 and 4.
    assert found.logits.tolist() == [[1, 2, 3], [10, 20, 30], [3, 6, 9]]
    assert found.embeddings is not None
    assert found.embeddings.tolist() == [[-1, 4], [-10, 40], [-3, 12]]
    assert engine.context.executions == [
        {"input_ids": (5,), "row_lengths": (2,), "max_seqlen": (4,), "longest": (4,)},
        {"input_ids": (2,), "row_lengths": (1,), "max_seqlen": (2,), "longest": (2,)},
    ]


def test_a_fixed_length_is_what_every_run_asks_for(
    stand_in: tuple[Library, Engine],
) -> None:
    library, engine = stand_in
    limits = BatchLimits(max_tokens=8, max_batch=2, whole_window=True)

    plan_engine(PlanRunner(library, b"plan"), limits)(rows(1, 4))

    assert engine.context.executions[0]["max_seqlen"] == (8,)


def test_a_length_outside_the_profile_is_named(stand_in: tuple[Library, Engine]) -> None:
    library, _ = stand_in

    with pytest.raises(EngineError, match="'max_seqlen' of length 9"):
        plan_engine(PlanRunner(library, b"plan"), LIMITS)(rows(9))


def test_an_input_that_is_missing_is_named(stand_in: tuple[Library, Engine]) -> None:
    library, _ = stand_in

    with pytest.raises(EngineError, match="expected inputs row_lengths, max_seqlen, lon"):
        PlanRunner(library, b"plan")({"input_ids": np.ones(1, np.int32)})


def test_a_plan_of_another_machine_cannot_be_loaded(
    stand_in: tuple[Library, Engine],
) -> None:
    library, _ = stand_in

    with pytest.raises(EngineError, match="cannot be loaded: it gave no reason"):
        PlanRunner(library, b"another")


def test_a_torch_without_cuda_is_named(
    stand_in: tuple[Library, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, _ = stand_in
    where = "megatick_export.engine.run"
    monkeypatch.setattr(f"{where}.find_gpu", lambda: Gpu("NVIDIA L4", "8.9"))
    monkeypatch.setattr(f"{where}.load_library", lambda name: library)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(EngineError, match="install its build for CUDA"):
        gpu_library()
