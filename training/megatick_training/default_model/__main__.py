"""Write the default model as a checkpoint, or what it was fine-tuned from.

python -m megatick_training.default_model build/smollm2 --bare
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megatick_training.default_model.build import DEFAULT_ADAPTER, write_default_checkpoint


def main(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    bare: Annotated[
        bool, typer.Option("--bare", help="Before fine-tuning, without a head.")
    ] = False,
) -> None:
    """Write the checkpoint and its tokenizer."""
    write_default_checkpoint(out, adapter=None if bare else DEFAULT_ADAPTER)


if __name__ == "__main__":
    typer.run(main)
