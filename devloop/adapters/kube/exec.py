"""Commands in containers: Kubernetes's channel protocol (v5, else v4) over one WebSocket a command.

A frame's first byte is its channel. Version 5 adds a frame that closes a channel; with version 4 a command never sees
the end of its standard input.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from devloop.adapters.kube.discovery import PODS
from devloop.adapters.kube.session import RefusedError, Session
from devloop.adapters.kube.websocket import WebSocket, WebSocketClosedError, open_websocket
from devloop.errors import ToolError
from devloop.runtime.ports import ContainerLostError, ContainerTarget, ExecExit, ExecOutput

__all__ = ["KubeExec", "open_exec"]

_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_V5: Final = "v5.channel.k8s.io"
_V4: Final = "v4.channel.k8s.io"
_FRAME: Final = 32 * 1024  # servers of before 1.30 refuse larger ones


class KubeExec:
    """A command running in a container.

    Args:
        socket: The open connection.
        target: The container, for messages.
    """

    def __init__(self, socket: WebSocket, target: ContainerTarget) -> None:
        self._socket = socket
        self._target = target

    @property
    def can_close_stdin(self) -> bool:
        """Whether the server lets the command see the end of its input."""
        return self._socket.protocol == _V5

    async def send(self, data: bytes) -> None:
        """Write to the command's standard input.

        Raises:
            ContainerLostError: The connection is gone.
        """
        view = memoryview(data)
        for start in range(0, len(view), _FRAME):
            await self._send(_STDIN, view[start : start + _FRAME])

    async def close_stdin(self) -> None:
        """Let the command see the end of its standard input, where the server can (`can_close_stdin`)."""
        if self.can_close_stdin:
            await self._send(_CLOSE, bytes([_STDIN]))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell a terminal's new size."""
        await self._send(_RESIZE, json.dumps({"Width": columns, "Height": rows}).encode())

    async def receive(self) -> ExecOutput | ExecExit:
        """Return the next output, and the exit code as the last.

        Raises:
            ContainerLostError: The connection ended without an exit code.
        """
        while True:
            try:
                frame = await self._socket.receive()
            except WebSocketClosedError as error:
                raise self._lost() from error
            match frame[:1]:
                case b"\x01" | b"\x02" if len(frame) > 1:
                    return ExecOutput(data=frame[1:], stderr=frame[0] == _STDERR)
                case b"\x03" if len(frame) > 1:
                    return ExecExit(code=self._exit_code(frame[1:]))
                case _:
                    pass  # servers open each channel with an empty frame

    async def _send(self, channel: int, data: bytes | memoryview) -> None:
        try:
            await self._socket.send(b"".join((bytes([channel]), data)))
        except WebSocketClosedError as error:
            raise self._lost() from error

    def _exit_code(self, content: bytes) -> int:
        status = json.loads(content)
        if status.get("status") == "Success":
            return 0
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        raise ToolError(f"the command in {_named(self._target)} did not run: {status.get('message')}")

    def _lost(self) -> ContainerLostError:
        return ContainerLostError(f"the connection to {_named(self._target)} is lost")


def _named(target: ContainerTarget) -> str:
    return f"container `{target.container}` of pod `{target.pod}`"


@asynccontextmanager
async def open_exec(
    session: Session, target: ContainerTarget, command: Sequence[str], *, stdin: bool, tty: bool
) -> AsyncIterator[KubeExec]:
    """Run a command in a container.

    Raises:
        ContainerLostError: There is no such container (any more).
        UnreachableError: The API server did not answer.
    """
    parameters = [
        ("container", target.container),
        ("stdin", _flag(stdin)),
        ("stdout", "true"),
        ("stderr", _flag(not tty)),
        ("tty", _flag(tty)),
        *(("command", part) for part in command),
    ]
    path = PODS.path(target.namespace, target.pod) + "/exec"
    async with AsyncExitStack() as stack:
        opening = open_websocket(session, path, parameters=parameters, protocols=(_V5, _V4))
        try:
            socket = await stack.enter_async_context(opening)
        except RefusedError as error:
            if not error.concerns_object:
                raise
            raise ContainerLostError(f"{_named(target)} takes no commands: {error.reason}") from error
        yield KubeExec(socket, target)


def _flag(value: bool) -> str:  # noqa: FBT001 - a value, not an option
    return "true" if value else "false"
