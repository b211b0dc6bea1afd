"""Megatron checkpoints, read and written: any layout in, one naming of tensors out.

    checkpoint = read_checkpoint("checkpoints/finbert")
    checkpoint.architecture.num_layers
    checkpoint.weights["decoder.layers.0.self_attention.linear_qkv.weight"]

Nothing in a checkpoint is ever executed: ``pickles`` says how.
"""

from megatick_export.checkpoint.absent import read_architecture_file
from megatick_export.checkpoint.architecture import Architecture
from megatick_export.checkpoint.read import Checkpoint, read_checkpoint
from megatick_export.checkpoint.write import write_checkpoint

__all__ = [
    "Architecture",
    "Checkpoint",
    "read_architecture_file",
    "read_checkpoint",
    "write_checkpoint",
]
