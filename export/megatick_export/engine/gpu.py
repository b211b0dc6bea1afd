"""The GPU of this machine, as its driver tells it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from megatick_export.errors import EngineError

_DRIVER: Final = "libcuda.so.1"
_MAJOR: Final = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, cuda.h
_MINOR: Final = 76
_NAME_BYTES: Final = 256
_HINT: Final = (
    "build the engine on the machine that will serve it; `--check-only SM89,SM120` "
    "compiles the graph on a machine without a GPU"
)


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: such as ``NVIDIA L4``.
        compute_capability: such as ``8.9``.
    """

    name: str
    compute_capability: str


def find_gpu() -> Gpu:
    """Ask the driver for its first GPU.

    Raises:
        EngineError: there is no driver, or it sees no GPU.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError as error:
        raise EngineError(
            f"no NVIDIA driver on this machine ({_DRIVER} is not there): {_HINT}"
        ) from error
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise EngineError(f"the NVIDIA driver sees no GPU on this machine: {_HINT}")
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    failed = (
        driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    if failed:
        raise EngineError(f"the NVIDIA driver cannot describe its GPU (error {failed})")
    return Gpu(name.value.decode(), f"{major.value}.{minor.value}")
