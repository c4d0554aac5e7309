"""What a build prints: BuildKit's progress, as JSON objects or as plain text, turned into steps and lines. Pure.

`--progress=rawjson` writes BuildKit's status messages to standard error: before buildx 0.16 pretty-printed over several
lines, since then one in a line. A final error message in plain text follows. Both readers take bytes as they come.
"""

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Final, Protocol

from devloop.runtime.ports import BuildLog, BuildProgress, BuildStep
from devloop.runtime.processes import Lines

__all__ = ["BuildFailure", "PlainReader", "ProgressReader", "RawJsonReader"]

_TAIL: Final = 50
_TEXT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailure:
    """Why a build failed.

    Attributes:
        step: The failing step as BuildKit names it, or None where it failed outside of any.
        reason: What BuildKit says about it.
        exit_code: The exit code of the step's process, where it had one.
        line: The Dockerfile's line, where BuildKit says it.
        tail: The last lines that the step printed.
        excerpt: The Dockerfile around the line, as BuildKit draws it.
    """

    reason: str
    step: str | None = None
    exit_code: int | None = None
    line: int | None = None
    tail: tuple[str, ...] = ()
    excerpt: tuple[str, ...] = ()


class ProgressReader(Protocol):
    """Reads what a build prints."""

    understood: bool
    """Whether anything at all was in the expected form."""

    def feed(self, data: bytes) -> list[BuildProgress]:
        """Take the next bytes; return what they tell."""

    def end(self) -> list[BuildProgress]:
        """Return what the last bytes tell, when there are no more."""

    def failure(self) -> BuildFailure:
        """Return why it failed, once it has."""


@dataclass(slots=True, kw_only=True)
class _Step:
    name: str
    index: int = 0
    told: BuildStep | None = None
    error: str | None = None
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=_TAIL))
    partial: dict[int, Lines] = field(default_factory=dict)

    def tell(self, number: Iterator[int], **state: Any) -> Iterator[BuildStep]:
        self.index = self.index or next(number)  # BuildKit announces steps from the last to the first
        step = BuildStep(name=self.name, index=self.index, **state)
        if step != self.told:
            self.told = step
            yield step

    def log(self, lines: Iterable[str]) -> Iterator[BuildLog]:
        for line in lines:
            self.tail.append(line)
            yield BuildLog(step=self.name, line=line)

    def flush(self) -> Iterator[BuildLog]:
        for stream in self.partial.values():
            yield from self.log(stream.end())


class RawJsonReader:
    """Reads `--progress=rawjson`."""

    def __init__(self) -> None:
        self.understood = False
        self._lines = Lines(limit=1 << 26)
        self._object: list[str] = []
        self._steps: dict[str, _Step] = {}
        self._numbers = count(1)
        self._text: deque[str] = deque(maxlen=_TEXT)

    def feed(self, data: bytes) -> list[BuildProgress]:
        """Take the next bytes; return what they tell."""
        return [told for line in self._lines.feed(data) for told in self._line(line)]

    def end(self) -> list[BuildProgress]:
        """Return what the last bytes tell, when there are no more."""
        told = [told for line in self._lines.end() for told in self._line(line)]
        told += [line for step in self._steps.values() for line in step.flush()]
        self._text.extend(self._object)  # an object that was cut off
        return told

    def failure(self) -> BuildFailure:
        """Return why it failed, once it has."""
        return _failure(self._steps.values(), self._text)

    def _line(self, line: str) -> Iterator[BuildProgress]:
        """Objects begin in the first column; one over several lines ends with a brace in the first column."""
        if self._object:
            self._object.append(line)
            if line != "}":
                return
            text, self._object = "\n".join(self._object), []
        elif line == "{":
            self._object.append(line)
            return
        else:
            text = line
        message = _parsed(text)
        if message is None:
            self._text.extend(text.split("\n"))
            return
        self.understood = True
        for vertex in message.get("vertexes") or ():
            yield from self._vertex(vertex)
        for log in message.get("logs") or ():
            yield from self._log(log)
        for warning in message.get("warnings") or ():
            step = self._step(warning.get("vertex", ""), "")
            yield from step.log([f"warning: {_decoded(warning.get('short', '')).decode(errors='replace')}"])

    def _vertex(self, vertex: Mapping[str, Any]) -> Iterator[BuildProgress]:
        step = self._step(vertex["digest"], vertex.get("name", ""))
        if not (started := vertex.get("started")):
            return
        if not (completed := vertex.get("completed")):
            yield from step.tell(self._numbers)
            return
        yield from step.flush()
        step.error = vertex.get("error") or None
        cached = bool(vertex.get("cached"))
        yield from step.tell(
            self._numbers, done=True, cached=cached, seconds=_seconds(started, completed), error=step.error
        )

    def _log(self, log: Mapping[str, Any]) -> Iterator[BuildProgress]:
        step = self._step(log.get("vertex", ""), "")
        stream = step.partial.setdefault(log.get("stream", 1), Lines())
        yield from step.log(stream.feed(_decoded(log.get("data", ""))))

    def _step(self, digest: str, name: str) -> _Step:
        step = self._steps.setdefault(digest, _Step(name=name))
        step.name = step.name or name
        return step


