"""The live view of a terminal: output and what was done flow by above, a line for each node stays below.

Calm: drawn at most ten times a second, only when something changed, in one piece. Reading events never waits for the
terminal; under a flood the view leaves out lines of output and says how many. Importing it imports rich.
"""

import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterable, Callable
from typing import Any, Final, TextIO

import anyio
from rich.color import ColorSystem
from rich.console import Console
from rich.text import Text

from devloop import events
from devloop.events import Event
from devloop.model import NodeId
from devloop.ui.live import live_lines
from devloop.ui.screen import Line, Screen
from devloop.ui.text import cells, glyphs
from devloop.ui.view import EMPTY, Working, fold
from devloop.ui.wording import Speakers, lines_of
from devloop.ui.writer import Writer

__all__ = ["ConsoleFront"]

_INTERVAL: Final = 0.1
_TICK: Final = 1.0
_LINES: Final = 1_000  # lines of output for one frame; more pass too fast to be read
_LONGEST: Final = 4_000

_Output = (events.PodOutput, events.RunOutput)


class ConsoleFront:
    """The live view.

    Args:
        stream: The terminal, standard error as a rule.
        colour: Use the terminal's colours.
        size: Returns the terminal's columns and rows.
        clock: Returns the time on the events' clock.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        colour: bool = True,
        size: Callable[[], tuple[int, int]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = Writer(stream)
        self._size = size or (lambda: _terminal_size(stream))
        self._clock = clock
        self._colour = colour
        self._glyphs = glyphs(getattr(stream, "encoding", None))
        self._speakers = Speakers(bar=self._glyphs.bar, colour=colour)
        self._painter = _Painter(colour=colour)
        self._view = EMPTY
        self._screen = Screen()
        self._news = _News(_LINES)
        self._changed = anyio.Event()
        self._keyboard = _Keyboard()
        self._open = False

    async def run(self, events: AsyncIterable[Event]) -> None:
        """Show events until they end, or until the terminal is gone; then leave the terminal as it was."""
        self._open = True
        self._keyboard.silence()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._draw, tasks.cancel_scope, name="draw the live view")
                tasks.start_soon(self._heed_signals, name="heed the terminal's signals")
                async for event in events:
                    self.show(event)
                tasks.cancel_scope.cancel("the events ended")
        finally:
            self.close()

    def close(self) -> None:
        """Show what is known and leave the terminal as it was, now; for a program that ends at once."""
        if self._open:
            self._open = False
            self._writer.write_last(self.frame() + self.farewell())
            self._keyboard.restore()

    def show(self, event: Event) -> None:
        """Take an event; it is drawn with the next frame."""
        self._view = fold(self._view, event)
        self._speakers.learn(event)
        if isinstance(event, _Output):
            self._news.add_output(event)
        elif _is_told(event):
            self._news.add(event)
        self._changed.set()

    def frame(self) -> str:
        """Return what to write so that the terminal shows all that is known; nothing when it does already."""
        columns, rows = self._size()
        lines = live_lines(
            self._view,
            columns=columns,
            rows=rows,
            now=self._clock(),
            glyphs=self._glyphs,
            colours=self._speakers.colours,
        )
        return self._screen.frame(self._above(), [self._painter.line(line) for line in lines], columns)

    def farewell(self) -> str:
        """Return what to write at the end; the last frame stays as text."""
        ended = self._view.ended
        return self._screen.close() + (f"{ended.reason}\n" if ended is not None and ended.reason else "")

    def _above(self) -> str:
        told, dropped = self._news.take()
        text = "".join(self._text(event) for event in told)
        if not dropped:
            return text
        counts = ", ".join(f"{name} {count:,}" for name, count in dropped.most_common(5))
        notice = f"{dropped.total():,} lines of output came too fast to be shown ({counts}); `--output plain` shows all"
        return f"{self._speakers.tag(None)}{notice}\n{text}"

    def _text(self, event: Event) -> str:
        tag = self._speakers.tag(event.node)
        lines = lines_of(event, self._glyphs, colour=self._colour)
        if isinstance(event, events.PodOutput):
            tag += self._speakers.which(event, self._view)
        if isinstance(event, _Output):
            lines = [_shortened(lines[-1])]  # what came before it on a progress bar's line is overwritten
        return "".join(f"{tag}{line}\n" for line in lines)

    async def _draw(self, session: anyio.CancelScope) -> None:
        while True:
            with anyio.move_on_after(_TICK if isinstance(self._view.round, Working) else None):
                await self._changed.wait()
            self._changed = anyio.Event()
            if not self._open:
                return
            try:
                await self._writer.write(self.frame())
            except OSError:
                session.cancel("the terminal is gone")
                return
            await anyio.sleep(_INTERVAL)

    async def _heed_signals(self) -> None:
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return
        with anyio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP) as received:
            async for number in received:
                if number == signal.SIGTSTP:
                    self._writer.write_last(self._screen.close())
                    self._keyboard.restore()
                    os.kill(os.getpid(), signal.SIGSTOP)  # until `fg`
                    self._keyboard.silence()
                self._changed.set()


def _is_told(event: Event) -> bool:
    """Return whether the event has lines of its own above; all others show in the nodes' lines only."""
    match event:
        case events.RunSucceeded(changed=changed):
            return changed
        case events.PortClosed(problem=problem):
            return problem is not None
        case _:
            return isinstance(event, (events.RunFailed, events.ProjectRejected, events.FilesChanged, events.Noted))


