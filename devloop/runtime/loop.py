"""The loop: one coroutine owns the state. It takes inputs, asks `decide`, and starts and cancels workers.

Workers and watchers only send inputs; nobody else changes the state. The loop never sends to the stream that it reads.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import anyio
from anyio import CancelScope, create_memory_object_stream, create_task_group, to_thread
from anyio.abc import TaskGroup

from devloop.core.cluster.pods import Pod
from devloop.core.engine import Decision, decide
from devloop.core.engine.feeds import looked_at, unfed, wants_others
from devloop.core.engine.runs import Cancel, Run, RunEnded, RunKey, Start
from devloop.core.engine.state import Input, Observed, PodsSeen, Retried, State, Stirred
from devloop.core.graph import Graph
from devloop.core.plan import Busy, Due, Idle, Step, Synced, UpToDate, Waiting, runs_by_itself
from devloop.errors import InputErrors
from devloop.events import (
    FilesChanged,
    Held,
    Noted,
    Planned,
    ProjectLoaded,
    ProjectRejected,
    RunCancelled,
    Settled,
    Skipped,
    problems,
)
from devloop.model import ForwardRule, Kind, NodeId
from devloop.runtime.bus import Bus
from devloop.runtime.execute import execute
from devloop.runtime.following import Following
from devloop.runtime.journal import Journal
from devloop.runtime.lookout import Lookout
from devloop.runtime.observe import Observation, Observer
from devloop.runtime.pods import PodBoard
from devloop.runtime.ports import Forwarder, PortState, Saved, Store, Syncer, Tailer
from devloop.runtime.tools import Tools

__all__ = ["Loop", "Surroundings"]

_SHOWN_PATHS = 20
_RETRY_SECONDS = 1.0
_SAVE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a session keeps beside its workers.

    Attributes:
        project: The project's name.
        target: Where services run, in words.
        store: Keeps what outlives the session.
        journal: Knows the last decision on each node.
        syncer: Copies files into containers, or None.
        tailer: Follows logs, or None.
        forwarder: Carries local ports, or None.
        tell_port: Tells whether a local port could be opened.
        asked: The nodes of a graph that must run in this session, changed or not.
    """

    project: str
    target: str
    store: Store
    journal: Journal
    syncer: Syncer | None = None
    tailer: Tailer | None = None
    forwarder: Forwarder | None = None
    tell_port: Callable[[PortState], None] = lambda _: None
    asked: Callable[[Graph], frozenset[NodeId]] = lambda _: frozenset()


@dataclass(slots=True)
class _Round:
    """What happened since something changed last."""

    started: float
    open: bool = True


@dataclass(slots=True)
class _Running:
    """A started run's handle."""

    run: Run
    scope: CancelScope
    done: anyio.Event = field(default_factory=anyio.Event)
    started: float = 0.0


