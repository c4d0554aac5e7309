"""One connection to the shell in a container: frames go out in order, answers come back to those who wait for them."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio
from anyio import CancelScope, create_memory_object_stream, create_task_group

from devloop.core.sync.answers import (
    Acknowledged,
    Answers,
    Greeting,
    Located,
    Refusal,
    hint,
    is_lasting,
    reason,
)
from devloop.core.sync.protocol import Frame, release
from devloop.errors import ToolError
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput, ExecStream, SyncRefusedError

__all__ = ["NotPermittedError", "Pending", "Session", "SessionLostError"]

_PATIENCE: Final = 30.0
"""Seconds without an answer after which a connection counts as dead."""


class SessionLostError(Exception):
    """The connection ended before the answer came; the container may well live."""


class NotPermittedError(SyncRefusedError):
    """The user that the shell runs as may not write there."""


class Pending:
    """A frame on its way.

    Attributes:
        frame: The frame.
        located: Where directories that it asks for really are, by their index.
    """

    def __init__(self, frame: Frame, abort: Callable[[], None], container: str) -> None:
        self.frame = frame
        self.located: dict[int, str] = {}
        self._abort = abort
        self._container = container
        self._answer: Acknowledged | Refusal | None = None
        self._settled = anyio.Event()

    def settle(self, answer: Acknowledged | Refusal | None) -> None:
        """Take the answer, or None when none will come."""
        self._answer = answer
        self._settled.set()

    async def wait(self) -> None:
        """Return when the container has done what the frame says.

        Raises:
            SyncRefusedError: It could not.
            SessionLostError: It is not known whether it did.
        """
        with anyio.move_on_after(_PATIENCE):
            await self._settled.wait()
        match self._answer:
            case Acknowledged():
                return
            case Refusal() as refusal:
                message = reason(refusal, self._container)
                kind = NotPermittedError if refusal.kind == "permission" else SyncRefusedError
                raise kind(message, tail=refusal.words, hint=hint(refusal), lasting=is_lasting(refusal))
            case None:
                self._abort()
                raise SessionLostError


class Session:
    """A running shell.

    Args:
        stream: The shell's streams; it was started with `core.sync.script.loop_script(token)`.
        token: The connection's token.
        container: The container's name, for messages.
        root: What the container's root directory is called for the shell.

    Attributes:
        written: Where files were written to.
        missing: The tools that the container lacks.
        was_useful: Whether an answer ever came.
    """

    def __init__(self, stream: ExecStream, token: str, container: str, root: str = "") -> None:
        self.root = root
        self._stream = stream
        self._token = token
        self._container = container
        self._answers = Answers(token)
        self._send, self._receive = create_memory_object_stream[bytes](math.inf)
        self._pending: dict[int, Pending] = {}
        self._number = 0
        self._temporaries = 0
        self._transfers = 0
        self._held: deque[tuple[str, ...]] = deque()
        self._scope = CancelScope()
        self.missing: frozenset[str] = frozenset()
        self.written: set[str] = set()
        self.was_useful = False

    @property
    def words(self) -> tuple[str, ...]:
        """The last lines that were no answers."""
        return self._answers.words

    def temporary(self) -> str:
        """Return a file name that nothing in the container has."""
        self._temporaries += 1
        return f".devloop-{self._token}-{self._temporaries}"

    def post(self, frame: Frame) -> Pending:
        """Put a frame on its way; frames arrive in this order.

        Raises:
            SessionLostError: The connection has ended.
        """
        self._number += 1
        pending = Pending(frame, self.abort, self._container)
        try:
            self._send.send_nowait(frame.encoded(self._token, self._number))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise SessionLostError from error
        self._pending[self._number] = pending
        return pending

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """Put off until the end what can be done later."""
        self._transfers += 1
        try:
            yield
        finally:
            self._transfers -= 1
            self._do_chores()

    def _do_chores(self) -> None:
        """Let go of what is held, a little at a time."""
        if self._held and not self._pending and not self._transfers:
            held = self._held.popleft()
            with suppress(SessionLostError):  # then the shell does it when it ends
                self.post(release(held, last=not self._held))

    def abort(self) -> None:
        """End the connection."""
        self._scope.cancel("the container did not answer")

    async def serve(self, greeted: Callable[[], None]) -> ExecExit | ToolError | None:
        """Carry frames and answers until the connection ends; return how it ended, None when `abort` was called.

        Args:
            greeted: Called when the shell is ready to take frames.
        """
        ending: ExecExit | ToolError | None = None
        try:
            with self._scope:
                async with create_task_group() as tasks:
                    tasks.start_soon(self._write, name="sync frames")
                    ending = await self._read(greeted)
                    tasks.cancel_scope.cancel("the shell ended")
        finally:
            self._send.close()
            self._receive.close()
            for pending in self._pending.values():
                pending.settle(None)
        return ending

    def _settle(self, pending: Pending, answer: Acknowledged | Refusal) -> None:
        if isinstance(answer, Acknowledged):
            if pending.frame.held:
                self._held.append(pending.frame.held)
            for change in pending.frame.changes:
                if change.digest is None:
                    self.written.difference_update(change.destinations)
                else:
                    self.written.update(change.destinations)
        pending.settle(answer)
        self._do_chores()

    async def _write(self) -> None:
        try:
            async for data in self._receive:
                await self._stream.send(data)
        except ContainerLostError:
            return  # the reader hears of it, too

    async def _read(self, greeted: Callable[[], None]) -> ExecExit | ToolError:
        while True:
            try:
                output = await self._stream.receive()
            except ToolError as error:
                return error
            match output:
                case ExecExit():
                    return output
                case ExecOutput(data=data):
                    for answer in self._answers.feed(data):
                        match answer:
                            case Greeting(missing=missing):
                                self.missing = missing
                                greeted()
                            case Located():
                                if asking := self._pending.get(answer.number):
                                    asking.located[answer.index] = answer.path
                            case Acknowledged(number=number) | Refusal(number=number):
                                self.was_useful = True
                                if pending := self._pending.pop(number, None):
                                    self._settle(pending, answer)
