"""Megatick against what people use today: the same model, texts, CPUs and client.

    python benchmarks/against_peers.py REPOSITORY [--only NAME,NAME] [--rounds 3]

The peers stand in ``benchmarks/peers/``, a folder each: its requirements, installed into
an environment of its own, and its server.  They serve the repository's checkpoint as a
Hugging Face model or padded ONNX graph, which must give float32's labels on every text
before anything is measured.

One asyncio client in this process asks all of them over HTTP, one text a call, from the
same CPUs.  Contenders run alone, one after another.  A first turn finds each one's best
concurrency; then, round by round, each is saturated at it, and called at one offered rate
that all can bear: a share of the slowest one's throughput, as a Poisson process whose
latencies count from when a call was due.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from peers.client import Calls, Client, poisson
from peers.contenders import Contender, Megatick, Peer, peers
from peers.prepare import Proof, prepare
from record import write
from rich.console import Console
from rich.table import Table
from subject import median, read_texts

from megatick_server.settings import ScorerSettings

READY_S: Final = 180.0


@dataclass
class Measured:
    """What one contender did, turn by turn."""

    by_concurrency: dict[int, Calls] = field(default_factory=dict)
    saturated: list[Calls] = field(default_factory=list)
    offered: list[Calls] = field(default_factory=list)

    @property
    def best_concurrency(self) -> int:
        """Of the first turn."""
        return max(self.by_concurrency, key=lambda each: self.by_concurrency[each].per_s)

    @property
    def per_s(self) -> float:
        """Texts a second, the median of the rounds."""
        return median([each.per_s for each in self.saturated])

    def percentile_ms(self, percent: float) -> float:
        """Of all rounds' calls at the offered rate."""
        return _joined(self.offered).percentile_ms(percent)

    def figures(self) -> dict[str, Any]:
        """All of it, for the record."""
        everything = [*self.by_concurrency.values(), *self.saturated, *self.offered]
        asked = _joined(everything)
        return {
            "per_s": self.per_s,
            "per_s_of_each_round": [each.per_s for each in self.saturated],
            "per_s_by_concurrency": {
                level: each.per_s for level, each in self.by_concurrency.items()
            },
            "best_concurrency": self.best_concurrency,
            "p50_ms": self.percentile_ms(50),
            "p99_ms": self.percentile_ms(99),
            "p99_ms_of_each_round": [each.percentile_ms(99) for each in self.offered],
            "answers": asked.answered,
            "label_agreement": asked.agreeing / max(1, asked.answered),
            "failures": dict(asked.failures),
            "client_cpu_ms_a_call": 1e3 * asked.client_cpu_s / max(1, asked.answered),
        }


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="That it was exported from.", show_default="as its receipt says"),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    count: Annotated[int, typer.Option(help="Texts.")] = 256,
    only: Annotated[
        str | None, typer.Option(help="Peers' names, with commas.", show_default="all")
    ] = None,
    concurrencies: Annotated[str, typer.Option(help="To find the best of.")] = "16,32,64",
    rounds: Annotated[int, typer.Option(help="Turns of all contenders.")] = 3,
    warm: Annotated[float, typer.Option(help="Before each window, in seconds.")] = 2.0,
    window: Annotated[float, typer.Option(help="Of saturation, in seconds.")] = 5.0,
    offered: Annotated[float, typer.Option(help="Of the offered rate, in seconds.")] = 12.0,
    share: Annotated[
        float, typer.Option(help="Offered rate over the slowest's throughput.")
    ] = 0.5,
    builds: Annotated[Path, typer.Option(help="For environments, model and logs.")] = Path(
        "build/peers"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "peers",
) -> None:
    """Measure throughput, label agreement and latency of Megatick and the peers."""
    console = Console()
    told = read_texts(texts, count)
    model = builds / "model"
    chosen = chosen_peers(peers(model.resolve(), builds.resolve()), only)
    for peer in chosen:
        console.print(f"environment of {peer.name}")
        peer.install()
    receipt = json.loads((repository / "receipt.json").read_text())
    proof = prove(
        repository, checkpoint or Path(receipt["checkpoint"]["path"]), model, told
    )
    levels = [int(each) for each in concurrencies.split(",")]
    contenders: list[Contender] = [Megatick(repository), *chosen]
    measured = {each.name: Measured() for each in contenders}

    for contender in contenders:
        console.print(f"looking for the best concurrency: {contender.name}")
        with contender.running() as server:
            client = Client(server.url, contender.wire, told, proof.labels)
            asyncio.run(client.ready(timeout_s=READY_S, alive=server.alive))
            for level in levels:
                calls = asyncio.run(client.closed(level, warm_s=warm, window_s=window))
                measured[contender.name].by_concurrency[level] = calls
    slowest = min(
        max(calls.per_s for calls in each.by_concurrency.values())
        for each in measured.values()
    )
    for turn in range(rounds):
        due_s = poisson(share * slowest, offered, seed=turn)
        for contender in contenders:
            console.print(f"round {turn + 1} of {rounds}: {contender.name}")
            found = measured[contender.name]
            with contender.running() as server:
                client = Client(server.url, contender.wire, told, proof.labels)
                asyncio.run(client.ready(timeout_s=READY_S, alive=server.alive))
                found.saturated.append(
                    asyncio.run(
                        client.closed(found.best_concurrency, warm_s=warm, window_s=window)
                    )
                )
                found.offered.append(asyncio.run(client.open(due_s)))

    ours = measured["megatick"]
    theirs = {each.name: measured[each.name] for each in chosen}
    settings = ScorerSettings.model_validate_json(
        (repository / "scorer" / "1" / "settings.json").read_text()
    )
    figures: dict[str, Any] = {
        "subject": {
            "checkpoint": Path(receipt["checkpoint"]["path"]).name,
            "parameters": receipt["checkpoint"]["parameters"],
            "precision": settings.precision,
        },
        "texts": len(told),
        "rounds": rounds,
        "offered_per_s": share * slowest,
        "proof": {
            "hugging_face_max_error": proof.hugging_face_max_error,
            "onnx_max_error": proof.onnx_max_error,
        },
        "throughput_over": {each: ours.per_s / it.per_s for each, it in theirs.items()},
        "p99_over": {
            each: ours.percentile_ms(99) / it.percentile_ms(99)
            for each, it in theirs.items()
        },
        "contenders": {each: it.figures() for each, it in measured.items()},
        "requirements": {
            each.name: [
                line
                for line in each.requirements.read_text().splitlines()
                if not line.startswith("#")
            ]
            for each in chosen
        },
    }
    console.print(table(figures))
    console.print(f"wrote {write(name, figures, out=out)}")


