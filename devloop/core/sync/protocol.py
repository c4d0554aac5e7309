"""What is said over a sync connection: the frames that the shell in a container takes, and the order they go in.

The connection is the standard input of one long-lived `sh` in the container. A frame is a line `TOKEN NUMBER COMMANDS`
and the bytes that its commands read. Commands write beside the destination and rename, so that no reader sees half a
file. An answer is a line `TOKEN ok NUMBER`, or `TOKEN fail NUMBER REASON USER PLACE`, after which the shell ends: what
it has not read yet can then never be taken for commands. All else that it prints are the words of the tools.

Where the shell runs beside the container, the container's files are below a directory of its own, and links to absolute
places lead astray: there `location` asks first where directories really are (`TOKEN real NUMBER INDEX PATH`).
"""

import posixpath
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from devloop.core.names import to_system
from devloop.core.sync.ustar import END, file_member, link_member
from devloop.model import FileChange

__all__ = [
    "Content",
    "Frame",
    "Link",
    "abandonment",
    "ancestors",
    "bundle",
    "deletion",
    "in_order",
    "last_part",
    "location",
    "part",
    "release",
    "single",
]

_INLINE: Final = 800
"""Longest commands put on the line itself: a shell reads lines byte by byte."""
_NAMES: Final = 500
"""Most names given to one command."""
_HELD: Final = 20
"""Fewest files of a directory that are held when they are replaced: for fewer, it takes as much time as it saves."""


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
        changes: What the container holds once it says ok.
        held: Directories that keep what was replaced; they go by `release`, when there is time.
    """

    commands: bytes
    payload: bytes = field(default=b"", repr=False)
    changes: tuple[FileChange, ...] = ()
    held: tuple[str, ...] = ()

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
    needed = {ancestor for place in written for ancestor in ancestors(place)}
    first = [change for change in deletions if any(_stands_in_way(p, written, needed) for p in change.destinations)]
    ahead = set(first)
    return tuple(first), writes, tuple(change for change in deletions if change not in ahead)


def _stands_in_way(place: str, written: set[str], needed: set[str]) -> bool:
    return place in needed or not written.isdisjoint(ancestors(place))


def ancestors(place: str) -> Iterator[str]:
    """Yield the directories above an absolute path, the nearest first, without the root."""
    while (place := posixpath.dirname(place)) != "/":
        if not place:
            return
        yield place


# --- frames --------------------------------------------------------------------------------------------------


def deletion(changes: Sequence[FileChange]) -> Frame:
    """Return the frame that deletes files."""
    places = tuple(place for change in changes for place in change.destinations)
    calls = [b"del " + _words(some) for some in _chunks(places)]
    return Frame(commands=b"; ".join(calls), changes=tuple(changes))


def location(directories: Sequence[str]) -> Frame:
    """Return the frame that asks where directories really are, links followed."""
    calls = [b"real %d %s" % (index, _words([each])) for index, each in enumerate(directories)]
    return Frame(commands=b"; ".join(calls))


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
                write = b"one %d %o %s" % (len(data), mode & 0o7777, _words([aside, place]))
            case Link(target=target):
                data, write = b"", b"lnk " + _words([target, aside, place])
        changes = (entry.change,) if place == places[-1] else ()
        commands = b"undo() { rm -f -- %s; }; %s" % (_words([aside]), write)
        frames.append(Frame(commands=commands, payload=data, changes=changes))
    return tuple(frames)


def bundle(entries: Sequence[Entry], temporary: str, *, beside: bool = False, written: Container[str] = ()) -> Frame:
    """Return the frame that writes many files by one tar: into a directory beside each destination, then renamed.

    Where many files of a directory are replaced, these get second names first, so that renaming over them does not
    free them: that takes more time than all the rest on file systems that discard what is free, and can be done later.

    Args:
        entries: What to write.
        temporary: A name that nothing else has.
        beside: Whether the shell runs beside the container, so that new directories do not get the right owner by tar.
        written: Destinations that were written before. Other files may still be the image's own, and a second name
            would make a copy of them.
    """
    members = sorted(
        (posixpath.split(place), order, entry)
        for order, entry in enumerate(entries)
        for place in entry.change.destinations
    )
    made, moves, asides, archive = [], [], [], []
    holds, held = [], []
    for directory, group in groupby(members, key=lambda member: member[0][0]):
        aside = posixpath.join(directory, temporary)
        names = []
        for (_, name), _, entry in group:
            archive.append(_member(_encoded(posixpath.join(aside, name).lstrip("/")), entry))
            names.append(name)
        replaced = [name for name in names if posixpath.join(directory, name) in written]
        if len(replaced) >= _HELD:
            held.append(aside + "-old")
            holds += [b"hold " + _words([directory, held[-1], *some]) + b" 2>/dev/null" for some in _chunks(replaced)]
        moves += [b"all " + _words([directory, aside, *some]) for some in _chunks(names)]
        asides.append(aside)
        if beside:
            made.append(b"dir " + _words([directory]))
    archive.append(END)
    payload = b"".join(archive)
    places = tuple(posixpath.join(posixpath.dirname(aside), "x") for aside in asides)
    unpack = b"take %d | tar -xpomf - -C / || fail %s" % (len(payload), _words(places))
    undo = b"undo() { rm -rf -- %s; }; w=1" % _words(asides)
    if held:
        holds.insert(0, b"g=$g%s; mkdir -- %s 2>/dev/null" % (_quoted(b" " + _words(held)), _words(held)))
    commands = b"; ".join((undo, *made, unpack, *holds, *moves))
    changes = tuple(dict.fromkeys(each.change for each in entries))
    return Frame(commands=commands, payload=payload, changes=changes, held=tuple(held))


def release(held: Sequence[str], *, last: bool) -> Frame:
    """Return the frame that lets go of what was replaced.

    Args:
        held: The directories that keep it.
        last: Whether nothing else is held.
    """
    return Frame(commands=b"rm -rf -- " + _words(held) + (b"; g=" if last else b""))


def part(data: bytes, place: str, temporary: str, *, first: bool) -> Frame:
    """Return the frame that appends a piece of a large file to a temporary one beside its destination."""
    aside = posixpath.join(posixpath.dirname(place), temporary)
    more = b"more %d %s" % (len(data), _words([aside]))
    if not first:
        return Frame(commands=more, payload=data)
    # Twice quoted: what is left over when the connection ends is evaluated then.
    begin = b"dir %s; g=$g%s" % (_words([posixpath.dirname(place)]), _quoted(b" " + _words([aside])))
    return Frame(commands=begin + b"; " + more, payload=data)


def abandonment(place: str, temporary: str) -> Frame:
    """Return the frame that removes the pieces of a large file that will not be completed."""
    return Frame(commands=b"rm -f -- " + _words([posixpath.join(posixpath.dirname(place), temporary)]))


def last_part(change: FileChange, mode: int, temporary: str) -> Frame:
    """Return the frame that puts a large file, now complete, to its destinations."""
    place, *others = change.destinations
    aside = posixpath.join(posixpath.dirname(place), temporary)
    commands = [b"own " + _words([aside, place]), b"bits %o %s" % (mode & 0o7777, _words([aside]))]
    for other in others:
        copy = posixpath.join(posixpath.dirname(other), temporary + "-copy")
        commands.append(b"dir " + _words([posixpath.dirname(other)]))
        commands.append(b"cp -p -- %s || fail %s" % (_words([aside, copy]), _words([other])))
        commands.append(b"mov " + _words([copy, other]))
    commands.append(b"mov " + _words([aside, place]))
    return Frame(commands=b"; ".join(commands), changes=(change,))


def _member(name: bytes, entry: Entry) -> bytes:
    match entry:
        case Content(mode=mode, data=data):
            return file_member(name, mode, data)
        case Link(target=target):
            return link_member(name, _encoded(target))


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _NAMES] for start in range(0, len(names), _NAMES))


def _words(names: Iterable[str]) -> bytes:
    return b" ".join(_quoted(_encoded(name)) for name in names)


def _encoded(name: str) -> bytes:
    return to_system(name).encode("utf-8", "surrogateescape")


def _quoted(text: bytes) -> bytes:
    """Return the text as one word of a shell, without line ends (which end a frame's line): `$n` is one."""
    return b"'" + text.replace(b"'", b"'\\''").replace(b"\n", b"'\"$n\"'") + b"'"
