"""What workers work with: the ports of one session, and how to tell what happens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devloop.core.graph import Graph, ImageDetail, Node
from devloop.core.trace import Result
from devloop.dsl import Image
from devloop.errors import ToolError
from devloop.events import Event
from devloop.model import Digest, ForwardRule, ImageRef, Kind, NodeId
from devloop.runtime.ports import Builder, Cluster, Delivery, Files, Syncer
from devloop.runtime.render import placeholder_image, service_handle
from devloop.runtime.renderings import Renderings

__all__ = ["Done", "Tools", "handles", "references", "urls_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The ports of a session.

    Attributes:
        root: The project's root.
        files: The project's files.
        emit: Tells an event.
        builder: Builds images.
        renderings: What tools outside of devloop render.
        delivery: Brings them to the cluster; None where nothing is deployed.
        cluster: Where services run; None where nothing is deployed.
        syncer: Copies files into containers; None where nothing is synced.
        patience: Seconds that a failing rollout may take to mend itself.
        persistent: Whether to go on trying while the engine or the cluster cannot be reached.
        helper: The image with a static busybox, for containers that have no shell.
        buildx: The buildx builder of images that name none; None for the current one.
        cache: Where builds keep their cache, as the project says it.
        no_cache: Whether to build from nothing.
        pull: Whether to ask registries for newer base images.
    """

    root: Path
    files: Files
    emit: Callable[[Event], None]
    builder: Builder
    renderings: Renderings
    delivery: Delivery | None = None
    cluster: Cluster | None = None
    syncer: Syncer | None = None
    patience: float = 0.0
    persistent: bool = True
    helper: str = ""
    buildx: str | None = None
    cache: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False

    @property
    def target(self) -> Cluster:
        """The cluster.

        Raises:
            ToolError: This session deploys nothing.
        """
        if self.cluster is None:
            raise ToolError("this session has no cluster to deploy to")
        return self.cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run did well.

    Attributes:
        result: What it made.
        summary: What was done, for a person.
        changed: False when it turned out that nothing had to be done.
    """

    result: Result = field(default_factory=lambda: Result(digest=Digest("done")))
    summary: str = ""
    changed: bool = True


def handles(
    node: Node, graph: Graph, results: Mapping[NodeId, Result], forwards: tuple[ForwardRule, ...] = ()
) -> dict[str, object]:
    """Return the node's arguments as its function gets them in a run: settings, built images, services."""
    found: dict[str, object] = dict(node.settings)
    for name, target in node.arguments.items():
        if target.kind is Kind.IMAGE:
            found[name] = _image(graph.nodes[target], results)
        elif target.kind is Kind.SERVICE:
            found[name] = service_handle(graph.nodes[target], urls_of(target.name, forwards))
        else:
            found[name] = target.name
    return found


def urls_of(service: str, forwards: tuple[ForwardRule, ...]) -> tuple[str, ...]:
    """Return the addresses at which a service answers on this machine."""
    return tuple(f"http://localhost:{rule.local}" for rule in forwards if rule.service == service)


def references(graph: Graph, results: Mapping[NodeId, Result]) -> dict[NodeId, tuple[ImageRef, str]]:
    """Return for each built image the repository that it is declared under, and the reference to use."""
    return {
        node: (detail.repository, results[node].ref)
        for node, each in graph.nodes.items()
        if isinstance(detail := each.detail, ImageDetail) and node in results
    }


def _image(node: Node, results: Mapping[NodeId, Result]) -> Image:
    if node.id in results:
        return Image(node.id.name, results[node.id].ref)
    detail = node.detail
    repository = detail.repository if isinstance(detail, ImageDetail) else ImageRef(path=node.id.name)
    return placeholder_image(node.id, repository)
