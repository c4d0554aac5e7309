"""What an event says: who speaks, and the lines.

Pure, apart from `Speakers`, which remembers the names it has seen.
"""

from collections.abc import Mapping
from typing import Final

from devloop import events
from devloop.events import Event, PodOutput
from devloop.model import NodeId
from devloop.ui.problems import problem_lines
from devloop.ui.text import Glyphs, ansi, clean, colours, crop, duration, pad, segments
from devloop.ui.view import View

__all__ = ["OVER", "Speakers", "doing", "done", "lines_of", "listed", "naming", "step_of", "times"]

_PROJECT: Final = "devloop"
_WIDEST: Final = 24

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "build": ("building", "built"),
    "deploy": ("deploying", "deployed"),
    "remove": ("removing", "removed"),
    "sync": ("syncing", "synced"),
    "run": ("running a command", "ran a command"),
    "restart": ("restarting", "restarted"),
    "pull": ("pulling", "pulled"),
    "task": ("running", "done"),
    "check": ("checking", "passed"),
}


def doing(action: str) -> str:
    """Return what a node is at while the action runs: `building`."""
    return _WORDS.get(action, (action, action))[0]


def done(action: str) -> str:
    """Return what the action came to: `built`."""
    return _WORDS.get(action, (action, action))[1]


def listed(parts: tuple[str, ...], most: int = 5) -> str:
    """Return the parts as one phrase, the first of them by name."""
    shown = ", ".join(clean(part) for part in parts[:most])
    return f"{shown} and {len(parts) - most} more" if len(parts) > most else shown


def naming(nodes: tuple[NodeId, ...]) -> str:
    """Return the nodes' names, each once."""
    return listed(tuple(dict.fromkeys(node.name for node in nodes)))


def step_of(message: str, step: int | None, steps: int | None) -> str:
    """Return a progress message with its place among the steps, once: BuildKit's own messages begin with it."""
    text = clean(message)
    return text if step is None or steps is None or text.startswith("[") else f"[{step}/{steps}] {text}"


class Speakers:
    """Who says a line: the tag before it, as wide as the others, each service in a colour of its own."""

    def __init__(self, *, bar: str, colour: bool) -> None:
        self._bar = bar
        self._colour = colour
        self._names: set[str] = set()
        self._tags: dict[str, str] = {}
        self._containers: dict[NodeId, set[str]] = {}
        self.colours: Mapping[str, str] = {}

    def learn(self, event: Event) -> None:
        """Take notice of the names in an event."""
        if isinstance(event, events.ProjectLoaded):
            self._names = {node.name for node in event.nodes}
            self._tags.clear()
        elif event.node is not None and event.node.name not in self._names:
            self._names.add(event.node.name)
            self._tags.clear()
        if isinstance(event, PodOutput) and event.node is not None:
            self._containers.setdefault(event.node, set()).add(event.container)

    def tag(self, node: NodeId | None) -> str:
        """Return what stands before a line of this node (None: of devloop itself)."""
        name = _PROJECT if node is None else node.name
        if name not in self._tags:
            self._tags[name] = self._tag(name, devloop=node is None)
        return self._tags[name]

    def which(self, event: PodOutput, view: View) -> str:
        """Return which of the service's pods and containers speaks, where there are several, or nothing."""
        if event.node is None:
            return ""
        node = view.nodes.get(event.node)
        several_pods = node is not None and sum(pod.status not in OVER for pod in node.pods) > 1
        parts = [event.pod.rpartition("-")[2]] if several_pods else []
        if len(self._containers.get(event.node, ())) > 1:
            parts.append(event.container)
        if not parts:
            return ""
        text = f"[{clean(' '.join(parts))}] "
        return ansi(text, "dim") if self._colour else text

    def _tag(self, name: str, *, devloop: bool) -> str:
        self.colours = colours(self._names)
        width = min(max(map(len, (*self._names, _PROJECT))), _WIDEST)
        text = f"{pad(crop(clean(name), width), width)} {self._bar} "
        if not self._colour:
            return text
        return ansi(text, "dim" if devloop else self.colours.get(name, ""))


OVER: Final = frozenset({"Terminating", "Completed", "Succeeded", "Error", "Evicted"})


def lines_of(event: Event, glyphs: Glyphs, *, colour: bool = False) -> list[str]:
    """Return the lines that tell of an event; none where another event says the same."""
    match event:
        case events.PodOutput(line=line) | events.RunOutput(line=line):
            return [clean(part, colour=colour) for part in segments(line)]
        case events.Planned():
            return []  # `RunStarted` or `Held` says it
        case (
            events.RunStarted()
            | events.RunProgressed()
            | events.RunSucceeded()
            | events.RunFailed()
            | events.RunCancelled()
        ):
            return _run_lines(event, glyphs, colour=colour)
        case events.Held() | events.Skipped() | events.PodChanged() | events.PortOpened() | events.PortClosed():
            return _node_lines(event, glyphs, colour=colour)
        case _:
            return _project_lines(event, glyphs, colour=colour)


