"""Catching up: which files a container lacks.

What a container should hold is what is on disk now. What it holds is what its image was built from, overlaid by what it
has acknowledged since. The difference is sent; a new container has acknowledged nothing and gets all of it. What is on
its way to a container is `UNSURE` there until it is acknowledged.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from devloop.core.digests import ABSENT
from devloop.core.sync.rules import Placement
from devloop.core.tables import Memory, differing, joined, paths_of
from devloop.model import Digest, FileChange, NodeId, RelPath

__all__ = ["difference", "holding", "wanted_files", "what_changed"]

_SHOWN = 3
_LACKING_NOTHING: Final = Memory()


def wanted_files(
    files: Mapping[NodeId, Mapping[RelPath, Digest]], image: NodeId, placement: Placement
) -> Mapping[RelPath, Digest]:
    """Return all files that an image's containers should hold: the image's inputs and what its syncs add to them."""
    wanted = files.get(image, {})
    for node in dict.fromkeys(source.node for source in placement.sources):
        added = files.get(node)
        if added:
            wanted = joined(wanted, added)
    return wanted


def difference(
    placement: Placement,
    wanted: Mapping[RelPath, Digest],
    built: Mapping[RelPath, Digest],
    held: Mapping[RelPath, Digest],
    under_way: Collection[RelPath] = (),
) -> tuple[FileChange, ...]:
    """Return what to send to a container, sorted by path.

    Args:
        placement: Where the image's files go.
        wanted: What the container should hold.
        built: What its image was built from.
        held: What it has acknowledged since, as `holding` says it.
        under_way: What is being sent to it now, and left out.
    """
    news = None if placement.asks_dockerfile else _LACKING_NOTHING.news(placement, built, (wanted, held))
    candidates = differing(wanted, built) | held.keys() if news is None else news
    found = tuple(_changes(placement, wanted, built, held, sorted(candidates.difference(under_way))))
    if not found and not under_way:
        _LACKING_NOTHING.found(placement, built, (wanted, held))
    return found


def _changes(
    placement: Placement,
    wanted: Mapping[RelPath, Digest],
    built: Mapping[RelPath, Digest],
    held: Mapping[RelPath, Digest],
    candidates: Sequence[RelPath],
) -> Iterator[FileChange]:
    files = paths_of(wanted, built) if candidates and placement.asks_dockerfile else frozenset[RelPath]()
    files = files if held.keys() <= files or not placement.asks_dockerfile else files | held.keys()
    for path in candidates:
        present = wanted.get(path)
        if path not in held and present == built.get(path):
            continue
        destinations = placement.place(path, files)
        if destinations:
            change = FileChange(source=path, digest=present, destinations=destinations)
            if held.get(path) != holding(change):
                yield change


def holding(change: FileChange) -> Digest:
    """Return what a container holds once it has acknowledged a change: which content, and where."""
    return Digest(f"{change.digest or ABSENT} in {' '.join(change.destinations)}")


def what_changed(changes: Sequence[FileChange]) -> tuple[str, ...]:
    """Return in words which files changed, the first few by name."""
    shown = tuple(f"{each.source} {'changed' if each.digest else 'was deleted'}" for each in changes[:_SHOWN])
    rest = len(changes) - len(shown)
    return (*shown, f"{rest} more files") if rest else shown
