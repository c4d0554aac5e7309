"""What kustomize and Helm read of a project, and how they are asked to render it."""

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from devloop.core import digests
from devloop.core.charts import helm, helmignore, kustomization
from devloop.core.charts.kustomization import Reference, Way, is_remote, plugin_references
from devloop.core.charts.rendering_errors import of_helm, of_kustomize
from devloop.core.graph import Node
from devloop.core.manifest import Manifest, objects, parse
from devloop.core.yaml.documents import YamlError, parse_documents
from devloop.dsl import Image, Service, Sync, Task
from devloop.errors import InputError, InputErrors, ToolError, Where
from devloop.model import Digest, HelmSource, KustomizeSource, RelPath
from devloop.runtime.definitions import Definitions
from devloop.runtime.renderings import Program, Renderings, Request, Tool

__all__ = ["Reads", "chart_path", "helm_manifests", "kustomize_manifests", "part_of", "recipe_name"]

_LONGEST_PATH: Final = 200
_HINTS: Final[Mapping[Tool, str]] = {
    Tool.KUSTOMIZE: "install kubectl, which has `kubectl kustomize`, or kustomize, and save any file to try again",
    Tool.HELM: "install Helm (https://helm.sh/docs/intro/install), and save any file to try again",
}


class _By(StrEnum):
    """What renders manifests, as messages call it."""

    KUSTOMIZE = "kustomize"
    CHART = "the chart"


@dataclass(slots=True)
class Reads:
    """What a rendering depends on.

    Attributes:
        files: The digest of each file; `ABSENT` where it is named and not there.
        named: The place that names each file.
        remote: What comes from elsewhere, with the place that says so: it cannot be known when that changes.
    """

    files: dict[RelPath, Digest] = field(default_factory=dict)
    named: dict[RelPath, Where] = field(default_factory=dict)
    remote: dict[str, Where] = field(default_factory=dict)


def recipe_name(path: str) -> str:
    """Return under which name what a tool renders is a part of a service's recipe."""
    return f"the rendering of {path}"


def part_of(manifest: Manifest) -> str:
    """Return the part of a service's recipe that an object belongs to: its file, or all that a tool renders at once."""
    source = manifest.source
    match source.by:
        case objects.TEMPLATE:
            return manifest.where.path
        case _By.KUSTOMIZE:
            return recipe_name(posixpath.dirname(source.path) or ".")
        case _:
            return recipe_name(source.path)


# --- kustomize -------------------------------------------------------------------------------------------------------


def kustomize_manifests(
    node: Node, source: KustomizeSource, reads: Reads, *, read: Definitions, renderings: Renderings
) -> tuple[Manifest, ...]:
    """Return the objects that kustomize renders; `reads` learns what of.

    Raises:
        InputError: The tool is missing, or refuses.
        InputErrors: What it reads has mistakes, or what it prints.
        UnrenderedError: It has yet to be run.
    """
    where = node.declaration.where
    folder = _in(node.declaration.folder, source.folder)
    program = _program(Tool.KUSTOMIZE, node, folder, renderings)
    walk = _Walk(reads, read, renderings, where)
    path = walk.folder(folder)
    if path is None:
        message = f"service `{node.id.name}` names `{folder}`, which has no kustomization"
        hint = f"kustomize wants a `{kustomization.NAMES[0]}` in it; the path is relative to the devfile's folder"
        raise InputError(message, where=where, hint=hint)
    command = (*program.command, source.folder, *source.arguments)
    request = _request(node, program, command, reads, stdin="")
    try:
        text = renderings.get(request)
    except ToolError as error:
        if found := walk.mistakes():
            raise InputErrors(found) from error
        said = "\n".join(error.tail)
        shown = " ".join(command)
        raise of_kustomize(said, kustomization=path, root=renderings.root, where=where, command=shown) from error
    return parse(text, path=path, rendered_from=path, rendered_by=_By.KUSTOMIZE)


