"""The build worker: makes an image, names it after its content, and brings it to the cluster."""

from dataclasses import replace
from typing import Final

from devloop.core.delivery.cache import cache_options
from devloop.core.engine.runs import Make, Run
from devloop.core.graph import Graph, ImageDetail, Node
from devloop.core.trace import Result
from devloop.errors import InputError
from devloop.events import RunOutput, RunProgressed
from devloop.model import NODES, Digest, ImageRef, ImageSpec
from devloop.runtime import images
from devloop.runtime.outages import through_outages
from devloop.runtime.ports import BuildLog, BuildProgress, BuildRequest, BuildStep, Way
from devloop.runtime.render import PLACEHOLDER_TAG, in_folder
from devloop.runtime.tasks import call_in_thread
from devloop.runtime.tools import Done, Tools, handles

__all__ = ["build", "tag_of"]

_TAG_PREFIX: Final = "dev-"
_LABEL: Final = "devloop.dev/image"


def tag_of(image: Digest) -> str:
    """Return the tag of an image: it follows the content of the result, so manifests change only when that does."""
    return _TAG_PREFIX + image.partition(":")[2][:12]


async def build(run: Run, node: Node, graph: Graph, tools: Tools, before: Result | None) -> Done:
    """Build the image and return what came of it.

    Args:
        run: The run.
        node: The image's node.
        graph: The graph that the run was planned on.
        tools: The session's ports.
        before: What the last good build made.

    Raises:
        DevloopError: The build, the tagging or the delivery failed.
    """
    detail = node.detail
    assert isinstance(detail, ImageDetail)
    assert isinstance(run.work, Make)
    if detail.dockerfile is None:
        image = await _custom(run, node, graph, tools, detail)
    else:
        way = await _way(node, detail, tools)
        request = await _request(node, graph, tools, run.work, detail, way)
        image = await tools.builder.build(request, _Reporter(run, node, tools))
        if request.push is not None:
            return await _published(image, way, before, tools)
    local = replace(detail.repository, tag=tag_of(image))
    await tools.builder.tag(image, local)
    used = local
    if (delivery := tools.delivery) is not None:

        async def deliver() -> ImageRef:
            return await delivery.deliver(image, local, lambda text: _progress(run, node, tools, text))

        used = await through_outages(run, tools, deliver)  # what was built stays built
    done = _done(image, used, before)
    if done.changed:
        keep = {image} if before is None else {image, before.digest}
        await tools.builder.prune(detail.repository.repository, keep)
    return done


async def _way(node: Node, detail: ImageDetail, tools: Tools) -> Way:
    """Return how the image reaches the cluster, where its build must know; others do not wait for the cluster."""
    spec = node.declaration.spec
    assert isinstance(spec, ImageSpec)
    if tools.delivery is None or not (spec.builder or tools.buildx or NODES in spec.platforms):
        return Way()
    return await tools.delivery.way(detail.repository)


async def _published(image: Digest, way: Way, before: Result | None, tools: Tools) -> Done:
    """Name an image that its builder pushed; it is where the cluster finds it, and the engine never had it."""
    assert way.pushed is not None
    tag = tag_of(image)
    await tools.builder.publish(image, replace(way.pushed, tag=tag))
    return _done(image, replace(way.pulled or way.pushed, tag=tag), before)


def _done(image: Digest, used: ImageRef, before: Result | None) -> Done:
    changed = before is None or before.digest != image or before.ref != str(used)
    summary = str(used) if changed else f"unchanged, still {used}"
    return Done(result=Result(digest=image, ref=str(used)), summary=summary, changed=changed)


async def _request(node: Node, graph: Graph, tools: Tools, work: Make, detail: ImageDetail, way: Way) -> BuildRequest:
    spec = node.declaration.spec
    assert isinstance(spec, ImageSpec)
    args = images.build_arguments(node.declaration, handles(node, graph, work.results), root=str(tools.root))
    builder = spec.builder or tools.buildx
    apart = builder is not None and await tools.builder.is_apart(builder)
    contexts = {name: _context(node, tools, value) for name, value in spec.contexts.items()}
    for text, base in detail.bases.items():
        ref = work.results[base].ref
        if PLACEHOLDER_TAG not in text:  # otherwise a build argument names it, and already by its real reference
            contexts[text] = f"docker-image://{ref}"
        elif apart:
            contexts[ref] = f"docker-image://{ref}"
    cached = [cache_options(text, node.id.name) for text in tools.cache]
    exported = [each.exported for each in cached] if apart else []
    return BuildRequest(
        name=node.id.name,
        context=str(tools.root / detail.context),
        dockerfile=str(tools.root / str(detail.dockerfile)),
        target=spec.target,
        args=args,
        contexts=contexts,
        labels={_LABEL: node.id.name},
        secrets=spec.secrets,
        ssh=spec.ssh,
        platforms=_platforms(spec, way),
        cache_from=(*spec.cache_from, *(each.imported for each in cached)),
        cache_to=(*spec.cache_to, *exported),
        no_cache=tools.no_cache,
        pull=tools.pull,
        builder=builder,
        push=way.pushed.repository if apart and way.pushed is not None else None,
    )


def _platforms(spec: ImageSpec, way: Way) -> tuple[str, ...]:
    """Return the platforms to build for; those of nodes that nobody may list are the builder's business."""
    found = [each for said in spec.platforms for each in (way.platforms if said == NODES else (said,))]
    return tuple(dict.fromkeys(found))


def _context(node: Node, tools: Tools, value: str) -> str:
    return value if "://" in value else str(tools.root / in_folder(node.declaration.folder, value))


async def _custom(run: Run, node: Node, graph: Graph, tools: Tools, detail: ImageDetail) -> Digest:
    """Call a custom builder and return the ID of the image that it left under the reference it was given."""
    assert isinstance(run.work, Make)
    ref = str(replace(detail.repository, tag="dev"))
    arguments = handles(node, graph, run.work.results)
    if any(parameter.name == "ref" for parameter in node.declaration.parameters):
        arguments["ref"] = ref
    await call_in_thread(run, node, tools, arguments)
    image = await tools.builder.resolve(ref)
    if image is None:
        message = f"image `{node.id.name}` was not left under `{ref}` by its function"
        hint = "build or tag it under the text of its argument `ref`"
        raise InputError(message, where=node.declaration.where, hint=hint)
    return image


class _Reporter:
    """Turns a build's progress into events."""

    def __init__(self, run: Run, node: Node, tools: Tools) -> None:
        self._run = run
        self._node = node
        self._tools = tools

    def __call__(self, progress: BuildProgress) -> None:
        emit, number = self._tools.emit, self._run.number
        match progress:
            case BuildLog():
                emit(RunOutput(node=self._node.id, run=number, line=progress.line))
            case BuildStep():
                if not progress.done:
                    emit(RunProgressed(node=self._node.id, run=number, message=progress.name, step=progress.index))


def _progress(run: Run, node: Node, tools: Tools, text: str) -> None:
    tools.emit(RunProgressed(node=node.id, run=run.number, message=text))
