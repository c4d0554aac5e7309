"""What is said over a sync connection: the script that a container's shell runs, the frames it takes, and its answers.

The connection is the standard input of one long-lived `sh` in the container. A frame is a line `TOKEN NUMBER COMMANDS`
and the bytes that its commands read. Commands write beside the destination and rename, so that no reader sees half a
file. An answer is a line `TOKEN ok NUMBER`, or `TOKEN fail NUMBER REASON PLACE USER`, after which the shell ends: what
it has not read yet can then never be taken for commands. All else that it prints are the words of the tools.
"""

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from devloop.core.names import to_system
from devloop.model import FileChange

__all__ = [
    "Acknowledged",
    "Answer",
    "Answers",
    "Content",
    "Frame",
    "Greeting",
    "Lines",
    "Link",
    "Refusal",
    "abandonment",
    "bundle",
    "deletion",
    "in_order",
    "last_part",
    "loop_script",
    "part",
    "reason",
    "run_script",
    "single",
]

# Its constraints: it runs under dash, busybox's ash and bash; payloads are read by `dd`, since busybox's `head` reads
# ahead; nothing may be taken for commands that was not sent as such, and so every failure ends the shell.
_SCRIPT: Final = r"""
t=TOKEN q=0 i= w= g= n='
'
umask 022
exec 2>&1
undo() { :; }
take() { dd bs="$1" count=1 iflag=fullblock status=none; }
why() {
k=other p=${1%/*}
while [ -n "$p" ] && [ ! -e "$p" ]; do p=${p%/*}; done
[ -n "$p" ] || p=/
if [ -d "$1" ] && [ ! -L "$1" ]; then k=directory; return; fi
if [ ! -d "$p" ]; then k=file; return; fi
b=0 o=
while read -r _ m _ f _; do
case $p/ in "${m%/}"/*) [ ${#m} -lt $b ] || { b=${#m} o=$f; } ;; esac
done </proc/mounts
case $o in ro|ro,*) k=readonly; return ;; esac
[ -w "$p" ] || { k=permission; return; }
a=$(df -P "$p" | { read -r _; read -r _ _ _ a _; echo "$a"; })
case $a in [0-7]) k=full ;; esac
}
fail() {
i=0
for x; do why "$x" 2>/dev/null; [ $k = other ] || break; i=$((i+1)); done
undo
eval "rm -rf -- $g"
printf '\n%s fail %s %s %s %s\n' $t "$q" $k $i "$(id -un 2>/dev/null || id -u 2>/dev/null)"
exit 1
}
gap() {
if [ -L "$1" ]; then rm -f -- "$1"; else find "$1" -depth -type d -exec rmdir -- {} \; 2>/dev/null; fi
[ ! -d "$1" ] || fail "$1"
}
dir() { [ -d "$1" ] || mkdir -p -- "$1" || fail "$1/x"; }
bits() { [ "$1" = 644 ] || chmod "$1" "$2" || fail "$2"; }
mov() { [ ! -d "$2" ] || gap "$2"; mv -f -- "$1" "$2" || fail "$2"; }
one() { dir "${4%/*}/"; { [ "$1" = 0 ] || take "$1"; } >"$3" || fail "$4"; bits "$2" "$3"; mov "$3" "$4"; }
lnk() { dir "${3%/*}/"; ln -s -- "$1" "$2" || fail "$3"; mov "$2" "$3"; }
more() { take "$1" >>"$2" || fail "$2"; }
all() {
d=$1 s=$2; shift 2
for x; do [ ! -d "$d/$x" ] || gap "$d/$x"; done
cd "$s" && mv -f -- "$@" "$d/" || fail "$d/x"
}
del() {
rm -f -- "$@" && return
for x; do [ -L "$x" ] || [ ! -e "$x" ] || [ -d "$x" ] || fail "$x"; done
}
lacks() { for x; do command -v $x >/dev/null || printf ' %s' $x; done; }
printf '\n%s hello%s\n' $t "$(lacks dd mv rm mkdir chmod ln tar find)"
while read -r k q x; do
[ "$k" = $t ] || exit 97
eval "$x"
printf '\n%s ok %s\n' $t "$q"
[ -z "$w" ] || { undo; cd /; w=; }
done
eval "rm -rf -- $g"
"""