class Loop:
    """One session.

    Args:
        state: What is known at the start.
        observer: Tells the project as it is on disk.
        tools: What workers work with.
        around: What the session keeps beside them.
        bus: Where events go.
    """

    def __init__(self, state: State, observer: Observer, tools: Tools, around: Surroundings, bus: Bus) -> None:
        self._state = state
        self._observer = observer
        self._tools = tools
        self._around = around
        self._bus = bus
        self._send, self._inputs = create_memory_object_stream[Input | Observation](math.inf)
        self._running: dict[int, _Running] = {}
        self._last: dict[RunKey, _Running] = {}
        self._told: dict[NodeId, tuple[str, str]] = {}
        self._round = _Round(started=anyio.current_time())
        self._observation: Observation | None = None
        self._forwards: tuple[ForwardRule, ...] = ()
        self._pods = PodBoard(bus.emit)
        self._following = Following(
            self._pods, around.syncer, around.tailer, around.forwarder, everybody=state.mode.alone
        )
        self._lookout: Lookout | None = None
        if tools.cluster is not None and state.mode.sync and not state.mode.once:
            self._lookout = Lookout(tools.cluster, lambda target: self._send.send_nowait(Stirred(target=target)))
        self._follows_others = False
        self._will_retry = False
        self._settled = anyio.Event()
        self._steps: Mapping[NodeId, Step] = {}
        self._unhealthy: tuple[NodeId, ...] = ()
        self._wake_saver = anyio.Event()

    # --- for those who drive the session ------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the session knows now."""
        return self._state

    @property
    def observation(self) -> Observation | None:
        """The project as it was seen last, or None before the first look."""
        return self._observation

    @property
    def steps(self) -> Mapping[NodeId, Step]:
        """What each node does or waits for."""
        return self._steps

    @property
    def graph(self) -> Graph:
        """The nodes to go by; empty before the first look."""
        return self._observation.graph if self._observation else Graph()

    @property
    def unhealthy(self) -> tuple[NodeId, ...]:
        """The nodes that failed, or wait for one that did."""
        return self._unhealthy

    @property
    def troubles(self) -> Mapping[NodeId, str]:
        """Why each of them is held."""
        return {node: step.reason for node, step in self._steps.items() if isinstance(step, Waiting)}

    @property
    def forwards(self) -> tuple[ForwardRule, ...]:
        """The local ports and where they lead."""
        return self._forwards

    @property
    def pods(self) -> tuple[Pod, ...]:
        """The pods as they were seen last."""
        return self._pods.pods

    def submit(self, received: Input) -> None:
        """Give the loop an input from outside."""
        self._send.send_nowait(received)

    async def settled(self) -> None:
        """Return when nothing is left to do."""
        while not self._settled.is_set():
            await self._settled.wait()

    async def run(self) -> bool:
        """Run the session: for ever, or with `once` until nothing is left to do.

        Returns:
            Whether all is well at the end.

        Raises:
            InputErrors: The project's files have mistakes, and the session does not wait for them to be mended.
        """
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(self._save_when_asked, name="save")
                if self._state.mode.once:
                    tasks.start_soon(self._look_once, name="look")
                else:
                    tasks.start_soon(self._observer.run, self._send.send_nowait, name="observe")
                if self._tools.cluster is not None and self._state.mode.uses_cluster:
                    tasks.start_soon(self._following.run, self._tools.cluster, self._send.send_nowait, name="pods")
                if self._lookout is not None:
                    tasks.start_soon(self._lookout.run, name="look out")
                fine = await self._take_inputs(tasks)
                tasks.cancel_scope.cancel("the session is over")
        finally:
            self._send.close()
            self._inputs.close()
            with CancelScope(shield=True):
                await to_thread.run_sync(self._save)
        return fine

    async def _take_inputs(self, tasks: TaskGroup) -> bool:
        while True:
            received = await self._inputs.receive()
            if isinstance(received, Observation):
                translated = await self._observe(received)
                if translated is None:
                    continue
                received = translated
            decision = decide(self._state, received)
            self._state = decision.state
            self._steps = decision.steps
            self._tell(decision, received)
            for command in decision.commands:
                match command:
                    case Start():
                        self._start(tasks, command.run)
                    case Cancel():
                        self._cancel(command.run, command.reason)
                    case _:
                        assert_never(command)
            self._attend_to(tasks, decision)
            if decision.commands or isinstance(received, RunEnded):
                self._wake_saver.set()
            if decision.settled:
                healthy = self._settle(decision)
                if self._state.mode.once:
                    return healthy

    def _attend_to(self, tasks: TaskGroup, decision: Decision) -> None:
        """Do what the state asks for beside runs: lead connections, look at pods, try again what was lost."""
        self._following.follow(decision.state, decision.held_back)
        if self._lookout is not None:
            self._lookout.attend(looked_at(decision.state))
        cluster = self._tools.cluster
        if cluster is not None and not self._follows_others and wants_others(decision.state):
            self._follows_others = True
            tasks.start_soon(self._following.run_others, cluster, self._send.send_nowait, name="others' pods")
        if decision.state.lost and not self._will_retry:
            self._will_retry = True
            tasks.start_soon(self._retry, name="try again")

    async def _retry(self) -> None:
        await anyio.sleep(_RETRY_SECONDS)
        self._will_retry = False
        self._send.send_nowait(Retried())

    # --- observations -------------------------------------------------------------------------------------------

    async def _look_once(self) -> None:
        self._send.send_nowait(await self._observer.look())

    async def _observe(self, observation: Observation) -> Observed | None:
        """Tell what was observed; return the input for the engine, or None while there is no project to go by."""
        first = self._observation is None
        previous = self._observation
        self._observation = observation
        if first or observation.changed or observation.rediscovered:
            self._open_round()
        project = observation.project
        if self._state.mode.once and (mistakes := observation.mistakes):
            raise InputErrors(mistakes)
        if observation.changed:
            shown = tuple(observation.changed[:_SHOWN_PATHS])
            self._bus.emit(FilesChanged(paths=shown, count=len(observation.changed)))
        if observation.rediscovered:
            self._tell_project(observation, previous, first=first)
            if not project.errors:
                await self._forward(project.forwards)
                known = {note.message for note in previous.project.notes} if previous else set()
                for note in project.notes:
                    if note.message not in known:
                        self._bus.emit(Noted(node=NodeId(Kind.SERVICE, note.rule.service), message=note.message))
        if not observation.graph.nodes and project.errors:
            return None
        if first:
            self._state = replace(self._state, asked=self._around.asked(observation.graph))
        return Observed(
            graph=observation.graph,
            files=observation.files,
            touched=observation.touched,
            declared=frozenset(observation.project.graph.nodes) if not observation.project.errors else None,
            touched_since=observation.since,
        )

    def _tell_project(self, observation: Observation, previous: Observation | None, *, first: bool) -> None:
        project = observation.project
        if project.errors:
            found = tuple(problem for error in project.errors for problem in problems(error))
            self._bus.emit(ProjectRejected(problems=found))
            return
        nodes = self._concerned(observation.graph)
        if first or previous is None or previous.project.errors or nodes != self._concerned(previous.graph):
            seconds = anyio.current_time() - self._round.started
            around = self._around
            self._bus.emit(ProjectLoaded(project=around.project, target=around.target, nodes=nodes, seconds=seconds))
        for node in observation.graph.nodes.values():
            earlier = previous.graph.nodes.get(node.id) if previous else None
            if node.problems and (earlier is None or earlier.problems != node.problems):
                found = tuple(problem for error in node.problems for problem in problems(error))
                self._bus.emit(ProjectRejected(node=node.id, problems=found))

    def _concerned(self, graph: Graph) -> tuple[NodeId, ...]:
        """Return the nodes that this session has to do with."""
        mode = self._state.mode
        return tuple(
            node.id
            for node in graph.nodes.values()
            if runs_by_itself(node, graph, mode, self._state.asked) or (node.id.kind is Kind.SYNC and mode.sync)
        )

    async def _forward(self, rules: tuple[ForwardRule, ...]) -> None:
        known = (*rules, *self._kept(rules))
        wanted = tuple(rule for rule in known if NodeId(Kind.SERVICE, rule.service) in self.graph.nodes)
        if wanted == self._forwards:
            return
        before, self._forwards = self._forwards, wanted
        if self._around.forwarder is not None:
            for state in await self._around.forwarder.serve(wanted):
                if state.rule not in before or state.error is not None:
                    self._around.tell_port(state)

    def _kept(self, rules: tuple[ForwardRule, ...]) -> tuple[ForwardRule, ...]:
        """Return the forwards of services whose files have a mistake now: what runs goes on being reached."""
        taken, told = {rule.local for rule in rules}, {rule.service for rule in rules}
        broken = {node.id.name for node in self.graph.of_kind(Kind.SERVICE) if node.problems}
        return tuple(
            rule
            for rule in self._forwards
            if rule.service in broken and rule.service not in told and rule.local not in taken
        )

    # --- runs -----------------------------------------------------------------------------------------------------

    def _start(self, tasks: TaskGroup, run: Run) -> None:
        handle = _Running(run=run, scope=CancelScope(), started=anyio.current_time())
        before = self._last.get(run.key)
        self._last[run.key] = handle
        self._running[run.number] = handle
        if self._settled.is_set():
            self._settled = anyio.Event()
        self._open_round()
        self._bus.emit(Planned(node=run.key.node, action=run.action, reasons=run.reasons))
        observation = self._observation
        assert observation is not None
        tasks.start_soon(self._work, handle, before, observation.graph, name=f"{run.action} {run.key.node}")

    async def _work(self, handle: _Running, before: _Running | None, graph: Graph) -> None:
        run = handle.run
        try:
            with handle.scope:
                if before is not None:
                    await before.done.wait()  # a cancelled run is gone, with all its processes, before the next begins
                ended = await execute(run, graph, self._tools, self._state, self._forwards)
                self._send.send_nowait(replace(ended, at=time.monotonic()))
        finally:
            if before is not None:
                with CancelScope(shield=True):  # cancelled while it waited: the one before still ends
                    await before.done.wait()
            handle.done.set()
            self._running.pop(run.number, None)
            if self._last.get(run.key) is handle:
                del self._last[run.key]

    def _cancel(self, run: Run, reason: str) -> None:
        handle = self._running.get(run.number)
        if handle is None:
            return
        handle.scope.cancel(reason)
        seconds = anyio.current_time() - handle.started
        event = RunCancelled(node=run.key.node, run=run.number, action=run.action, seconds=seconds, reason=reason)
        self._bus.emit(event)

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, decision: Decision, received: Input) -> None:
        """Tell what is held and what is skipped, when that changed."""
        for node in unfed(decision.state):
            self._tell_once(node, "held", "no container runs that it could copy into")
        if isinstance(received, PodsSeen) and not decision.commands:
            return
        for node, step in decision.steps.items():
            match step:
                case Waiting():
                    self._tell_once(node, "held", step.reason)
                case UpToDate() if node.kind is Kind.IMAGE and not self._ran(node):
                    self._tell_once(node, "skipped", f"nothing changed since {step.result.ref}")
                case UpToDate() if node.kind is Kind.TASK and not self._ran(node):
                    self._tell_once(node, "skipped", "nothing changed since it ran last")
                case Synced() if not self._ran(node):
                    count = len(step.paths)
                    files = step.paths[0] if count == 1 else f"{count} files"
                    self._tell_once(node, "skipped", f"{files} changed since {step.result.ref}, and can be synced")
                case UpToDate() | Synced() if self._told.get(node, ("", ""))[0] == "held":
                    since = f"nothing changed since {step.result.ref}" if step.result.ref else "nothing changed for it"
                    self._tell_once(node, "skipped", since)
                case Due() | Busy():
                    self._told.pop(node, None)
                case UpToDate() | Synced() | Idle():
                    pass
                case _:
                    assert_never(step)

    def _ran(self, node: NodeId) -> bool:
        return node in self._state.verified

    def _tell_once(self, node: NodeId, what: str, reason: str) -> None:
        if self._told.get(node) == (what, reason):
            return
        self._told[node] = (what, reason)
        self._bus.emit(Held(node=node, reason=reason) if what == "held" else Skipped(node=node, reason=reason))

    def _open_round(self) -> None:
        if not self._round.open:
            self._round = _Round(started=anyio.current_time())

    def _settle(self, decision: Decision) -> bool:
        rejected = self._observation is not None and bool(self._observation.project.errors)
        self._unhealthy = decision.unhealthy
        healthy = not decision.unhealthy and not rejected
        if self._round.open:
            self._round.open = False
            seconds = anyio.current_time() - self._round.started
            self._bus.emit(Settled(ok=healthy, failed=decision.unhealthy, seconds=seconds))
        self._settled.set()
        return healthy

    # --- saving -----------------------------------------------------------------------------------------------------

    async def _save_when_asked(self) -> None:
        while True:
            await self._wake_saver.wait()
            await anyio.sleep(_SAVE_SECONDS)  # what goes on now comes first
            self._wake_saver = anyio.Event()
            await to_thread.run_sync(self._save)

    def _save(self) -> None:
        state = self._state
        traces = {node: trace for node, trace in state.traces.items() if node.kind is not Kind.CHECK}
        decisions = self._around.journal.decisions
        self._around.store.save(Saved(traces=traces, held=state.certain, ledger=state.ledger, decisions=decisions))
