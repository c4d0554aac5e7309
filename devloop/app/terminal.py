"""This process's standard input, for a command that runs elsewhere: raw bytes, and the terminal's size."""

import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self

import anyio
from anyio import AsyncContextManagerMixin

__all__ = ["Terminal"]

_CHUNK: Final = 16_384


class Terminal(AsyncContextManagerMixin):
    """Standard input while it belongs to a remote command; the terminal is as before when this is left.

    Args:
        raw: Whether keys go to the command one by one, Ctrl-C included.
    """

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._descriptor = sys.stdin.fileno()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        if not self._raw:
            yield self
            return
        before = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor)
        try:
            yield self
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    async def input(self) -> AsyncIterator[bytes]:
        """Yield what is typed or piped in, to its end."""
        while True:
            try:
                await anyio.wait_readable(self._descriptor)
            except OSError:  # a regular file, which is always readable
                await anyio.lowlevel.checkpoint()
            data = os.read(self._descriptor, _CHUNK)
            if not data:
                return
            yield data

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """Yield the terminal's columns and rows, now and after each change."""
        with anyio.open_signal_receiver(signal.SIGWINCH) as changes:
            yield tuple(shutil.get_terminal_size())
            async for _ in changes:
                yield tuple(shutil.get_terminal_size())
