"""The deploy worker: renders a service with the built images, applies it, and waits until it is ready."""

from collections.abc import Callable, Mapping, Sequence

from devloop.core import digests
from devloop.core.engine.runs import Make, Run
from devloop.core.graph import Graph, Node, ServiceDetail
from devloop.core.manifest import Manifest
from devloop.core.manifest.workloads import facts as service_facts
from devloop.core.sync.rules import Placement
from devloop.core.sync.supervisor import ImageCommand, supervised, without_shell
from devloop.core.trace import Result
from devloop.events import Noted, RunProgressed
from devloop.model import Digest, ImageRef, NodeId
from devloop.runtime.definitions import Definitions
from devloop.runtime.ports import Applied, Builder
from devloop.runtime.render import by_repository, image_named, manifests_of, with_images
from devloop.runtime.renderings import UnrenderedError
from devloop.runtime.tools import Done, Tools, handles, references

__all__ = ["deploy", "final_manifests", "rendered"]


async def deploy(run: Run, node: Node, graph: Graph, tools: Tools) -> Done:
    """Make the cluster run the service as its manifests say.

    Raises:
        InputErrors: The manifests cannot be rendered with the built images.
        RolloutError: The rollout failed.
        ToolError: The cluster refused an object.
        UnreachableError: It could not be reached.
    """
    assert isinstance(run.work, Make)

    def tell(message: str) -> None:
        tools.emit(RunProgressed(node=node.id, run=run.number, message=message))

    manifests = await final_manifests(node, graph, tools, run.work.results, tell)
    applied = await tools.target.apply(node.id.name, manifests)

    changed = bool(applied.changed or applied.replaced or applied.removed)
    if changed:
        await _tell_obstacles(node, manifests, run.work, tools)
    await tools.target.wait(node.id.name, manifests, lambda state: tell(state.message), patience=tools.patience)
    result = Result(digest=digests.of_value([each.document for each in manifests]))
    return Done(result=result, summary=_summary(applied), changed=changed)


async def rendered(node: Node, graph: Graph, results: Mapping[NodeId, Result], tools: Tools) -> tuple[Manifest, ...]:
    """Return the service's manifests with the references of the built images, as `devloop render` shows them."""
    arguments = handles(node, graph, results)
    tools.renderings.retry()
    while True:
        try:
            found = manifests_of(node, arguments, read=Definitions(tools.files), renderings=tools.renderings)
        except UnrenderedError as missing:
            await tools.renderings.fill(missing.requests)
        else:
            known = references(graph, results)
            return with_images(found, known, await _pulled(node, known, tools))


async def _pulled(node: Node, known: Mapping[NodeId, tuple[ImageRef, str]], tools: Tools) -> frozenset[NodeId]:
    """Return those of the service's images that the cluster pulls from a registry."""
    detail = node.detail
    if tools.delivery is None or not isinstance(detail, ServiceDetail):
        return frozenset()
    ways = {image: await tools.delivery.way(known[image][0]) for image in detail.images if image in known}
    return frozenset(image for image, way in ways.items() if way.pulled is not None)


async def _tell_obstacles(node: Node, manifests: Sequence[Manifest], work: Make, tools: Tools) -> None:
    """Tell what may keep nodes from pulling, before the rollout waits for that."""
    detail = node.detail
    if tools.delivery is None or not isinstance(detail, ServiceDetail):
        return
    images = {work.results[image].ref for image in detail.images if image in work.results}
    for each in await tools.delivery.obstacles(manifests, images):
        tools.emit(Noted(message=each.message, hint=each.hint))


async def final_manifests(
    node: Node, graph: Graph, tools: Tools, results: Mapping[NodeId, Result], tell: Callable[[str], None]
) -> tuple[Manifest, ...]:
    """Return what is applied: the rendered manifests, and in them what `run` and `restart` rules of syncs need.

    Args:
        node: The service.
        graph: The graph.
        tools: The session's ports.
        results: The results of all nodes that have one.
        tell: Told of containers that get a shell.
    """
    manifests = await rendered(node, graph, results, tools)
    detail = node.detail
    assert isinstance(detail, ServiceDetail)
    known = references(graph, results)
    acted_in = by_repository(
        {
            image: known[image][0]
            for image in detail.images
            if tools.syncer is not None and image in graph.placements and graph.placements[image].acts
        }
    )
    if not acted_in:
        return manifests
    final = []
    for manifest in manifests:
        containers: dict[str, ImageCommand] = {}
        for workload in service_facts([manifest]).workloads:
            for container in workload.containers:
                image = image_named(container.image or "", acted_in)
                if image is not None:
                    command = await _command(graph.placements[image], results[image].digest, tools.builder)
                    if command.restarted or not command.shell:
                        containers[container.name] = command
        for name in without_shell(manifest, containers):
            tell(f"container `{name}` has no shell: the pod mounts one from `{tools.helper}`")
        final.append(supervised(manifest, containers, tools.helper) if containers else manifest)
    return tuple(final)


async def _command(placement: Placement, image: Digest, builder: Builder) -> ImageCommand:
    config = await builder.configuration(image)
    return ImageCommand(
        entrypoint=config.entrypoint,
        command=config.command,
        shell=await builder.has_shell(image),
        restarted=placement.restarts,
    )


def _summary(applied: Applied) -> str:
    parts = [
        f"{verb} {', '.join(str(each) for each in keys)}"
        for verb, keys in (
            ("applied", applied.changed),
            ("replaced", applied.replaced),
            ("removed", applied.removed),
        )
        if keys
    ]
    if parts:
        return "; ".join(parts)
    count = len(applied.unchanged)
    return f"unchanged ({count} object{'' if count == 1 else 's'})"
