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
from megatick_export.engine.repository import bound_batches, scatter_embedding
from megatick_export.engine.run import PlanRunner, gpu_compiler, gpu_library, plan_engine

__all__ = [
    "BatchLimits",
    "CompileCheck",
    "EngineRecord",
    "LayerReport",
    "PlanRunner",
    "Profile",
    "bound_batches",
    "build_engine",
    "check_compiles",
    "check_repository",
    "gpu_compiler",
    "gpu_library",
    "plan_engine",
    "read_record",
    "scatter_embedding",
]
