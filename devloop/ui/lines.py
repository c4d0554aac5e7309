"""Front-ends for what is no terminal: plain tagged lines for people, JSON lines for programs.

Neither loses anything.
"""

import json
import math
from collections.abc import AsyncIterable, Callable
from typing import TextIO

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from devloop.events import Event, PodOutput, to_json
from devloop.ui.text import glyphs
from devloop.ui.view import EMPTY, fold
from devloop.ui.wording import Speakers, lines_of
from devloop.ui.writer import Writer

__all__ = ["JsonFront", "PlainFront", "json_line"]


class PlainFront:
    """One tagged line for each thing worth telling: `api    | ▶ build: api/src/main.py changed`.

    Args:
        stream: Where to, standard error as a rule.
        colour: Use colours, for log viewers that show them.
    """

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self._stream = stream
        self._colour = colour
        self._glyphs = glyphs(getattr(stream, "encoding", None))
        self._speakers = Speakers(bar="|", colour=colour)
        self._view = EMPTY

    async def run(self, events: AsyncIterable[Event]) -> None:
        """Write events until they end, or until nobody reads any more."""
        await _pump(events, self.text, self._stream)

    def close(self) -> None:
        """Do nothing: lines change nothing that had to be put back."""

    def text(self, event: Event) -> str:
        """Return the lines for an event."""
        self._view = fold(self._view, event)
        self._speakers.learn(event)
        tag = self._speakers.tag(event.node)
        if isinstance(event, PodOutput):
            tag += self._speakers.which(event, self._view)
        return "".join(f"{tag}{line}".rstrip() + "\n" for line in lines_of(event, self._glyphs, colour=self._colour))


class JsonFront:
    """The event stream itself, one object a line.

    Args:
        stream: Where to, standard output as a rule.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    async def run(self, events: AsyncIterable[Event]) -> None:
        """Write events until they end, or until nobody reads any more."""
        await _pump(events, json_line, self._stream)

    def close(self) -> None:
        """Do nothing: lines change nothing that had to be put back."""


def json_line(event: Event) -> str:
    """Return the event's line: JSON in ASCII, so that it survives every encoding and every byte a program printed."""
    return json.dumps(to_json(event), separators=(",", ":")) + "\n"


async def _pump(events: AsyncIterable[Event], text_of: Callable[[Event], str], stream: TextIO) -> None:
    """Write what comes as soon as it comes, and all that came meanwhile in one go.

    A cancelled pump has handed over all that it had read; the last of it is given a second to be written.
    """
    writer = Writer(stream)
    send, receive = anyio.create_memory_object_stream[str](math.inf)
    with receive:
        try:
            async with anyio.create_task_group() as tasks:
                with send:
                    tasks.start_soon(_write_batches, receive, writer, tasks.cancel_scope, name="write lines")
                    async for event in events:
                        send.send_nowait(text_of(event))  # waiting would lose it when cancelled
        finally:
            writer.write_last("".join(_waiting(receive)))


async def _write_batches(texts: MemoryObjectReceiveStream[str], writer: Writer, reader: anyio.CancelScope) -> None:
    try:
        async for text in texts:
            await writer.write(text + "".join(_waiting(texts)))
    except OSError:
        reader.cancel("nobody reads the output any more")


def _waiting(texts: MemoryObjectReceiveStream[str]) -> list[str]:
    waiting: list[str] = []
    while True:
        try:
            waiting.append(texts.receive_nowait())
        except (anyio.WouldBlock, anyio.EndOfStream):
            return waiting
