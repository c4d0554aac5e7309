"""The observer: turns hints that files may have changed into observations of the project as it is on disk.

It owns the table of digests and the last good form of each node. Named paths are hashed again; when a definition file
(devfile, Dockerfile, template, manifest, chart) changed, the project is discovered again. What tools have to render for
that is made beside it: until then the project stays as it was, and other files go on being seen.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import assert_never

import anyio
from anyio import create_task_group, to_thread

from devloop.core.graph import Detail, Graph, Node
from devloop.core.tables import Table, revised
from devloop.errors import InputError
from devloop.model import Digest, NodeId, RelPath
from devloop.runtime.ahead import Ahead
from devloop.runtime.aside import Aside, Overdue, Touched
from devloop.runtime.definitions import digest_of, tree_of
from devloop.runtime.discover import Project
from devloop.runtime.looks import may_differ
from devloop.runtime.ports import Files, Hint, PathsHint, RescanHint, Watcher
from devloop.runtime.reduction import Reduction
from devloop.runtime.renderings import Renderings, Request, UnrenderedError
from devloop.runtime.selection import (
    FileTable,
    Readers,
    Selection,
    below,
    folders_of,
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
    files: dict[NodeId, Table] = field(default_factory=dict)


class Observer:
    """Watches a project.

    Args:
        discover: Reads the project afresh; called in a worker thread.
        files: The project's files.
        watcher: Tells which of them may have changed.
        renderings: Makes what reading the project asks for.
        narrow: Reduces a graph to the nodes that were asked for.
    """

    def __init__(
        self,
        discover: Callable[[], Project],
        files: Files,
        watcher: Watcher,
        renderings: Renderings,
        narrow: Callable[[Graph], Graph] = lambda graph: graph,
    ) -> None:
        self._discover = discover
        self._files = files
        self._watcher = watcher
        self._renderings = renderings
        self._narrow = narrow
        self._known = _Known()
        self._overdue = Overdue()
        self._ahead = Ahead()
        self._reduction = Reduction()

    async def look(self) -> Observation:
        """Return the project as it is now, without watching it."""
        await self._read()
        return await to_thread.run_sync(self._look)

    def look_now(self) -> Observation:
        """Return the project as it is now, without watching it and without an event loop of the caller's."""
        self._renderings.retry()
        self._renderings.complete(self._read_or_ask)
        return self._look()

    def _read_or_ask(self) -> None:
        if missing := self._rediscover():
            raise UnrenderedError(missing)

    def _look(self) -> Observation:
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
        async with create_task_group() as tasks:
            await self._observe(tell, Aside(tasks, self._renderings))

    async def _read(self) -> None:
        """Read the project, with all that has to be rendered for it."""
        self._renderings.retry()
        while missing := await to_thread.run_sync(self._rediscover):
            await self._renderings.fill(missing)

    async def _observe(self, tell: Callable[[Observation], None], aside: Aside) -> None:
        await self._read()
        first, moved = True, False
        while True:
            known = self._known
            before, keep = known.selected, known.keep
            watched = roots(before, known.project.read, known.project.trees)
            async with self._watcher.watch(watched, keep) as hints:
                # What changed before the watch was on shows when everything is looked at now.
                if await to_thread.run_sync(self._definitions_changed, None):
                    moved = True
                    await self._read()
                    if self._must_watch_anew(before, keep):
                        continue
                changed = await to_thread.run_sync(self._scan)
                if first or changed or moved:
                    tell(self._observation(() if first else changed, rediscovered=first or moved))
                    first, moved = False, False
                await to_thread.run_sync(self._files.save)
                with suppress(anyio.EndOfStream):
                    while not await self._take(await aside.next(hints), tell, aside):
                        pass

    async def _take(self, hint: Hint | None, tell: Callable[[Observation], None], aside: Aside) -> bool:
        """Take in a hint (None: all is rendered); return whether other folders must be watched from now on."""
        if isinstance(hint, PathsHint) and not hint.over:
            await to_thread.run_sync(self._look_ahead, hint.paths)
            return False
        before, keep = self._known.selected, self._known.keep
        since = hint.since if isinstance(hint, PathsHint) else 0.0
        suspect = hint is None or await to_thread.run_sync(self._definitions_changed, hint)
        moved = suspect and await self._reread(aside, again=hint is None)
        if moved and self._must_watch_anew(before, keep):
            changed = await to_thread.run_sync(self._scan)
            tell(self._observation(changed, rediscovered=True))
            return True
        touched: Touched
        match hint:
            case PathsHint():
                changed, touched = await to_thread.run_sync(self._look_again, hint.paths)
            case RescanHint():
                changed = await to_thread.run_sync(self._scan)
                touched = self._all_files()
            case None:
                changed, touched = (), {}
            case _:
                assert_never(hint)
        if suspect and not moved:
            touched = self._overdue.put_off(touched, since, self._known.graph)
        elif moved:
            touched, since = self._overdue.added_to(touched, since)
        if changed or touched or moved:
            tell(replace(self._observation(changed, touched, rediscovered=moved), since=since))
        return False

    async def _reread(self, aside: Aside, *, again: bool) -> bool:
        """Read the project anew; return whether it is there, or has to be rendered first."""
        if not again:
            self._renderings.retry()
        missing = await to_thread.run_sync(self._rediscover)
        if missing:
            aside.start(missing)
        else:
            aside.cancel()
        return not missing

    def _must_watch_anew(self, before: Iterable[Selection], keep: Callable[[RelPath], bool]) -> bool:
        """Return whether what is read now lies elsewhere than what the watcher was told to look at."""
        known = self._known
        folders = {*folders_of(known.project.read), *known.project.trees}
        if not all(keep(folder) for folder in folders):
            return True
        return {each.signature for each in before} != {each.signature for each in known.selected}

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
            files={node: self._reduction.of(node, self._detail(node), files) for node, files in known.files.items()},
            changed=tuple(changed),
            touched=touched or {},
            rediscovered=rediscovered,
        )

    def _detail(self, node: NodeId) -> Detail | None:
        known = self._known
        found = known.graph.nodes.get(node)
        return found.detail if found is not None and found.detail is not None else known.last_good[node].detail

    # --- definitions (in a worker thread) ----------------------------------------------------------------------

    def _definitions_changed(self, hint: Hint | None) -> bool:
        project = self._known.project
        suspects: Iterable[RelPath] = project.read
        named = hint.paths | self._ahead.touched if isinstance(hint, PathsHint) else None
        if named is not None:
            if project.errors and any(path.endswith(".py") for path in named):
                return True  # the module that was missing may have come
            suspects = [path for path in project.read if lies_in(path, named)]
        if any(digest_of(self._files, path) != project.read[path] for path in suspects):
            return True
        trees = [
            tree
            for tree in project.trees.values()
            if named is None or any(tree.holds(path) or below(tree.folder, path) for path in named)
        ]
        if any(tree_of(self._files, tree.folder, tree.ignore) != tree for tree in trees):
            return True
        return may_differ(project.looks, self._files, named)

    def _rediscover(self) -> tuple[Request, ...]:
        """Read the project; where something has to be rendered first, return that and stay with what was known."""
        project = self._discover()
        if project.unrendered:
            return project.unrendered
        self._adopt(project)
        return ()

    def _adopt(self, project: Project) -> None:
        known = self._known
        known.project = project
        if known.project.errors and known.graph.nodes:
            self._watch_definitions()
            return
        try:
            known.graph = self._narrow(known.project.graph)
        except InputError as error:
            known.project = Project(spec=project.spec, errors=(error,), read=project.read, trees=project.trees)
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
        known.keep = keep_directory(known.selected, known.project.read, known.project.trees)

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
        changed = changed - self._ahead.before.keys() | self._ahead.changed(table)
        self._ahead = Ahead()
        for node, paths in read.items():
            known.files[node] = {path: table[path] for path in paths if path in table}
        return tuple(sorted(changed))

    def _look_again(self, paths: frozenset[RelPath]) -> tuple[tuple[RelPath, ...], dict[NodeId, frozenset[RelPath]]]:
        """Look at what is left of a burst; return which files it changed that some node reads, and what each reads."""
        self._look_ahead(paths)
        burst, self._ahead = self._ahead, Ahead()
        return tuple(sorted(burst.changed(self._known.table.digests))), self._read_by_nodes(burst.touched)

    def _look_ahead(self, paths: frozenset[RelPath]) -> None:
        """Look at the named files, and keep what is to be told of them when the burst is over."""
        known = self._known
        relevant = frozenset(path for path in paths if any(known.readers.around(path)))
        table = known.table.digests
        found = self._files.look_again(relevant, table.keys(), known.keep, known.readers.wanted) if relevant else {}
        changed = {path: digest for path, digest in found.items() if table.get(path) != digest}
        before = {path: table.get(path) for path in changed}
        known.table.apply(changed)
        concerned = self._apply(changed)
        self._ahead.add(paths | found.keys(), {path: before[path] for path in concerned})

    def _read_by_nodes(self, paths: Iterable[RelPath]) -> dict[NodeId, frozenset[RelPath]]:
        """Return for each node which of the paths it reads, as a file or as a definition."""
        paths = frozenset(paths)
        found = {node.id: set(paths & node.definitions) for node in self._known.graph.nodes.values()}
        for path in paths:
            for each in self._known.readers.of(path):
                found[each.node].add(path)
        return {node: frozenset(read) for node, read in found.items() if read}

    def _all_files(self) -> dict[NodeId, frozenset[RelPath]]:
        known = self._known
        definitions = {node.id: known.project.read.keys() & node.definitions for node in known.graph.nodes.values()}
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
            self._known.files[node] = revised(self._known.files.get(node, {}), update)
        return concerned

    def _select(self, nodes: Iterable[NodeId]) -> None:
        """Make the nodes' files anew from the table."""
        made: dict[NodeId, dict[RelPath, Digest]] = {node: {} for node in nodes}
        for each in self._known.selected:
            if each.node in made:
                files = self._known.table.below(each.folder)
                made[each.node].update((path, digest) for path, digest in files if each.wants(path))
        self._known.files.update(made)
