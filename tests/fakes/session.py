"""A whole session on fakes: the real loop, observer, workers and engine; nothing outside of memory."""

import linecache
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

import anyio
from anyio import CancelScope, create_task_group

from devloop.core.engine.state import State
from devloop.core.plan import Mode
from devloop.declarations import ProjectSpec
from devloop.dsl import Collector, collecting
from devloop.errors import InputError, Where
from devloop.events import Event, Settled
from devloop.model import ContainerTarget, Digest, RelPath
from devloop.runtime.bus import Bus
from devloop.runtime.discover import Project, discover
from devloop.runtime.journal import Journal
from devloop.runtime.loop import Loop, Surroundings
from devloop.runtime.observe import Observer
from devloop.runtime.ports import BuildProgress, BuildRequest, Loaded, PortState, Saved
from devloop.runtime.tools import Tools
from devloop.runtime.user_code import input_error
from tests.fakes.builder import FakeBuilder, FakeDelivery
from tests.fakes.cluster import FakeCluster
from tests.fakes.files import FakeFiles
from tests.fakes.forwarder import FakeForwarder
from tests.fakes.renderer import renderings
from tests.fakes.syncer import FakeSyncer
from tests.fakes.tailer import FakeTailer
from tests.fakes.watcher import FakeWatcher

__all__ = ["ROOT", "FakeDevfile", "FakeSession", "FakeStore"]

ROOT = Path("/project")

E = TypeVar("E", bound=Event)


class FakeDevfile:
    """A devfile among fake files."""

    def __init__(self, files: FakeFiles) -> None:
        self._files = files

    def load(self) -> Loaded:
        collector = Collector(root=str(ROOT))
        name = str(ROOT / "devfile.py")
        text = self._files.stored[RelPath("devfile.py")].data.decode()
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        try:
            with collecting(collector):
                exec(compile(text, name, "exec"), {"__name__": "devfile"})
        except InputError as error:
            collector.errors.append(error)
        except Exception as error:  # noqa: BLE001 - as the real one does
            where = Where(path="devfile.py")
            collector.errors.append(input_error(error, root=str(ROOT), what="`devfile.py`", fallback=where))
        return Loaded(
            declarations=tuple(collector.declarations),
            project=collector.projects[0] if collector.projects else ProjectSpec(),
            errors=tuple(collector.errors),
            read=frozenset({"devfile.py"}),
            settings=(),
        )


class SlowBuilder(FakeBuilder):
    """A builder whose cancelled builds end only when the test lets them.

    Attributes:
        lingering: Whether cancelled builds stay until `let_go`.
        most: How many builds there were at once, those included that are cancelled and not gone.
    """

    def __init__(self, content: Callable[[BuildRequest], str]) -> None:
        super().__init__(content)
        self.lingering = False
        self.most = 0
        self._here = 0
        self._let_go = anyio.Event()

    def let_go(self) -> None:
        """Let the cancelled builds end."""
        self._let_go.set()

    async def build(self, request: BuildRequest, report: Callable[[BuildProgress], None]) -> Digest:
        self._here += 1
        self.most = max(self.most, self._here)
        try:
            return await super().build(request, report)
        finally:
            if self.lingering:
                with CancelScope(shield=True):
                    await self._let_go.wait()
            self._here -= 1


class FakeStore:
    """Keeps what a session leaves, in memory."""

    def __init__(self) -> None:
        self.saved = Saved()

    def load(self) -> Saved:
        return self.saved

    def save(self, saved: Saved) -> None:
        self.saved = saved


