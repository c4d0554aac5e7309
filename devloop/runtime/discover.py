"""Discovery: reads a project's devfile, Dockerfiles, templates and manifests, and makes the graph of them.

Mistakes of the devfile itself (unknown names, cycles, exceptions) reject the project as a whole; mistakes in the files
of a node stay with that node, so that the others go on.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from devloop.core import digests
from devloop.core.cluster.forwarding import Asked, PortNote, rules, settle
from devloop.core.dockerfile import BaseConfig
from devloop.core.graph import (
    Binding,
    Edge,
    Graph,
    ImageDetail,
    Node,
    ServiceDetail,
    TaskDetail,
    bind,
    ordered,
)
from devloop.core.manifest import Manifest
from devloop.core.manifest.images import image_uses
from devloop.core.manifest.workloads import facts as service_facts
from devloop.core.needs import with_object_edges
from devloop.core.settings import Setting, resolve
from devloop.core.sync.rules import patterns
from devloop.declarations import Declaration, ProjectSpec
from devloop.errors import InputError, InputErrors
from devloop.model import (
    CheckSpec,
    Digest,
    ForwardRule,
    ImageRef,
    ImageSpec,
    Kind,
    NodeId,
    ObjectKey,
    RelPath,
    ServiceSpec,
    SyncSpec,
    TaskSpec,
)
from devloop.runtime import images
from devloop.runtime.charts import part_of
from devloop.runtime.definitions import Definitions, Tree
from devloop.runtime.looks import Look, Looks
from devloop.runtime.outside import NOTHING_OUTSIDE, Outside
from devloop.runtime.ports import Devfile, Files
from devloop.runtime.render import (
    PLACEHOLDER_TAG,
    all_in_folder,
    by_repository,
    image_named,
    image_places,
    placeholder_image,
    rendered,
    service_handle,
)
from devloop.runtime.renderings import Renderings, Request, UnrenderedError
from devloop.runtime.syncs import placements, sync_detail

__all__ = ["Project", "discover"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project as its files declare it.

    Attributes:
        spec: What `project(…)` said.
        graph: The nodes; empty when `errors` reject the project.
        settings: All settings with their values.
        forwards: The local ports and where they lead.
        notes: Ports that gave way to another's.
        errors: Mistakes that concern the whole.
        read: Every definition file that was read, with its digest (`ABSENT`: it was looked for).
        trees: The folders of which every file counts: those of charts.
        looks: What else was looked at on disk, with what was seen.
        unrendered: What tools have to render before this is the whole project.
    """

    spec: ProjectSpec = field(default_factory=ProjectSpec)
    graph: Graph = field(default_factory=Graph)
    settings: tuple[Setting, ...] = ()
    forwards: tuple[ForwardRule, ...] = ()
    notes: tuple[PortNote, ...] = ()
    errors: tuple[InputError, ...] = ()
    read: Mapping[RelPath, Digest] = field(default_factory=dict)
    trees: Mapping[RelPath, Tree] = field(default_factory=dict)
    looks: Mapping[Look, object] = field(default_factory=dict)
    unrendered: tuple[Request, ...] = ()

    @property
    def mistakes(self) -> tuple[InputError, ...]:
        """All mistakes, those of single nodes too."""
        return self.errors + tuple(each for node in self.graph.nodes.values() for each in node.problems)


def discover(
    devfile: Devfile,
    files: Files,
    renderings: Renderings,
    *,
    given: Mapping[str, str],
    environment: Mapping[str, str],
    outside: Outside = NOTHING_OUTSIDE,
) -> Project:
    """Return the project as it is on disk now; never raises for mistakes in its files.

    Args:
        devfile: The project's devfile.
        files: The project's files.
        renderings: What tools outside of devloop rendered.
        given: Settings given by `--set`.
        environment: The environment variables.
        outside: What is known of the engine and its images.
    """
    loaded = devfile.load()
    reader = Definitions(files)
    reader.note(loaded.read)
    declarations, ill_placed = _with_project(loaded.declarations, loaded.project)
    bindings, errors = bind(declarations)
    repositories, misnamed = _repositories(bindings.values())
    others = [each.name for each in loaded.settings]
    settings, mistakes = resolve(bindings.values(), given, environment, others=others)
    if errors := [*loaded.errors, *ill_placed, *errors, *misnamed, *mistakes]:
        return Project(spec=loaded.project, errors=tuple(errors), read=reader.read_so_far)
    discovery = _Discovery(bindings, repositories, settings, reader, files, renderings, outside)
    project = Project(
        spec=loaded.project,
        settings=(*loaded.settings, *settings),
        read=reader.read_so_far,
        trees=reader.trees,
        looks=discovery.looks.seen,
    )
    try:
        graph = discovery.graph()
        if discovery.unrendered:
            return replace(project, unrendered=tuple(discovery.unrendered))
        forwards = settle(discovery.asked)
    except InputError as error:
        return replace(project, errors=(error,))
    except InputErrors as error:
        return replace(project, errors=error.errors)
    return replace(project, graph=graph, forwards=forwards.rules, notes=forwards.notes)


