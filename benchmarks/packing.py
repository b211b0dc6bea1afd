"""Packed against padded: the same checkpoint, library, precision, threads and rows.

    python benchmarks/packing.py REPOSITORY... [--tokens 4096] [--rounds 3]

The padded side is the graph that the peers serve, in batches of equal numbers of texts,
each padded to its longest: sorted by length, which is its best case, and as they come,
which is the usual one.  Every way takes its turn in every round.  A ratio is of
throughputs, so more than 1 says that packing is faster; it is held against the batch size
that suits padding best.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer
from against_peers import prove
from mixes import mixed_lengths, rows_of
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import LOGITS, Row, Subject, median, read_texts

from megatick_contract.cpu_engine import CpuPrecision
from megatick_contract.packing import plan_batches
from megatick_server.cpus import usable_cpus
from megatick_server.engine import compile_graph

Float32Array = npt.NDArray[np.float32]
Run = Callable[[], Float32Array]

SORTED: Final = "sorted"
UNSORTED: Final = "as they come"
_PROVEN_TEXTS: Final = 16


def main(
    repositories: Annotated[list[Path], typer.Argument(help="For a CPU, any number.")],
    tokens: Annotated[int, typer.Option(help="Of each mix of texts, about.")] = 4096,
    rounds: Annotated[int, typer.Option(help="Turns of every way.")] = 3,
    batches: Annotated[str, typer.Option(help="Texts in a padded batch.")] = "4,8,32",
    builds: Annotated[Path, typer.Option(help="For the padded model.")] = Path(
        "build/packing"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "packing",
) -> None:
    """Measure packed and padded batches of each model and mix of texts."""
    console = Console()
    sizes = [int(each) for each in batches.split(",")]
    refuse_int8(repositories)
    measured = []
    for repository in repositories:
        receipt = json.loads((repository / "receipt.json").read_text())
        proof = prove(
            repository,
            Path(receipt["checkpoint"]["path"]),
            builds,
            read_texts(None, _PROVEN_TEXTS),
        )
        subject = Subject.of(repository)
        padded = PaddedEngine(builds / "model.onnx", subject.settings.precision)
        found = {
            "subject": subject.about(),
            "padded_graph_max_error": proof.onnx_max_error,
            "mixes": [
                compare(subject, padded, mix, rows, sizes, rounds)
                for mix, rows in mixes_of(subject, tokens).items()
            ],
        }
        measured.append(found)
        console.print(table_of(found))
        del subject, padded
    console.print(f"wrote {write(name, {'models': measured, 'rounds': rounds}, out=out)}")


def refuse_int8(repositories: Sequence[Path]) -> None:
    """Raise ``BadParameter`` where the padded graph cannot have the packed precision."""
    for repository in repositories:
        settings = json.loads((repository / "scorer" / "1" / "settings.json").read_text())
        if settings["precision"] == "int8":
            raise typer.BadParameter(
                f"{repository} is in int8, and the padded graph has floats alone: export "
                "it in fp32 or bf16"
            )


class PaddedEngine:
    """The peers' graph, compiled as the packed one is."""

    def __init__(self, path: Path, precision: CpuPrecision) -> None:
        compiled = compile_graph(path, precision=precision, threads=usable_cpus())
        self._request = compiled.create_infer_request()

    def run(self, rows: Sequence[Row]) -> Float32Array:
        """Pad rows to the longest and run them; returns logits ``[rows, classes]``."""
        shape = len(rows), max(map(len, rows))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        answer = self._request.infer(
            {"input_ids": ids, "attention_mask": mask}, share_outputs=True
        )
        logits: Float32Array = answer["logits"].copy()
        return logits


def mixes_of(subject: Subject, tokens: int) -> dict[str, list[Row]]:
    """Headlines, and texts of every length, each of about so many tokens."""
    headlines: list[Row] = []
    room = tokens
    for row in subject.rows(read_texts(None, tokens)):  # of at least one token each
        if room <= 0:
            break
        headlines.append(row)
        room -= len(row)
    mixed = rows_of(mixed_lengths(tokens, window=subject.settings.max_tokens))
    order = np.random.default_rng(0).permutation(len(mixed))
    return {
        "headlines": headlines,
        f"{len(mixed[0])} to {len(mixed[-1])} tokens": [mixed[each] for each in order],
    }


