"""Fine-tuning: a Megatron checkpoint in, a Megatron checkpoint out."""

from megatick_training.finetuning.finetune import (
    STATE_FILE,
    Trained,
    Watcher,
    continue_pretraining,
    finetune,
)
from megatick_training.finetuning.heads import with_head, with_word_head
from megatick_training.finetuning.lora import merged
from megatick_training.finetuning.options import TrainingOptions
from megatick_training.finetuning.trainer import Look

__all__ = [
    "STATE_FILE",
    "Look",
    "Trained",
    "TrainingOptions",
    "Watcher",
    "continue_pretraining",
    "finetune",
    "merged",
    "with_head",
    "with_word_head",
]
