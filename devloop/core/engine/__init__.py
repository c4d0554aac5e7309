"""The engine: what is started or cancelled after each input.

`decide` is synchronous and pure: the same state and input give the same decision. Late results are recognised by their
run's number and ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from devloop.core.engine.commands import PHASES
from devloop.core.engine.feeds import held_back, unfed, unfinished
from devloop.core.engine.runs import Cancel, Command, Follow, Make, Remove, Run, RunKey, Start, Sync
from devloop.core.engine.state import Input, Observed, State
from devloop.core.engine.transitions import take
from devloop.core.graph import Graph
from devloop.core.plan import Busy, Situation, Step, Waiting, plan
from devloop.core.trace import UNSURE
from devloop.model import ContainerTarget, Kind, NodeId

__all__ = ["Decision", "decide", "situation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from an input.

    Attributes:
        state: The next state.
        commands: What to cancel and start, in this order.
        steps: The plan that led there: what each node does or waits for.
    """

    state: State
    commands: tuple[Command, ...]
    steps: Mapping[NodeId, Step]

    @property
    def settled(self) -> bool:
        """Whether nothing is under way and nothing will start without another input."""
        state = self.state
        if state.running or state.observed is None or (_feeds_containers(state) and not state.seen):
            return False
        return not unfinished(state)

    @property
    def held_back(self) -> frozenset[ContainerTarget]:
        """The containers that do not hold yet what those before them did: nobody should be led to them."""
        return frozenset(self.state.containers.keys() - self.state.served)

    @property
    def unhealthy(self) -> tuple[NodeId, ...]:
        """The nodes that failed, or wait for one that did."""
        held = [node for node, step in self.steps.items() if isinstance(step, Waiting)]
        held += unfed(self.state)
        return tuple(dict.fromkeys([*held, *sorted(key.node for key in self.state.broken)]))


def _feeds_containers(state: State) -> bool:
    """Whether what runs in the cluster may lack files."""
    mode = state.mode
    return mode.alone or (
        mode.sync and mode.uses_cluster and state.observed is not None and bool(state.observed.graph.placements)
    )


def decide(state: State, received: Input) -> Decision:
    """Return the next state and what is to be started and cancelled, after one input."""
    state = take(state, received)
    if state.observed is None:
        return Decision(state=state, commands=(), steps={})
    steps = plan(situation(state))
    state = _note_overtaken(state, steps)
    commands: list[Command] = []
    for phase in PHASES:
        for command in phase(state, steps):
            state, carried_out = _carry_out(state, command)
            commands.append(carried_out)
    served = frozenset(state.containers.keys() - held_back(state, steps))
    state = state if served == state.served else replace(state, served=served)
    return Decision(state=state, commands=tuple(commands), steps=steps)


def situation(state: State) -> Situation:
    """Return what the planner needs to know of a state."""
    observed = state.observed or Observed(graph=Graph(), files={})
    making = (run for run in state.running.values() if isinstance(run.work, Make))
    return Situation(
        graph=observed.graph,
        files=observed.files,
        traces=state.traces,
        failed=state.failed,
        running={run.key.node: run.inputs for run in making},
        verified=state.verified,
        refused=state.refused,
        unsettled=state.unsettled,
        asked=state.asked,
        mode=state.mode,
    )


def _note_overtaken(state: State, steps: Mapping[NodeId, Step]) -> State:
    """Remember which files changed under the hands of a run that goes on."""
    running = dict(state.running)
    for node, step in steps.items():
        if isinstance(step, Busy) and step.overtaken:
            key = RunKey(node=node)
            running[key] = replace(running[key], unsure=running[key].unsure | frozenset(step.overtaken))
    return replace(state, running=running)


def _carry_out(state: State, command: Command) -> tuple[State, Command]:
    """Return the state with the command carried out, and the command with its run's number."""
    match command:
        case Cancel():
            running = {key: run for key, run in state.running.items() if run.number != command.run.number}
            return replace(state, running=running), command
        case Start():
            run = replace(command.run, number=state.next)
            following = {key: each for key, each in state.following.items() if key != run.key}
            changed = replace(
                _with_unsure(state, run),
                running={**state.running, run.key: run},
                following=following,
                unsettled=state.unsettled | ({run.key.node} if _acts_outside(run) else set()),
                greeted=state.greeted | ({run.work.target} if isinstance(run.work, Follow) else set()),
                stirred=state.stirred - ({run.work.target} if isinstance(run.work, Follow) else set()),
                next=state.next + 1,
            )
            return changed, Start(run=run)
        case _:
            assert_never(command)


def _with_unsure(state: State, run: Run) -> State:
    """Return the state with the files that a copy is about to send marked, until the container acknowledges them."""
    if not isinstance(run.work, Sync):
        return state
    on_their_way = {change.source: UNSURE for change in run.work.changes}
    held = {**state.held.get(run.work.target, {}), **on_their_way}
    return replace(state, held={**state.held, run.work.target: held})


def _acts_outside(run: Run) -> bool:
    """Return whether a run that is broken off leaves something half done: a deploy, a task; never a build."""
    return isinstance(run.work, Make | Remove) and run.key.node.kind is not Kind.IMAGE
