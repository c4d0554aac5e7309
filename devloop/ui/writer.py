"""Writes text to a stream from a thread of its own, so that a slow reader never stops the loop.

The thread is a daemon: a terminal or pipe that takes nothing more cannot keep the program from ending.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO

__all__ = ["Writer"]

_Order = tuple[str, Callable[[OSError | None], None]]


class Writer:
    """One stream and the thread that writes to it, in order.

    Args:
        stream: Standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._gone: OSError | None = None

    async def write(self, text: str) -> None:
        """Return when the text is written and flushed. When this is cancelled, the thread still writes it.

        Raises:
            OSError: The reader is gone.
        """
        loop = asyncio.get_running_loop()
        written = loop.create_future()

        def tell(error: OSError | None) -> None:
            if not written.done():
                written.set_result(error)

        def tell_loop(error: OSError | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell, error)

        self._put(text, tell_loop)
        error = await written
        if error is not None:
            raise error

    def write_last(self, text: str, *, patience: float = 1.0) -> bool:
        """Write after all that went before, without a loop, and return whether it was taken in time."""
        written = threading.Event()
        self._put(text, lambda _: written.set())
        self._queue.put(None)
        self._thread = None
        return written.wait(patience) and self._gone is None

    def _put(self, text: str, done: Callable[[OSError | None], None]) -> None:
        if self._thread is None:
            self._queue = SimpleQueue()
            self._thread = threading.Thread(
                target=self._work, args=(self._queue,), name=f"devloop writer {id(self)}", daemon=True
            )
            self._thread.start()
        self._queue.put((text, done))

    def _work(self, queue: "SimpleQueue[_Order | None]") -> None:
        while (order := queue.get()) is not None:
            text, done = order
            try:
                self._write(text)
            except OSError as error:
                self._gone = error
                self._silence()
            except ValueError as error:  # the stream was closed
                self._gone = OSError(str(error))
            done(self._gone)

    def _write(self, text: str) -> None:
        if self._gone is not None or not text:
            return
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    def _silence(self) -> None:
        # What Python still holds in its buffer would fail again, with a traceback, when the program ends.
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