def chosen_peers(known: Sequence[Peer], only: str | None) -> list[Peer]:
    """Pick peers by name; None is all of them."""
    if only is None:
        return list(known)
    names = only.split(",")
    by_name = {each.name: each for each in known}
    if unknown := sorted(set(names) - set(by_name)):
        raise typer.BadParameter(
            f"expected peers among {', '.join(by_name)}, found {', '.join(unknown)}"
        )
    return [by_name[each] for each in names]


def prove(repository: Path, checkpoint: Path, model: Path, texts: Sequence[str]) -> Proof:
    """Prepare the peers' model in a process of its own, whose threads end with it."""
    version = repository / "scorer" / "1"
    settings = json.loads((version / "settings.json").read_text())
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(
            prepare,
            checkpoint,
            version / "tokenizer.json",
            model,
            texts,
            max_tokens=settings["max_tokens"],
        ).result()


def table(figures: dict[str, Any]) -> Table:
    """Set the contenders side by side."""
    shown = Table(
        caption=f"latency at {figures['offered_per_s']:.1f} texts/s offered; "
        "labels kept: of float32's; client: its CPU time a call"
    )
    shown.add_column("")
    for column in (
        *("texts/s", "ours over it", "p50 ms", "p99 ms", "labels kept", "failed"),
        "client ms",
    ):
        shown.add_column(column, justify="right")
    for each, found in figures["contenders"].items():
        ratio = figures["throughput_over"].get(each)
        shown.add_row(
            each,
            f"{found['per_s']:.1f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{found['p50_ms']:.0f}",
            f"{found['p99_ms']:.0f}",
            f"{found['label_agreement']:.1%}",
            str(sum(found["failures"].values())),
            f"{found['client_cpu_ms_a_call']:.2f}",
        )
    return shown


def _joined(calls: Sequence[Calls]) -> Calls:
    failures: dict[str, int] = {}
    for each in calls:
        for name, times in each.failures.items():
            failures[name] = failures.get(name, 0) + times
    return Calls(
        sum(each.seconds for each in calls),
        np.concatenate([each.latencies_s for each in calls]),
        sum(each.agreeing for each in calls),
        failures,
        sum(each.client_cpu_s for each in calls),
    )


if __name__ == "__main__":
    typer.run(main)
