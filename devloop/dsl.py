"""The decorators of a devfile: each turns a function into a declaration that stays a plain callable.

A decorated function is a node, its arguments are its edges, its return value feeds the file that the decorator names.
While a devfile is being loaded, declarations go to the `Collector` in a context variable; outside of that a decorator
registers nothing, so a devfile can be imported and its functions called like any others.
"""

import inspect
import linecache
import os.path
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from devloop.declarations import Declaration, Parameter, ProjectSpec, SettingSpec
from devloop.errors import InputError, Where
from devloop.model import (
    CheckSpec,
    CopyRule,
    HelmSource,
    IgnoreRule,
    ImagePath,
    ImageSpec,
    Kind,
    KustomizeSource,
    NodeId,
    PullRule,
    RestartRule,
    Rule,
    RunRule,
    ServiceSpec,
    Spec,
    SyncSpec,
    TaskSpec,
)

__all__ = [
    "Check",
    "Collector",
    "Image",
    "Service",
    "Sync",
    "Task",
    "check",
    "collecting",
    "copy",
    "helm",
    "ignore",
    "image",
    "include",
    "kustomize",
    "project",
    "pull",
    "restart",
    "run",
    "service",
    "setting",
    "sync",
    "task",
]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bool, int, float, str)
BuildArguments = TypeVar("BuildArguments", bound=Mapping[str, Any] | None)
Variables = TypeVar("Variables", bound=Mapping[str, Any] | None)
Rules = TypeVar("Rules", bound=Iterable[Rule] | None)

ImagePaths = Mapping[str, str | Mapping[str, str] | Sequence[str | Mapping[str, str]]]
"""Where objects of a kind name images: kind to path, or to the paths of the parts, or to several of them."""


# --- what an argument is ---------------------------------------------------------------------------------------


class Image:
    """An image, as a devfile's functions see it; its text is its full reference.

    Args:
        name: The node's name.
        ref: The reference under which the image is used, for example `api:dev-0123456789ab`.
    """

    def __init__(self, name: str, ref: str | None = None) -> None:
        self.name = name
        self.ref = ref or name

    def __str__(self) -> str:
        return self.ref

    @property
    def repository(self) -> str:
        """The reference without tag and digest."""
        head, _, last = self.ref.partition("@")[0].rpartition("/")
        return f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]

    @property
    def tag(self) -> str:
        """The reference's tag, or `latest`."""
        return self.ref.partition("@")[0].rpartition("/")[2].partition(":")[2] or "latest"


class Service:
    """A service, as a devfile's functions see it.

    Args:
        name: The node's name.
        host: The DNS name by which other pods reach it; None where its manifests declare no Kubernetes Service.
        port: The first port of its Kubernetes Service.
        urls: The addresses at which it answers on this machine, in the order of its ports.
    """

    def __init__(self, name: str, host: str | None = None, port: int | None = None, urls: Sequence[str] = ()) -> None:
        self.name = name
        self._host = host
        self._port = port
        self._urls = tuple(urls)

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """The DNS name by which other pods reach the service.

        Raises:
            InputError: Its manifests declare no Kubernetes Service.
        """
        if self._host is None:
            message = f"service `{self.name}` has no host: its manifests declare no Kubernetes Service"
            raise InputError(message, hint="add a `kind: Service` to its manifests")
        return self._host

    @property
    def port(self) -> int:
        """The first port of its Kubernetes Service.

        Raises:
            InputError: Its manifests declare no Kubernetes Service with a port.
        """
        if self._port is None:
            message = f"service `{self.name}` has no port: its manifests declare no Kubernetes Service with one"
            raise InputError(message, hint="add a `kind: Service` with `ports:` to its manifests")
        return self._port

    @property
    def url(self) -> str:
        """The address at which the service answers on this machine, for example `http://localhost:8000`.

        Raises:
            InputError: None of its ports is forwarded.
        """
        if not self._urls:
            message = f"service `{self.name}` has no url: none of its ports is forwarded"
            raise InputError(message, hint="say `ports={8000: 80}` in its @service")
        return self._urls[0]

    @property
    def urls(self) -> tuple[str, ...]:
        """All addresses at which the service answers on this machine."""
        return self._urls


