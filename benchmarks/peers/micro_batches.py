"""The micro-batcher that people put behind FastAPI: a queue, and loops that empty it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

Answer = list[float]
Run = Callable[[Sequence[str]], Awaitable[Sequence[Answer]]]


class MicroBatcher:
    """Gathers texts that wait into batches, ``loops`` of which run at a time."""

    def __init__(self, run: Run, *, loops: int, most: int, wait_s: float) -> None:
        """Keep what to run.

        Args:
            run: scores a batch; its answers are in the batch's order.
            loops: batches that run at a time, ≥ 1.
            most: texts in a batch, at most.
            wait_s: a batch's wait for more, from its first text.
        """
        self._run = run
        self._loops = loops
        self._most = most
        self._wait_s = wait_s
        self._queue: asyncio.Queue[tuple[str, asyncio.Future[Answer]]] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve inside; FastAPI's ``lifespan``."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._loop()) for _ in range(self._loops)]
            yield
            for task in tasks:
                task.cancel()

    async def ask(self, text: str) -> Answer:
        """Score one text, with whatever else waits."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((text, answer))
        return await answer

    async def _loop(self) -> None:
        while True:
            batch = await self._gather()
            try:
                answers = await self._run([text for text, _ in batch])
            except Exception as error:  # noqa: BLE001  each caller gets it
                for _, answer in batch:
                    if not answer.cancelled():
                        answer.set_exception(error)
                continue
            for (_, answer), found in zip(batch, answers, strict=True):
                if not answer.cancelled():
                    answer.set_result(found)

    async def _gather(self) -> list[tuple[str, asyncio.Future[Answer]]]:
        batch = [await self._queue.get()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                while len(batch) < self._most:
                    batch.append(await self._queue.get())
        return batch
