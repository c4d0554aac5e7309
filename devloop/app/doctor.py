"""What devloop needs of a machine, looked at one by one: nothing is changed, and nothing stops at the first trouble."""

from collections.abc import Awaitable, Callable
from typing import Final

from anyio import create_task_group, to_thread

from devloop.adapters.docker import DockerBuilder
from devloop.app.delivering import LateDelivery
from devloop.app.options import Options
from devloop.app.workspace import Place, Workspace, place_of
from devloop.core.cluster.contexts import OWN_CONTEXT, Context, is_local
from devloop.core.cluster.targets import Target
from devloop.declarations import ProjectSpec
from devloop.errors import DevloopError, InputError, InputErrors, ToolError, UnreachableError
from devloop.model import RelPath
from devloop.ui.rows import CheckRow

__all__ = ["examine"]

_RIGHTS: Final = (
    ("patch", "apps", "deployments"),
    ("patch", "", "services"),
    ("watch", "", "pods"),
    ("create", "", "pods/exec"),
    ("get", "", "pods/log"),
)
"""What every session does in its namespace."""

_Check = Callable[[], Awaitable[str]]
"""Returns what there is; raises InputError or ToolError."""


async def examine(options: Options) -> tuple[CheckRow, ...]:
    """Return what was found, in the order in which devloop needs it.

    Args:
        options: What is asked for; without a devfile, only the machine is examined.
    """
    rows: dict[str, CheckRow] = {}
    try:
        workspace: Workspace | None = Workspace(options)
    except InputError as error:
        if options.devfile is not None:
            raise
        workspace = None
        rows["project"] = CheckRow(name="project", ok=True, found=error.message, hint=error.hint)
    spec = ProjectSpec()
    if workspace is not None:
        loaded = await to_thread.run_sync(workspace.load)
        spec = loaded.project
        rows["project"] = _project(workspace, loaded.errors, len(loaded.declarations))

    async def look(name: str, check: _Check) -> None:
        try:
            rows[name] = CheckRow(name=name, ok=True, found=await check())
        except (InputError, ToolError) as error:
            where = error.where if isinstance(error, InputError) else None
            found = error.message if where is None else f"{where}: {error.message}"
            rows[name] = CheckRow(name=name, ok=False, found=found, hint=error.hint)

    place = place_of(options, spec)
    names = ["project", "files", "engine", "builder", "context", "cluster", "rights", "images"]
    async with DockerBuilder() as builder, create_task_group() as tasks:
        if workspace is not None:
            tasks.start_soon(look, "files", lambda: _files(workspace))
        tasks.start_soon(look, "engine", lambda: _engine(builder))
        tasks.start_soon(look, "builder", lambda: _buildx(builder))
        await look("context", lambda: _context(place))
        if place.context is not None:
            await _look_at_cluster(look, options, place, builder, spec.registry)
    return tuple(rows[name] for name in names if name in rows)


def _project(workspace: Workspace, errors: tuple[DevloopError, ...], declared: int) -> CheckRow:
    if errors:
        count = sum(len(error.errors) if isinstance(error, InputErrors) else 1 for error in errors)
        found = f"{workspace.devfile.path} has {count} mistake{'' if count == 1 else 's'}"
        return CheckRow(name="project", ok=False, found=found, hint="`devloop plan` shows them")
    return CheckRow(name="project", ok=True, found=f"{workspace.devfile.path}, {declared} nodes")


async def _files(workspace: Workspace) -> str:
    """Watch as the loop does."""

    def keep(directory: RelPath) -> bool:
        return directory.rpartition("/")[2] not in {".git", ".venv", "node_modules"}

    async with workspace.watcher.watch([RelPath(".")], keep):
        return f"changes below {workspace.root} are seen"


async def _engine(builder: DockerBuilder) -> str:
    version = await builder.engine.version()
    endpoint = builder.engine.endpoint
    return f"{version.product} {version.number} at {endpoint.host} (from {endpoint.origin})"


async def _buildx(builder: DockerBuilder) -> str:
    return await builder.buildx()


async def _context(place: Place) -> str:
    if place.problem is not None:
        raise place.problem
    if place.target is Target.DOCKER:
        own = "`devloop cluster start` makes a cluster of your own"
        return f"none: services run on the Docker engine ({place.reason}), namespace {place.namespace}; {own}"
    assert place.context is not None
    return f"{place.context.name}, namespace {place.namespace}"


async def _look_at_cluster(
    look: Callable[[str, _Check], Awaitable[None]],
    options: Options,
    place: Place,
    builder: DockerBuilder,
    registry: str | None,
) -> None:
    from devloop.adapters.kube.cluster import KubeCluster

    opened = KubeCluster.open(
        project="doctor", context=place.context, kubeconfig=options.kubeconfig, namespace=place.namespace
    )

    async def examined() -> str:
        async with opened as cluster:
            version = await cluster.version()

            async def rights() -> str:
                missing = [" ".join((right[0], right[2])) for right in _RIGHTS if not await cluster.may(*right)]
                if missing:
                    raise ToolError(
                        f"this user may not {', '.join(missing)} in namespace `{place.namespace}`",
                        hint="ask for the role `edit` there, or take another namespace: `--namespace`",
                    )
                return f"all that devloop does in namespace {place.namespace} is allowed"

            async def images() -> str:
                return (await LateDelivery(cluster, builder, place.context, registry).plan()).reason

            await look("rights", rights)
            await look("images", images)
            return f"Kubernetes {version}"

    async def reached() -> str:
        try:
            return await examined()
        except UnreachableError as error:
            assert place.context is not None
            raise ToolError(error.message, hint=_way_out(place.context)) from error

    await look("cluster", reached)


def _way_out(context: Context) -> str:
    """Return what helps against a cluster that does not answer."""
    if context.name == OWN_CONTEXT:
        return "`devloop cluster start` starts it"
    own = " `devloop cluster start` makes one of your own" if is_local(context) else ""
    return f"is the cluster running?{own}"
