"""A project opened for reading: its devfile, its files, what earlier sessions left, and where it would be deployed."""

import getpass
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devloop.adapters.devfile import PythonDevfile
from devloop.adapters.docker.bases import EngineImages
from devloop.adapters.files import DiskFiles
from devloop.adapters.kube.config import read_contexts
from devloop.adapters.rendering import ToolRenderer
from devloop.adapters.state import FileStore, state_directory
from devloop.adapters.watch import FileWatcher
from devloop.app.options import Options, find_devfile
from devloop.core.cluster.contexts import Context, choose
from devloop.core.cluster.namespaces import namespace_for
from devloop.core.cluster.targets import Target, choose_target
from devloop.core.graph import Graph, Node, bind
from devloop.core.settings import resolve
from devloop.declarations import ProjectSpec
from devloop.errors import InputError, InputErrors
from devloop.model import NodeId
from devloop.runtime.discover import Project, discover
from devloop.runtime.observe import Observation, Observer
from devloop.runtime.outside import Outside
from devloop.runtime.ports import Loaded
from devloop.runtime.renderings import Renderings, UnrenderedError

__all__ = ["Place", "Workspace", "place_of"]

_NO_CONTEXT = "docker"
_USER = "DEVLOOP_USER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where services would be deployed.

    Attributes:
        context: The context; None on the Docker engine, and when there is none that may be used (`problem` says why).
        namespace: The namespace of objects that name none.
        problem: Why there is no place.
        target: What services run on.
        reason: Why there, in a few words.
    """

    context: Context | None
    namespace: str
    target: Target = Target.KUBERNETES
    reason: str = ""
    problem: InputError | None = None

    @property
    def cluster(self) -> str:
        """What the state of earlier sessions is kept under."""
        return self.context.name if self.context else _NO_CONTEXT


def place_of(options: Options, spec: ProjectSpec) -> Place:
    """Return where services would be deployed; nothing is asked of any cluster.

    Raises:
        InputError: The namespace that is asked for is none.
    """
    namespace = _namespace(options, spec)
    try:
        contexts = read_contexts(options.kubeconfig)
        chosen = choose_target(options.target, contexts, context=options.context)
        if chosen.target is Target.DOCKER:
            return Place(context=None, namespace=namespace or "default", target=chosen.target, reason=chosen.reason)
        context = choose(contexts, named=options.context, allowed=spec.contexts)
    except InputError as error:
        return Place(context=None, namespace=namespace or "default", problem=error)
    return Place(context=context, namespace=namespace or context.namespace or "default", reason=chosen.reason)


def _namespace(options: Options, spec: ProjectSpec) -> str | None:
    """Return the namespace that the command line or the project asks for."""
    if options.namespace:
        return namespace_for(options.namespace, _user())
    return namespace_for(spec.namespace, _user(), spec.where) if spec.namespace else None


def _user() -> str:
    """Return who runs devloop; a container's user says little, so the environment may say better."""
    if said := os.environ.get(_USER):
        return said
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


class Workspace:
    """A project's files, opened.

    Args:
        options: What is asked for.

    Raises:
        InputError: There is no devfile.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.devfile = PythonDevfile(find_devfile(options.devfile), given=options.settings, environment=os.environ)
        self.root: Path = self.devfile.root
        self.state = state_directory(self.root)
        self.files = DiskFiles(self.root, self.state)
        self.watcher = FileWatcher(self.root)
        self._renderer = ToolRenderer(self.root, self.state)
        self.images = EngineImages()
        self._renderings: dict[str, Renderings] = {}

    def load(self) -> Loaded:
        """Return what the devfile declares, mistakes included."""
        return self.devfile.load()

    def name(self, spec: ProjectSpec) -> str:
        """Return the project's name, fit for a label."""
        name = re.sub(r"[^a-z0-9-]+", "-", (spec.name or self.root.name).lower()).strip("-")
        return name[:63].rstrip("-") or "project"

    def store(self, place: Place) -> FileStore:
        """Return what outlives sessions at a place."""
        return FileStore(self.state, place.cluster, place.namespace)

    def observer(self, namespace: str) -> Observer:
        """Return the observer of the nodes that are asked for."""
        renderings = self.renderings(namespace)
        return Observer(self.discover(namespace), self.files, self.watcher, renderings, self.narrow)

    def renderings(self, namespace: str) -> Renderings:
        """Return what tools render for a namespace."""
        made = Renderings(self._renderer, root=str(self.root), namespace=namespace)
        return self._renderings.setdefault(namespace, made)

    def discover(self, namespace: str) -> Callable[[], Project]:
        """Return what reads the project afresh."""
        return lambda: discover(
            self.devfile,
            self.files,
            self.renderings(namespace),
            given=self.options.settings,
            environment=os.environ,
            outside=Outside(base=self.images.base, platform=self.images.platform),
        )

    def project(self, namespace: str) -> Project:
        """Return the project as it is now, with all that tools render for it; to be called in a worker thread."""
        read = self.discover(namespace)

        def whole() -> Project:
            project = read()
            if project.unrendered:
                raise UnrenderedError(project.unrendered)
            return project

        return self.renderings(namespace).complete(whole)

    def narrow(self, graph: Graph) -> Graph:
        """Return the graph of the nodes that are asked for.

        Raises:
            InputError: There is no such node.
        """
        if not self.options.nodes:
            return graph
        return graph.closure([graph.find(name) for name in self.options.nodes])

    def check_request(self, loaded: Loaded) -> None:
        """Check what the command line names against what the devfile declares; editing a file would not mend it.

        Raises:
            InputErrors: There is no such node or setting.
        """
        bindings, _ = bind(loaded.declarations)
        others = [each.name for each in loaded.settings]
        _, errors = resolve(bindings.values(), self.options.settings, {}, others=others)
        known = Graph(nodes={node: Node(id=node, declaration=each.declaration) for node, each in bindings.items()})
        for name in self.options.nodes:
            try:
                known.find(name)
            except InputError as error:
                errors.append(error)
        if errors:
            raise InputErrors(errors)

    def asked(self, graph: Graph) -> frozenset[NodeId]:
        """Return the nodes that must run, changed or not."""
        return frozenset(graph.find(name) for name in self.options.nodes) if self.options.asked else frozenset()

    async def look(self, namespace: str) -> Observation:
        """Return the project as it is now.

        Raises:
            InputErrors: Its files have mistakes.
        """
        observation = await self.observer(namespace).look()
        if observation.mistakes:
            raise InputErrors(observation.mistakes)
        return observation