class _Walk:
    """Follows kustomizations from one to the next."""

    def __init__(self, reads: Reads, read: Definitions, renderings: Renderings, where: Where) -> None:
        self._reads = reads
        self._read = read
        self._renderings = renderings
        self._where = where
        self._seen: set[str] = set()
        self._missing: list[InputError] = []

    def folder(self, folder: str, named: Where | None = None, *, plugins: bool = False) -> str | None:
        """Note what the kustomization of a folder reads; return its path, or None where there is none."""
        for name in kustomization.NAMES:
            path = posixpath.normpath(f"{folder}/{name}")
            text = self._text(path, named or self._where)
            if text is not None:
                if path not in self._seen:
                    self._seen.add(path)
                    for reference in kustomization.references(text):
                        self._follow(folder, path, reference, plugins=plugins)
                return path
        return None

    def mistakes(self) -> list[InputError]:
        """Return what is wrong with the files themselves: some are missing, some are no YAML."""
        return self._missing or [each for path in self._reads.files for each in self._broken(path)]

    def _follow(self, folder: str, path: str, reference: Reference, *, plugins: bool) -> None:
        target = posixpath.normpath(posixpath.join(folder, reference.text))
        where = Where(path=path, line=reference.line, text=reference.text)
        match reference.way:
            case Way.MAYBE:
                if _may_be_path(reference.text) and not self._read.is_directory(target):
                    self._maybe(target, where)
            case Way.FOLDER:
                _note_tree(target, self._reads, self._read, self._renderings, where)
            case Way.FILE:
                self._text(target, where)
                if self._reads.files[RelPath(target)] == digests.ABSENT:
                    self._miss(path, reference, where)
            case Way.RESOURCE | Way.PLUGIN:
                self._resource(target, path, reference, where, plugin=plugins or reference.way is Way.PLUGIN)

    def _resource(self, target: str, path: str, reference: Reference, where: Where, *, plugin: bool) -> None:
        if self._read.is_directory(target):
            if self.folder(target, where, plugins=plugin) is None:
                self._miss(path, reference, where, "is a folder without a kustomization")
            return
        text = self._text(target, where)
        if self._reads.files[RelPath(target)] != digests.ABSENT:
            for each in plugin_references(text or "") if plugin else ():
                self._follow(posixpath.dirname(path), target, each, plugins=False)
        elif is_remote(reference.text):
            self._reads.remote[reference.text] = where
        else:
            self._miss(path, reference, where)

    def _miss(self, path: str, reference: Reference, where: Where, how: str = "does not exist") -> None:
        message = f"`{path}` names `{reference.text}`, which {how}"
        hint = f"the path is relative to `{posixpath.dirname(path) or '.'}`"
        self._missing.append(InputError(message, where=where, chain=(self._where,), hint=hint))

    def _maybe(self, path: str, where: Where) -> None:
        """Note a file if there is one; that one comes is watched for all the same."""
        if self._read.digest(path) != digests.ABSENT:
            self._text(path, where)

    def _text(self, path: str, where: Where) -> str | None:
        """Note a file, and return its text; None where it is not there, or no text."""
        _note_file(path, self._reads, self._read, self._renderings, where)
        try:
            return self._read(path)
        except InputError:
            return None

    def _broken(self, path: RelPath) -> Iterator[InputError]:
        text = None
        if path.endswith((".yaml", ".yml", "/Kustomization")):
            text = self._text(path, self._reads.named[path])
        try:
            parse_documents(text or "")
        except YamlError as error:
            where = Where(path=path, line=error.line, column=error.column)
            yield InputError(error.message, where=where, hint=error.hint, chain=(self._reads.named[path], self._where))


# --- Helm ------------------------------------------------------------------------------------------------------------


