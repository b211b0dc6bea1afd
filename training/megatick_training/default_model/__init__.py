"""The model that Megatick serves when nobody brings one: SmolLM2-135M fine-tuned."""

from megatick_training.default_model.build import DEFAULT_ADAPTER, write_default_checkpoint
from megatick_training.default_model.smollm2 import SmolLM2, read_smollm2

__all__ = ["DEFAULT_ADAPTER", "SmolLM2", "read_smollm2", "write_default_checkpoint"]
