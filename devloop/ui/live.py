"""The live view's few lines: a rule with the project and how the round goes, then a line for each node.

Pure: a view, a size and a time in, styled lines out. Importing it imports rich.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from rich.text import Text

from devloop.model import Kind
from devloop.ui.text import Glyphs, cells, clean, crop, duration
from devloop.ui.view import (
    Cancelled,
    Failed,
    Held,
    Idle,
    NodeView,
    PodView,
    Rejected,
    Running,
    Settled,
    Succeeded,
    UpToDate,
    View,
    Waiting,
    Working,
)
from devloop.ui.wording import OVER, doing, done, listed, naming, step_of, times

__all__ = ["live_lines"]

_TIME: Final = 6
_WORD: Final = 10
_KIND: Final = 7


class _Mood(StrEnum):
    GOOD = "green"
    BUSY = "yellow"
    BAD = "bold red"
    WARN = "bold yellow"
    QUIET = "dim"


@dataclass(frozen=True, slots=True)
class _Row:
    """What there is to say of a node: a word, more, and how long it took or takes."""

    mood: _Mood
    word: str
    detail: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class _Columns:
    """How wide the columns are; a narrow terminal has none for the kind, and no words for what the signs say."""

    name: int
    kind: int
    text: int
    total: int

    @property
    def narrow(self) -> bool:
        return not self.kind


def live_lines(
    view: View, *, columns: int, rows: int, now: float, glyphs: Glyphs, colours: Mapping[str, str]
) -> list[Text]:
    """Return the lines, each narrower than the terminal and together at most about half as high.

    Args:
        view: What is known.
        columns: The terminal's width.
        rows: The terminal's height.
        now: The present time, on the events' clock.
        glyphs: The signs to use.
        colours: Each name's colour.
    """
    if view.project is None and not view.nodes and not view.rejected:
        return []
    width = max(columns - 1, 1)
    lines = [_rule(view, width, now, glyphs)]
    if view.rejected:
        text = f"{glyphs.bad} the project's files have mistakes (see above); what was there goes on"
        lines.append(Text(crop(text, width, glyphs.ellipsis), style="red"))
    room = max(1, min(rows // 2, rows - 4)) - len(lines)
    nodes = [(node, _row(node, now)) for node in view.nodes.values()]
    shown = nodes if len(nodes) <= room else _foremost(nodes, room - 1)
    layout = _columns([node for node, _ in nodes], width)
    lines += [_line(node, row, layout, glyphs, colours) for node, row in shown]
    if len(shown) < len(nodes) and room > 0:
        lines.append(_rest(nodes, shown, width, glyphs))
    return lines


# --- the rule ----------------------------------------------------------------------------------------------


def _rule(view: View, width: int, now: float, glyphs: Glyphs) -> Text:
    mood, status = _status(view, now)
    line = glyphs.rule
    right = f" {crop(status, max(width - 6, 0), glyphs.ellipsis)} " if status else ""
    room = width - cells(right) - 4
    left = f" {crop(_title(view, glyphs), room - 2, glyphs.ellipsis)} " if room > 4 else ""
    fill = max(width - cells(left) - cells(right) - 4, 0)
    rule = Text.assemble(
        (line * 2, "dim"), (left, "bold"), (line * fill, "dim"), (right, mood.value), (line * 2, "dim")
    )
    rule.truncate(width)
    return rule


def _title(view: View, glyphs: Glyphs) -> str:
    project, target = (clean(each) if each else "" for each in (view.project, view.target))
    return f"{project} {glyphs.arrow} {target}" if target else project or "devloop"


def _status(view: View, now: float) -> tuple[_Mood, str]:
    if view.ended is not None:
        return _Mood.QUIET, "stopped"
    match view.round:
        case Idle():
            return _Mood.QUIET, ""
        case Working(since=since):
            return _Mood.BUSY, f"working {_elapsed(now - since)}".rstrip()
        case Settled(ok=True, seconds=seconds):
            troubled = tuple(node.node for node in view.nodes.values() if _row(node, now).mood is _Mood.WARN)
            if troubled:
                return _Mood.WARN, f"in trouble: {naming(troubled)}"
            return _Mood.GOOD, f"ready in {duration(seconds)}"
        case Settled(failed=failed):
            return _Mood.BAD, f"not ready: {naming(failed)}" if failed else "not ready"
        case _:
            assert_never(view.round)


# --- the rows ----------------------------------------------------------------------------------------------


def _columns(nodes: Sequence[NodeView], width: int) -> _Columns:
    name = min(max((cells(clean(node.node.name)) for node in nodes), default=0), 24, max(width // 3, 1))
    kind = _KIND + 2 if width >= 60 else 0
    return _Columns(name=name, kind=kind, text=max(width - 2 - name - 2 - kind - _TIME - 2, 0), total=width)


def _line(node: NodeView, row: _Row, layout: _Columns, glyphs: Glyphs, colours: Mapping[str, str]) -> Text:
    sign = {
        _Mood.GOOD: glyphs.good,
        _Mood.BUSY: glyphs.busy,
        _Mood.BAD: glyphs.bad,
        _Mood.WARN: glyphs.warn,
        _Mood.QUIET: glyphs.quiet,
    }[row.mood]
    name = crop(clean(node.node.name), layout.name, glyphs.ellipsis)
    line = Text.assemble((sign, row.mood.value), " ", (name, colours.get(node.node.name, "")))
    line.append(" " * (layout.name - cells(name) + 2))
    if layout.kind:
        line.append(node.node.kind.value.ljust(layout.kind), "dim")
    word = row.word if not row.detail else "" if layout.narrow else f"{row.word:{_WORD}} "
    style = row.mood.value if row.mood in {_Mood.BAD, _Mood.WARN, _Mood.QUIET} else ""
    text = crop(word + row.detail, layout.text, glyphs.ellipsis)
    line.append(text[: len(word)], style).append(text[len(word) :], "dim" if row.mood is _Mood.QUIET else "")
    if row.time:
        line.append(" " * (layout.text - cells(text) + 2)).append(row.time.rjust(_TIME), "dim")
    line.truncate(layout.total)
    return line


def _row(node: NodeView, now: float) -> _Row:
    match node.state:
        case Waiting(action=None):
            return _Row(_Mood.QUIET, "watching" if node.node.kind is Kind.SYNC else "waiting")
        case Waiting(reasons=reasons):
            return _Row(_Mood.QUIET, "waiting", listed(reasons, 2))
        case Held(reason=reason):
            return _Row(_Mood.QUIET, clean(reason))
        case Running() as run:
            return _Row(_Mood.BUSY, doing(run.action), _progress(run), _elapsed(now - run.since))
        case Succeeded(action=action, summary=summary, seconds=seconds):
            return _good(node, done(action), clean(summary), duration(seconds))
        case UpToDate(reason=reason):
            return _good(node, "up to date", clean(reason), "")
        case Failed(problems=problems, seconds=seconds):
            return _Row(_Mood.BAD, "failed", clean(problems[0].message) if problems else "", duration(seconds))
        case Rejected(problems=problems):
            return _Row(_Mood.BAD, "mistake", clean(problems[0].message) if problems else "")
        case Cancelled(reason=reason, seconds=seconds):
            return _Row(_Mood.QUIET, "cancelled", clean(reason), duration(seconds))
        case _:
            assert_never(node.state)


def _good(node: NodeView, word: str, detail: str, time: str) -> _Row:
    """Return what to say of a node whose last run was good; a service may be in trouble all the same."""
    if node.node.kind is not Kind.SERVICE:
        return _Row(_Mood.GOOD, word, detail, time)
    pods = [pod for pod in node.pods if pod.status not in OVER]
    if any(not pod.ready for pod in pods):
        return _Row(_Mood.WARN, "not ready", _trouble(pods))
    urls = [port.url for port in node.ports if port.url is not None]
    closed = [f"port {port.local} is not open" for port in node.ports if port.problem is not None]
    restarts = sum(pod.restarts for pod in pods)
    notes = [times(restarts, "restart")] if restarts else []
    more = [f"{len(pods)} pods"] if len(pods) > 1 else []
    mood = _Mood.WARN if closed else _Mood.GOOD
    return _Row(mood, "ready", "  ".join([*urls, *closed, *more, *notes]), time)


def _trouble(pods: Sequence[PodView]) -> str:
    ready = sum(pod.ready for pod in pods)
    statuses = Counter(clean(pod.status) for pod in pods if not pod.ready and pod.status != "Running")
    told = [f"{ready} of {len(pods)} ready", *statuses]
    restarts = sum(pod.restarts for pod in pods)
    return ", ".join([*told, times(restarts, "restart")] if restarts else told)


def _progress(run: Running) -> str:
    if run.message is None:
        return listed(run.reasons, 2)
    return step_of(run.message, run.step, run.steps)


def _elapsed(seconds: float) -> str:
    whole = int(seconds)
    return "" if whole < 1 else f"{whole}s" if whole < 10 else duration(whole)


# --- what does not fit -------------------------------------------------------------------------------------

_Nodes = Sequence[tuple[NodeView, _Row]]


def _foremost(nodes: _Nodes, count: int) -> _Nodes:
    """Return the nodes that matter most now, in their own order."""
    ranked = sorted(range(len(nodes)), key=lambda index: (_rank(*nodes[index]), index))
    return [nodes[index] for index in sorted(ranked[: max(count, 0)])]


def _rank(node: NodeView, row: _Row) -> int:
    match row.mood:
        case _Mood.BAD:
            return 0
        case _Mood.WARN:
            return 1
        case _Mood.BUSY:
            return 2
        case _Mood.GOOD | _Mood.QUIET:
            return 3 if node.ports else 4 if node.node.kind is Kind.SERVICE else 5


_SUMS: Final[Mapping[_Mood, str]] = {
    _Mood.BAD: "failed",
    _Mood.WARN: "not ready",
    _Mood.BUSY: "at work",
    _Mood.QUIET: "waiting",
    _Mood.GOOD: "fine",
}


def _rest(nodes: _Nodes, shown: _Nodes, width: int, glyphs: Glyphs) -> Text:
    named = {node.node for node, _ in shown}
    moods = Counter(row.mood for node, row in nodes if node.node not in named)
    sums = ", ".join(f"{moods[mood]} {word}" for mood, word in _SUMS.items() if moods[mood])
    more = "more" if shown else "nodes"
    return Text(crop(f"{glyphs.ellipsis} {sum(moods.values())} {more}: {sums}", width, glyphs.ellipsis), style="dim")
