"""A ``sentiment`` that answers at once, for what measures the client and not the model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

_CONFIG: Final = """
backend: "python"
max_batch_size: 256
input [ { name: "TEXT", data_type: TYPE_STRING, dims: [ 1 ] } ]
output [
  { name: "PROBABILITIES", data_type: TYPE_FP32, dims: [ 3 ] },
  { name: "SCORE", data_type: TYPE_FP32, dims: [ 1 ] },
  { name: "TOKENS", data_type: TYPE_INT32, dims: [ 1 ] },
  { name: "TRUNCATED", data_type: TYPE_BOOL, dims: [ 1 ] },
  { name: "MODEL_DIGEST", data_type: TYPE_STRING, dims: [ 1 ] }
]
instance_group [ { count: 1, kind: KIND_CPU } ]
"""


def instant(folder: Path) -> Path:
    """Lay out a repository whose ``sentiment`` answers zeros at once."""
    version = folder / "sentiment" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(_CONFIG)
    shutil.copy(Path(__file__).parent / "no_op" / "model.py", version)
    (folder / "receipt.json").write_text("{}")
    return folder
