"""What a node reads, with the line that brings each thing: for `devloop graph --inputs NODE`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from devloop.app.places import Places
from devloop.core.digests import ABSENT
from devloop.core.graph import Edge, ImageDetail, Node, ServiceDetail, SyncDetail
from devloop.core.patterns import IgnoreRule
from devloop.core.template import facts as template_facts
from devloop.core.template.environment import Files as Templates
from devloop.errors import InputErrors, Where
from devloop.model import NodeId, RelPath, ServiceSpec
from devloop.runtime.observe import Observation
from devloop.runtime.ports import Files
from devloop.runtime.render import TEMPLATE_SUFFIXES, in_folder
from devloop.runtime.selection import inside
from devloop.ui.explained import InputRow, LeftOutRow, NodeInputs

__all__ = ["inputs_of", "service_files"]


def inputs_of(node: Node, observation: Observation, files: Files) -> NodeInputs:
    """Return all that a node reads."""
    places = Places(observation, files)
    found = observation.files.get(node.id, {})
    match node.detail:
        case ImageDetail():
            left_out = _left_out(node.detail, places, files)
            unknown = [
                Where(path=each.path, line=each.line, text=why.message)
                for why in (node.detail.facts.unknown if node.detail.facts else ())
                for each in [places.line(str(node.detail.dockerfile), why.line)]
            ]
            rows = [*_of_image(node, node.detail, places), *_files(node, found, places)]
            return NodeInputs(node=node.id, inputs=rows, left_out=left_out, unknown=unknown)
        case ServiceDetail():
            remote = [
                replace(where, text=f"`{text}` comes from elsewhere: its changes are not seen")
                for text, where in node.detail.remote.items()
            ]
            rows = [*_of_service(node, observation, places), *_others(node, places)]
            return NodeInputs(node=node.id, inputs=rows, unknown=remote)
        case SyncDetail():
            rows = [*_nodes(node.edges, places), *_of_sync(node, node.detail, observation, places)]
            return NodeInputs(node=node.id, inputs=rows)
        case _:
            own = InputRow(
                name=f"`{node.declaration.argument}` itself", kind="definition", places=[places.declared(node)]
            )
            return NodeInputs(node=node.id, inputs=[own, *_others(node, places), *_files(node, found, places)])


def _files(node: Node, found: Iterable[RelPath], places: Places) -> Iterator[InputRow]:
    for path in sorted(found):
        yield InputRow(name=path, kind="file", places=places.bringing(node, path))


def _nodes(edges: Iterable[Edge], places: Places) -> Iterator[InputRow]:
    """Yield the nodes that are needed, each with all the places that say so."""
    found: dict[NodeId, list[Where]] = {}
    for edge in edges:
        found.setdefault(edge.to, []).append(places.at(edge.where))
    for node, wheres in found.items():
        yield InputRow(name=str(node), kind="node", places=tuple(dict.fromkeys(wheres)))


def _others(node: Node, places: Places) -> Iterator[InputRow]:
    yield from _nodes(node.edges, places)
    if not isinstance(node.detail, ServiceDetail):
        for name, value in node.settings.items():
            yield InputRow(name=f"{name} = {value!r}", kind="setting", places=[places.declared(node)])


# --- images ----------------------------------------------------------------------------------------------------------


def _of_image(node: Node, detail: ImageDetail, places: Places) -> Iterator[InputRow]:
    declared = [places.declared(node)]
    if detail.dockerfile is not None:
        yield InputRow(name=detail.dockerfile, kind="definition", places=declared)
    if (ignore := places.ignore_file(detail)) is not None:
        yield InputRow(name=ignore, kind="definition", places=declared)
    yield from _others(node, places)
    for argument in detail.facts.arguments if detail.facts else ():
        line = [places.line(str(detail.dockerfile), argument.line)] if argument.line is not None else declared
        value = "its default" if argument.value is None else repr(argument.value)
        yield InputRow(name=f"{argument.name} = {value}", kind="argument", places=line)


def _left_out(detail: ImageDetail, places: Places, files: Files) -> list[LeftOutRow]:
    """Return what the instructions name and the `.dockerignore` keeps out; nothing of it is read."""
    facts, ignore, context = detail.facts, detail.ignore, detail.context
    if facts is None or not ignore.rules:
        return []
    found: dict[IgnoreRule, list[str]] = {}

    def note(inner: str, shown: str) -> None:
        rule = ignore.deciding_rule(inner)
        if rule is not None and not rule.included:
            found.setdefault(rule, []).append(shown)

    def keep(directory: RelPath) -> bool:
        inner = inside(directory, context)
        if not facts.reads_below(inner):
            return False
        if ignore.may_contain_included(inner):
            return True
        note(inner, f"{directory}/")
        return False

    def wanted(path: RelPath) -> bool:
        inner = inside(path, context)
        if facts.selects(inner):
            note(inner, path)
        return False

    files.scan(RelPath(context), keep, wanted)
    rules = sorted(found, key=lambda rule: rule.line)
    return [LeftOutRow(place=places.ignoring(detail, rule), paths=sorted(found[rule])) for rule in rules]


# --- services --------------------------------------------------------------------------------------------------------


def service_files(node: Node, observation: Observation, places: Places) -> dict[str, Where]:
    """Return the manifests, templates and charts of a service, file by file, each with the line that names it."""
    spec = node.declaration.spec
    assert isinstance(spec, ServiceSpec)
    read = observation.project.read
    named = [in_folder(node.declaration.folder, each) for each in spec.manifests if isinstance(each, str)]
    starts = [path for path in (*named, *node.recipe) if read.get(RelPath(path), ABSENT) != ABSENT]
    found = dict.fromkeys(starts, places.declared(node))
    templates = Templates(places.text)
    waiting = [path for path in starts if path.endswith(TEMPLATE_SUFFIXES)]
    while waiting:
        path = waiting.pop()
        try:
            includes = template_facts(templates.text(path) or "", path=path).includes
        except InputErrors:
            continue
        for include in includes:
            target = templates.resolve(include.name, path) if include.name is not None else None
            if target is not None and target not in found and templates.text(target) is not None:
                found[target] = places.line(path, include.line)
                waiting.append(target)
    return {**found, **{path: places.at(where) for path, where in rendered_files(node).items()}}


def rendered_files(node: Node) -> dict[RelPath, Where]:
    """Return the files that kustomize and Helm read for a service, each with the place that names it."""
    named = node.detail.named if isinstance(node.detail, ServiceDetail) else {}
    there = {path for files in node.sources.values() for path, digest in files.items() if digest != ABSENT}
    return {path: where for path, where in named.items() if path in there}


def _of_service(node: Node, observation: Observation, places: Places) -> Iterator[InputRow]:
    named = service_files(node, observation, places)
    for path, where in named.items():
        yield InputRow(name=path, kind="definition", places=[where])
    ours = named.keys() - rendered_files(node).keys()
    uses = _variables({path: where for path, where in named.items() if path in ours}, places)
    for name, value in node.settings.items():
        lines = uses.pop(name, [places.declared(node)])
        yield InputRow(name=f"{name} = {value!r}", kind="setting", places=lines)
    for name, lines in sorted(uses.items()):
        if name not in node.arguments:
            yield InputRow(name=name, kind="variable", places=[*lines, places.declared(node)])


def _variables(paths: Mapping[str, Where], places: Places) -> dict[str, list[Where]]:
    """Return the lines of the templates that use a variable, by its name."""
    found: dict[str, list[Where]] = {}
    for path in paths:
        included = paths[path].path != path and paths[path].path.endswith(TEMPLATE_SUFFIXES)
        if not path.endswith(TEMPLATE_SUFFIXES) and not included:
            continue
        known = template_facts(places.text(path) or "", path=path)
        for use in sorted((*known.required, *known.optional), key=lambda use: use.line):
            place = places.line(path, use.line)
            if place not in found.setdefault(use.name, []):
                found[use.name].append(place)
    return found


# --- syncs -----------------------------------------------------------------------------------------------------------


def _of_sync(node: Node, detail: SyncDetail, observation: Observation, places: Places) -> Iterator[InputRow]:
    """Yield what a sync copies, and where to."""
    rows: dict[str, InputRow] = {}
    for image in detail.images or (node.id,):
        placement = observation.graph.placements.get(image)
        if placement is None:
            continue
        files = {**observation.files.get(node.id, {}), **observation.files.get(image, {})}
        own = [source for source in placement.sources if source.node == node.id]
        for path in files:
            source = next((each for each in own if each.covers(path)), None)
            placed = placement.place(path, files.keys()) if source is not None else None
            if source is not None and placed:
                rows[path] = InputRow(name=path, kind="file", places=[places.copying(source)], destinations=placed)
    yield from (rows[path] for path in sorted(rows))
