"""What serving adds to the engine's own time, for one caller at a time.

    python benchmarks/tail.py REPOSITORY [--tokens 25] [--calls 400]

Texts of one length, concurrency 1.  The bare engine, the served model and an ensemble of
one step that does nothing (the floor of what Triton costs) take turns, so that a noisy
machine is noisy for all of them.  The floor is also called right after each run of the bare
engine, whose weights have driven everything else out of the CPU's caches by then, as
they have before a served call's answer.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import tritonclient.grpc as triton
import typer
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_server.launcher import ServeOptions, TritonServer

Run = Callable[[int], object]
"""Does one call, by its number."""

_BLOCK: Final = 20
_OUTPUTS: Final = ("PROBABILITIES", "SCORE", "TOKENS", "TRUNCATED")
_NO_OP: Final = """
backend: "python"
max_batch_size: 256
input [ { name: "TEXT", data_type: TYPE_STRING, dims: [ 1 ] } ]
output [ { name: "SCORE", data_type: TYPE_FP32, dims: [ 1 ] } ]
instance_group [ { count: 1, kind: KIND_CPU } ]
"""
_FLOOR: Final = """
platform: "ensemble"
max_batch_size: 256
input [ { name: "TEXT", data_type: TYPE_STRING, dims: [ 1 ] } ]
output [ { name: "OUT", data_type: TYPE_FP32, dims: [ 1 ] } ]
ensemble_scheduling { step [ {
  model_name: "no_op"
  model_version: -1
  input_map { key: "TEXT" value: "TEXT" }
  output_map { key: "SCORE" value: "OUT" }
} ] }
"""


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    tokens: Annotated[int, typer.Option(help="Of each text.")] = 25,
    calls: Annotated[int, typer.Option(help="Of each.")] = 400,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "tail",
) -> None:
    """Measure the latency of engine, served model and floor."""
    subject = Subject.of(repository)
    texts = texts_of(subject, tokens)
    rows = subject.rows(texts)
    with tempfile.TemporaryDirectory() as folder:
        served = with_floor(repository, Path(folder))
        options = ServeOptions(grpc_port=0, metrics_port=None)
        with (
            TritonServer(served, options) as server,
            triton.InferenceServerClient(server.endpoints.grpc) as client,
        ):

            def engine(call: int) -> object:
                return subject.engine.run([rows[call % len(rows)]], {"logits"})

            def floor(call: int) -> object:
                return ask(client, "floor", texts[call % len(texts)], ("OUT",))

            def whole(call: int) -> object:
                return ask(client, "sentiment", texts[call % len(texts)], _OUTPUTS)

            runs: dict[str, Sequence[Run]] = {
                "engine": [engine],
                "served": [whole],
                "floor": [floor],
                "floor, caches cold": [engine, floor],
            }
            took_s = take_turns(runs, calls)
    p50 = {each: 1e3 * median(taken) for each, taken in took_s.items()}
    p99 = {each: 1e3 * float(np.percentile(taken, 99)) for each, taken in took_s.items()}
    added = p50["served"] - p50["engine"] - p50["floor"]
    figures = {
        "tokens": tokens,
        "calls": calls,
        "p50_ms": p50,
        "p99_ms": p99,
        "served_p50_minus_engine_and_floor_ms": added,
        "served_p99_over_p50": p99["served"] / p50["served"],
        "engine_p99_over_p50": p99["engine"] / p50["engine"],
        "subject": subject.about(),
    }
    table = Table("", "p50 ms", "p99 ms")
    for each, value in p50.items():
        table.add_row(each, f"{value:.2f}", f"{p99[each]:.2f}")
    console = Console()
    console.print(table)
    console.print(f"served beyond engine and floor: {added:.2f} ms")
    console.print(f"wrote {write(name, figures, out=out)}")


def texts_of(subject: Subject, tokens: int) -> list[str]:
    """Invent headlines of just that many tokens, by cutting longer ones."""
    found: list[str] = []
    for text in read_texts(None, 2000):
        words = text.split()
        for end in range(1, len(words) + 1):
            cut = " ".join(words[:end])
            length = len(subject.rows([cut])[0])
            if length == tokens:
                found.append(cut)
            if length >= tokens:
                break
        if len(found) == 50:
            return found
    raise typer.BadParameter(f"only {len(found)} headlines can be cut to {tokens} tokens")


def with_floor(repository: Path, folder: Path) -> Path:
    """Copy a repository by links, and add the ensemble that does nothing."""
    served = folder / "repository"
    shutil.copytree(repository, served, copy_function=link)
    for name, config in (("no_op", _NO_OP), ("floor", _FLOOR)):
        (served / name / "1").mkdir(parents=True)
        (served / name / "config.pbtxt").write_text(config)
    shutil.copy(Path(__file__).parent / "no_op" / "model.py", served / "no_op" / "1")
    return served


def link(source: str, target: str) -> None:
    """Link a file, wherever it lies."""
    Path(target).symlink_to(Path(source).resolve())


def ask(
    client: triton.InferenceServerClient, model: str, text: str, outputs: tuple[str, ...]
) -> object:
    """Call a model with one text."""
    given = triton.InferInput("TEXT", [1, 1], "BYTES")
    given.set_data_from_numpy(np.array([[text.encode()]], object))
    wanted = [triton.InferRequestedOutput(name) for name in outputs]
    return client.infer(model, [given], outputs=wanted)


def take_turns(runs: Mapping[str, Sequence[Run]], calls: int) -> dict[str, list[float]]:
    """Time calls of each in blocks that take turns; a first block is not counted.

    Args:
        runs: what each does, in order; its last part alone is timed.
        calls: of each.
    """
    took_s: dict[str, list[float]] = {each: [] for each in runs}
    for parts in runs.values():
        for call in range(_BLOCK):
            timed(parts, call)
    for block in track(range(calls // _BLOCK), transient=True):
        for each, parts in runs.items():
            for call in range(block * _BLOCK, (block + 1) * _BLOCK):
                took_s[each].append(timed(parts, call))
    return took_s


def timed(parts: Sequence[Run], call: int) -> float:
    """Do all of it; returns the seconds of its last part."""
    *first, last = parts
    for part in first:
        part(call)
    started_s = time.perf_counter()
    last(call)
    return time.perf_counter() - started_s


if __name__ == "__main__":
    typer.run(main)