class PlainReader:
    """Reads `--progress=plain`, for a buildx before 0.13."""

    def __init__(self) -> None:
        self.understood = False
        self._lines = Lines()
        self._steps: dict[str, _Step] = {}
        self._numbers = count(1)
        self._text: deque[str] = deque(maxlen=_TEXT)

    def feed(self, data: bytes) -> list[BuildProgress]:
        """Take the next bytes; return what they tell."""
        return [told for line in self._lines.feed(data) for told in self._line(line)]

    def end(self) -> list[BuildProgress]:
        """Return what the last bytes tell, when there are no more."""
        return [told for line in self._lines.end() for told in self._line(line)]

    def failure(self) -> BuildFailure:
        """Return why it failed, once it has."""
        return _failure(self._steps.values(), self._text)

    def _line(self, line: str) -> Iterator[BuildProgress]:
        match = _PLAIN.match(line)
        if match is None:
            if line:
                self._text.append(line)
            return
        self.understood = True
        number, text = match.groups()
        if number not in self._steps:
            if number != "0":  # what buildx itself says, not a step
                self._steps[number] = _Step(name=text)
                yield from self._steps[number].tell(self._numbers)
            return
        yield from self._told(self._steps[number], text)

    def _told(self, step: _Step, text: str) -> Iterator[BuildProgress]:
        if text in (step.name, "...") or _TRANSFER.match(text):
            return
        if text == "CACHED":
            yield from step.tell(self._numbers, done=True, cached=True, seconds=0.0)
        elif done := _DONE.match(text):
            yield from step.tell(self._numbers, done=True, seconds=float(done[1]))
        elif text == "CANCELED":
            yield from step.tell(self._numbers, done=True, error="cancelled")
        elif text.startswith("ERROR: "):
            step.error = text.removeprefix("ERROR: ")
            yield from step.tell(self._numbers, done=True, error=step.error)
        else:
            yield from step.log([_STAMP.sub("", text)])


_PLAIN: Final = re.compile(r"#(\d+) (.*)")
_DONE: Final = re.compile(r"DONE (\d+(?:\.\d+)?)s$")
_STAMP: Final = re.compile(r"^\d+\.\d+ ")
_TRANSFER: Final = re.compile(r"^(transferring|resolve|extracting|sha256:|exporting|writing|naming)\b")

_EXIT: Final = re.compile(r"exit code: (\d+)$")
_PLACE: Final = re.compile(r"^.+:(\d+)$")
_RULE: Final = "-" * 20
_CACHE_KEY: Final = re.compile(r"^failed to calculate checksum of ref \S+: ")


def _failure(steps: Iterable[_Step], text: Sequence[str]) -> BuildFailure:
    said = next((line.removeprefix("ERROR: ") for line in reversed(text) if line.startswith("ERROR: ")), None)
    line, excerpt = _source(text)
    if (step := _failing(steps, said or "")) is None or step.error is None:
        last = next((line for line in reversed(text) if line.strip()), "the builder gave no reason")
        reason = (said or last).removeprefix("failed to solve: ")
        return BuildFailure(reason=reason, line=line, excerpt=excerpt, tail=() if said else tuple(text)[-_TAIL:])
    code = _EXIT.search(step.error)
    return BuildFailure(
        step=step.name,
        reason=_CACHE_KEY.sub("", step.error),
        exit_code=int(code[1]) if code else None,
        line=line,
        tail=tuple(step.tail),
        excerpt=excerpt,
    )


def _failing(steps: Iterable[_Step], said: str) -> _Step | None:
    """Return the step that the builder blames: others of the same build end with errors of their own (cancelled)."""
    failed = [step for step in steps if step.error]
    return next((step for step in failed if step.error and step.error in said), failed[0] if failed else None)


def _source(text: Sequence[str]) -> tuple[int | None, tuple[str, ...]]:
    """Return the Dockerfile's line and the lines around it, which BuildKit draws between two rules."""
    rules = [index for index, line in enumerate(text) if line == _RULE]
    if len(rules) < 2 or not rules[-2] or not (place := _PLACE.match(text[rules[-2] - 1])):
        return None, ()
    return int(place[1]), tuple(text)[rules[-2] + 1 : rules[-1]]


def _parsed(text: str) -> Mapping[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        message = json.loads(text)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _decoded(data: str) -> bytes:
    return base64.b64decode(data or "")


def _seconds(started: str, completed: str) -> float:
    return max(0.0, round((_time(completed) - _time(started)).total_seconds(), 3))


def _time(stamp: str) -> datetime:
    """Parse RFC 3339 with up to nanoseconds; `fromisoformat` of Python 3.11 takes them and cuts them off."""
    return datetime.fromisoformat(stamp)
