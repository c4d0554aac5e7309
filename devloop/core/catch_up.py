"""Catching up: which files a container lacks.

What a container should hold is what is on disk now. What it holds is what its image was built from, overlaid by what it
has acknowledged since. The difference is sent; a new container has acknowledged nothing and gets all of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from devloop.core.digests import ABSENT
from devloop.core.syncing import Placement
from devloop.model import Digest, FileChange, NodeId, RelPath

__all__ = ["difference", "wanted_files", "what_changed"]

_SHOWN = 3


def wanted_files(
    files: Mapping[NodeId, Mapping[RelPath, Digest]], image: NodeId, placement: Placement
) -> Mapping[RelPath, Digest]:
    """Return all files that an image's containers should hold: the image's inputs and what its syncs add to them."""
    wanted = files.get(image, {})
    for node in dict.fromkeys(source.node for source in placement.sources):
        added = files.get(node)
        if added:
            wanted = {**added, **wanted}
    return wanted


def difference(
    placement: Placement,
    wanted: Mapping[RelPath, Digest],
    built: Mapping[RelPath, Digest],
    held: Mapping[RelPath, Digest],
) -> Iterator[FileChange]:
    """Return what to send to a container, sorted by path.

    Args:
        placement: Where the image's files go.
        wanted: What the container should hold.
        built: What its image was built from.
        held: What it has acknowledged since; `ABSENT` for a deleted file.
    """
    files = wanted.keys() | built.keys()
    for path in sorted(_candidates(wanted, built, held)):
        present = wanted.get(path)
        if (present or ABSENT) == held.get(path, built.get(path, ABSENT)):
            continue
        destinations = placement.place(path, files)
        if destinations:
            yield FileChange(source=path, digest=present, destinations=destinations)


def what_changed(changes: Sequence[FileChange]) -> tuple[str, ...]:
    """Return in words which files changed, the first few by name."""
    shown = tuple(f"{each.source} {'changed' if each.digest else 'was deleted'}" for each in changes[:_SHOWN])
    rest = len(changes) - len(shown)
    return (*shown, f"{rest} more files") if rest else shown


def _candidates(*states: Mapping[RelPath, Digest]) -> Iterable[RelPath]:
    wanted, built, held = states
    if wanted is built or wanted == built:
        return held.keys()
    changed = {path for path, digest in wanted.items() if built.get(path) != digest}
    return changed | (built.keys() - wanted.keys()) | held.keys()