class _News:
    """What is to be told with the next frame: everything that matters, and at most `most` lines of output."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._outputs = 0
        self._waiting: deque[Event] = deque()
        self._kept: list[Event] = []
        self._dropped: Counter[str] = Counter()

    def add(self, event: Event) -> None:
        self._waiting.append(event)

    def add_output(self, event: events.PodOutput | events.RunOutput) -> None:
        self._waiting.append(event)
        self._outputs += 1
        if self._outputs > self._most:
            self._drop_oldest()

    def take(self) -> tuple[list[Event], Counter[str]]:
        """Return what is to be told, and how many lines of output of each node came before it and are left out."""
        told, dropped = [*self._kept, *self._waiting], self._dropped
        self._waiting.clear()
        self._kept, self._dropped, self._outputs = [], Counter(), 0
        return told, dropped

    def _drop_oldest(self) -> None:
        while not isinstance(oldest := self._waiting.popleft(), _Output):
            self._kept.append(oldest)
        self._outputs -= 1
        self._dropped[_name(oldest.node)] += 1


def _name(node: NodeId | None) -> str:
    return "devloop" if node is None else node.name


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    return f"{line[:_LONGEST]}\x1b[0m … ({len(line):,} characters)"


class _Painter:
    """Turns rich's styled lines into text with the terminal's own sixteen colours."""

    def __init__(self, *, colour: bool) -> None:
        self._colours = ColorSystem.STANDARD if colour else None
        self._console = Console(force_terminal=True, highlight=False, legacy_windows=False, _environ={})
        self._wide = self._console.options.update(width=10_000, no_wrap=True)

    def line(self, text: Text) -> Line:
        painted = [
            part.style.render(part.text, color_system=self._colours) if part.style else part.text
            for part in self._console.render(text, self._wide)
        ]
        return Line("".join(painted).rstrip("\n"), cells(text.plain))


# --- the terminal ------------------------------------------------------------------------------------------


def _terminal_size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        size = shutil.get_terminal_size()
    return max(size.columns, 1) if size.columns else 80, size.lines or 24


class _Keyboard:
    """The terminal's echo of typed keys, which would push the view around."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None

    def silence(self) -> None:
        if not _in_foreground():
            return
        import termios

        descriptor = sys.stdin.fileno()
        self._saved = termios.tcgetattr(descriptor)
        quiet = termios.tcgetattr(descriptor)
        quiet[3] &= ~termios.ECHO
        termios.tcsetattr(descriptor, termios.TCSANOW, quiet)

    def restore(self) -> None:
        if self._saved is None or not _in_foreground():
            return
        import termios

        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._saved)
        self._saved = None


def _in_foreground() -> bool:
    """Return whether standard input is our terminal; a background job that touches it would be stopped."""
    try:
        return os.isatty(sys.stdin.fileno()) and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return False