class _Discovery:
    """One pass over all nodes, in order of the dependencies that arguments state."""

    def __init__(
        self,
        bindings: Mapping[NodeId, Binding],
        repositories: Mapping[NodeId, ImageRef],
        settings: Iterable[Setting],
        read: Definitions,
        files: Files,
        renderings: Renderings,
        outside: Outside,
    ) -> None:
        self._bindings = bindings
        self._settings: dict[NodeId, dict[str, object]] = {}
        for setting in settings:
            if setting.node is not None:
                self._settings.setdefault(setting.node, {})[setting.name] = setting.value
        self._read = read
        self._files = files
        self._outside = outside
        self._outside_base = functools.cache(outside.base)  # many images stand on the same few
        self.looks = Looks(files)
        self._renderings = renderings
        self._root = renderings.root
        self._namespace = renderings.namespace
        self._nodes: dict[NodeId, Node] = {}
        self._visiting: set[NodeId] = set()
        self._repositories = repositories
        self._named = by_repository(repositories)
        self._objects: dict[ObjectKey, tuple[NodeId, Manifest]] = {}
        self._unfinished: set[NodeId] = set()
        self.asked: list[Asked] = []
        self.unrendered: list[Request] = []

    def graph(self) -> Graph:
        """Return the graph of all nodes.

        Raises:
            InputError: What the files say makes a cycle.
        """
        for node in ordered({node: binding.edges for node, binding in self._bindings.items()}):
            self._visit(node)
        nodes = with_object_edges(self._nodes.values(), self._namespace)
        return Graph.of(nodes, placements(nodes))

    def _visit(self, node: NodeId) -> Node | None:
        """Return the node with its facts, or None while it is being visited further up."""
        if node not in self._nodes and node not in self._visiting:
            self._visiting.add(node)
            self._nodes[node] = self._node(self._bindings[node])
        return self._nodes.get(node)

    def _node(self, binding: Binding) -> Node:
        declaration = binding.declaration
        node = Node(
            id=declaration.id,
            declaration=declaration,
            arguments=binding.arguments,
            settings=self._settings.get(declaration.id, {}),
            edges=binding.edges,
        )
        try:
            match declaration.spec:
                case ImageSpec():
                    return self._image(node)
                case ServiceSpec():
                    return self._service(node, declaration.spec)
                case SyncSpec():
                    return self._sync(node, declaration.spec)
                case TaskSpec() | CheckSpec():
                    return _task(node)
        except InputErrors as error:
            return replace(node, problems=error.errors)
        except InputError as error:
            return replace(node, problems=(error,))
        except UnrenderedError as error:
            self._unfinished.add(node.id)
            self.unrendered.extend(error.requests)
            return node

    def _handles(self, node: Node) -> dict[str, object]:
        """Return the node's arguments with placeholders for what only a run can know."""
        handles: dict[str, object] = dict(node.settings)
        for name, target in node.arguments.items():
            if target.kind is Kind.IMAGE:
                handles[name] = placeholder_image(target, self._repositories[target])
            elif target.kind is Kind.SERVICE:
                handles[name] = service_handle(self._nodes[target])
            else:
                handles[name] = target.name
        return handles

    # --- images ----------------------------------------------------------------------------------------------

    def _image(self, node: Node) -> Node:
        args: Mapping[str, str] = {}
        if not images.is_custom(node.declaration):
            args = images.build_arguments(node.declaration, self._handles(node), root=self._root)
        source = images.read_source(
            node.declaration,
            args,
            read=self._read,
            is_directory=self._is_directory,
            base=self._base_config,
            looks=self.looks,
            platform=self._outside.platform,
        )
        edges = list(node.edges)
        bases: dict[str, NodeId] = {}
        for base in source.facts.bases if source.facts else ():
            found = image_named(base.reference, self._named)
            if found is not None and source.dockerfile is not None:
                bases[base.reference] = found
                where = source.where(base.line)
                edges.append(Edge(to=found, reason=f"{base.via} {base.reference}", where=where))
        detail = ImageDetail(
            repository=self._repositories[node.id],
            context=source.context,
            dockerfile=source.dockerfile,
            facts=source.facts,
            ignore=source.ignore,
            bases=bases,
            links=source.links,
            archives=source.archives,
            contexts=source.contexts,
        )
        recipe = _own_recipe(node) if images.is_custom(node.declaration) else source.recipe
        return replace(node, edges=tuple(edges), detail=detail, recipe=recipe)

    def _base_config(self, text: str) -> BaseConfig | None:
        """Return what a base image hands on, None where that is not known."""
        found = image_named(text, self._named)
        if found is None:
            return self._outside_base(text)
        base = self._visit(found)
        detail = base.detail if base is not None else None
        return detail.facts.config if isinstance(detail, ImageDetail) and detail.facts is not None else None

    def _is_directory(self, path: str) -> bool:
        return self._files.is_directory(RelPath(path))

    # --- services --------------------------------------------------------------------------------------------

    def _service(self, node: Node, spec: ServiceSpec) -> Node:
        if not self._unfinished.isdisjoint(node.needs):
            raise UnrenderedError(())  # what it would say of the others may be wrong still
        made = rendered(node, self._handles(node), read=self._read, renderings=self._renderings)
        manifests = made.manifests
        edges = list(node.edges)
        for manifest in manifests:
            for use in image_uses(manifest):
                found = image_named(use.text, self._named)
                if found is not None:
                    edges.append(
                        Edge(to=found, reason=f"image {use.text.removesuffix(f':{PLACEHOLDER_TAG}')}", where=use.where)
                    )
        self._claim(node, manifests)
        facts = service_facts(manifests, namespace=self._namespace)
        by_file: dict[str, list[object]] = {}
        for manifest in manifests:
            by_file.setdefault(part_of(manifest), []).append(manifest.document)
        forwards = rules(node.id.name, spec.ports, facts, where=node.declaration.where)
        explicit = spec.ports is not None
        self.asked.append(Asked(service=node.id.name, rules=forwards, explicit=explicit, where=node.declaration.where))
        used = tuple(dict.fromkeys(edge.to for edge in edges if edge.to.kind is Kind.IMAGE))
        return replace(
            node,
            edges=tuple(edges),
            detail=ServiceDetail(
                manifests=manifests,
                facts=facts,
                images=used,
                named={path: where for reads in made.reads.values() for path, where in reads.named.items()},
                remote={text: where for reads in made.reads.values() for text, where in reads.remote.items()},
            ),
            sources={name: reads.files for name, reads in made.reads.items()},
            recipe={path: digests.of_value(documents) for path, documents in by_file.items()} | _paths_of(spec),
        )

    def _claim(self, node: Node, manifests: Iterable[Manifest]) -> None:
        """Note whose objects these are.

        Raises:
            InputErrors: Another service declares some of them, too.
        """
        errors = []
        for manifest in manifests:
            owner, first = self._objects.setdefault(manifest.in_namespace(self._namespace).key, (node.id, manifest))
            if owner != node.id:
                message = f"{manifest.key} is declared by two services: `{owner.name}` and `{node.id.name}`"
                hint = "leave it to one of them, and let the other name that one as an argument"
                errors.append(InputError(message, where=manifest.where, chain=(first.where,), hint=hint))
        if errors:
            raise InputErrors(errors)

    # --- syncs -----------------------------------------------------------------------------------------------

    def _sync(self, node: Node, spec: SyncSpec) -> Node:
        detail = sync_detail(node, spec, self._handles(node), self._nodes, root=self._root, exists=self._exists)
        recipe = {"its rules": digests.of_value([repr(each) for each in detail.rules])}
        return replace(node, detail=detail, recipe=recipe)

    def _exists(self, path: str) -> bool:
        if self._is_directory(path):
            return True
        return self._files.look_again({RelPath(path)}, (), lambda _: False).get(RelPath(path)) is not None


