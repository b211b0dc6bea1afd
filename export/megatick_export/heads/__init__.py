"""What turns a text's last hidden state into classes: two ways to one ``Classifier``.

A fine-tuned classification head stands in the checkpoint (``classification``); a base or
instruction model answers a prompt with one of three words (``zero_shot``).
"""

from megatick_export.heads.classification import classification
from megatick_export.heads.classifier import Classifier, Prompt
from megatick_export.heads.zero_shot import zero_shot

__all__ = ["Classifier", "Prompt", "classification", "zero_shot"]
