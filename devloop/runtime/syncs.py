"""What a sync of the devfile means: its rules, with paths of the project; whom it feeds; where files go."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from devloop.core.cluster.pods import SERVICE
from devloop.core.dockerfile.landing import Landing, land
from devloop.core.graph import ImageDetail, Node, ServiceDetail, SyncDetail
from devloop.core.sync.rules import Placement
from devloop.core.sync.selectors import PodSelector, labels_of
from devloop.declarations import Declaration
from devloop.errors import InputError, InputErrors
from devloop.model import (
    CopyRule,
    IgnoreRule,
    Kind,
    NodeId,
    PullRule,
    RelPath,
    RestartRule,
    Rule,
    RunRule,
    SyncSpec,
)
from devloop.runtime.render import all_in_folder, in_folder
from devloop.runtime.selection import below, inside
from devloop.runtime.user_code import call

__all__ = ["Landings", "placements", "sync_detail"]


def sync_detail(
    node: Node,
    spec: SyncSpec,
    handles: Mapping[str, object],
    known: Mapping[NodeId, Node],
    *,
    root: str,
    exists: Callable[[str], bool],
) -> SyncDetail:
    """Return what is known of a sync.

    Args:
        node: The sync, with its arguments.
        spec: What its decorator was given.
        handles: What its function is called with.
        known: The nodes that its arguments name, and others.
        root: The project's root, absolute.
        exists: Whether there is a file or folder of the project.

    Raises:
        InputError: It feeds nothing, or its function is wrong.
        InputErrors: Its paths are wrong.
    """
    fed = tuple(target for target in node.arguments.values() if target.kind is Kind.IMAGE)
    selector = _selector(node, spec, known) if not fed or spec.selector is not None else None
    declaration = node.declaration
    what = f"sync `{node.id.name}`"
    returned = call(declaration.function, handles, root=root, where=declaration.where, what=what)
    try:
        yielded = list(returned or ())
    except TypeError:
        raise _wrong_rules(node, returned) from None
    own: list[Rule] = []
    for each in yielded:
        if not isinstance(each, Rule):
            raise _wrong_rules(node, each)
        own.append(_in_project(declaration, each))
    copies = any(isinstance(each, CopyRule) for each in own)
    if spec.source is not None:
        own.insert(0, CopyRule(source=in_folder(declaration.folder, spec.source), destination=spec.destination))
    elif not copies:
        own.insert(0, CopyRule(source="", destination=None))
    if errors := [*_mistakes(node, own, exists), *(_mistakes_without_image(node, own) if selector else ())]:
        raise InputErrors(errors)
    return SyncDetail(images=() if selector else fed, rules=tuple(own), selector=selector)


def placements(nodes: Iterable[Node]) -> dict[NodeId, Placement]:
    """Return where files go, for each image with syncs and for each sync that chooses its containers itself."""
    known = {node.id: node for node in nodes}
    found: dict[NodeId, Placement] = {}
    for node in known.values():
        if not isinstance(node.detail, SyncDetail):
            continue
        if node.detail.selector is not None:
            start = Placement(node=node.id, selector=node.detail.selector)
            found[node.id] = start.with_rules(node.id, node.detail.rules)
        for image in node.detail.images:
            detail = known[image].detail
            if isinstance(detail, ImageDetail):
                start = found.get(image) or Placement(node=node.id, destinations=Landings(detail))
                found[image] = start.with_rules(node.id, node.detail.rules)
    return found


# --- whose containers ------------------------------------------------------------------------------------------------


def _selector(node: Node, spec: SyncSpec, known: Mapping[NodeId, Node]) -> PodSelector:
    where = node.declaration.where
    if spec.selector is not None:
        try:
            return PodSelector(labels=labels_of(spec.selector), container=spec.container)
        except InputError as error:
            raise InputError(error.message, where=where, hint=error.hint) from None
    services = [target for target in node.arguments.values() if target.kind is Kind.SERVICE]
    if len(services) != 1:
        message = f"sync `{node.id.name}` does not say whose containers it feeds"
        hint = 'add an argument for an image (`api_image: Image`) or a service, or say `selector="app=api"`'
        raise InputError(message, where=where, hint=hint)
    (service,) = services
    container = spec.container or _only_container(node, service, _containers(known.get(service)))
    return PodSelector(labels={SERVICE: service.name}, container=container, own=True)


def _containers(service: Node | None) -> Sequence[str]:
    if service is None or not isinstance(service.detail, ServiceDetail):
        return ()
    workloads = service.detail.facts.workloads
    return tuple(dict.fromkeys(each.name for workload in workloads for each in workload.containers if not each.init))


def _only_container(node: Node, service: NodeId, names: Sequence[str]) -> str | None:
    if len(names) > 1:
        message = f"sync `{node.id.name}` feeds {service}, which has several containers"
        listed = ", ".join(f"`{name}`" for name in names)
        hint = f'say which: `container="{names[0]}"`; there are {listed}'
        raise InputError(message, where=node.declaration.where, hint=hint)
    return names[0] if names else None


# --- rules -----------------------------------------------------------------------------------------------------------


def _in_project(declaration: Declaration, rule: Rule) -> Rule:
    """Return the rule with its host paths relative to the project's root."""
    match rule:
        case CopyRule():
            return replace(rule, source=in_folder(declaration.folder, rule.source))
        case RunRule() | RestartRule():
            return replace(rule, on=all_in_folder(declaration.folder, rule.on))
        case IgnoreRule():
            return replace(rule, patterns=all_in_folder(declaration.folder, rule.patterns))
        case PullRule():
            return replace(rule, destination=in_folder(declaration.folder, rule.destination))


