"""The same batch with its requests made by Ray: many machines, one job, one output.

Ray Data reads the texts in one task and scores them in actors, one for each server.  Only
row numbers, texts and answers travel through it: the columns of the input and the parts of
the output stay with the process that runs the job, so that a resume, the order and the
output are the same as without Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.data.exceptions import SystemException
from ray.exceptions import RayError

from megatick_client.batches.answers import Answers
from megatick_client.batches.checks import held_to
from megatick_client.batches.errors import ScoringError, ScoringFailed
from megatick_client.batches.one_model import OneModel
from megatick_client.batches.pipeline import Scored, texts_of
from megatick_client.batches.scoring import Scorer
from megatick_client.batches.settings import BatchSettings
from megatick_client.batches.sources import read_blocks
from megatick_client.client import Client
from megatick_client.errors import ClientError
from megatick_contract import LABELS
from megatick_contract.models import ROWS_PER_REQUEST
from megatick_contract.tables import Block, Source

_BLOCK_BYTES: Final = 64 * 1024
"""Of texts, in one task of an actor: some hundred headlines."""

_READER_CPUS: Final = 0.5
_ACTOR_CPUS: Final = 0.25  # it waits for its server most of the time

_TEXTS: Final = pa.schema([("row", pa.int64()), ("text", pa.string())])


def score_on_ray(
    blocks: Iterable[Block],
    *,
    client: Client,
    sources: Sequence[Source],
    after: int,
    settings: BatchSettings,
    model: OneModel,
    cancelled: Callable[[], bool],
) -> Generator[Scored, None, None]:
    """Score blocks on the Ray cluster that is connected, or on a local one.

    Args:
        blocks: of ``sources``, from row ``after`` on, in their order.
        client: what the actors make theirs like.
        sources: must lie at the same paths for the cluster's reader.
        after: the rows before this number are left out.
        settings: of the batch.
        model: that all answers must come from.
        cancelled: asked by an actor that waits for a server.

    Raises:
        ScoringFailed: an actor could not go on, or Ray itself.
        AnotherModel: see ``model``.
    """
    begun_here = not ray.is_initialized()
    try:
        with ray.data.DataContext.current(_context()):
            tables = _scored_tables(
                client, sources, after, settings, model.digest, cancelled
            )
            answers = _AnswerStream(tables, model)
            for block in blocks:
                _, places = texts_of(block, settings.column)
                found = Answers.blank(block.rows)
                found.problems.update(block.problems)
                rows = [block.first + place for place in places]
                found.put(places, answers.take(rows))
                yield Scored(block, found)
    except (RayError, SystemException) as error:
        raise ScoringFailed(f"Ray failed: {_last_line(error)}") from error
    finally:
        if begun_here:
            ray.shutdown()


def _last_line(error: Exception) -> str:
    """Of pages of tracebacks, the line that names the fault."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _context() -> Any:
    """Ray Data's settings for this batch alone."""
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = _BLOCK_BYTES
    context.enable_operator_fusion = False  # else the one reader is the one scorer
    context.enable_progress_bars = False
    return context


