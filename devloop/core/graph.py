"""The graph: nodes, the edges between them with the reason for each, and the facts that the planner needs of a node.

`bind` turns declarations into edges by argument; `Graph.of` orders the nodes and finds cycles. What the Dockerfiles and
manifests say is added by `devloop.runtime.discover`, which reads them.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from devloop.core.dockerfile.build import BuildFacts
from devloop.core.dockerfile.context import NamedContext
from devloop.core.manifest import Manifest
from devloop.core.manifest.workloads import ServiceFacts
from devloop.core.patterns import IgnoreRules
from devloop.core.sync.rules import Placement
from devloop.core.sync.selectors import PodSelector
from devloop.declarations import Declaration, Parameter
from devloop.errors import InputError, Where
from devloop.model import Digest, ImageRef, Kind, NodeId, RelPath, Rule

__all__ = [
    "Binding",
    "Detail",
    "Edge",
    "Graph",
    "ImageDetail",
    "Node",
    "ServiceDetail",
    "SyncDetail",
    "TaskDetail",
    "bind",
    "suggestion",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One node needs another.

    Attributes:
        to: The node that is needed.
        reason: What says so, for example ``argument `api_image` `` or `FROM base`.
        where: The place that says so.
    """

    to: NodeId
    reason: str
    where: Where


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetail:
    """What is known of an image.

    Attributes:
        repository: The name it is built under, without a tag.
        context: The build context's folder, relative to the project's root.
        dockerfile: The Dockerfile, or None for a custom builder.
        facts: What the Dockerfile says, or None for a custom builder.
        ignore: The context's .dockerignore, or for a custom builder the patterns of its inputs.
        bases: Base images, as the Dockerfile names them, that are nodes.
        links: The symbolic links of the context that the build follows, with their targets.
        archives: The files of the context that `ADD` names and may unpack.
        contexts: The folders that the build reads beside its context.
    """

    repository: ImageRef
    context: str
    dockerfile: RelPath | None
    facts: BuildFacts | None
    ignore: IgnoreRules
    bases: Mapping[str, NodeId] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    archives: frozenset[str] = frozenset()
    contexts: tuple[NamedContext, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDetail:
    """What is known of a service.

    Attributes:
        manifests: Its objects, rendered with placeholders for the images' references.
        facts: What they declare.
        images: The images that they use.
        named: The files that tools render them from, each with the place that names it.
        remote: What tools take from elsewhere, with the place that says so; a change of that cannot be known.
    """

    manifests: tuple[Manifest, ...]
    facts: ServiceFacts
    images: tuple[NodeId, ...]
    named: Mapping[RelPath, Where] = field(default_factory=dict)
    remote: Mapping[str, Where] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncDetail:
    """What is known of a sync.

    Attributes:
        images: The images whose containers it feeds.
        rules: Its rules, with paths relative to the project's root.
        selector: Which containers it feeds, where it names no image.
    """

    images: tuple[NodeId, ...]
    rules: tuple[Rule, ...]
    selector: PodSelector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetail:
    """What is known of a task: the patterns of its inputs, or None when only a person runs it."""

    inputs: IgnoreRules | None
    folder: str


Detail = ImageDetail | ServiceDetail | SyncDetail | TaskDetail


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node with all that is known of it.

    Attributes:
        id: Its identity.
        declaration: The decorated function.
        arguments: Its arguments that name nodes.
        settings: Its other arguments, with their values.
        edges: What it needs, by argument and as inferred.
        recipe: The parts of its recipe, by digest.
        sources: For parts of the recipe that are rendered, the other files they are rendered from.
        detail: What its files say; None when they have `problems`.
        problems: The mistakes in its files.
    """

    id: NodeId
    declaration: Declaration
    arguments: Mapping[str, NodeId] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    recipe: Mapping[str, Digest] = field(default_factory=dict)
    sources: Mapping[str, Mapping[RelPath, Digest]] = field(default_factory=dict)
    detail: Detail | None = None
    problems: tuple[InputError, ...] = ()

    @property
    def definitions(self) -> frozenset[str]:
        """The names of its recipe's parts, and the files they are rendered from."""
        return frozenset(self.recipe).union(*self.sources.values())

    @property
    def needs(self) -> tuple[NodeId, ...]:
        """The nodes that it needs, each once, in order of the edges."""
        return tuple(dict.fromkeys(edge.to for edge in self.edges))


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """All nodes, in order of dependency.

    Attributes:
        nodes: Each node after those that it needs.
        placements: For each image with a sync, and for each sync that chooses containers itself, where files go.
    """

    nodes: Mapping[NodeId, Node] = field(default_factory=dict)
    placements: Mapping[NodeId, Placement] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Node], placements: Mapping[NodeId, Placement]) -> "Graph":
        """Return the graph of these nodes; edges to nodes that are not among them are left out.

        Raises:
            InputError: The nodes need one another in a circle; the message draws it.
        """
        known = {node.id: node for node in nodes}
        order = ordered({node.id: node.edges for node in known.values()})
        return cls(nodes={each: known[each] for each in order}, placements=placements)

    def of_kind(self, kind: Kind) -> tuple[Node, ...]:
        """Return the nodes of a kind, in order of dependency."""
        return tuple(node for node in self.nodes.values() if node.id.kind is kind)

    def dependents(self, node: NodeId) -> tuple[NodeId, ...]:
        """Return the nodes that need this one directly."""
        return tuple(each.id for each in self.nodes.values() if node in each.needs)

    def find(self, name: str) -> NodeId:
        """Return the node that a person calls `api` or `service:api`; a bare name means the service first.

        Raises:
            InputError: There is none, or (for kinds other than the service) more than one.
        """
        kind, colon, rest = name.partition(":")
        if colon and kind in tuple(Kind):
            found = [each for each in self.nodes if each == NodeId(Kind(kind), rest)]
        else:
            found = [each for each in self.nodes if each.name == name or _argument(self, each) == name]
            found = [each for each in found if each.kind is Kind.SERVICE] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"`{name}` is the name of several nodes", hint="say which: " + ", ".join(f"`{each}`" for each in found)
            )
        names = [str(each) for each in self.nodes] + [each.name for each in self.nodes]
        raise InputError(f"there is no node `{name}`", hint=suggestion(name, names, "nodes"))

    def closure(self, wanted: Iterable[NodeId]) -> "Graph":
        """Return the graph of these nodes, all that they need, and the syncs that feed the images among them."""
        keep: set[NodeId] = set()
        stack = list(wanted)
        while stack:
            node = stack.pop()
            if node not in keep:
                keep.add(node)
                stack.extend(self.nodes[node].needs)
        fed = (sync for sync in self.of_kind(Kind.SYNC) if sync.needs and keep.issuperset(sync.needs))
        keep.update(sync.id for sync in tuple(fed))
        return Graph(
            nodes={each: node for each, node in self.nodes.items() if each in keep},
            placements={each: placement for each, placement in self.placements.items() if each in keep},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A declaration with its arguments resolved to nodes."""

    declaration: Declaration
    arguments: Mapping[str, NodeId]
    edges: tuple[Edge, ...]
    settings: tuple[Parameter, ...]


def bind(declarations: Sequence[Declaration]) -> tuple[dict[NodeId, Binding], list[InputError]]:
    """Return each declaration with its arguments resolved, and all mistakes found on the way."""
    errors: list[InputError] = []
    by_argument: dict[str, Declaration] = {}
    by_id: dict[NodeId, Declaration] = {}
    for declaration in declarations:
        first = by_id.get(declaration.id) or by_argument.get(declaration.argument)
        if first is not None:
            errors.append(_duplicate(first, declaration))
            continue
        by_id[declaration.id] = declaration
        by_argument[declaration.argument] = declaration
    bindings = {}
    for declaration in by_id.values():
        binding, mistakes = _bind_one(declaration, by_argument, by_id)
        bindings[declaration.id] = binding
        errors.extend(mistakes)
    try:
        ordered({node: binding.edges for node, binding in bindings.items()})
    except InputError as error:
        errors.append(error)
    return bindings, errors


def ordered(edges: Mapping[NodeId, Sequence[Edge]]) -> tuple[NodeId, ...]:
    """Return the nodes, each after those that it needs.

    Raises:
        InputError: There is a cycle; the message draws it as a path.
    """
    sorter = TopologicalSorter({node: [edge.to for edge in out if edge.to in edges] for node, out in edges.items()})
    try:
        return tuple(sorter.static_order())
    except CycleError as error:
        circle: list[NodeId] = list(reversed(error.args[1]))
        raise _cycle(circle, edges) from None


def suggestion(name: str, known: Iterable[str], what: str) -> str:
    """Return a hint for a name that is not known: the nearest ones, or all of them."""
    candidates = sorted(dict.fromkeys(known))
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    shown = ", ".join(f"`{each}`" for each in candidates[:12]) + (", …" if len(candidates) > 12 else "")
    declared = f"declared {what}: {shown}" if candidates else f"no {what} are declared"
    return f"did you mean `{near[0]}`? {declared}" if near else declared


def _bind_one(
    declaration: Declaration, by_argument: Mapping[str, Declaration], by_id: Mapping[NodeId, Declaration]
) -> tuple[Binding, list[InputError]]:
    arguments: dict[str, NodeId] = {}
    edges: list[Edge] = []
    settings: list[Parameter] = []
    errors: list[InputError] = []
    for parameter in declaration.parameters:
        if _is_own(declaration, parameter):
            continue
        if parameter.required:
            target = by_argument.get(parameter.name)
            if target is None:
                errors.append(_unknown(declaration, parameter, by_argument))
                continue
            node = target.id
        elif parameter.node is not None:
            node = parameter.node
            if node not in by_id:
                errors.append(_elsewhere(declaration, parameter, node))
                continue
        else:
            settings.append(parameter)
            continue
        if parameter.kind is not None and parameter.kind is not node.kind:
            errors.append(_wrong_kind(declaration, parameter, by_id[node]))
            continue
        arguments[parameter.name] = node
        edges.append(Edge(to=node, reason=f"argument `{parameter.name}`", where=declaration.where))
    binding = Binding(declaration=declaration, arguments=arguments, edges=tuple(edges), settings=tuple(settings))
    return binding, errors


def _is_own(declaration: Declaration, parameter: Parameter) -> bool:
    """Whether devloop itself gives the argument: a custom builder is told the reference to build."""
    custom = getattr(declaration.spec, "inputs", None) is not None
    return declaration.id.kind is Kind.IMAGE and custom and parameter.name == "ref"


def _argument(graph: Graph, node: NodeId) -> str:
    return graph.nodes[node].declaration.argument


def _duplicate(first: Declaration, second: Declaration) -> InputError:
    if first.id == second.id:
        message = f"{second.id.kind} `{second.id.name}` is declared twice"
    else:
        message = f"two nodes are called `{second.argument}`: {first.id} and {second.id}"
    return InputError(message, where=second.where, chain=(first.where,), hint="rename one of them, or remove it")


def _unknown(declaration: Declaration, parameter: Parameter, known: Mapping[str, Declaration]) -> InputError:
    near = difflib.get_close_matches(parameter.name, known, n=1, cutoff=0.6)
    if near:
        found = known[near[0]]
        hint = f"did you mean `{near[0]}` ({found.id.kind}, {found.where})?"
    else:
        hint = f"give it a default to make it a setting, or {suggestion(parameter.name, known, 'nodes')}"
    node = declaration.id
    message = f"{node.kind} `{node.name}` asks for `{parameter.name}`, which nothing defines"
    return InputError(message, where=declaration.where, hint=hint)


def _elsewhere(declaration: Declaration, parameter: Parameter, node: NodeId) -> InputError:
    name = f"{declaration.id.kind} `{declaration.id.name}`"
    message = f"{name} binds `{parameter.name}` to {node}, which another devfile declares"
    return InputError(message, where=declaration.where, hint="add that devfile's nodes by `include(…)`")


def _wrong_kind(declaration: Declaration, parameter: Parameter, target: Declaration) -> InputError:
    assert parameter.kind is not None
    message = (
        f"{declaration.id.kind} `{declaration.id.name}` wants `{parameter.name}` to be {_a(parameter.kind)}, "
        f"but it is {_a(target.id.kind)}"
    )
    hint = f"annotate it as `{target.id.kind.capitalize()}`, or ask for {_a(parameter.kind)}"
    return InputError(message, where=declaration.where, chain=(target.where,), hint=hint)


def _a(kind: Kind) -> str:
    return f"an {kind}" if kind is Kind.IMAGE else f"a {kind}"


def _cycle(circle: Sequence[NodeId], edges: Mapping[NodeId, Sequence[Edge]]) -> InputError:
    used = [next(edge for edge in edges[a] if edge.to == b) for a, b in pairwise(circle)]
    path = " → ".join(str(each) for each in circle)
    return InputError(
        f"these nodes need one another in a circle: {path}",
        where=used[0].where,
        chain=tuple(edge.where for edge in used[1:]),
        hint="remove one of these dependencies",
    )
