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

__all__ = ["Terminal", "read_to_end"]

_CHUNK: Final = 16_384


class Terminal(AsyncContextManagerMixin):
    """Standard input while it belongs to a remote command: keys go there one by one, Ctrl-C included.

    The terminal is as before when this is left.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        before = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor)
        try:
            yield self
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    async def input(self) -> AsyncIterator[bytes]:
        """Yield what is typed."""
        while True:
            await anyio.wait_readable(self._descriptor)
            data = os.read(self._descriptor, _CHUNK)
            if not data:
                return
            yield data

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        """Yield the terminal's columns and rows, now and after each change."""
        with anyio.open_signal_receiver(signal.SIGWINCH) as changes:
            yield _size()
            async for _ in changes:
                yield _size()


def read_to_end() -> bytes:
    """Return all of standard input, which is no terminal."""
    return sys.stdin.buffer.read()


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size()
    return size.columns, size.lines