def _wrong_rules(node: Node, value: object) -> InputError:
    message = f"sync `{node.id.name}` yields {type(value).__name__}, which is no rule"
    hint = "yield `copy(…)`, `run(…, on=…)`, `restart(on=…)` or `ignore(…)`"
    return InputError(message, where=node.declaration.where, hint=hint)


def _mistakes(node: Node, own: Iterable[Rule], exists: Callable[[str], bool]) -> Iterable[InputError]:
    where = node.declaration.where
    for each in own:
        if not isinstance(each, CopyRule) or not each.source:
            continue
        if each.destination is not None and not each.destination.startswith("/"):
            message = f"sync `{node.id.name}` copies to `{each.destination}`, which is not absolute"
            yield InputError(message, where=where, hint=f"write `/{each.destination}`")
        if not exists(each.source):
            message = f"sync `{node.id.name}` copies `{each.source}`, which does not exist"
            yield InputError(message, where=where, hint="the path is relative to the devfile's folder")


def _mistakes_without_image(node: Node, own: Iterable[Rule]) -> Iterable[InputError]:
    """Yield what only works for containers of an image that the project builds."""
    where = node.declaration.where
    for each in own:
        match each:
            case CopyRule() if not each.source or each.destination is None:
                message = f"sync `{node.id.name}` does not say what goes where, and has no image whose Dockerfile does"
                yield InputError(message, where=where, hint='say both: `@sync("site", "/usr/share/nginx/html")`')
            case RestartRule():
                message = f"sync `{node.id.name}` restarts a process, which takes an image that the project builds"
                yield InputError(message, where=where, hint="feed an image instead: `api_image: Image`")
            case _:
                continue


# --- where files go --------------------------------------------------------------------------------------------------


class Landings:
    """Where an image's Dockerfile puts its files, worked out anew when the set of files changes.

    Args:
        detail: The image.
    """

    def __init__(self, detail: ImageDetail) -> None:
        self._detail = detail
        self._files: Collection[RelPath] = ()
        self._landing: Landing | None = None

    def __call__(self, path: RelPath, files: Collection[RelPath]) -> tuple[str, ...] | str:
        """Return the file's absolute paths in the image, or why they are not known."""
        facts, context = self._detail.facts, self._detail.context
        if facts is None:
            return "its builder does not say where the file goes"
        if not below(path, context):
            return "it lies outside of the build context"
        if self._landing is None or (files is not self._files and files != self._files):
            self._landing = land(
                facts,
                [inside(each, context) for each in files if below(each, context)],
                self._detail.links,
                archives=self._detail.archives,
            )
            self._files = files
        found = self._landing.of(inside(path, context))
        if found.unknown:
            return found.unknown[0].message
        return found.paths or "it is not in the image as such"
