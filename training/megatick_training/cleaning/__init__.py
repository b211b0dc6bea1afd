"""Cleaning that is right for a language model: what is no language goes, words stay.

Every step is a function of one text; ``clean_file`` counts what each touched, and keeps the
number of the source row beside each text.
"""

from megatick_training.cleaning.file import clean_file
from megatick_training.cleaning.report import CleaningReport, Dropped
from megatick_training.cleaning.steps import CleaningOptions, Step, steps_of

__all__ = [
    "CleaningOptions",
    "CleaningReport",
    "Dropped",
    "Step",
    "clean_file",
    "steps_of",
]
