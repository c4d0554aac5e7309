"""Executes runs: hands each to its worker, tells how it went, and returns what the engine needs to know.

Expected failures become values here; anything else is a bug and ends the session.
"""

import time
from typing import assert_never

from devloop.core.engine.runs import DONE, Follow, Make, Remove, Run, RunEnded, Sync
from devloop.core.engine.state import State
from devloop.core.graph import Graph
from devloop.core.trace import Result
from devloop.errors import DevloopError
from devloop.events import Noted, RunCancelled, RunFailed, RunStarted, RunSucceeded, problems
from devloop.model import ForwardRule, Kind
from devloop.runtime.build import build
from devloop.runtime.copying import copy, follow
from devloop.runtime.deploy import deploy
from devloop.runtime.outages import through_outages
from devloop.runtime.ports import ContainerLostError, SyncRefusedError
from devloop.runtime.tasks import run_task
from devloop.runtime.tools import Done, Tools

__all__ = ["execute"]


async def execute(run: Run, graph: Graph, tools: Tools, state: State, forwards: tuple[ForwardRule, ...]) -> RunEnded:
    """Do the run's work and return how it ended; never raises for a failure of the work itself.

    Args:
        run: What is to be done.
        graph: The graph that it was planned on.
        tools: The session's ports.
        state: What the session knows as the run begins.
        forwards: The local ports, for the addresses that tasks and checks ask for.
    """
    started = time.monotonic()
    tools.emit(RunStarted(node=run.key.node, run=run.number, action=run.action, reasons=run.reasons))
    try:
        if isinstance(run.work, Make | Remove):
            done, ended = await through_outages(run, tools, lambda: _work(run, graph, tools, state, forwards))
        else:
            done, ended = await _work(run, graph, tools, state, forwards)
    except DevloopError as error:
        return _failed(run, tools, error, time.monotonic() - started)
    seconds = time.monotonic() - started
    tools.emit(
        RunSucceeded(
            node=run.key.node,
            run=run.number,
            action=run.action,
            seconds=seconds,
            summary=done.summary,
            changed=done.changed,
        )
    )
    return ended


async def _work(
    run: Run, graph: Graph, tools: Tools, state: State, forwards: tuple[ForwardRule, ...]
) -> tuple[Done, RunEnded]:
    match run.work:
        case Make():
            trace = state.traces.get(run.key.node)
            done = await _make(run, graph, tools, trace.result if trace is not None else None, forwards)
            return done, RunEnded(number=run.number, result=done.result)
        case Remove():
            removed = await tools.target.remove({run.key.node.name})
            done = Done(summary=", ".join(str(each) for each in removed) or "nothing", changed=bool(removed))
        case Sync():
            return await copy(run, run.work, tools)
        case Follow():
            return await follow(run, run.work, tools, state)
        case _:
            assert_never(run.work)
    return done, RunEnded(number=run.number, result=DONE)


async def _make(run: Run, graph: Graph, tools: Tools, before: Result | None, forwards: tuple[ForwardRule, ...]) -> Done:
    node = graph.nodes[run.key.node]
    if node.id.kind is Kind.IMAGE:
        return await build(run, node, graph, tools, before)
    if node.id.kind is Kind.SERVICE:
        return await deploy(run, node, graph, tools)
    return await run_task(run, node, graph, tools, forwards)


def _failed(run: Run, tools: Tools, error: DevloopError, seconds: float) -> RunEnded:
    match error:
        case SyncRefusedError() if isinstance(run.work, Sync) and run.work.built:
            built = "it is built anew for each change from now on" if error.lasting else "it is built anew this time"
            hint = f"{built}; {error.hint}" if error.hint else built
            tools.emit(Noted(node=run.work.image, message=f"its containers take no files: {error.message}", hint=hint))
            _cancelled(run, tools, error.message, seconds)
            return RunEnded(number=run.number, refused=error.message, lasting=error.lasting)
        case ContainerLostError() if not isinstance(run.work, Make):
            _cancelled(run, tools, error.message, seconds)
            return RunEnded(number=run.number, lost=True)
        case _:
            found = problems(error)
            node = run.key.node
            tools.emit(RunFailed(node=node, run=run.number, action=run.action, seconds=seconds, problems=found))
            return RunEnded(number=run.number)


def _cancelled(run: Run, tools: Tools, reason: str, seconds: float) -> None:
    event = RunCancelled(node=run.key.node, run=run.number, action=run.action, seconds=seconds, reason=reason)
    tools.emit(event)