_INLINE: Final = 800
"""Longest commands put on the line itself: a shell reads lines byte by byte."""
_NAMES: Final = 500
"""Most names given to one command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A regular file as it was read."""

    change: FileChange
    mode: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link as it was read."""

    change: FileChange
    target: str


Entry = Content | Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Commands for the shell, and the bytes they read.

    Attributes:
        commands: Shell text without line ends.
        payload: What the commands read from standard input.
        places: The paths that a failure's `PLACE` counts.
        changes: What the container holds once it says ok.
    """

    commands: bytes
    payload: bytes = field(default=b"", repr=False)
    places: tuple[str, ...] = ()
    changes: tuple[FileChange, ...] = ()

    def encoded(self, token: str, number: int) -> bytes:
        """Return the bytes to send."""
        commands, payload = self.commands, self.payload
        if len(commands) > _INLINE:
            commands, payload = b'eval "$(take %d)"' % len(commands), commands + payload
        return b"%s %d %s\n%s" % (token.encode(), number, commands, payload)


# --- the sequence of things ----------------------------------------------------------------------------------


def in_order(
    changes: Sequence[FileChange],
) -> tuple[tuple[FileChange, ...], tuple[FileChange, ...], tuple[FileChange, ...]]:
    """Return which deletions come first, what is written then, and the deletions that come last.

    A reader shall find the new name of a renamed file before the old one goes; only what stands in the way of a write
    (a file where a directory comes, or the other way round) goes first.
    """
    writes = tuple(change for change in changes if change.digest is not None)
    deletions = [change for change in changes if change.digest is None]
    written = {place for change in writes for place in change.destinations}
    needed = {ancestor for place in written for ancestor in _ancestors(place)}
    first = [change for change in deletions if any(_stands_in_way(p, written, needed) for p in change.destinations)]
    ahead = set(first)
    return tuple(first), writes, tuple(change for change in deletions if change not in ahead)


def _stands_in_way(place: str, written: set[str], needed: set[str]) -> bool:
    return place in needed or not written.isdisjoint(_ancestors(place))


def _ancestors(place: str) -> Iterator[str]:
    while (place := posixpath.dirname(place)) != "/":
        if not place:
            return
        yield place


# --- frames --------------------------------------------------------------------------------------------------


def loop_script(token: str) -> str:
    """Return the script for `sh -c` that serves a connection.

    Args:
        token: A random word that no file's content can contain by accident.
    """
    return _SCRIPT.strip().replace("TOKEN", token)


def deletion(changes: Sequence[FileChange]) -> Frame:
    """Return the frame that deletes files."""
    places = tuple(place for change in changes for place in change.destinations)
    calls = [b"del " + _words(some) for some in _chunks(places)]
    return Frame(commands=b"; ".join(calls), places=places, changes=tuple(changes))


def single(entry: Entry, temporary: str) -> tuple[Frame, ...]:
    """Return the frames that write one file or link by itself, without tar: one for each destination.

    Args:
        entry: What to write.
        temporary: A name that nothing else has.
    """
    frames = []
    places = entry.change.destinations
    for place in places:
        aside = posixpath.join(posixpath.dirname(place), temporary)
        match entry:
            case Content(mode=mode, data=data):
                write = b"one %d %o %s" % (len(data), mode & 0o777, _words([aside, place]))
            case Link(target=target):
                data, write = b"", b"lnk " + _words([target, aside, place])
        changes = (entry.change,) if place == places[-1] else ()
        commands = b"undo() { rm -f -- %s; }; %s" % (_words([aside]), write)
        frames.append(Frame(commands=commands, payload=data, places=(place,), changes=changes))
    return tuple(frames)


def bundle(entries: Sequence[Entry], temporary: str) -> Frame:
    """Return the frame that writes many files by one tar: into a directory beside each destination, then renamed.

    Args:
        entries: What to write.
        temporary: A name that nothing else has.
    """
    members = sorted(
        (posixpath.split(place), order, entry)
        for order, entry in enumerate(entries)
        for place in entry.change.destinations
    )
    moves, asides, archive = [], [], []
    for directory, group in groupby(members, key=lambda member: member[0][0]):
        aside = posixpath.join(directory, temporary)
        names = []
        for (_, name), _, entry in group:
            archive.append(_member(posixpath.join(aside, name).lstrip("/"), entry))
            names.append(name)
        moves += [b"all " + _words([directory, aside, *some]) for some in _chunks(names)]
        asides.append(aside)
    archive.append(bytes(1024))
    payload = b"".join(archive)
    places = tuple(posixpath.join(posixpath.dirname(aside), "x") for aside in asides)
    unpack = b"take %d | tar -xpomf - -C / || fail %s" % (len(payload), _words(places))
    undo = b"undo() { rm -rf -- %s; }; w=1" % _words(asides)
    commands = b"; ".join((undo, unpack, *moves))
    return Frame(
        commands=commands, payload=payload, places=places, changes=tuple(dict.fromkeys(e.change for e in entries))
    )