def helm_manifests(
    node: Node,
    source: HelmSource,
    returned: Mapping[str, Any],
    reads: Reads,
    *,
    read: Definitions,
    renderings: Renderings,
) -> tuple[Manifest, ...]:
    """Return the objects that Helm renders; `reads` learns what of.

    Raises:
        InputError: The tool is missing, or refuses; the function returns what is no value.
        InputErrors: What it prints has mistakes.
        UnrenderedError: It has yet to be run.
    """
    where, base, chart = node.declaration.where, node.declaration.folder, chart_path(node, source)
    program = _program(Tool.HELM, node, chart, renderings)
    if source.is_remote:
        reads.remote[source.chart] = where
    elif not _note_chart(chart, reads, read, renderings, where):
        message = f"service `{node.id.name}` names the chart `{chart}`, which does not exist"
        hint = "the path is relative to the devfile's folder; `repository=` names where a chart comes from"
        raise InputError(message, where=where, hint=hint)
    for path in (*source.values, *source.files.values()):
        if "://" in path:
            reads.remote[path] = where
        elif _note_file(_in(base, path), reads, read, renderings, where) == digests.ABSENT:
            message = f"service `{node.id.name}` names `{_in(base, path)}`, which does not exist"
            raise InputError(message, where=where, hint="the path is relative to the devfile's folder")
    texts = (Image, Service, Sync, Task)
    values = helm.values(returned, texts=texts, where=where, what=f"service `{node.id.name}`")
    stdin = json.dumps(values) if values else ""
    arguments = helm.arguments(source, release=node.id.name, namespace=renderings.namespace, with_values=bool(values))
    command = (*program.command, *arguments)
    try:
        text = renderings.get(_request(node, program, command, reads, stdin=stdin))
    except ToolError as error:
        said = "\n".join(error.tail)
        raise of_helm(said, chart=chart, folder=base, where=where, command=" ".join(command)) from error
    origins = helm.origins(text, chart=chart)
    return helm.without_unused_hooks(
        parse(text, path=chart, rendered_from=chart, rendered_by=_By.CHART, origins=origins)
    )


def chart_path(node: Node, source: HelmSource) -> str:
    """Return a chart's path relative to the project's root; of one in a repository, its name there."""
    return source.chart if source.is_remote else _in(node.declaration.folder, source.chart)


def _note_chart(chart: str, reads: Reads, read: Definitions, renderings: Renderings, where: Where) -> bool:
    """Note the files of a chart; return whether there is one."""
    if not read.is_directory(chart):
        return _note_file(chart, reads, read, renderings, where) != digests.ABSENT
    _note_tree(chart, reads, read, renderings, where)
    return True


def _note_tree(folder: str, reads: Reads, read: Definitions, renderings: Renderings, where: Where) -> None:
    """Note all files of a chart's folder, less those of its `.helmignore`, and what its links lead to."""
    ignored = read(f"{folder}/.helmignore")
    tree = read.tree(folder, helmignore.parse(ignored or ""))
    reads.files.update(tree.files)
    for path in tree.files:
        reads.named.setdefault(path, where)
        real = renderings.renderer.real(path)
        if real == path or tree.holds(real):
            continue
        if read.is_directory(real):
            if real not in read.trees:
                _note_tree(real, reads, read, renderings, where)
            reads.files.update(read.trees[real].files)
        else:
            _note_file(real, reads, read, renderings, where)


def _note_file(path: str, reads: Reads, read: Definitions, renderings: Renderings, where: Where) -> Digest:
    """Note a file, and what it leads to if it is a link; return its digest."""
    for each in dict.fromkeys((RelPath(path), renderings.renderer.real(RelPath(path)))):
        reads.files[each] = read.digest(each)
        reads.named.setdefault(each, where)
    return reads.files[RelPath(path)]


# --- both ------------------------------------------------------------------------------------------------------------


def _program(tool: Tool, node: Node, path: str, renderings: Renderings) -> Program:
    program = renderings.renderer.program(tool)
    if program is None:
        message = f"service `{node.id.name}` needs {tool} to render `{path}`, and it is not installed"
        raise InputError(message, where=node.declaration.where, hint=_HINTS[tool])
    return program


def _request(node: Node, program: Program, command: tuple[str, ...], reads: Reads, *, stdin: str) -> Request:
    """Return the call; what is not known to stay the same holds for this session only."""
    folder = node.declaration.folder
    covered = {path: digest for path, digest in reads.files.items() if digest != digests.ABSENT}
    key = digests.of_value([program.identity, folder, list(command), stdin, covered])
    return Request(key=key, command=command, folder=folder, stdin=stdin, lasting=not reads.remote)


def _may_be_path(text: str) -> bool:
    return not posixpath.isabs(text) and len(text) <= _LONGEST_PATH and text.isprintable()


def _in(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))
