"""Executes runs: hands each to its worker, tells how it went, and returns what the engine needs to know.

Expected failures become values here; anything else is a bug and ends the session.
"""

import time
from collections.abc import Awaitable, Callable
from typing import assert_never

from anyio import to_thread

from devloop.core.graph import Graph
from devloop.core.runs import DONE, Follow, Make, Remove, Run, RunEnded, Sync
from devloop.core.syncing import FollowUp
from devloop.core.trace import Result
from devloop.errors import DevloopError, ToolError, UnreachableError
from devloop.events import Noted, RunCancelled, RunFailed, RunOutput, RunProgressed, RunStarted, RunSucceeded, problems
from devloop.model import ForwardRule, Kind, PullRule, RestartRule, RunRule
from devloop.runtime.build import build
from devloop.runtime.deploy import deploy
from devloop.runtime.outages import outlast
from devloop.runtime.ports import ContainerLostError, Syncer, SyncRefusedError
from devloop.runtime.pull import unpack
from devloop.runtime.tasks import run_task
from devloop.runtime.tools import Done, Tools

__all__ = ["execute"]


async def execute(
    run: Run, graph: Graph, tools: Tools, *, before: Result | None, forwards: tuple[ForwardRule, ...]
) -> RunEnded:
    """Do the run's work and return how it ended; never raises for a failure of the work itself.

    Args:
        run: What is to be done.
        graph: The graph that it was planned on.
        tools: The session's ports.
        before: What the node's last good run made.
        forwards: The local ports, for the addresses that tasks and checks ask for.
    """
    started = time.monotonic()
    tools.emit(RunStarted(node=run.key.node, run=run.number, action=run.action, reasons=run.reasons))
    try:
        done, ended = await _through_outages(run, tools, lambda: _work(run, graph, tools, before, forwards))
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


async def _through_outages(
    run: Run, tools: Tools, work: Callable[[], Awaitable[tuple[Done, RunEnded]]]
) -> tuple[Done, RunEnded]:
    """Do the work; in a session that goes on, an engine or a cluster that does not answer is waited for."""
    if not tools.persistent or not isinstance(run.work, Make | Remove):
        return await work()

    def tell(error: UnreachableError) -> None:
        tools.emit(RunProgressed(node=run.key.node, run=run.number, message=f"{error.message}; trying again"))

    return await outlast(work, tell)


async def _work(
    run: Run, graph: Graph, tools: Tools, before: Result | None, forwards: tuple[ForwardRule, ...]
) -> tuple[Done, RunEnded]:
    match run.work:
        case Make():
            done = await _make(run, graph, tools, before, forwards)
            return done, RunEnded(number=run.number, result=done.result)
        case Remove():
            removed = await tools.target.remove({run.key.node.name})
            done = Done(summary=", ".join(str(each) for each in removed) or "nothing", changed=bool(removed))
        case Sync():
            return await _sync(run, run.work, _syncer(tools))
        case Follow():
            done = await _follow(run, run.work, tools)
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


async def _sync(run: Run, work: Sync, syncer: Syncer) -> tuple[Done, RunEnded]:
    acknowledged = await syncer.send(work.target, work.changes)
    count = len(acknowledged)
    what = acknowledged[0].source if count == 1 else f"{count} files"
    ended = RunEnded(number=run.number, result=DONE, acknowledged=tuple(acknowledged))
    return Done(summary=f"{what} → {work.target.pod}"), ended


async def _follow(run: Run, work: Follow, tools: Tools) -> Done:
    done = []
    for follow_up in work.follow_ups:
        tools.emit(RunProgressed(node=run.key.node, run=run.number, message=_what(follow_up)))
        match follow_up.rule:
            case RunRule():
                await _command(run, work, follow_up.rule, tools)
            case RestartRule():
                await _syncer(tools).restart(work.target)
            case PullRule():
                if not await _pull(run, work, follow_up.rule, tools):
                    continue
            case _:
                assert_never(follow_up.rule)
        done.append(_what(follow_up))
    if not done:
        return Done(summary="nothing new to bring back", changed=False)
    return Done(summary=f"{', '.join(done)} in {work.target.pod}")


async def _pull(run: Run, work: Follow, rule: PullRule, tools: Tools) -> bool:
    """Bring a file or folder back; return whether anything on the host changed."""
    archive = await _syncer(tools).fetch(work.target, rule.source)
    if archive is None:
        return False
    pulled = await to_thread.run_sync(unpack, archive, tools.root / rule.destination)
    for path in pulled.kept:
        name = path.relative_to(tools.root).as_posix()
        message = f"`{name}` is newer here than in pod `{work.target.pod}`, and stays as it is"
        hint = "delete it to take the container's"
        tools.emit(Noted(node=run.key.node, message=message, hint=hint))
    return bool(pulled.written)


async def _command(run: Run, work: Follow, rule: RunRule, tools: Tools) -> None:
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        tools.emit(RunOutput(node=run.key.node, run=run.number, line=line))

    code = await _syncer(tools).run(work.target, rule.command, tell)
    if code != 0:
        message = f"`{rule.command}` failed with exit code {code} in pod `{work.target.pod}`; the copied files stay"
        raise ToolError(message, command=("sh", "-c", rule.command), exit_code=code, tail=lines[-20:])


def _what(follow_up: FollowUp) -> str:
    match follow_up.rule:
        case RunRule(command=command):
            return command
        case RestartRule():
            return "restart"
        case PullRule(destination=destination):
            return f"pull {destination}"
        case _:
            assert_never(follow_up.rule)


def _syncer(tools: Tools) -> Syncer:
    if tools.syncer is None:
        raise ToolError("this session copies no files")
    return tools.syncer


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