def _scored_tables(
    client: Client,
    sources: Sequence[Source],
    after: int,
    settings: BatchSettings,
    model_digest: str,
    cancelled: Callable[[], bool],
) -> Iterator[pa.Table]:
    actors = len(client.addresses)
    dataset = ray.data.read_datasource(
        _Texts(sources, after, settings),
        override_num_blocks=1,
        ray_remote_args={"num_cpus": _READER_CPUS},
    ).map_batches(
        _Actor,
        fn_constructor_args=(
            client,
            settings,
            -(-settings.in_flight // actors),
            model_digest,
            cancelled,
        ),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=_ACTOR_CPUS,
    )
    tables: Iterator[pa.Table] = iter(
        dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    )
    return tables


class _Texts(Datasource):  # type: ignore[misc]
    """Row numbers and texts of the rows that can be asked about."""

    def __init__(
        self, sources: Sequence[Source], after: int, settings: BatchSettings
    ) -> None:
        super().__init__()
        self._read = partial(_read_texts, sources, after, settings)

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
        unknown = BlockMetadata(
            num_rows=None, size_bytes=None, input_files=None, exec_stats=None
        )
        return [ReadTask(self._read, unknown)]


def _read_texts(
    sources: Sequence[Source], after: int, settings: BatchSettings
) -> Iterator[pa.Table]:
    yield _TEXTS.empty_table()  # a dataset without a row needs a schema, too
    for read in read_blocks(sources, after=after):
        block = held_to(read, settings)
        texts, places = texts_of(block, settings.column)
        rows = [block.first + place for place in places]
        yield pa.table([rows, [texts[place] for place in places]], schema=_TEXTS)


class _Actor:
    """Scores tables of texts with a client of its own."""

    def __init__(
        self,
        client: Client,
        settings: BatchSettings,
        in_flight: int,
        model_digest: str,
        cancelled: Callable[[], bool],
    ) -> None:
        self._pool = ThreadPoolExecutor(in_flight)
        self._model = OneModel(model_digest)
        self._score = Scorer(client, settings, self._model, cancelled)

    def __call__(self, table: pa.Table) -> pa.Table:
        texts = table["text"].to_pylist()
        pieces = [
            texts[start : start + ROWS_PER_REQUEST]
            for start in range(0, len(texts), ROWS_PER_REQUEST)
        ]
        answers = Answers.blank(len(texts))
        failure = ""
        try:
            for number, found in enumerate(self._pool.map(self._score, pieces)):
                start = number * ROWS_PER_REQUEST
                answers.put(range(start, start + len(found)), found)
        except (ScoringError, ClientError) as error:
            failure = str(error)  # as text: Ray would wrap it in pages of its own
        return _table_of(table["row"], answers, self._model.digest, failure)


def _table_of(rows: Any, answers: Answers, model_digest: str, failure: str) -> pa.Table:
    count = len(answers)
    return pa.table(
        {
            "row": rows,
            **dict(zip(LABELS, answers.probabilities.T.copy(), strict=True)),
            "score": answers.score,
            "tokens": answers.tokens,
            "truncated": answers.truncated,
            "problem": pa.array(
                [answers.problems.get(place) for place in range(count)], pa.string()
            ),
            "model": pa.array([model_digest] * count, pa.string()),
            "failure": pa.array([failure] * count, pa.string()),
        }
    )


@dataclass
class _AnswerStream:
    """Answers in their order, in whatever pieces Ray hands them out.

    Attributes:
        tables: as an actor made them.
        model: that all must come from.
    """

    tables: Iterator[pa.Table]
    model: OneModel
    _left: pa.Table | None = None

    def take(self, rows: Sequence[int]) -> Answers:
        """Take the answers of the next rows, by their numbers in the input.

        Raises:
            ScoringFailed: an actor failed, or Ray has other answers than for these rows.
        """
        held = [] if self._left is None else [self._left]
        while sum(map(len, held)) < len(rows):
            table = next(self.tables, None)
            if table is None:
                found = sum(map(len, held))
                raise ScoringFailed(f"Ray gave {found} answers for {len(rows)} rows.")
            held.append(self._checked(table))
        if not held:
            return Answers.blank(0)
        whole = pa.concat_tables(held)
        self._left = whole.slice(len(rows))
        table = whole.slice(0, len(rows)).combine_chunks()
        numbers = table["row"].to_pylist()
        if numbers != list(rows):
            raise ScoringFailed(f"Ray gave rows {numbers[:3]}… for the rows {rows[:3]}….")
        problems = table["problem"].to_pylist()
        return Answers(
            np.column_stack([table[label].to_numpy() for label in LABELS]),
            table["score"].to_numpy(),
            table["tokens"].to_numpy(),
            table["truncated"].to_numpy(),
            {place: each for place, each in enumerate(problems) if each is not None},
        )

    def _checked(self, table: pa.Table) -> pa.Table:
        for failure in table["failure"].unique().to_pylist():
            if failure:
                raise ScoringFailed(failure)
        digests = [each for each in table["model"].unique().to_pylist() if each]
        self.model.check(digests, address="a server")
        return table
