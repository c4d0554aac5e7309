"""The observer: turns hints that files may have changed into observations of the project as it is on disk.

It owns the table of digests and the last good form of each node. Named paths are hashed again; when a definition file
(devfile, Dockerfile, template, manifest) changed, the project is discovered again. Nothing is run from here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

import anyio
from anyio import to_thread

from devloop.core import digests
from devloop.core.graph import Graph, Node
from devloop.errors import InputError
from devloop.model import Digest, NodeId, RelPath
from devloop.runtime.discover import Project
from devloop.runtime.ports import Files, Hint, PathsHint, RescanHint, Watcher
from devloop.runtime.selection import (
    FileTable,
    Readers,
    Selection,
    keep_directory,
    lies_in,
    outermost,
    roots,
    selections,
)

__all__ = ["Observation", "Observer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The project as it is on disk.

    Attributes:
        project: As it was discovered last, mistakes included.
        graph: The nodes to go by: those of the last project that was not rejected.
        files: For each node that reads files, their digests.
        changed: The files whose content changed since the observation before.
        touched: For each node, what it reads and what may have changed meanwhile, even if it is now as it was before.
        rediscovered: Whether a definition file changed.
        since: When the first of the touched files may have changed, in seconds of `time.monotonic`.
    """

    project: Project
    graph: Graph
    files: Mapping[NodeId, Mapping[RelPath, Digest]]
    changed: tuple[RelPath, ...] = ()
    touched: Mapping[NodeId, frozenset[RelPath]] = field(default_factory=dict)
    rediscovered: bool = False
    since: float = 0.0

    @property
    def mistakes(self) -> tuple[InputError, ...]:
        """The mistakes that reject the project; where there are none, those of the nodes to go by."""
        return self.project.errors or tuple(each for node in self.graph.nodes.values() for each in node.problems)


@dataclass(slots=True)
class _Known:
    """What the observer knows between two hints."""

    project: Project = field(default_factory=Project)
    graph: Graph = field(default_factory=Graph)
    last_good: dict[NodeId, Node] = field(default_factory=dict)
    selected: tuple[Selection, ...] = ()
    readers: Readers = field(default_factory=Readers)
    keep: Callable[[RelPath], bool] = lambda _: False
    table: FileTable = field(default_factory=FileTable)
    files: dict[NodeId, dict[RelPath, Digest]] = field(default_factory=dict)