def part(data: bytes, place: str, temporary: str, *, first: bool) -> Frame:
    """Return the frame that appends a piece of a large file to a temporary one beside its destination."""
    aside = posixpath.join(posixpath.dirname(place), temporary)
    more = b"more %d %s" % (len(data), _words([aside]))
    if not first:
        return Frame(commands=more, payload=data, places=(place,))
    # Twice quoted: what is left over when the connection ends is evaluated then.
    begin = b"dir %s; g=$g%s" % (_words([posixpath.dirname(place)]), _quoted(b" " + _words([aside])))
    return Frame(commands=begin + b"; " + more, payload=data, places=(place,))


def abandonment(place: str, temporary: str) -> Frame:
    """Return the frame that removes the pieces of a large file that will not be completed."""
    return Frame(commands=b"rm -f -- " + _words([posixpath.join(posixpath.dirname(place), temporary)]))


def last_part(change: FileChange, mode: int, temporary: str) -> Frame:
    """Return the frame that puts a large file, now complete, to its destinations."""
    place, *others = change.destinations
    aside = posixpath.join(posixpath.dirname(place), temporary)
    commands = [b"bits %o %s" % (mode & 0o777, _words([aside]))]
    for other in others:
        copy = posixpath.join(posixpath.dirname(other), temporary + "-copy")
        commands.append(b"dir " + _words([posixpath.dirname(other)]))
        commands.append(b"cp -p -- %s || fail %s" % (_words([aside, copy]), _words([other])))
        commands.append(b"mov " + _words([copy, other]))
    commands.append(b"mov " + _words([aside, place]))
    return Frame(commands=b"; ".join(commands), places=(place,), changes=(change,))


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _NAMES] for start in range(0, len(names), _NAMES))


def _words(names: Iterable[str]) -> bytes:
    return b" ".join(_quoted(_encoded(name)) for name in names)


def _encoded(name: str) -> bytes:
    return to_system(name).encode("utf-8", "surrogateescape")


def _quoted(text: bytes) -> bytes:
    """Return the text as one word of a shell, without line ends (which end a frame's line): `$n` is one."""
    return b"'" + text.replace(b"'", b"'\\''").replace(b"\n", b"'\"$n\"'") + b"'"


# --- tar -----------------------------------------------------------------------------------------------------

_BLOCK: Final = 512


def _member(name: str, entry: Entry) -> bytes:
    match entry:
        case Content(mode=mode, data=data):
            return _header(_encoded(name), mode & 0o777, len(data), b"0") + _padded(data)
        case Link(target=target):
            return _header(_encoded(name), 0o777, 0, b"2", _encoded(target))


def _header(name: bytes, mode: int, size: int, kind: bytes, target: bytes = b"") -> bytes:
    """Return a ustar header; names that do not fit are put before it as GNU tar does, which all tars understand."""
    before = b""
    if len(target) > 100:
        before += _long(target, b"K")
    if len(name) > 100:
        before += _long(name, b"L")
    block = b"%s%07o\x000000000\x000000000\x00%011o\x0000000000000\x00        %s%s" % (
        name[:100].ljust(100, b"\0"),
        mode,
        size,
        kind,
        target[:100].ljust(100, b"\0"),
    )
    block = (block + b"ustar\x0000").ljust(_BLOCK, b"\0")
    return before + block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _long(name: bytes, kind: bytes) -> bytes:
    return _header(b"././@LongLink", 0o644, len(name) + 1, kind) + _padded(name + b"\0")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)


# --- answers -------------------------------------------------------------------------------------------------


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


def reason(refusal: Refusal, frame: Frame, container: str) -> str:
    """Return in one sentence why a container did not take a frame."""
    place = frame.places[min(refusal.place, len(frame.places) - 1)] if frame.places else "/"
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


# --- commands ------------------------------------------------------------------------------------------------

_RUN: Final = r"""
s=; if command -v setsid >/dev/null; then s=setsid; fi
exec 3<&0 </dev/null
$s sh -c "$1" 3<&- & p=$!
over() { while read -r _; do :; done; if [ -n "$s" ]; then kill -TERM -- -$p; else kill -TERM $p; fi; }
over <&3 >/dev/null 2>&1 & w=$!
exec 3<&-
wait $p; r=$?
kill $w 2>/dev/null
exit $r
"""


def run_script() -> str:
    """Return the script for `sh -c` that runs its first argument, and ends it when its own standard input ends."""
    return _RUN.strip()


class Lines:
    """Cuts output into lines.

    Args:
        report: Told of each line, without its end.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._report(line.removesuffix(b"\r").decode(errors="replace"))

    def end(self) -> None:
        """Tell the last line, where it has no end."""
        if self._pending:
            self.feed(b"\n")
