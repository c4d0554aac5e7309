"""The commands that run a session: up, build, deploy, ci, run. Front-end, signals and exit code around the loop."""

import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Final, NoReturn

import anyio
from anyio import TASK_STATUS_IGNORED, CancelScope, create_task_group
from anyio.abc import TaskStatus

from devloop import children
from devloop.app.live import Session
from devloop.app.options import Options
from devloop.errors import DevloopError, InputError, InputErrors
from devloop.events import Event, Noted, Stopped
from devloop.ui.front import Front, choose_front

__all__ = ["FAILED", "INTERRUPTED", "WRONG_INPUT", "run_session"]

FAILED: Final = 1
WRONG_INPUT: Final = 2
INTERRUPTED: Final = 130

_REASONS: Final = {0: "all is done", WRONG_INPUT: "the input is wrong", INTERRUPTED: "interrupted"}
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
            everything = CancelScope()
            fronts.start_soon(_show, front, events, everything, name="front-end")
            try:
                code = await _to_the_end(session, front, everything, down=down)
            except* DevloopError as group:
                failure.extend(_leaves(group))
                code = WRONG_INPUT if isinstance(failure[0], InputError | InputErrors) else FAILED
            finally:
                session.bus.emit(Stopped(reason=_REASONS.get(code, "something failed"), exit_code=code))
                session.bus.close()
    if failure:
        raise failure[0]
    return code


async def _show(front: Front, events: AsyncIterator[Event], everything: CancelScope) -> None:
    await front.run(events)
    everything.cancel("nobody reads the output any more")


async def _to_the_end(session: Session, front: Front, everything: CancelScope, *, down: bool) -> int:
    """Run the session until it ends by itself or a signal ends it; return the exit code."""
    code = INTERRUPTED
    with everything:
        async with create_task_group() as tasks:
            stop = await tasks.start(_take_signals, front, everything)
            async with session:
                gc.freeze()  # `cli.calling` has switched it off while everything was imported
                gc.enable()
                with CancelScope() as waiting:
                    stop.append(waiting)
                    code = 0 if await session.wait() else FAILED
                if down:
                    await _remove(session)
            tasks.cancel_scope.cancel("the session is over")
    return code


async def _take_signals(
    front: Front, everything: CancelScope, *, task_status: TaskStatus[list[CancelScope]] = TASK_STATUS_IGNORED
) -> None:
    """End the innermost scope at the first signal, and the process at the second."""
    scopes = [everything]
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        task_status.started(scopes)
        async for number in received:
            if not scopes:
                _end_at_once(front)
            scopes[-1].cancel(f"{signal.Signals(number).name}")
            scopes.clear()


def _end_at_once(front: Front) -> NoReturn:
    children.kill_all()
    front.close()
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
