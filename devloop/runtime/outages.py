"""Outages: what needs an engine or a cluster that does not answer now is tried again until it does."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from devloop.core.engine.runs import Run
from devloop.errors import UnreachableError
from devloop.events import RunProgressed
from devloop.runtime.tools import Tools

__all__ = ["outlast", "through_outages"]

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

_T = TypeVar("_T")


async def outlast(work: Callable[[], Awaitable[_T]], tell: Callable[[UnreachableError], None]) -> _T:
    """Do the work, again and again for as long as what it needs cannot be reached, and return what it returns.

    Args:
        work: What is to be done; all of it is done again.
        tell: Called with each reason why it must be tried again that was not told just before.
    """
    pause = _FIRST_PAUSE
    told: str | None = None
    while True:
        try:
            return await work()
        except UnreachableError as error:
            if error.message != told:
                tell(error)
                told = error.message
            await anyio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


async def through_outages(run: Run, tools: Tools, work: Callable[[], Awaitable[_T]]) -> _T:
    """Do a part of a run; in a session that goes on, an engine or a cluster that does not answer is waited for."""
    if not tools.persistent:
        return await work()

    def tell(error: UnreachableError) -> None:
        tools.emit(RunProgressed(node=run.key.node, run=run.number, message=f"{error.message}; trying again"))

    return await outlast(work, tell)
