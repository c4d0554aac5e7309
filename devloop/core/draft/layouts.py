"""Helm charts and kustomizations among a project's files: which are deployed, and what lies inside them."""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.draft.manifests import ManifestFile, manifest_files
from devloop.core.draft.model import DraftService, Manifests, Note, Value
from devloop.core.draft.naming import slug, unique
from devloop.core.draft.tree import Tree, joined
from devloop.core.yaml.documents import YamlError, parse_documents

__all__ = ["KUSTOMIZATIONS", "Layouts", "chart_at", "closure", "kustomization_at", "layouts"]

KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_GENERIC: Final = frozenset(
    {
        "base", "bases", "chart", "charts", "config", "default", "deploy", "deployment", "dev", "development",
        "environments", "envs", "helm", "k8s", "kube", "kubernetes", "kustomize", "local", "manifests", "overlay",
        "overlays", "prod", "production", "staging", "test",
    }
)  # fmt: skip
_PREFERRED: Final = ("local", "dev", "development", "default", "minikube", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layouts:
    """What charts and kustomizations there are.

    Attributes:
        services: Those that are deployed.
        folders: The folders that belong to charts.
        paths: The files that belong to kustomizations.
        files: The manifests among these.
        references: Further references to images, in values of charts, each with the names of what uses it.
        notes: What is left out.
    """

    services: tuple[DraftService, ...] = ()
    folders: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    files: tuple[ManifestFile, ...] = ()
    references: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def holds(self, path: str) -> bool:
        """Return whether a file belongs to a chart or a kustomization."""
        return (
            path in self.paths or any(path.startswith(f"{folder}/") for folder in self.folders) or "." in self.folders
        )


def layouts(tree: Tree) -> Layouts:
    """Return the charts and kustomizations of a project."""
    charts = [chart for chart in _charts(tree) if not _is_inside_chart(chart, tree)]
    services: list[DraftService] = []
    references: dict[str, list[str]] = {}
    notes: list[Note] = []
    for folder in charts:
        about = chart_at(tree, folder)
        if about.get("type") == "library":
            continue
        name = unique(
            slug(str(about.get("name") or posixpath.basename(folder) or tree.name)), [s.name for s in services]
        )
        values = _local_values(tree, folder)
        for path in ("values.yaml", *values):
            for text in _images_in_values(tree, joined(folder, path) if path == "values.yaml" else path):
                references.setdefault(text, []).append(name)
        options: dict[str, Value] = {"values": values[0]} if values else {}
        services.append(DraftService(name=name, manifests=(Manifests(tool="helm", path=folder, options=options),)))
    kustomized = _kustomized(tree, [each.name for each in services])
    notes += kustomized.notes
    return Layouts(
        services=(*services, *kustomized.services),
        folders=frozenset(charts),
        paths=kustomized.paths,
        files=kustomized.files,
        references=references,
        notes=tuple(notes),
    )


# --- charts ----------------------------------------------------------------------------------------------------------


def _charts(tree: Tree) -> list[str]:
    return [posixpath.dirname(path) or "." for path in tree.files if posixpath.basename(path) == "Chart.yaml"]


def _is_inside_chart(folder: str, tree: Tree) -> bool:
    parent = folder
    while parent not in {".", ""}:
        parent = posixpath.dirname(parent) or "."
        if tree.has(joined(parent, "Chart.yaml")):
            return True
    return False


def chart_at(tree: Tree, folder: str) -> dict[str, Any]:
    """Return the content of a chart's `Chart.yaml`."""
    return _mapping(tree, joined(folder, "Chart.yaml"))


def _local_values(tree: Tree, folder: str) -> tuple[str, ...]:
    """Return the chart's values for local work, where it has such."""
    names = [f"values{mark}{word}.{end}" for word in _PREFERRED for mark in "-._" for end in ("yaml", "yml")]
    return tuple(path for name in names if tree.has(path := joined(folder, name)))[:1]


def _images_in_values(tree: Tree, path: str) -> Iterator[str]:
    yield from _references(_mapping(tree, path))


def _references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            repository = value.get("repository") or value.get("image")
            if isinstance(repository, str) and not repository.startswith(("http:", "https:", "oci:")):
                registry = value.get("registry")
                yield f"{registry}/{repository}" if isinstance(registry, str) and registry else repository
            for part in value.values():
                yield from _references(part)
        case list():
            for part in value:
                yield from _references(part)
        case _:
            return


# --- kustomizations --------------------------------------------------------------------------------------------------


def _kustomized(tree: Tree, taken: Sequence[str]) -> Layouts:
    folders = {posixpath.dirname(path) or "." for path in tree.files if posixpath.basename(path) in KUSTOMIZATIONS}
    read = {folder: _mapping(tree, kustomization_at(tree, folder) or "") for folder in folders}
    used = {part for folder, content in read.items() for part in _parts(folder, content) if part in folders}
    tops = sorted(folders - used)
    services: list[DraftService] = []
    notes: list[Note] = []
    bases: dict[frozenset[str], list[str]] = {}
    for top in tops:
        ground = frozenset(each for each in closure(tree, top)[0] if each != top) or frozenset({top})
        shared = next((known for known in bases if known & ground), ground)
        bases.setdefault(shared, []).append(top)
    for variants in bases.values():
        chosen = min(variants, key=lambda folder: (_rank(folder), folder))
        name = unique(_name(chosen, tree.name), (*taken, *(each.name for each in services)))
        services.append(DraftService(name=name, manifests=(Manifests(tool="kustomize", path=chosen),)))
        if others := [each for each in variants if each != chosen]:
            listed = ", ".join(f"`{each}`" for each in others)
            notes.append(Note(text=f"`{chosen}` is deployed; the same for other places: {listed}"))
    paths = {path for folder in folders for path in closure(tree, folder)[1]}
    files, _ = manifest_files(tree, sorted(paths))
    return Layouts(services=tuple(services), paths=frozenset(paths), files=tuple(files), notes=tuple(notes))


def kustomization_at(tree: Tree, folder: str) -> str | None:
    """Return the kustomization of a folder, or None where it has none."""
    return next((path for name in KUSTOMIZATIONS if tree.has(path := joined(folder, name))), None)


def closure(tree: Tree, folder: str) -> tuple[set[str], set[str]]:
    """Return the folders that a kustomization is made of, itself included, and their files."""
    folders: set[str] = set()
    files: set[str] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        own = kustomization_at(tree, here)
        if own is None or here in folders:
            continue
        folders.add(here)
        files.add(own)
        for part in _parts(here, _mapping(tree, own)):
            if kustomization_at(tree, part) is not None:
                waiting.append(part)
            elif tree.has(part):
                files.add(part)
    return folders, files


def _parts(folder: str, content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files and folders that a kustomization names."""
    for key in ("resources", "bases", "components", "patchesStrategicMerge", "crds", "configurations"):
        items = content.get(key)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, str) and "://" not in item and "\n" not in item:
                yield joined(folder, item)
    patches = content.get("patches")
    for patch in patches if isinstance(patches, list) else []:
        if isinstance(patch, dict) and isinstance(path := patch.get("path"), str):
            yield joined(folder, path)


def _rank(folder: str) -> int:
    name = posixpath.basename(folder)
    return _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED) + ("prod" in name)


def _name(folder: str, project: str) -> str:
    parts = [part for part in folder.split("/") if part not in {"", "."} and slug(part) not in _GENERIC]
    return slug(parts[-1] if parts else project)


def _mapping(tree: Tree, path: str) -> dict[str, Any]:
    text = tree.read(path) if path else None
    try:
        documents = parse_documents(text or "")
    except YamlError:
        return {}
    value = documents[0].value if documents else {}
    return value if isinstance(value, dict) else {}