def compare(
    subject: Subject,
    padded: PaddedEngine,
    mix: str,
    rows: Sequence[Row],
    sizes: Sequence[int],
    rounds: int,
) -> dict[str, Any]:
    """Time one mix, packed and in every padded way; the ways take turns."""
    ways = [(order, size) for order in (SORTED, UNSORTED) for size in sizes]
    cuts = {
        (order, size): padded_batches(rows, size, in_order=order == SORTED)
        for order, size in ways
    }
    runs: dict[object, Run] = {"packed": partial(packed_logits, subject, rows)}
    for padded_way, cut in cuts.items():
        runs[padded_way] = partial(in_batches, rows, cut, padded.run)
    logits = {way: run() for way, run in runs.items()}  # the first is not counted
    took_s: dict[object, list[float]] = {way: [] for way in runs}
    for _ in track(range(rounds), transient=True):
        for way, run in runs.items():
            started_s = time.perf_counter()
            run()
            took_s[way].append(time.perf_counter() - started_s)
    tokens = sum(map(len, rows))
    expected = logits["packed"]
    found: list[dict[str, Any]] = [
        {
            "order": order,
            "batch_texts": size,
            "ms": 1e3 * median(took_s[order, size]),
            "computed_over_real_tokens": sum(
                len(batch) * max(len(rows[row]) for row in batch)
                for batch in cuts[order, size]
            )
            / tokens,
            "packed_over_it": median(
                [
                    theirs / ours
                    for theirs, ours in zip(
                        took_s[order, size], took_s["packed"], strict=True
                    )
                ]
            ),
            "max_logit_difference": float(np.abs(logits[order, size] - expected).max()),
            "labels_alike": float(
                (logits[order, size].argmax(-1) == expected.argmax(-1)).mean()
            ),
        }
        for order, size in ways
    ]
    return {
        "mix": mix,
        "texts": len(rows),
        "tokens": tokens,
        "packed_ms": 1e3 * median(took_s["packed"]),
        "packed_over_padded": {
            order: min(each["packed_over_it"] for each in found if each["order"] == order)
            for order in (SORTED, UNSORTED)
        },
        "padded": found,
    }


def padded_batches(
    rows: Sequence[Row], size: int, *, in_order: bool
) -> list[npt.NDArray[np.intp]]:
    """Cut rows into batches of ``size``, shortest first or as they come."""
    lengths = np.array([len(row) for row in rows])
    order = np.argsort(lengths, kind="stable") if in_order else np.arange(len(rows))
    return [order[first : first + size] for first in range(0, len(rows), size)]


def packed_logits(subject: Subject, rows: Sequence[Row]) -> Float32Array:
    """Run rows packed, sorted and cut by tokens."""
    plan = plan_batches(
        [len(row) for row in rows], max_batch_tokens=subject.settings.max_batch_tokens
    )
    return in_batches(rows, plan, lambda batch: subject.engine.run(batch, LOGITS)["logits"])


def in_batches(
    rows: Sequence[Row],
    cut: Sequence[npt.NDArray[np.intp]],
    run: Callable[[Sequence[Row]], Float32Array],
) -> Float32Array:
    """Run batch after batch; returns logits in the rows' own order."""
    parts = np.concatenate([run([rows[row] for row in batch]) for batch in cut])
    logits = np.empty_like(parts)
    logits[np.concatenate(cut)] = parts
    return logits


def table_of(found: dict[str, Any]) -> Table:
    """Show one model's figures."""
    table = Table(
        *("texts", "way", "computed/real tokens", "ms", "packed over it"),
        title=str(found["subject"]),
    )
    for mix in found["mixes"]:
        table.add_row(mix["mix"], "packed", "1.00", f"{mix['packed_ms']:.1f}", "")
        for each in mix["padded"]:
            table.add_row(
                "",
                f"{each['order']}, {each['batch_texts']} texts",
                f"{each['computed_over_real_tokens']:.2f}",
                f"{each['ms']:.1f}",
                f"{each['packed_over_it']:.2f}",
            )
        table.add_section()
    return table


if __name__ == "__main__":
    typer.run(main)
