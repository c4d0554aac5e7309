"""How another process speaks to a running loop: a JSON object each way, over a Unix socket that only its user can open.

The socket lies in the temporary directory, since the path of a socket may be no longer than about a hundred bytes.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from devloop.errors import InputError, ToolError

__all__ = ["ask_to_run", "controlled"]

_LONGEST: Final = 1 << 20
_ANSWER_SECONDS: Final = 10
_BROKEN: Final = (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead, anyio.DelimiterNotFound)


@asynccontextmanager
async def controlled(state: Path, run: Callable[[str], str]) -> AsyncIterator[None]:
    """Take requests for a project's loop while the block runs.

    Args:
        state: The project's state directory; who holds its lock may call this.
        run: Makes a node run again and returns its full name; raises DevloopError where it cannot.

    Raises:
        ToolError: The socket cannot be made.
    """
    path = _socket(state)

    async def serve(stream: ByteStream) -> None:
        with contextlib.suppress(*_BROKEN, ValueError, KeyError):  # what no devloop says is not answered
            async with stream:
                request = await _receive(stream)
                await _send(stream, _answer(request, run))

    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.parent.stat().st_uid != os.getuid():
            raise PermissionError(f"{path.parent} belongs to somebody else")
        path.unlink(missing_ok=True)
        listener = await anyio.create_unix_listener(path, mode=0o600)
    except OSError as error:
        raise ToolError(f"`devloop trigger` will not reach this loop: {error}") from error
    try:
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            yield
            tasks.cancel_scope.cancel("the loop ends")
    finally:
        path.unlink(missing_ok=True)


async def ask_to_run(state: Path, nodes: Sequence[str]) -> tuple[str, ...]:
    """Ask the loop that runs for a project to run nodes again, and return their full names.

    Args:
        state: The project's state directory.
        nodes: The nodes, as a person writes them.

    Raises:
        InputError: The loop knows no such node.
        ToolError: No loop runs.
    """
    try:
        async with await anyio.connect_unix(_socket(state)) as stream:
            with anyio.fail_after(_ANSWER_SECONDS):
                await _send(stream, {"run": list(nodes)})
                answer = await _receive(stream)
    except (OSError, *_BROKEN) as error:
        raise ToolError("no loop of this project runs", hint="start it: `devloop up`") from error
    except TimeoutError as error:
        raise ToolError(f"the loop did not answer within {_ANSWER_SECONDS} s") from error
    if "error" in answer:
        raise InputError(str(answer["error"]), hint=answer.get("hint"))
    return tuple(answer["nodes"])


def _answer(request: Mapping[str, Any], run: Callable[[str], str]) -> Mapping[str, Any]:
    try:
        return {"nodes": [run(str(name)) for name in request["run"]]}
    except (InputError, ToolError) as error:
        return {"error": error.message, "hint": error.hint}


async def _send(stream: ByteStream, message: Mapping[str, Any]) -> None:
    await stream.send(json.dumps(message).encode() + b"\n")


async def _receive(stream: ByteStream) -> dict[str, Any]:
    line = await BufferedByteReceiveStream(stream).receive_until(b"\n", _LONGEST)
    message = json.loads(line)
    return message if isinstance(message, dict) else {}


def _socket(state: Path) -> Path:
    key = hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"devloop-{os.getuid()}" / f"{key}.sock"
