"""How far the reference network is from Megatron's own logits, a table row a checkpoint.

    python benchmarks/checkpoint_parity.py [DIR ...]

reads every ``DIR/*/`` that holds a checkpoint and a ``reference.npz`` (the golden ones
without a DIR) and prints the Markdown of docs/checkpoints.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from megatick_export import Checkpoint, read_checkpoint, reference_network
from megatick_export.receipt import machine

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
_HEADER = (
    "| checkpoint | by | layout | shards | dtype | architecture | largest difference |",
    "|---|---|---|---|---|---|---|",
)


def largest_difference(checkpoint: Checkpoint, folder: Path) -> float:
    """Compare logits, float32, where there is no padding."""
    with np.load(folder / "reference.npz") as arrays:
        names = ("input_ids", "attention_mask", "tokentype_ids")
        inputs = [torch.from_numpy(arrays[name]) for name in names if name in arrays]
        expected = torch.from_numpy(arrays["logits"])
    network = reference_network(checkpoint)
    with torch.inference_mode():
        if expected.dim() == 2:  # of classes
            return float((network(*inputs) - expected).abs().max())
        logits = network.language_logits(network.encode(*inputs))
    error = (logits - expected).abs()
    return float(error[inputs[1] > 0].max() if len(inputs) > 1 else error.max())


def in_words(checkpoint: Checkpoint) -> str:
    """Say what sets an architecture apart."""
    a = checkpoint.architecture
    positions = {"learned": "learned positions", "none": "no positions"}
    rotary = f"RoPE {a.rotary_percent:.0%} base {a.rotary_base:.0f}"
    heads = f"{a.num_attention_heads}/{a.num_query_groups} heads"
    parts = [
        a.kind.upper(),
        positions.get(a.position_embedding, rotary),
        "interleaved" if a.rotary_interleaved and a.position_embedding == "rope" else "",
        a.normalization + (" (1p)" if a.zero_centered_gamma else ""),
        ("gated " if a.gated else "") + a.activation,
        heads,
        "biases" if a.linear_bias else "QKV bias" if a.qkv_bias else "no biases",
        "QK norm" if a.qk_norm else "",
        "tied" if a.tied_embeddings else "untied",
        "pooler" if a.pooler else "",
        f"{a.classes} classes" if a.classes is not None else "",
    ]
    return ", ".join(filter(None, parts))


def written_by(info: Mapping[str, str]) -> str:
    """Name the release that wrote a checkpoint and computed its logits."""
    core = info.get("megatron_core")
    release = f"core {core}" if core else f"Megatron-LM {info['megatron_lm']}"
    return f"{release}, partly by hand" if "by_hand" in info else release


def main() -> None:
    """Print the table, its date and its machine."""
    parents = [Path(given) for given in sys.argv[1:]] or [GOLDEN]
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, {machine()}", "", *_HEADER]
    for parent in parents:
        for folder in sorted(file.parent for file in parent.glob("*/reference.npz")):
            info = json.loads((folder / "info.json").read_text())
            read = read_checkpoint(folder, absent_args=info.get("args_if_absent"))
            shards = f"{read.tensor_parallel} x {read.pipeline_parallel}"
            shards += f" x {read.virtual_stages}" if read.virtual_stages > 1 else ""
            dtype = str(read.dtype).removeprefix("torch.")
            by = written_by(info)
            row = (folder.name, by, read.layout, shards, dtype, in_words(read))
            difference = largest_difference(read, folder)
            lines.append(f"| {' | '.join(row)} | {difference:.1e} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
