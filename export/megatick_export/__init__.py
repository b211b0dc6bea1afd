"""A Megatron checkpoint as a model repository, with the evidence that it is the same."""

from megatick_export.checkpoint import (
    Architecture,
    Checkpoint,
    read_architecture_file,
    read_checkpoint,
    write_checkpoint,
)
from megatick_export.network import Network, reference_network
from megatick_export.options import ExportOptions
from megatick_export.receipt import Receipt
from megatick_export.repository import export_repository

__all__ = [
    "Architecture",
    "Checkpoint",
    "ExportOptions",
    "Network",
    "Receipt",
    "export_repository",
    "read_architecture_file",
    "read_checkpoint",
    "reference_network",
    "write_checkpoint",
]
