"""The packed graph as a TensorRT engine that Triton feeds with no Python in between.

``build`` compiles the graph for the GPU at hand; ``check`` compiles it for named GPUs on
a machine that has none, with the same calls; ``repository`` gives an exported repository
the configs of the TensorRT backend.
"""

from megatick_export.engine.build import build_engine, read_record
from megatick_export.engine.check import CompileCheck, check_compiles, check_repository
from megatick_export.engine.layers import LayerReport
from megatick_export.engine.profiles import BatchLimits, Profile
from megatick_export.engine.record import EngineRecord
from megatick_export.engine.repository import bound_batches

__all__ = [
    "BatchLimits",
    "CompileCheck",
    "EngineRecord",
    "LayerReport",
    "Profile",
    "bound_batches",
    "build_engine",
    "check_compiles",
    "check_repository",
    "read_record",
]
