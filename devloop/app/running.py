"""The commands that run a session: up, build, deploy, ci, run. Front-end, signals and exit code around the loop."""

import os
import signal
import sys
from typing import Final, NoReturn

import anyio
from anyio import TASK_STATUS_IGNORED, CancelScope, create_task_group
from anyio.abc import TaskStatus

from devloop import children
from devloop.app.options import Options
from devloop.app.session import Session
from devloop.errors import DevloopError
from devloop.events import Noted, Stopped
from devloop.ui.front import choose_front
from devloop.ui.screen import SHOW_CURSOR

__all__ = ["FAILED", "INTERRUPTED", "run_session"]

FAILED: Final = 1
INTERRUPTED: Final = 130

_REASONS: Final = {0: "all is done", INTERRUPTED: "interrupted"}
_REMOVAL_SECONDS: Final = 60


async def run_session(options: Options, *, output: str, down: bool = False) -> int:
    """Run a session with a front-end until it ends, and return the exit code.

    The first Ctrl-C (or SIGTERM) ends the session in order, the second at once.

    Args:
        options: What is asked for.
        output: How it is shown.
        down: Whether what was deployed is removed at the end.

    Raises:
        DevloopError: The session could not begin.
    """
    session = Session(options)
    front = choose_front(output, stderr_is_terminal=sys.stderr.isatty(), env=os.environ)
    failure: list[DevloopError] = []
    code = FAILED
    with session.bus.subscribe() as events:
        async with create_task_group() as fronts:
            fronts.start_soon(front.run, events, name="front-end")
            try:
                code = await _to_the_end(session, down=down)
            except* DevloopError as group:
                failure.extend(_leaves(group))
            finally:
                session.bus.emit(Stopped(reason=_REASONS.get(code, "something failed"), exit_code=code))
                session.bus.close()
    if failure:
        raise failure[0]
    return code


async def _to_the_end(session: Session, *, down: bool) -> int:
    """Run the session until it ends by itself or a signal ends it; return the exit code."""
    code = INTERRUPTED
    with CancelScope() as everything:
        async with create_task_group() as tasks:
            stop = await tasks.start(_take_signals, everything)
            async with session:
                with CancelScope() as waiting:
                    stop.append(waiting)
                    code = 0 if await session.wait() else FAILED
                if down:
                    await _remove(session)
            tasks.cancel_scope.cancel("the session is over")
    return code


async def _take_signals(
    everything: CancelScope, *, task_status: TaskStatus[list[CancelScope]] = TASK_STATUS_IGNORED
) -> None:
    """End the innermost scope at the first signal, and the process at the second."""
    scopes = [everything]
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started(scopes)
        async for number in received:
            if len(scopes) == 0:
                _end_at_once()
            scopes[-1].cancel(f"{signal.Signals(number).name}")
            scopes.clear()


def _end_at_once() -> NoReturn:
    children.kill_all()
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)
        sys.stderr.flush()
    os._exit(INTERRUPTED)


async def _remove(session: Session) -> None:
    await session.stop()
    with anyio.move_on_after(_REMOVAL_SECONDS):
        removed = await session.down()
        names = ", ".join(str(each) for each in removed) or "nothing"
        session.bus.emit(Noted(message=f"removed {names}"))


def _leaves(group: BaseExceptionGroup[DevloopError]) -> list[DevloopError]:
    found: list[DevloopError] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
