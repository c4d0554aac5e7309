"""Outages: what needs an engine or a cluster that does not answer now is tried again until it does."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from devloop.errors import UnreachableError

__all__ = ["outlast"]

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
