"""What a container's shell answers over a sync connection (`core.sync.protocol` says how the two talk)."""

import posixpath
from dataclasses import dataclass
from typing import Final

from devloop.core.names import from_system

__all__ = ["Acknowledged", "Answer", "Answers", "Greeting", "Located", "Refusal", "hint", "is_lasting", "reason"]


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
class Located:
    """One of the directories that the frame with this number asks for is somewhere else: links lead there.

    Attributes:
        number: The frame's number.
        index: Which of the directories.
        path: Where it is.
    """

    number: int
    index: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The frame with this number failed, and the shell ended.

    Attributes:
        number: The frame's number.
        kind: What was found in the way: `directory`, `file`, `mount`, `readonly`, `permission`, `full` or `other`.
        user: The user that the container runs as, or empty.
        place: The path that was looked at.
        words: The last lines that the tools printed.
    """

    number: int
    kind: str
    user: str
    place: str
    words: tuple[str, ...]


Answer = Greeting | Acknowledged | Located | Refusal


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
            answers.append(self._answer(self._pending[start + len(self._mark) : end]))
            self._pending = self._pending[end + 1 :]
        return answers

    def _listen(self, data: bytes) -> None:
        text = data.decode(errors="replace")
        self._words = [*self._words, *(line.strip() for line in text.split("\n") if line.strip())][-5:]

    def _answer(self, said: bytes) -> Answer:
        line = from_system(said.decode(errors="surrogateescape"))
        match line.split(" ", 4):
            case ["hello", *_]:
                return Greeting(missing=frozenset(line.split()[1:]))
            case ["ok", number]:
                return Acknowledged(number=int(number))
            case ["real", number, index, *_]:
                return Located(number=int(number), index=int(index), path=line.split(" ", 3)[3])
            case ["fail", number, kind, user, place]:
                words = tuple(self._words)
                return Refusal(number=int(number), kind=kind, user=user.strip("-"), place=place, words=words)
            case _:
                raise ValueError(line)


def reason(refusal: Refusal, container: str) -> str:
    """Return in one sentence why a container did not take a frame."""
    place = refusal.place or "/"
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
        case "mount":
            return f"`{place}` of container `{container}` is a volume's file, which cannot be replaced from inside"
        case _:
            said = f": {refusal.words[-1]}" if refusal.words else ""
            return f"container `{container}` did not take `{place}`{said}"


_HINTS: Final = {
    "readonly": "let the development manifest mount a writable volume there, or leave out `readOnlyRootFilesystem`",
    "permission": "let the image's user own what is synced: `COPY --chown=USER …` in the Dockerfile",
    "full": "raise the size limit of the volume or the node's disk there",
    "mount": "mount the whole folder rather than one file of it (no `subPath`), or leave the file out of the sync",
}


def hint(refusal: Refusal) -> str | None:
    """Return what a person can do about it, where that is known."""
    return _HINTS.get(refusal.kind)


def is_lasting(refusal: Refusal) -> bool:
    """Return whether a new container of the same pod template would refuse it too."""
    return refusal.kind in {"readonly", "permission", "mount"}
