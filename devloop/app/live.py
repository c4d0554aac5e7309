"""A session: the whole engine put together, for the command line, a notebook and tests alike."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self

import anyio
from anyio import AsyncContextManagerMixin, CancelScope, create_task_group, to_thread

from devloop.adapters.control import controlled
from devloop.adapters.docker import DockerBuilder
from devloop.adapters.state import exclusively
from devloop.app.clusters import open_cluster
from devloop.app.delivering import delivery_to
from devloop.app.options import UP, Options
from devloop.app.planning import Planned, planned
from devloop.app.reaching import ways_into
from devloop.app.remembered import still_there
from devloop.app.workspace import Place, Workspace, place_of
from devloop.core.engine.state import Requested, State
from devloop.core.plan import Mode
from devloop.core.trace import Trace
from devloop.dsl import Service
from devloop.errors import InputErrors, ToolError, UnreachableError
from devloop.events import Event, Noted, PodOutput, PortClosed, PortOpened, Problem, ProjectRejected, problems
from devloop.model import Kind, NodeId, ObjectKey, RelPath
from devloop.runtime.bus import Bus
from devloop.runtime.journal import Journal
from devloop.runtime.loop import Loop, Surroundings
from devloop.runtime.outages import outlast
from devloop.runtime.ports import Access, Cluster, Loaded, LogLine, PathsHint, PortState
from devloop.runtime.render import service_handle
from devloop.runtime.tools import Tools, urls_of

__all__ = ["Session", "session"]


def session(
    devfile: str | Path | None = None,
    *,
    nodes: Sequence[str] = (),
    settings: Mapping[str, object] | None = None,
    target: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
    mode: Mode = UP,
) -> "Session":
    """Return a session to be entered by `async with`: the same loop that `devloop up` runs.

    Args:
        devfile: The devfile or its folder; None for the nearest one, here or in a folder above.
        nodes: The nodes that are wanted, with all that they need; empty for all.
        settings: Values of settings, as `--set` gives them.
        target: `docker` or `kubernetes`; None for a cluster where one is chosen, else the engine.
        context: The Kubernetes context; None for the current one, if it is local or the project allows it.
        namespace: The namespace; None for the project's own.
        mode: What is done.

    ```python
    async with devloop.session("devfile.py") as loop:
        await loop.ready()
        print(loop.service("api").url)
    ```
    """
    return Session(
        Options(
            devfile=None if devfile is None else Path(devfile),
            nodes=tuple(nodes),
            settings={name: str(value) for name, value in (settings or {}).items()},
            target=target,
            context=context,
            namespace=namespace,
            mode=mode,
        )
    )


class Session(AsyncContextManagerMixin):
    """One run of the loop; entered, it works until it is left.

    Args:
        options: What is asked for.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.journal = Journal()
        self.bus = Bus(self.journal.take)
        self._workspace = Workspace(options)
        self._loop: Loop | None = None
        self._cluster: Cluster | None = None
        self._work: CancelScope | None = None
        self._ended = anyio.Event()
        self._healthy = False

    # --- for those who use it ---------------------------------------------------------------------------------

    @property
    def cluster(self) -> Cluster:
        """The cluster that services run in.

        Raises:
            ToolError: The session deploys nothing, or was not entered.
        """
        if self._cluster is None:
            raise ToolError("this session has no cluster")
        return self._cluster

    async def events(self) -> AsyncIterator[Event]:
        """Yield all events from now on, until the session ends."""
        with self.bus.subscribe() as events:
            async for event in events:
                yield event

    async def ready(self) -> None:
        """Return when nothing is left to do and all is well.

        Raises:
            ToolError: Something failed; the message names the nodes.
        """
        loop = self._running()
        await loop.settled()
        failed = loop.unhealthy
        if failed:
            reasons = [f"{node}: {reason}" for node, reason in loop.troubles.items()]
            raise ToolError("not ready: " + ", ".join(str(node) for node in failed), tail=reasons)

    async def wait(self) -> bool:
        """Return when the session ends by itself (a `once` mode), and whether all was well."""
        await self._ended.wait()
        return self._healthy

    def plan(self, changed: Sequence[str] = ()) -> tuple[Planned, ...]:
        """Return what would run if these files changed (none: what would run now), and why."""
        loop = self._running()
        if loop.observation is None:
            return ()
        return planned(loop.state, loop.observation, changed)

    def service(self, name: str) -> Service:
        """Return a service: its `url` on this machine, its `host` in the cluster.

        Raises:
            InputError: There is no such service.
        """
        loop = self._running()
        graph = loop.graph
        node = graph.find(name if ":" in name else f"service:{name}")
        return service_handle(graph.nodes[node], urls_of(node.name, loop.forwards))

    def trigger(self, name: str) -> NodeId:
        """Run a node again though nothing changed, and return it.

        Raises:
            InputError: There is no such node.
        """
        loop = self._running()
        node = loop.graph.find(name)
        loop.submit(Requested(nodes=frozenset({node})))
        return node

    async def stop(self) -> None:
        """Stop the loop and all that it runs, but stay connected; nothing is built or deployed any more."""
        if self._work is not None:
            self._work.cancel("the session is stopped")
        await self._ended.wait()

    async def down(self) -> tuple[ObjectKey, ...]:
        """Remove all that devloop deployed for the project."""
        return await self.cluster.remove()

    def _running(self) -> Loop:
        if self._loop is None:
            raise ToolError("the session is not running", hint="enter it: `async with devloop.session() as loop:`")
        return self._loop

    # --- putting it together -----------------------------------------------------------------------------------

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        loaded = await self._first_load()
        place = place_of(self.options, loaded.project)
        if self.options.mode.uses_cluster and place.problem is not None:
            raise place.problem
        async with AsyncExitStack() as stack:
            if not self.options.mode.once:
                stack.enter_context(exclusively(self._workspace.state))
            loop = await self._assemble(stack, loaded, place)
            tasks = await stack.enter_async_context(create_task_group())
            self._loop = loop
            tasks.start_soon(self._run, loop, name="loop")
            if not self.options.mode.once:
                await self._take_requests(stack)
            try:
                yield self
            finally:
                tasks.cancel_scope.cancel("the session is left")
                self._loop = None
        with CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()

    async def _take_requests(self, stack: AsyncExitStack) -> None:
        """Listen to `devloop trigger`."""
        try:
            await stack.enter_async_context(controlled(self._workspace.state, lambda name: str(self.trigger(name))))
        except ToolError as error:
            self.bus.emit(Noted(message=error.message, hint=error.hint))

    async def _run(self, loop: Loop) -> None:
        try:
            with CancelScope() as self._work:
                self._healthy = await loop.run()
        finally:
            self._ended.set()

    async def _first_load(self) -> Loaded:
        """Load the devfile; a loop waits until its mistakes are mended, other sessions refuse."""
        told: tuple[Problem, ...] = ()
        while True:
            loaded = await to_thread.run_sync(self._workspace.load)
            if not loaded.errors:
                self._workspace.check_request(loaded)
                return loaded
            if self.options.mode.once:
                raise InputErrors(loaded.errors)
            found = tuple(problem for error in loaded.errors for problem in problems(error))
            if found != told:
                self.bus.emit(ProjectRejected(problems=found))
                told = found
            await self._devfile_changes(loaded)

    async def _devfile_changes(self, loaded: Loaded) -> None:
        """Return when a file that the devfile is made of may have changed."""
        folders = {path.rpartition("/")[0] or "." for path in loaded.read}

        def keep(directory: RelPath) -> bool:
            return directory == "." or any((each + "/").startswith(directory + "/") for each in folders)

        async with self._workspace.watcher.watch([RelPath(".")], keep) as hints:
            again = await to_thread.run_sync(self._workspace.load)
            if again.errors != loaded.errors:
                return
            async for hint in hints:
                if not isinstance(hint, PathsHint) or any(
                    path.endswith(".py") or path in loaded.read for path in hint.paths
                ):
                    return

    async def _assemble(self, stack: AsyncExitStack, loaded: Loaded, place: Place) -> Loop:
        options, workspace, bus = self.options, self._workspace, self.bus
        project = workspace.name(loaded.project)
        builder = await stack.enter_async_context(DockerBuilder(str(workspace.root)))
        tools = Tools(
            root=workspace.root,
            files=workspace.files,
            emit=bus.emit,
            builder=builder,
            renderings=workspace.renderings(place.namespace),
            patience=options.timeout if options.mode.once else 0.0,
            persistent=not options.mode.once,
            helper=loaded.project.helper,
            buildx=loaded.project.builder,
            cache=loaded.project.cache,
            no_cache=options.no_cache,
            pull=options.pull,
        )
        around = Surroundings(
            project=project,
            target="the Docker engine",
            store=workspace.store(place),
            journal=self.journal,
            asked=workspace.asked,
        )
        if options.mode.uses_cluster:
            opened = open_cluster(options, place, project, engine=builder.engine, tell=self._tell_note)
            cluster = self._cluster = await stack.enter_async_context(opened)
            delivery = delivery_to(cluster, builder, place, loaded.project.registry)
            tools = replace(tools, cluster=cluster, delivery=delivery)
            around = replace(around, target=f"{cluster.context}, namespace {cluster.namespace} ({place.reason})")
            ways = partial(ways_into, cluster, builder.engine, loaded.project.helper)
            tools, around = await self._with_streams(stack, tools, around, cluster, ways)
        saved = await to_thread.run_sync(around.store.load)
        self.journal.remember(saved.decisions)
        traces = await self._still_there(saved.traces, tools)
        state = State(mode=options.mode, traces=traces, held=saved.held, ledger=saved.ledger)
        return Loop(state, workspace.observer(place.namespace), tools, around, bus)

    async def _still_there(self, traces: Mapping[NodeId, Trace], tools: Tools) -> Mapping[NodeId, Trace]:
        """Return the traces whose results still exist; a loop waits for an engine or a cluster that does not answer."""
        if self.options.mode.alone:
            return traces  # nothing is built; what an image was built from is true wherever it is
        if self.options.mode.once:
            return await still_there(traces, tools)
        return await outlast(lambda: still_there(traces, tools), self._tell_outage)

    def _tell_note(self, message: str) -> None:
        self.bus.emit(Noted(message=message))

    def _tell_outage(self, error: UnreachableError) -> None:
        self.bus.emit(Noted(message=f"{error.message}; waiting for it", hint=error.hint))

    async def _with_streams(
        self,
        stack: AsyncExitStack,
        tools: Tools,
        around: Surroundings,
        cluster: Cluster,
        ways: Callable[[], Sequence[Access]],
    ) -> tuple[Tools, Surroundings]:
        """Return both with what follows pods: sync, logs and forwards, as far as the session wants them."""
        if self.options.mode.sync:
            from devloop.adapters.sync import ExecSyncer

            made = ExecSyncer(cluster, self._workspace.root, ways(), lambda note: self.bus.emit(Noted(message=note)))
            syncer = await stack.enter_async_context(made)
            tools, around = replace(tools, syncer=syncer), replace(around, syncer=syncer)
        if self.options.logs:
            from devloop.adapters.logs import LogTailer

            since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            tailer = await stack.enter_async_context(LogTailer(cluster, self._tell_line, since=since))
            around = replace(around, tailer=tailer)
        if self.options.ports:
            from devloop.adapters.forward import PortForwarder

            forwarder = await stack.enter_async_context(PortForwarder(cluster, self._tell_port))
            around = replace(around, forwarder=forwarder, tell_port=self._tell_port)
        return tools, around

    def _tell_line(self, line: LogLine) -> None:
        node = NodeId(Kind.SERVICE, line.service)
        self.bus.emit(
            PodOutput(
                node=node,
                pod=line.pod,
                container=line.container,
                line=line.text,
                time=line.time,
                previous=line.previous,
            )
        )

    def _tell_port(self, state: PortState) -> None:
        node = NodeId(Kind.SERVICE, state.rule.service)
        local = state.rule.local
        if state.error is None:
            url = f"http://localhost:{local}"
            self.bus.emit(PortOpened(node=node, local=local, remote=str(state.rule.remote), url=url))
        else:
            hint = f"end that program, or choose another port in the @service of `{node.name}`"
            self.bus.emit(PortClosed(node=node, local=local, problem=Problem(message=state.error, hint=hint)))
