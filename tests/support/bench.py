"""A tiny network in float32 and what its precisions are measured with, in no files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny import BERT, GPT2, LLAMA, random_weights

from megatick_contract import LABELS
from megatick_export import Network
from megatick_export.evaluation import EvaluationTexts
from megatick_export.heads import Classifier
from megatick_export.packed import PackedClassifier
from megatick_export.parity import ragged_rows, torch_engine
from megatick_export.precision.budgets import Budgets
from megatick_export.precision.candidates import Workbench

ARCHITECTURES = {"llama": LLAMA, "gpt2": GPT2, "bert": BERT}

ROWS = [row[:40] for row in ragged_rows(vocab_size=256, max_tokens=96)]
"""64 rows of 1 to 40 random tokens."""


def tiny_network(name: str) -> Network:
    """Make a new one, with the same weights each time."""
    network = Network(ARCHITECTURES[name])
    network.load_state_dict(random_weights(ARCHITECTURES[name]))
    return network.eval().requires_grad_(requires_grad=False)


def workbench(network: Network, folder: Path, **changes: Any) -> Workbench:
    """Measure a network's precisions on ``ROWS``; its float32 graph is not written."""
    given: dict[str, Any] = {
        "classifier": Classifier(network, LABELS),
        "target": "onnx",
        "texts": EvaluationTexts(("",) * len(ROWS), None, "random tokens", None),
        "rows": ROWS,
        "reference": torch_engine(PackedClassifier(network))(ROWS),
        "graph_fp32": folder / "fp32.onnx",
        "folder": folder,
        "embedding": False,
        "metadata": {},
        "fp8_attention": False,
        "trained_inputs": {},
        "max_batch_tokens": 4096,
        "budgets": Budgets(flips=0.05, score=0.05),
    }
    return Workbench(**(given | changes))