class Sync:
    """A sync node, as an argument's annotation."""


class Task:
    """A task node, as an argument's annotation."""


class Check:
    """A check node, as an argument's annotation."""


_KINDS: Final[Mapping[type, Kind]] = {
    Image: Kind.IMAGE,
    Service: Kind.SERVICE,
    Sync: Kind.SYNC,
    Task: Kind.TASK,
    Check: Kind.CHECK,
}


# --- declarations ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Collector:
    """Takes what one load of a devfile declares.

    Attributes:
        root: The project's root, absolute.
        folder: The folder of the devfile that is being read, relative to the root.
        declarations: In the order of the files.
        projects: Each call of `project`.
        includes: Each call of `include`: the path relative to the root, and the place.
        errors: Mistakes found on the way.
        value_of: Returns the value of a setting of the whole project; it raises InputError for one of a wrong type.
    """

    root: str
    folder: str = ""
    declarations: list[Declaration] = field(default_factory=list)
    projects: list[ProjectSpec] = field(default_factory=list)
    includes: list[tuple[str, Where]] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)
    value_of: Callable[[SettingSpec], object] = lambda spec: spec.default


_collector: ContextVar[Collector | None] = ContextVar("devloop_collector", default=None)


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    """Send what the decorators declare to the collector while the block runs."""
    token = _collector.set(collector)
    try:
        yield
    finally:
        _collector.reset(token)


class Declared(Generic[P, R]):
    """A decorated function: callable with its own signature, and what other functions' defaults may refer to."""

    KIND: Kind

    def __init__(self, function: Callable[P, R], node: NodeId) -> None:
        self.function = function
        self.node = node
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self.node}>"


class DeclaredImage(Declared[P, R], Image):
    """What `@image` returns."""

    KIND = Kind.IMAGE

    def __init__(self, function: Callable[P, R], node: NodeId) -> None:
        Declared.__init__(self, function, node)
        Image.__init__(self, node.name)


class DeclaredService(Declared[P, R], Service):
    """What `@service` returns."""

    KIND = Kind.SERVICE

    def __init__(self, function: Callable[P, R], node: NodeId) -> None:
        Declared.__init__(self, function, node)
        Service.__init__(self, node.name)


class DeclaredSync(Declared[P, R], Sync):
    """What `@sync` returns."""

    KIND = Kind.SYNC


class DeclaredTask(Declared[P, R], Task):
    """What `@task` returns."""

    KIND = Kind.TASK


class DeclaredCheck(Declared[P, R], Check):
    """What `@check` returns."""

    KIND = Kind.CHECK


D = TypeVar("D", bound=Declared[..., Any])


def _declare(
    make: Callable[[Callable[..., Any], NodeId], D], kind: Kind, function: Any, name: str | None, spec: Spec
) -> D:
    if isinstance(function, Declared):
        message = f"`{function.__name__}` is decorated twice: it already is {function.node}"
        raise InputError(message, where=_definition(function.function), hint="write a function for each node")
    node = NodeId(kind, name or node_name(function.__name__, kind))
    declared = make(function, node)
    collector = _collector.get()
    if collector is not None:
        where = _definition(function)
        try:
            parameters = _parameters(function, where)
        except InputError as error:
            collector.errors.append(error)
            parameters = ()
        collector.declarations.append(
            Declaration(
                id=node,
                argument=function.__name__,
                spec=spec,
                function=function,
                parameters=parameters,
                where=where,
                folder=collector.folder,
            )
        )
    return declared


def node_name(function_name: str, kind: Kind) -> str:
    """Return a node's name: the function's, with dashes, without its kind's own suffix."""
    stem = function_name.removesuffix(f"_{kind}") or function_name
    return stem.strip("_").replace("_", "-")