def _run_lines(
    event: events.RunStarted | events.RunProgressed | events.RunSucceeded | events.RunFailed | events.RunCancelled,
    glyphs: Glyphs,
    *,
    colour: bool,
) -> list[str]:
    paint = ansi if colour else _plain
    match event:
        case events.RunStarted(action=action, reasons=reasons):
            why = f": {listed(reasons)}" if reasons else ""
            return [f"{glyphs.run} {action}{why}"]
        case events.RunProgressed(message=message, step=step, steps=steps):
            return [paint(step_of(message, step, steps), "dim")]
        case events.RunSucceeded(action=action, seconds=seconds, summary=summary, changed=changed):
            what = f": {clean(summary)}" if summary else ""
            same = "" if changed else " (no change)"
            return [f"{paint(glyphs.good, 'green')} {done(action)} in {duration(seconds)}{what}{same}"]
        case events.RunFailed(action=action, seconds=seconds):
            head = f"{glyphs.bad} {action} failed after {duration(seconds)}"
            told = [line for problem in event.problems for line in problem_lines(problem, colour=colour)]
            return [paint(head, "bold red"), *told]
        case events.RunCancelled(action=action, seconds=seconds, reason=reason):
            return [f"{glyphs.quiet} {action} cancelled after {duration(seconds)}: {clean(reason)}"]


def _node_lines(
    event: events.Held | events.Skipped | events.PodChanged | events.PortOpened | events.PortClosed,
    glyphs: Glyphs,
    *,
    colour: bool,
) -> list[str]:
    paint = ansi if colour else _plain
    match event:
        case events.Held(reason=reason):
            return [f"{glyphs.quiet} {clean(reason)}"]
        case events.Skipped(reason=reason):
            return [f"{paint(glyphs.good, 'green')} up to date: {clean(reason)}"]
        case events.PodChanged(pod=pod, status=status, ready=ready, restarts=restarts):
            more = (", ready" if ready else "") + (f", {times(restarts, 'restart')}" if restarts else "")
            return [f"{glyphs.quiet} pod {clean(pod)}: {clean(status)}{more}"]
        case events.PortOpened(url=url, remote=remote):
            return [f"{paint(glyphs.good, 'green')} {url} {glyphs.arrow} {clean(remote)}"]
        case events.PortClosed(local=local, problem=problem):
            closed = [f"{glyphs.quiet} port {local} closed"]
            return closed if problem is None else problem_lines(problem, colour=colour)


def _project_lines(
    event: events.ProjectLoaded
    | events.ProjectRejected
    | events.FilesChanged
    | events.Noted
    | events.Settled
    | events.Stopped,
    glyphs: Glyphs,
    *,
    colour: bool,
) -> list[str]:
    paint = ansi if colour else _plain
    match event:
        case events.ProjectLoaded(project=project, target=target, nodes=nodes, seconds=seconds):
            read = f"{times(len(nodes), 'node')}, read in {duration(seconds)}"
            return [f"{project} {glyphs.arrow} {target}: {read}"]
        case events.ProjectRejected():
            return [line for problem in event.problems for line in problem_lines(problem, colour=colour)]
        case events.FilesChanged(paths=paths, count=count):
            rest = f" and {count - min(len(paths), 5)} more" if count > min(len(paths), 5) else ""
            return [paint(f"{listed(paths[:5])}{rest} changed", "dim")]
        case events.Noted(message=message, hint=hint):
            note = f"{paint('note:', 'yellow')} {clean(message)}"
            return [note, f"{paint('hint:', 'cyan')} {clean(hint)}"] if hint else [note]
        case events.Settled(ok=True, seconds=seconds):
            return [f"{paint(glyphs.good, 'green')} ready in {duration(seconds)}"]
        case events.Settled(failed=failed, seconds=seconds):
            who = f": {naming(failed)}" if failed else ""
            return [paint(f"{glyphs.bad} not ready after {duration(seconds)}{who}", "bold red")]
        case events.Stopped(exit_code=2):
            return []  # the mistakes themselves follow
        case events.Stopped(reason=reason):
            return [f"stopped: {clean(reason)}"]


def times(count: int, noun: str) -> str:
    """Return a count with its noun: `1 pod`, `2 pods`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _plain(text: str, _style: str) -> str:
    return text