class FakeSession:
    """A session on fakes; those stay from one run to the next.

    Attributes:
        project: What `project` was given, as far as builds look at it.
        inert: Where the files lie that the Dockerfile copies and that do not reach its last stage.

    Args:
        texts: The project's files.
        mode: What is done.
        settings: What `--set` gave.
    """

    def __init__(
        self, texts: Mapping[str, str], *, mode: Mode | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.files = FakeFiles(dict(texts))
        self.watcher = FakeWatcher(self.files)
        self.builder = SlowBuilder(self._content)
        self.inert: tuple[str, ...] = ()
        self.delivery = FakeDelivery()
        self.cluster = FakeCluster("project")
        self.syncer = FakeSyncer(self.files)
        self.store = FakeStore()
        self.ports: list[PortState] = []
        self.forwarder = FakeForwarder(self.ports.append)
        self.tailer = FakeTailer(lambda _: None)
        self.mode = mode or Mode()
        self.settings = dict(settings or {})
        self.project = ProjectSpec()
        self.events: list[Event] = []
        self._loop: Loop | None = None
        self._happened = anyio.Event()
        self._seen = 0

    # --- what a test says ---

    def write(self, path: str, text: str) -> None:
        """Save a file."""
        self.files.write(path, text)

    @property
    def loop(self) -> Loop:
        """The loop that runs."""
        assert self._loop is not None
        return self._loop

    async def run(self) -> bool:
        """Run a session that ends by itself; return whether all was well."""
        self._loop = self._assemble()
        return await self._loop.run()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeSession"]:
        """Run the loop until the block ends."""
        self._loop = self._assemble()
        failure: Exception | None = None
        async with create_task_group() as tasks:
            tasks.start_soon(self._loop.run)
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def settled(self) -> Settled:
        """Return the next time that all has come to rest, not counting those that were returned before."""
        return await self.next(Settled)

    async def next(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        """Return the next event of a kind, after the one that was returned last."""
        while True:
            while self._seen < len(self.events):
                event = self.events[self._seen]
                self._seen += 1
                if isinstance(event, kind) and where(event):
                    return event
            await self._happened.wait()

    def told(self, kind: type[E]) -> list[E]:
        """Return all events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def forget(self) -> None:
        """Look at no event before now."""
        self.events.clear()
        self._seen = 0

    def container(self, service: str) -> ContainerTarget:
        """Return the only container of a service's only pod."""
        (target,) = (each for each in self.loop.state.containers if each.pod == self.cluster.pod(service).name)
        return target

    def held(self, service: str) -> dict[str, str]:
        """Return what was copied into a service's container."""
        files = self.syncer.container(self.container(service)).held
        return {path: stored.data.decode() for path, stored in files.items()}

    def image(self, service: str) -> str:
        """Return the reference that the service's container runs."""
        return self.cluster.pod(service).containers[0].image

    # --- inside ---

    def _assemble(self) -> Loop:
        journal = Journal()
        bus = Bus(self._take)
        tools = Tools(
            root=ROOT,
            files=self.files,
            emit=bus.emit,
            builder=self.builder,
            renderings=renderings(str(ROOT)),
            delivery=self.delivery,
            cluster=self.cluster,
            syncer=self.syncer if self.mode.sync else None,
            persistent=not self.mode.once,
            buildx=self.project.builder,
            cache=self.project.cache,
        )
        around = Surroundings(
            project="project",
            target="the fake cluster",
            store=self.store,
            journal=journal,
            syncer=tools.syncer,
            tailer=self.tailer,
            forwarder=self.forwarder,
            tell_port=self.ports.append,
        )
        devfile = FakeDevfile(self.files)

        def read() -> Project:
            return discover(devfile, self.files, tools.renderings, given=self.settings, environment={})

        observer = Observer(read, self.files, self.watcher, tools.renderings)
        saved = self.store.load()
        journal.remember(saved.decisions)
        state = State(mode=self.mode, traces=saved.traces, held=saved.held, ledger=saved.ledger)
        return Loop(state, observer, tools, around, bus)

    def _take(self, event: Event) -> None:
        self.events.append(event)
        happened, self._happened = self._happened, anyio.Event()
        happened.set()

    def _content(self, request: BuildRequest) -> str:
        context = PurePosixPath(request.context).relative_to(ROOT)
        dockerfile = RelPath(str(PurePosixPath(request.dockerfile).relative_to(ROOT)))
        below = "" if str(context) == "." else f"{context}/"
        files = [
            f"{path}={stored.digest}"
            for path, stored in self.files.stored.items()
            if path.startswith(below) and not path.startswith(self.inert or "?")
        ]
        return "\n".join([self.files.stored[dockerfile].digest, *sorted(files)])
