"""``AsyncClient`` for tests that wait: the same tests then hold both clients."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from megatick_client import AsyncClient, Client


class Waiting(Client):
    """Looks like a ``Client``; an ``AsyncClient`` on a loop of its own makes the calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.awaiting = AsyncClient(*args, **kwargs)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __getattribute__(self, name: str) -> Any:
        mine = ("awaiting", "close", "_loop", "_thread", "_wait_for")
        if name.startswith("__") or name in mine:
            return super().__getattribute__(name)
        theirs = getattr(self.awaiting, name)
        if not asyncio.iscoroutinefunction(theirs):
            return theirs
        return lambda *args, **kwargs: self._wait_for(theirs(*args, **kwargs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def close(self) -> None:
        self._wait_for(self.awaiting.close())

    def _wait_for(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
