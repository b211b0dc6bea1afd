"""The model repository on disk: the names that its writer and its server agree on."""

from __future__ import annotations

from typing import Final

RECEIPT_FILE: Final = "receipt.json"
"""At the root; a repository without it is not whole."""

RECEIPT_PAGE: Final = "receipt.html"
"""At the root; the receipt as a page to read."""

PROBE_FILE: Final = "probe.json"
"""At the root: texts, and what the float32 reference answers to them."""

SETTINGS_FILE: Final = "settings.json"
"""In a model's version folder: what the exporter tells that step."""

DIGEST_FILE: Final = "model_digest.txt"
"""In the version folder of a step that tells it: SHA-256 of all that is served, in hex.
It stands apart because it is computed over every other file."""

GRAPH_FILE: Final = "model.onnx"
PLAN_FILE: Final = "model.plan"
TOKENIZER_FILE: Final = "tokenizer.json"
FORECASTER_FILE: Final = "forecaster.json"

ENGINE_RECORD_FILE: Final = "engine.json"
"""In the language model's folder: what its ``model.plan`` was built with and for."""
