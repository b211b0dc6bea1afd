"""Write the tensors of every public model as tables, from ``contract/``.

python tools/wire_tables.py > docs/wire.md
"""

from __future__ import annotations

from megatick_contract import (
    LABELS,
    OPTIONAL_MODELS,
    PUBLIC_MODELS,
    STAGES_OF,
    TRUNCATIONS,
    Model,
    Tensor,
)
from megatick_contract.admission import (
    DEFAULT_PRIORITY,
    PRIORITIES,
    PRIORITY_PARAMETER,
)
from megatick_contract.models import PRICE_FORECAST, ROWS_PER_REQUEST
from megatick_contract.tensors import ANY
from megatick_contract.text import TRUNCATION_PARAMETER

HEAD = """# The wire

Made from `contract/` by `python tools/wire_tables.py > docs/wire.md`, which a test repeats.

Every model speaks KServe v2. Shapes are of **one row**; on the wire a leading axis of rows
comes before them, the same for all tensors of a request. A dot is a length that the model
decides. BYTES elements are UTF-8, each after its length in four bytes, little-endian; all
else is little-endian, row by row.
"""


def main() -> None:
    """Print the page."""
    print(page(), end="")  # noqa: T201


def page() -> str:
    """Write the page, in Markdown."""
    parts = [HEAD, _parameters()]
    parts += [_model(model) for model in PUBLIC_MODELS + OPTIONAL_MODELS]
    return "\n".join(parts)


def _parameters() -> str:
    truncations = ", ".join(f"`{each}`" for each in TRUNCATIONS)
    lanes = ", ".join(f"`{each}`" for each in PRIORITIES)
    labels = ", ".join(LABELS)
    most = PRICE_FORECAST.rows_per_request
    return f"""A request holds 1 to {ROWS_PER_REQUEST} rows on every server, up to 256 on a
CPU's; of `{PRICE_FORECAST.name}` up to {most} on every one. The class axis is {labels}.
All outputs come back unless the request names those that it wants; one with an asterisk
costs something or rarely matters. Request parameters:

| parameter | type | meaning |
|---|---|---|
| `timeout` | int64 | microseconds that the server may let the request wait |
| `{TRUNCATION_PARAMETER}` | string | of a text past the model's window: {truncations} |
| `{PRIORITY_PARAMETER}` | string | who goes first: {lanes}; else `{DEFAULT_PRIORITY}` |
"""


def _model(model: Model) -> str:
    optional = "\nOnly where it was exported.\n" if model in OPTIONAL_MODELS else ""
    stages = ", ".join(f"`{stage}`" for stage in STAGES_OF[model.name])
    lines = [f"## `{model.name}`", optional]
    lines += ["| | tensor | datatype | a row | meaning |", "|---|---|---|---|---|"]
    lines += [_line("in", tensor) for tensor in model.inputs]
    lines += [_line("out", tensor) for tensor in model.outputs]
    lines += ["", f"The values of `STAGE_US` are of {stages}.", ""]
    return "\n".join(lines)


def _line(way: str, tensor: Tensor) -> str:
    shape = ", ".join("·" if length == ANY else str(length) for length in tensor.shape)
    meaning = tensor.meaning.replace("|", "\\|")
    name = f"`{tensor.name}`{'*' if tensor.on_request else ''}"
    return f"| {way} | {name} | {tensor.datatype} | [{shape}] | {meaning} |"


if __name__ == "__main__":
    main()