def _definition(function: Callable[..., Any]) -> Where:
    """Return the place of the `def` line (code objects know only the first decorator's)."""
    code = inspect.unwrap(function).__code__
    lines = linecache.getlines(code.co_filename)
    for number in range(code.co_firstlineno, min(code.co_firstlineno + 60, len(lines) + 1)):
        text = lines[number - 1].strip()
        if text.startswith(("def ", "async def ")):
            return Where(
                path=_relative(code.co_filename), line=number, text=text.removesuffix(": ...").removesuffix(":")
            )
    return Where(path=_relative(code.co_filename), line=code.co_firstlineno)


def _caller() -> Where:
    """Return the place in the devfile that called a function of this module."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is None:
        return Where(path="devfile.py")
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return Where(path=_relative(frame.f_code.co_filename), line=frame.f_lineno, text=text or None)


def _relative(filename: str) -> str:
    collector = _collector.get()
    if collector is None:
        return filename
    return os.path.relpath(filename, collector.root).replace(os.sep, "/")


def _parameters(function: Callable[..., Any], where: Where) -> tuple[Parameter, ...]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        message = f"an annotation of `{function.__name__}` cannot be read: {error}"
        raise InputError(message, where=where, hint="import the name, or drop the annotation") from None
    found = []
    for each in signature.parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
            message = (
                f"`{function.__name__}` has the argument `{each}`, but a node's arguments name other nodes or settings"
            )
            raise InputError(message, where=where, hint="name each dependency as an ordinary argument")
        annotation = None if each.annotation is each.empty else each.annotation
        kind = next((kind for known, kind in _KINDS.items() if annotation is known), None)
        node = each.default.node if isinstance(each.default, Declared) else None
        required = each.default is each.empty
        found.append(
            Parameter(
                name=each.name,
                kind=kind,
                annotation=annotation,
                required=required,
                default=None if required else each.default,
                node=node,
            )
        )
    return tuple(found)


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _image_paths(images: Any, *, required: bool) -> tuple[ImagePath, ...]:
    """Return where images are named, one by one; what is wrong about them is found when the project is read."""
    pairs = images.items() if isinstance(images, Mapping) else [("", images)] if images is not None else ()
    return tuple(
        ImagePath(kind=str(kind), path=path, required=required)
        for kind, paths in pairs
        for path in (paths if isinstance(paths, list | tuple) else (paths,))
    )


# --- the decorators --------------------------------------------------------------------------------------------


@overload
def image(function: Callable[P, BuildArguments], /) -> DeclaredImage[P, BuildArguments]: ...
@overload
def image(
    context: str = ".",
    /,
    *,
    name: str | None = None,
    dockerfile: str | None = None,
    target: str | None = None,
    ref: str | None = None,
    args: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    secrets: str | Sequence[str] = (),
    ssh: str | Sequence[str] = (),
    platforms: str | Sequence[str] = (),
    cache_from: str | Sequence[str] = (),
    cache_to: str | Sequence[str] = (),
    builder: str | None = None,
    inputs: str | Sequence[str] | None = None,
) -> Callable[[Callable[P, BuildArguments]], DeclaredImage[P, BuildArguments]]: ...
def image(
    context: Any = ".",
    /,
    *,
    name: str | None = None,
    dockerfile: str | None = None,
    target: str | None = None,
    ref: str | None = None,
    args: Mapping[str, str] | None = None,
    contexts: Mapping[str, str] | None = None,
    secrets: str | Sequence[str] = (),
    ssh: str | Sequence[str] = (),
    platforms: str | Sequence[str] = (),
    cache_from: str | Sequence[str] = (),
    cache_to: str | Sequence[str] = (),
    builder: str | None = None,
    inputs: str | Sequence[str] | None = None,
) -> Any:
    """Declare an image; the function returns build arguments (name to value), or nothing.

    Args:
        context: The build context's folder, relative to the devfile; `<context>/Dockerfile` is built unless
            `dockerfile` says otherwise. A path of a Dockerfile means that file with its folder as the context.
        name: The node's name, instead of the function's.
        dockerfile: The Dockerfile, relative to the devfile.
        target: The stage to build.
        ref: The repository to name the image by, for example `registry.example.com/team/api`.
        args: Build arguments known without a function body.
        contexts: Further named build contexts: a folder, or `docker-image://…`.
        secrets: Build secrets, for example `id=npm,src=.npmrc`.
        ssh: SSH agents to lend to the build, for example `default`.
        platforms: Platforms to build for, for example `linux/arm64`; `nodes` means those of the cluster's nodes.
        cache_from: Where to import build cache from, as buildx takes it.
        cache_to: Where to export build cache to, as buildx takes it.
        builder: The buildx builder that builds it; left out, the project's, else the current one.
        inputs: Patterns of the files that a custom builder reads. The function is then not asked for build arguments
            but *builds*: it runs commands (`sh`) and leaves the image under the reference in its argument `ref`.
    """
    if callable(context):
        return _declare(DeclaredImage, Kind.IMAGE, context, None, ImageSpec())
    spec = ImageSpec(
        context=context,
        dockerfile=dockerfile,
        target=target,
        ref=ref,
        args=dict(args or {}),
        contexts=dict(contexts or {}),
        secrets=_texts(secrets),
        ssh=_texts(ssh),
        platforms=_texts(platforms),
        cache_from=_texts(cache_from),
        cache_to=_texts(cache_to),
        builder=builder,
        inputs=None if inputs is None else _texts(inputs),
    )
    return lambda function: _declare(DeclaredImage, Kind.IMAGE, function, name, spec)


def service(
    *manifests: str | KustomizeSource | HelmSource,
    name: str | None = None,
    ports: Mapping[int, int | str] | None = None,
    images: ImagePaths | None = None,
) -> Callable[[Callable[P, Variables]], DeclaredService[P, Variables]]:
    """Declare a service; the function returns further variables for its templates, values for its charts, or nothing.

    Args:
        manifests: Manifest files, relative to the devfile. Files that end in `.j2` are templates: every argument of the
            function is a variable there under its own name. `kustomize(…)` and `helm(…)` stand beside them.
        name: The node's name, instead of the function's.
        ports: Local port to the service's port (number or name). Left out, the ports that the manifests' Services
            declare are forwarded; `{}` forwards none.
        images: Where its manifests name images under keys that do not tell: kind to path, or to several paths. A path
            is `spec.runner.use`, `spec.steps[*].uses`, `spec.env[name=RUNNER].value`; for a reference in parts it is
            `{"repository": "spec.runner.repo", "tag": "spec.runner.version"}`. `docker://` and `--image=` may stand
            before the reference.
    """
    first: object = manifests[0] if len(manifests) == 1 else None
    if callable(first):
        message = f"@service of `{getattr(first, '__name__', '?')}` names no manifest"
        raise InputError(message, where=_caller(), hint='say which file deploys it: @service("k8s/api.yaml")')
    spec = ServiceSpec(
        manifests=tuple(manifests),
        ports=None if ports is None else dict(ports),
        images=_image_paths(images, required=True),
    )

    def declare(function: Callable[P, Variables]) -> DeclaredService[P, Variables]:
        return _declare(DeclaredService[P, Variables], Kind.SERVICE, function, name, spec)

    return declare


def kustomize(folder: str, *, arguments: str | Sequence[str] = ()) -> KustomizeSource:
    """Let kustomize render manifests of a service: `@service(kustomize("k8s/overlays/dev"))`.

    `kustomize` does it where it is installed, else `kubectl kustomize`.

    Args:
        folder: The folder with the kustomization, relative to the devfile.
        arguments: Further arguments for kustomize, for example `--enable-helm`.
    """
    return KustomizeSource(folder=folder, arguments=_texts(arguments))


def helm(
    chart: str,
    *,
    values: str | Sequence[str] = (),
    release: str | None = None,
    files: Mapping[str, str] | None = None,
    crds: bool = True,
    hooks: bool = True,
    kube_version: str | None = None,
    api_versions: str | Sequence[str] = (),
    repository: str | None = None,
    version: str | None = None,
) -> HelmSource:
    """Let Helm render manifests of a service: `@service(helm("charts/api", values="dev.yaml"))`.

    What the service's function returns are values too, above those of all files. No release is made: the objects are
    deployed like any others.

    Args:
        chart: The chart's folder or archive, relative to the devfile, or its name in a repository (`oci://…`).
        values: Values files, relative to the devfile; later ones win.
        release: The release's name; left out, the service's.
        files: Values taken from files, as `--set-file` takes them: the value's name to the file.
        crds: Whether the chart's resource definitions are deployed with it.
        hooks: Whether its install and upgrade hooks are deployed, like any other objects; its tests never are.
        kube_version: The version of Kubernetes that the chart is told of; left out, Helm's own idea of it.
        api_versions: API versions that the chart is told of, besides those that Helm knows.
        repository: The address of the repository that has the chart; such a chart is not watched.
        version: The chart's version in its repository.
    """
    return HelmSource(
        chart=chart,
        values=_texts(values),
        release=release,
        files=dict(files or {}),
        crds=crds,
        hooks=hooks,
        kube_version=kube_version,
        api_versions=_texts(api_versions),
        repository=repository,
        version=version,
    )


@overload
def sync(function: Callable[P, Rules], /) -> DeclaredSync[P, Rules]: ...
@overload
def sync(
    source: str | None = None,
    destination: str | None = None,
    /,
    *,
    name: str | None = None,
    selector: str | None = None,
    container: str | None = None,
) -> Callable[[Callable[P, Rules]], DeclaredSync[P, Rules]]: ...
def sync(
    source: Any = None,
    destination: str | None = None,
    /,
    *,
    name: str | None = None,
    selector: str | None = None,
    container: str | None = None,
) -> Any:
    """Declare which files are copied into running containers; the function yields further rules, or nothing.

    An argument says whose containers: those of an image, or those of a service, whatever image it runs.

    Args:
        source: A file or folder, relative to the devfile; left out, all files that the image's final stage copies.
        destination: Where it lands in the container; left out, where the Dockerfile's COPY puts it.
        name: The node's name, instead of the function's.
        selector: The labels of the pods that are meant, whoever deployed them: `app=web,tier=front`.
        container: The name of their container, where they have several and no image says which.
    """
    if callable(source):
        return _declare(DeclaredSync, Kind.SYNC, source, None, SyncSpec())
    spec = SyncSpec(source=source, destination=destination, selector=selector, container=container)
    return lambda function: _declare(DeclaredSync, Kind.SYNC, function, name, spec)


@overload
def task(function: Callable[P, R], /) -> DeclaredTask[P, R]: ...
@overload
def task(
    *, name: str | None = None, inputs: str | Sequence[str] = ()
) -> Callable[[Callable[P, R]], DeclaredTask[P, R]]: ...
def task(function: Any = None, /, *, name: str | None = None, inputs: str | Sequence[str] = ()) -> Any:
    """Declare a task: a plain function that `devloop run NAME` calls, and the loop when its inputs change.

    Args:
        function: The function, when the decorator is used without arguments.
        name: The node's name, instead of the function's.
        inputs: Patterns of files, relative to the devfile, whose change runs the task in the loop.
    """
    if callable(function):
        return _declare(DeclaredTask, Kind.TASK, function, None, TaskSpec())
    spec = TaskSpec(inputs=_texts(inputs))
    return lambda function: _declare(DeclaredTask, Kind.TASK, function, name, spec)


@overload
def check(function: Callable[P, R], /) -> DeclaredCheck[P, R]: ...
@overload
def check(*, name: str | None = None) -> Callable[[Callable[P, R]], DeclaredCheck[P, R]]: ...
def check(function: Any = None, /, *, name: str | None = None) -> Any:
    """Declare a check: a task that runs when the services it names are ready, and decides how `devloop ci` ends."""
    if callable(function):
        return _declare(DeclaredCheck, Kind.CHECK, function, None, CheckSpec())
    return lambda function: _declare(DeclaredCheck, Kind.CHECK, function, name, CheckSpec())


# --- what concerns the whole project -----------------------------------------------------------------------------


def project(
    name: str | None = None,
    *,
    namespace: str | None = None,
    contexts: str | Sequence[str] = (),
    registry: str | None = None,
    builder: str | None = None,
    cache: str | Sequence[str] = (),
    images: ImagePaths | None = None,
    helper: str = "busybox:musl",
) -> None:
    """Say what concerns all nodes.

    Args:
        name: The project's name; left out, that of the devfile's folder.
        namespace: The Kubernetes namespace to deploy to; `{user}` in it stands for who runs devloop (or for what
            `DEVLOOP_USER` says), as far as a namespace can hold it. Left out, the context's own.
        contexts: Contexts that may be deployed to though they are not local; `*` stands for any text.
        registry: Where images are pushed for the cluster to pull, for example `registry.example.com/team`.
        builder: The buildx builder of images that name none; left out, the current one. One with a BuildKit of its own
            pushes to the registry by itself.
        cache: Where builds keep their cache: `type=registry,ref=registry.example.com/cache/{image}`,
            `type=s3,region=…,bucket=…`, `type=gha`, `type=local,path=…`. It is taken from there and left there, unless
            the engine's own builder builds: that one only takes.
        images: Where objects of a kind name images, as for `@service`; for the objects of all services that have such.
        helper: An image with `sh` and the usual small tools, for the containers by which files are synced into others
            that have none.
    """
    collector = _collector.get()
    if collector is not None:
        collector.projects.append(
            ProjectSpec(
                name=name,
                namespace=namespace,
                contexts=_texts(contexts),
                registry=registry,
                builder=builder,
                cache=_texts(cache),
                images=_image_paths(images, required=False),
                helper=helper,
                where=_caller(),
            )
        )


def setting(name: str, *, default: T) -> T:
    """Return the value of a setting that the devfile itself uses, for example in what a decorator is given.

    ```python
    dev = setting("dev", default=False)


    @image("api", target="develop" if dev else "release")
    def api_image(): ...
    ```

    Where the argument of a function serves, that is shorter.

    Args:
        name: As `--set dev=true` and the environment (`DEVLOOP_SET_DEV=true`) take it.
        default: What holds when nobody says otherwise; its type is the setting's.

    Raises:
        InputError: The value given is of another type.
    """
    collector = _collector.get()
    if collector is None:
        return default
    value: Any = collector.value_of(SettingSpec(name=name, default=default, where=_caller()))
    found: T = value
    return found


def include(path: str) -> None:
    """Add the nodes of another devfile; its paths are relative to its own folder."""
    collector = _collector.get()
    if collector is not None:
        collector.includes.append(
            (os.path.normpath(os.path.join(collector.folder, path)).replace(os.sep, "/"), _caller())
        )


# --- rules of a sync ---------------------------------------------------------------------------------------------


def copy(source: str, destination: str | None = None) -> Rule:
    """Copy a file or folder (relative to the devfile) to where it lands in the container."""
    return CopyRule(source=source, destination=destination)


def run(command: str, *, on: str | Sequence[str]) -> Rule:
    """Run a shell command in the container after a file that matches `on` was copied there."""
    return RunRule(command=command, on=_texts(on))


def restart(*, on: str | Sequence[str] = ()) -> Rule:
    """Restart the container's process after a file that matches `on` (left out: any file) was copied there."""
    return RestartRule(on=_texts(on))


def ignore(*patterns: str) -> Rule:
    """Let a change of these files neither sync nor rebuild."""
    return IgnoreRule(patterns=patterns)


def pull(source: str, destination: str) -> Rule:
    """Bring a file from the container (absolute path) back to the host (relative to the devfile)."""
    return PullRule(source=source, destination=destination)
