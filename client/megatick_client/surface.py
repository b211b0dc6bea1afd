"""One description of a call, two ways to make it: by blocking, and by awaiting.

The functions of ``calls`` and ``server_calls`` say what a call takes and returns; these
turn one into a method, with its signature, overloads and documentation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from megatick_client.attempts import Line
from megatick_client.deadlines import Deadline
from megatick_client.steps import Exchange

T = TypeVar("T")
ResultT = TypeVar("ResultT", covariant=True)
P = ParamSpec("P")


@dataclass(frozen=True)
class Call(Generic[ResultT]):
    """A call whose arguments were read and found good.

    Attributes:
        exchange: its rules, given what the client's calls share and the deadline.
        timeout_s: seconds for all of it; the client's own where None.
    """

    exchange: Callable[[Line, Deadline], Exchange[ResultT]]
    timeout_s: float | None


class Blocking(Protocol):
    """Who makes calls by blocking."""

    def make(self, call: Call[T]) -> T:
        """Make the call."""
        ...


class Awaiting(Protocol):
    """Who makes calls by awaiting."""

    def make(self, call: Call[T]) -> Awaitable[T]:
        """Make the call."""
        ...


def blocking(ask: Callable[P, Call[T]]) -> Callable[Concatenate[Blocking, P], T]:
    """Turn a description of a call into a method that returns its result."""

    @wraps(ask)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.make(ask(*args, **kwargs))

    return method


def awaited(
    ask: Callable[P, Call[T]],
) -> Callable[Concatenate[Awaiting, P], Coroutine[Any, Any, T]]:
    """Turn a description of a call into a coroutine method."""

    @wraps(ask)
    async def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.make(ask(*args, **kwargs))

    return method
