"""Running the user's own functions (tasks, checks, custom builders), each in a thread that can be told to stop."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import anyio
from anyio import CancelScope, from_thread, to_thread
from anyio.lowlevel import current_token

from devloop.core import digests
from devloop.core.engine.runs import Make, Run
from devloop.core.graph import Graph, Node
from devloop.core.trace import Result
from devloop.errors import DevloopError
from devloop.events import RunOutput
from devloop.model import ForwardRule
from devloop.runtime.tools import Done, Tools, handles
from devloop.runtime.user_code import call
from devloop.shell import Shell, using

__all__ = ["call_in_thread", "run_task"]


async def run_task(run: Run, node: Node, graph: Graph, tools: Tools, forwards: tuple[ForwardRule, ...]) -> Done:
    """Call the task's or check's function with what its arguments name.

    Raises:
        InputError: The function raised.
        ToolError: A command that it ran failed.
    """
    assert isinstance(run.work, Make)
    await call_in_thread(run, node, tools, handles(node, graph, run.work.results, forwards))
    return Done(result=Result(digest=digests.of_value(sorted(run.inputs.files.items()))), summary="passed")


async def call_in_thread(run: Run, node: Node, tools: Tools, arguments: Mapping[str, Any]) -> None:
    """Call the node's function in a daemon thread; cancelling ends the shell command that it runs, and leaves it.

    Raises:
        DevloopError: What the function raised.
    """
    token = current_token()
    done = anyio.Event()
    failure: list[BaseException] = []

    def tell(line: str) -> None:
        event = RunOutput(node=node.id, run=run.number, line=line)
        from_thread.run_sync(tools.emit, event, token=token)

    shell = Shell(tell, tools.root / node.declaration.folder)
    what = f"{node.id.kind} `{node.id.name}`"

    def work() -> None:
        try:
            with using(shell):
                where = node.declaration.where
                call(node.declaration.function, arguments, root=str(tools.root), where=where, what=what)
        except DevloopError as error:
            failure.append(error)
        finally:
            with suppress(RuntimeError):  # the session is over; nobody waits any more
                from_thread.run_sync(done.set, token=token)

    thread = threading.Thread(target=copy_context().run, args=(work,), name=str(node.id), daemon=True)
    thread.start()
    try:
        await done.wait()
    finally:
        if not done.is_set():
            with CancelScope(shield=True):
                await to_thread.run_sync(shell.cancel)
    if failure:
        raise failure[0]