class Observer:
    """Watches a project.

    Args:
        discover: Reads the project afresh; called in a worker thread.
        files: The project's files.
        watcher: Tells which of them may have changed.
        narrow: Reduces a graph to the nodes that were asked for.
    """

    def __init__(
        self,
        discover: Callable[[], Project],
        files: Files,
        watcher: Watcher,
        narrow: Callable[[Graph], Graph] = lambda graph: graph,
    ) -> None:
        self._discover = discover
        self._files = files
        self._watcher = watcher
        self._narrow = narrow
        self._known = _Known()

    async def look(self) -> Observation:
        """Return the project as it is now, without watching it."""
        return await to_thread.run_sync(self.look_now)

    def look_now(self) -> Observation:
        """Return the project as it is now, without watching it and without an event loop."""
        self._rediscover()
        self._scan()
        self._files.save()
        return self._observation(rediscovered=True)

    async def run(self, tell: Callable[[Observation], None]) -> None:
        """Tell the project as it is, and again after each change, until cancelled."""
        try:
            await self._run(tell)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._files.save)

    async def _run(self, tell: Callable[[Observation], None]) -> None:
        await to_thread.run_sync(self._rediscover)
        first = True
        while True:
            known = self._known
            watched = roots(known.selected, known.project.read)
            async with self._watcher.watch(watched, known.keep) as hints:
                # What changed before the watch was on shows when everything is looked at now.
                moved = await to_thread.run_sync(self._definitions_changed, None)
                if moved:
                    await to_thread.run_sync(self._rediscover)
                    if self._must_watch_anew(known.selected):
                        continue
                changed = await to_thread.run_sync(self._scan)
                if first or changed or moved:
                    tell(self._observation(() if first else changed, rediscovered=first or moved))
                    first = False
                await to_thread.run_sync(self._files.save)
                async for hint in hints:
                    if await self._take(hint, tell):
                        break

    async def _take(self, hint: Hint, tell: Callable[[Observation], None]) -> bool:
        """Take in a hint; return whether other folders must be watched from now on."""
        before = self._known.selected
        since = hint.since if isinstance(hint, PathsHint) else 0.0
        moved = await to_thread.run_sync(self._definitions_changed, hint)
        if moved:
            await to_thread.run_sync(self._rediscover)
            if self._must_watch_anew(before):
                changed = await to_thread.run_sync(self._scan)
                tell(self._observation(changed, rediscovered=True))
                return True
        match hint:
            case PathsHint():
                changed, touched = await to_thread.run_sync(self._look_again, hint)
            case RescanHint():
                changed = await to_thread.run_sync(self._scan)
                touched = self._all_files()
            case _:
                assert_never(hint)
        if changed or touched or moved:
            tell(replace(self._observation(changed, touched, rediscovered=moved), since=since))
        return False

    def _must_watch_anew(self, before: Iterable[Selection]) -> bool:
        return {each.signature for each in before} != {each.signature for each in self._known.selected}

    def _observation(
        self,
        changed: Iterable[RelPath] = (),
        touched: Mapping[NodeId, frozenset[RelPath]] | None = None,
        *,
        rediscovered: bool,
    ) -> Observation:
        known = self._known
        return Observation(
            project=known.project,
            graph=known.graph,
            files=dict(known.files),
            changed=tuple(changed),
            touched=touched or {},
            rediscovered=rediscovered,
        )

    # --- definitions (in a worker thread) ----------------------------------------------------------------------

    def _definitions_changed(self, hint: Hint | None) -> bool:
        project = self._known.project
        suspects: Iterable[RelPath] = project.read
        if isinstance(hint, PathsHint):
            if project.errors and any(path.endswith(".py") for path in hint.paths):
                return True  # the module that was missing may have come
            named = hint.paths
            suspects = [path for path in project.read if lies_in(path, named)]
        return any(self._text_digest(path) != project.read[path] for path in suspects)

    def _text_digest(self, path: RelPath) -> Digest:
        try:
            text = self._files.read(path)
        except InputError:
            return digests.ABSENT
        return digests.ABSENT if text is None else digests.of_text(text)

    def _rediscover(self) -> None:
        known = self._known
        known.project = self._discover()
        if known.project.errors and known.graph.nodes:
            self._watch_definitions()
            return
        try:
            known.graph = self._narrow(known.project.graph)
        except InputError as error:
            known.project = Project(spec=known.project.spec, errors=(error,), read=known.project.read)
            self._watch_definitions()
            return
        good = {node.id: node for node in known.graph.nodes.values() if not node.problems}
        known.last_good = {**known.last_good, **good}
        before = {(each.node, each.folder): each for each in known.selected}
        known.selected = selections(known.graph, known.last_good)
        known.readers = Readers(known.selected)
        self._watch_definitions()
        self._select(
            each.node
            for each in known.selected
            if (earlier := before.get((each.node, each.folder))) is None or earlier.signature != each.signature
        )
        wanted = {each.node for each in known.selected}
        known.files = {node: files for node, files in known.files.items() if node in wanted}

    def _watch_definitions(self) -> None:
        known = self._known
        known.keep = keep_directory(known.selected, known.project.read)

    # --- files (in a worker thread) ------------------------------------------------------------------------------

    def _scan(self) -> tuple[RelPath, ...]:
        """Look at every file; return those that changed."""
        known = self._known
        table: dict[RelPath, Digest] = {}
        read: dict[NodeId, list[RelPath]] = {each.node: [] for each in known.selected}

        def wanted(path: RelPath) -> bool:
            readers = frozenset(each.node for each in known.readers.of(path))
            for node in readers:
                read[node].append(path)
            return bool(readers)

        for folder in outermost(each.folder for each in known.selected):
            if self._files.is_directory(RelPath(folder)):
                table.update(self._files.scan(RelPath(folder), known.keep, wanted))
            else:
                found = self._files.look_again({RelPath(folder)}, (), known.keep, wanted)
                table.update({path: digest for path, digest in found.items() if digest is not None})
        before = known.table.digests
        changed = {path for path, digest in table.items() if before.get(path) != digest}
        changed |= before.keys() - table.keys()
        known.table = FileTable(table)
        for node, paths in read.items():
            known.files[node] = {path: table[path] for path in paths if path in table}
        return tuple(sorted(changed))

    def _look_again(self, hint: PathsHint) -> tuple[tuple[RelPath, ...], dict[NodeId, frozenset[RelPath]]]:
        """Look at the named files; return those that changed and that some node reads, and what of all a node reads."""
        known = self._known
        relevant = frozenset(path for path in hint.paths if any(known.readers.around(path)))
        table = known.table.digests
        found = self._files.look_again(relevant, table.keys(), known.keep, known.readers.wanted) if relevant else {}
        touched = self._read_by_nodes(hint.paths | found.keys())
        changed = {path: digest for path, digest in found.items() if table.get(path) != digest}
        known.table.apply(changed)
        concerned = self._apply(changed)
        return tuple(sorted(concerned)), touched

    def _read_by_nodes(self, paths: Iterable[RelPath]) -> dict[NodeId, frozenset[RelPath]]:
        """Return for each node which of the paths it reads, as a file or as a definition."""
        paths = frozenset(paths)
        found = {node.id: set(paths & node.recipe.keys()) for node in self._known.graph.nodes.values()}
        for path in paths:
            for each in self._known.readers.of(path):
                found[each.node].add(path)
        return {node: frozenset(read) for node, read in found.items() if read}

    def _all_files(self) -> dict[NodeId, frozenset[RelPath]]:
        known = self._known
        definitions = {node.id: known.project.read.keys() & node.recipe.keys() for node in known.graph.nodes.values()}
        nodes = definitions.keys() | known.files.keys()
        return {node: frozenset({*known.files.get(node, ()), *definitions.get(node, ())}) for node in nodes}

    def _apply(self, changed: Mapping[RelPath, Digest | None]) -> set[RelPath]:
        """Bring the nodes' files up to date; return the paths that some node reads."""
        concerned: set[RelPath] = set()
        updates: dict[NodeId, dict[RelPath, Digest | None]] = {}
        for path, digest in changed.items():
            for each in self._known.readers.of(path):
                updates.setdefault(each.node, {})[path] = digest
                concerned.add(path)
        for node, update in updates.items():
            files = dict(self._known.files.get(node, {}))
            for path, digest in update.items():
                if digest is None:
                    files.pop(path, None)
                else:
                    files[path] = digest
            self._known.files[node] = files
        return concerned

    def _select(self, nodes: Iterable[NodeId]) -> None:
        """Make the nodes' files anew from the table."""
        made: dict[NodeId, dict[RelPath, Digest]] = {node: {} for node in nodes}
        for each in self._known.selected:
            if each.node in made:
                files = self._known.table.below(each.folder)
                made[each.node].update((path, digest) for path, digest in files if each.wants(path))
        self._known.files.update(made)
