"""How near the packed engine comes to the machine's own limit.

    python benchmarks/limit.py REPOSITORY [--rounds 5]

Useful work is that of the matrix products on real tokens: 2 x weights x tokens, attention's
own products left out.  The limit is the same products done bare, one after another, at the
same shapes and precision, by the fastest of the libraries at hand; engine and products take
turns, so that a noisy machine is noisy for both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import openvino as ov
import torch
import typer
from openvino import opset13 as op
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_contract.cpu_engine import openvino_core
from megatick_contract.packing import plan_batches
from megatick_server.cpus import usable_cpus

Product = Callable[[], object]
_HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    rows: Annotated[int, typer.Option(help="Texts.")] = 256,
    rounds: Annotated[int, typer.Option(help="Turns of engine and products.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "raw_over_limit",
) -> None:
    """Measure useful GFLOP/s of the engine, and of the bare products."""
    subject = Subject.of(repository)
    if subject.settings.precision == "int8":
        raise typer.BadParameter("int8 has no bare product here: export fp32 or bf16")
    torch.set_num_threads(usable_cpus())
    tokenized = subject.rows(read_texts(texts, rows))
    tokens = sum(map(len, tokenized))
    plan = plan_batches(
        [len(row) for row in tokenized],
        max_batch_tokens=subject.settings.max_batch_tokens,
    )
    sizes = [sum(len(tokenized[row]) for row in batch) for batch in plan]
    shapes = linear_shapes(repository)
    flops = 2 * tokens * sum(count * k * n for (k, n), count in shapes.items())
    products = {
        library: [
            (make(size, k, n, subject.settings.precision), count)
            for size in sizes
            for (k, n), count in shapes.items()
        ]
        for library, make in (("openvino", openvino_product), ("torch", torch_product))
    }
    subject.run(tokenized)
    seconds: dict[str, list[float]] = {"engine": [], **{each: [] for each in products}}
    for _ in range(rounds):
        seconds["engine"].append(subject.run(tokenized))
        for library, chain in products.items():
            seconds[library].append(sum(timed(run) * count for run, count in chain))
    gflops = {each: flops / median(taken) / 1e9 for each, taken in seconds.items()}
    best = max(products, key=lambda each: gflops[each])
    ratios = [
        min(seconds[library][turn] for library in products) / seconds["engine"][turn]
        for turn in range(rounds)
    ]
    figures = {
        "raw_over_limit": median(ratios),
        "gflops": gflops,
        "limit_library": best,
        "tokens": tokens,
        "runs": len(sizes),
        "rounds": rounds,
        "texts_per_s": rows / median(seconds["engine"]),
        "subject": subject.about(),
    }
    table = Table("", "useful GFLOP/s")
    for each, value in gflops.items():
        table.add_row(each, f"{value:.0f}")
    console = Console()
    console.print(table)
    console.print(f"engine over the best bare products: {median(ratios):.2f}")
    console.print(f"wrote {write(name, figures, out=out)}")


def linear_shapes(repository: Path) -> dict[tuple[int, int], int]:
    """List a network's matrix products: (inputs, outputs) and how many of each.

    The last layer's output projection and feed-forward run on pooled tokens alone, so
    they are left out, as is the head.
    """
    receipt = json.loads((repository / "receipt.json").read_text())
    it = receipt["architecture"]
    hidden, ffn = it["hidden_size"], it["ffn_hidden_size"]
    query = it["num_attention_heads"] * it["kv_channels"]
    qkv = query + 2 * it["num_query_groups"] * it["kv_channels"]
    up = 2 * ffn if it["gated"] else ffn
    layers = it["num_layers"]
    shapes: dict[tuple[int, int], int] = {}
    for shape, count in (
        ((hidden, qkv), layers),
        ((query, hidden), layers - 1),
        ((hidden, up), layers - 1),
        ((ffn, hidden), layers - 1),
    ):
        shapes[shape] = shapes.get(shape, 0) + count
    return shapes


def openvino_product(m: int, k: int, n: int, precision: str) -> Product:
    """[m, k] x [k, n] with constant weights, compiled for just that."""
    given = op.parameter([m, k], np.float32)
    weights = op.constant(np.random.default_rng(0).standard_normal((k, n), np.float32))
    model = ov.Model([op.matmul(given, weights, False, False)], [given])
    options = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": str(usable_cpus()),
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino_core().compile_model(model, "CPU", options).create_infer_request()
    feed = np.ones((m, k), np.float32)
    return lambda: request.infer([feed], share_inputs=True, share_outputs=True)


def torch_product(m: int, k: int, n: int, precision: str) -> Product:
    """The same in torch, in the precision's own dtype from end to end."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.ones(m, k, dtype=dtype), torch.ones(n, k, dtype=dtype)
    return lambda: torch.nn.functional.linear(left, right)


def timed(run: Product) -> float:
    """Seconds of one product, the better of two after a first."""
    run()
    taken = []
    for _ in range(2):
        started_s = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started_s)
    return min(taken)


if __name__ == "__main__":
    typer.run(main)
