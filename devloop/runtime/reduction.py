"""An image's files without those that only reach a stage of which something else is taken."""

from collections.abc import Mapping
from dataclasses import dataclass

from devloop.core.dockerfile.sources import table_of
from devloop.core.graph import Detail, ImageDetail
from devloop.model import Digest, NodeId, RelPath
from devloop.runtime.selection import below, inside

__all__ = ["Reduction"]


@dataclass(frozen=True, slots=True)
class _Reduced:
    detail: ImageDetail
    paths: frozenset[RelPath]
    unread: frozenset[RelPath]


class Reduction:
    """Reduces the files of images; worked out anew when the set of files changes, not when their content does."""

    def __init__(self) -> None:
        self._known: dict[NodeId, _Reduced] = {}

    def of(self, node: NodeId, detail: Detail | None, files: Mapping[RelPath, Digest]) -> Mapping[RelPath, Digest]:
        """Return the node's files without those that cannot change its image."""
        if not isinstance(detail, ImageDetail) or detail.facts is None or not detail.facts.may_be_narrowed:
            return files
        known = self._known.get(node)
        if known is None or known.detail is not detail or known.paths != files.keys():
            known = self._known[node] = _Reduced(detail, frozenset(files), _unread(detail, files))
        return {path: digest for path, digest in files.items() if path not in known.unread}


def _unread(detail: ImageDetail, files: Mapping[RelPath, Digest]) -> frozenset[RelPath]:
    facts, context = detail.facts, detail.context
    assert facts is not None
    inner = {inside(path, context): path for path in files if below(path, context)}
    read = facts.inputs(inner, detail.ignore, detail.links, archives=detail.archives)
    tables = [(each.folder, table_of(each.sources)) for each in detail.contexts]
    return frozenset(
        path
        for name, path in inner.items()
        if name not in read
        and not any(below(path, folder) and table.selects(inside(path, folder)) for folder, table in tables)
    )