def _with_project(
    declarations: Iterable[Declaration], project: ProjectSpec
) -> tuple[tuple[Declaration, ...], tuple[InputError, ...]]:
    """Return the declarations with what the project says of all services, and what is wrong about that."""
    if not project.images:
        return tuple(declarations), ()
    try:
        image_places(project.images, project.where)
    except InputErrors as error:
        return tuple(declarations), error.errors
    return tuple(
        replace(each, spec=replace(each.spec, images=(*project.images, *each.spec.images)))
        if isinstance(each.spec, ServiceSpec)
        else each
        for each in declarations
    ), ()


def _paths_of(spec: ServiceSpec) -> dict[str, Digest]:
    paths = [(each.kind, each.path) for each in spec.images]
    return {"where its images are named": digests.of_value(paths)} if paths else {}


def _task(node: Node) -> Node:
    declaration = node.declaration
    spec = declaration.spec
    inputs = None
    if isinstance(spec, TaskSpec) and spec.inputs:
        inputs = patterns(all_in_folder(declaration.folder, spec.inputs))
    return replace(node, detail=TaskDetail(inputs=inputs, folder=declaration.folder), recipe=_own_recipe(node))


def _own_recipe(node: Node) -> dict[str, Digest]:
    """Return the recipe of what a function of the devfile does by itself."""
    declaration = node.declaration
    recipe = {f"`{declaration.argument}` itself": digests.of_text(_source(declaration.function))}
    if node.settings:
        recipe["its settings"] = digests.of_value(node.settings)
    return recipe


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except OSError:
        return function.__code__.co_code.hex()


def _repositories(bindings: Iterable[Binding]) -> tuple[dict[NodeId, ImageRef], list[InputError]]:
    found: dict[NodeId, ImageRef] = {}
    errors = []
    for binding in bindings:
        if isinstance(binding.declaration.spec, ImageSpec):
            try:
                found[binding.declaration.id] = images.repository(binding.declaration)
            except InputError as error:
                errors.append(error)
    return found, errors
