"""What a container's shell answers over a sync connection (`core.sync_protocol` says how the two talk)."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Acknowledged", "Answer", "Answers", "Greeting", "Refusal", "reason"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """The shell runs.

    Attributes:
        missing: Tools that the container does not have.
    """

    missing: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The frame with this number is done."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The frame with this number failed, and the shell ended.

    Attributes:
        number: The frame's number.
        kind: What was found in the way: `directory`, `file`, `readonly`, `permission`, `full` or `other`.
        place: Which of the frame's places was looked at.
        user: The user that the container runs as, or empty.
        words: The last lines that the tools printed.
    """

    number: int
    kind: str
    place: int
    user: str
    words: tuple[str, ...]


Answer = Greeting | Acknowledged | Refusal


class Answers:
    """Finds the answers in what a container's shell prints.

    Args:
        token: The connection's token.
    """

    def __init__(self, token: str) -> None:
        self._mark = f"\n{token} ".encode()
        self._pending = b""
        self._words: list[str] = []

    @property
    def words(self) -> tuple[str, ...]:
        """The last lines that were no answers."""
        last = self._pending.decode(errors="replace").strip()
        return tuple([*self._words, last][-5:] if last else self._words[-5:])

    def feed(self, data: bytes) -> list[Answer]:
        """Take the next bytes; return the answers that are complete now."""
        self._pending += data
        answers = []
        while (start := self._pending.find(self._mark)) >= 0:
            end = self._pending.find(b"\n", start + len(self._mark))
            if end < 0:
                break
            self._listen(self._pending[:start])
            answers.append(self._answer(self._pending[start + len(self._mark) : end].decode(errors="replace")))
            self._pending = self._pending[end + 1 :]
        return answers

    def _listen(self, data: bytes) -> None:
        text = data.decode(errors="replace")
        self._words = [*self._words, *(line.strip() for line in text.split("\n") if line.strip())][-5:]

    def _answer(self, line: str) -> Answer:
        match line.split():
            case ["hello", *missing]:
                return Greeting(missing=frozenset(missing))
            case ["fail", number, kind, place, *user]:
                words = tuple(self._words)
                return Refusal(number=int(number), kind=kind, place=int(place), user=" ".join(user), words=words)
            case ["ok", number]:
                return Acknowledged(number=int(number))
            case _:
                raise ValueError(line)


def reason(refusal: Refusal, places: Sequence[str], container: str) -> str:
    """Return in one sentence why a container did not take the frame that names these places."""
    place = places[min(refusal.place, len(places) - 1)] if places else "/"
    directory = posixpath.dirname(place)
    match refusal.kind:
        case "readonly":
            return f"the file system at `{directory}` of container `{container}` is read-only"
        case "permission":
            user = f"user `{refusal.user}`" if refusal.user else "the container's user"
            return f"{user} of container `{container}` may not write to `{directory}`"
        case "full":
            return f"there is no space left at `{directory}` of container `{container}`"
        case "directory":
            return f"`{place}` is a directory in container `{container}`, where a file should be"
        case "file":
            return f"`{directory}` leads through a file in container `{container}`, where a directory should be"
        case _:
            said = f": {refusal.words[-1]}" if refusal.words else ""
            return f"container `{container}` did not take `{place}`{said}"
