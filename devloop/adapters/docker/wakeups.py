"""What anyio's Unix sockets tell the event loop too late: that data came for a wait which was cancelled in that round.

anyio (4.16) hands `Future.set_result` itself to the event loop. When the waiting task is cancelled after the loop has
seen the data and before it calls back, the future is done already and the loop reports an InvalidStateError, of which
nobody is the worse but the terminal that it is printed on.
"""

import asyncio
from typing import Any

__all__ = ["ignore_late_wakeups"]


def ignore_late_wakeups() -> None:
    """Let the running event loop say nothing of them; all else is reported as before."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    if isinstance(before, _Handler):
        return
    loop.set_exception_handler(_Handler(before))


class _Handler:
    """An event loop's exception handler.

    Args:
        before: The one that was there, or None for the loop's own.
    """

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        late = isinstance(context.get("exception"), asyncio.InvalidStateError)
        if late and "set_result" in context.get("message", ""):
            return
        if self._before is None:
            loop.default_exception_handler(context)
        else:
            self._before(loop, context)
