"""Manifest files → services: which files belong together, what each needs, which ports it offers.

A file is never divided. Files with workloads are services of their own; the others go to the one workload that they
have to do with, or are a service themselves when it is none or several.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from devloop.core import manifest as manifests_module
from devloop.core.draft.model import DraftService, Note
from devloop.core.draft.naming import slug, unique
from devloop.core.draft.tree import Tree
from devloop.core.forwarding import rules
from devloop.core.manifest import Manifest, facts, image_uses
from devloop.core.object_needs import needs
from devloop.core.pod_templates import pick, template_pointer
from devloop.core.workloads import ServiceFacts
from devloop.errors import InputError, InputErrors, Where

__all__ = ["ManifestFile", "Ports", "looks_like_manifest", "manifest_files", "ports_of", "services_of"]

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_GENERIC: Final = frozenset(
    {
        "all", "app", "application", "base", "config", "configmap", "deploy", "deployment", "deployments", "dev", "k8s",
        "kube", "kubernetes", "kustomization", "local", "manifest", "manifests", "pod", "resources", "secret",
        "service", "services", "stack", "statefulset",
    }
)  # fmt: skip
_PREFERRED: Final = ("local", "dev", "development", "base", "k8s")
_AVOIDED: Final = ("prod", "production", "staging", "stage", "release", "test", "ci")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A file of manifests."""

    path: str
    manifests: tuple[Manifest, ...] = field(repr=False)

    @property
    def images(self) -> tuple[str, ...]:
        """The references that it names, in order."""
        return tuple(dict.fromkeys(use.text for each in self.manifests for use in image_uses(each)))


def looks_like_manifest(text: str) -> bool:
    """Return whether a YAML or JSON text is meant to hold Kubernetes objects."""
    lines = text.replace('"', "").splitlines()
    starts = [line.strip().lstrip("{- ") for line in lines]
    return any(line.startswith("apiVersion:") for line in starts) and any(line.startswith("kind:") for line in starts)


def manifest_files(tree: Tree, paths: Iterable[str], *, sure: bool = False) -> tuple[list[ManifestFile], list[Note]]:
    """Return those of the files that are manifests, and notes about those that cannot be.

    Args:
        tree: The project's files.
        paths: Where to look.
        sure: Whether they certainly are manifests, since somebody names them.
    """
    found: list[ManifestFile] = []
    notes: list[Note] = []
    for path in paths:
        if not sure and not path.endswith(_SUFFIXES):
            continue
        text = tree.read(path)
        if text is None or (not sure and not looks_like_manifest(text)):
            continue
        try:
            parsed = manifests_module.parse(text, path=path)
        except InputErrors as error:
            first = error.errors[0]
            note = f"`{path}` is left out, since it cannot be read: {first.message}"
            notes.append(Note(text=note, where=first.where if first.where and first.where.line else None))
            continue
        if parsed and not any(_is_tools_own(each) for each in parsed):
            found.append(ManifestFile(path=path, manifests=parsed))
    return found, notes


def _is_tools_own(manifest: Manifest) -> bool:
    """Return whether an object is the configuration of a tool that no cluster takes."""
    group = manifest.key.group
    return group in {"skaffold", "kind.x-k8s.io", "k3d.io", "kustomize.config.k8s.io", "eksctl.io"} or (
        group.endswith(".tilt.dev")
        or (manifest.key.kind in {"Kustomization", "HelmChart"} and group.startswith("kustom"))
    )


# --- which belong together -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Group:
    files: list[ManifestFile]
    name: str = ""

    @property
    def manifests(self) -> list[Manifest]:
        return [manifest for file in self.files for manifest in file.manifests]


def services_of(
    files: Sequence[ManifestFile], *, project: str, taken: Iterable[str] = ()
) -> tuple[list[DraftService], list[Note]]:
    """Return the services that deploy these files, and notes about files that nothing deploys.

    Args:
        files: The files.
        project: The project's name, for what has no better one.
        taken: Names that services have already.
    """
    kept, notes = _without_doubles(files)
    groups = _groups(kept)
    names = set(taken)
    for group in groups:
        group.name = unique(_name(group, project), names)
        names.add(group.name)
    ports = Ports()
    return [
        DraftService(
            name=group.name,
            manifests=tuple(file.path for file in group.files),
            ports=ports.proposed(group.name, facts(group.manifests)),
        )
        for group in groups
    ], notes


def _without_doubles(files: Sequence[ManifestFile]) -> tuple[list[ManifestFile], list[Note]]:
    """Leave out files whose objects other files declare, too: variants for other places."""
    kept: list[ManifestFile] = []
    notes: list[Note] = []
    owners: dict[object, str] = {}
    for file in sorted(files, key=lambda each: (_rank(each.path), each.path)):
        owner = next((owners[each.key] for each in file.manifests if each.key in owners), None)
        if owner is not None:
            notes.append(Note(text=f"`{file.path}` is left out: it declares objects that `{owner}` declares, too"))
            continue
        owners.update({each.key: file.path for each in file.manifests})
        kept.append(file)
    return sorted(kept, key=lambda each: each.path), notes


def _rank(path: str) -> int:
    parts = {
        part for each in path.lower().split("/") for part in posixpath.splitext(each)[0].replace("_", "-").split("-")
    }
    return -1 if parts & set(_PREFERRED[:3]) else 1 if parts & set(_AVOIDED) else 0


def _groups(files: Sequence[ManifestFile]) -> list[_Group]:
    workloads = [_Group(files=[file]) for file in files if _workloads(file.manifests)]
    others = [file for file in files if not _workloads(file.manifests)]
    homes = {file.path: _reached(file, others, workloads) for file in others if not _holds_ground(file)}
    alone: dict[str, _Group] = {}
    for file in others:
        home = homes.get(file.path)
        if home is not None and len(home) == 1:
            home[0].files.append(file)
        else:
            place = posixpath.dirname(file.path) if home == [] else file.path
            alone.setdefault(place, _Group(files=[])).files.append(file)
    for group in workloads:
        group.files.sort(key=lambda each: (not _workloads(each.manifests), each.path))
    grounds = [group for group in alone.values() if any(_holds_ground(file) for file in group.files)]
    return [*grounds, *(group for group in alone.values() if group not in grounds), *workloads]


def _workloads(manifests: Iterable[Manifest]) -> list[Manifest]:
    return [each for each in manifests if template_pointer(each.document) is not None]


def _is_ground(manifest: Manifest) -> bool:
    """Return whether many may stand on it: a namespace, a resource definition."""
    return manifest.key.kind in {"Namespace", "CustomResourceDefinition", "PersistentVolume", "StorageClass"}


def _holds_ground(file: ManifestFile) -> bool:
    return any(_is_ground(each) for each in file.manifests)


def _reached(start: ManifestFile, others: Sequence[ManifestFile], workloads: Sequence[_Group]) -> list[_Group]:
    """Return the workloads that a file has to do with, directly or by way of other files without workloads."""
    seen = {start.path}
    waiting = [start]
    found: list[_Group] = []
    while waiting:
        file = waiting.pop()
        found += [
            group for group in workloads if group not in found and _related(file.manifests, group.files[0].manifests)
        ]
        near = [
            each
            for each in others
            if each.path not in seen and not _holds_ground(each) and _related(file.manifests, each.manifests)
        ]
        seen.update(each.path for each in near)
        waiting += near
    return found


def _related(some: Sequence[Manifest], others: Sequence[Manifest]) -> bool:
    return any(_refers(one, other) or _refers(other, one) for one in some for other in others)


# --- who refers to whom ----------------------------------------------------------------------------------------------


def _refers(one: Manifest, other: Manifest) -> bool:
    if one.key.namespace and other.key.namespace and one.key.namespace != other.key.namespace:
        return False
    return _uses(one, other) or _selects(one, other) or _names(one, other)


def _uses(one: Manifest, other: Manifest) -> bool:
    wanted = (other.key.group, other.key.kind, other.key.name)
    return any((need.group, need.kind, need.name) == wanted for need in needs(one))


def _selects(one: Manifest, other: Manifest) -> bool:
    if one.key.kind not in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
        return False
    pointer = template_pointer(other.document)
    if pointer is None:
        return False
    spec = one.document.get("spec")
    selector = pick(spec, ("selector",)) if one.key.kind == "Service" else pick(spec, ("selector", "matchLabels"))
    selector = selector or pick(spec, ("podSelector", "matchLabels"))
    labels = pick(other.document, (*pointer, "metadata", "labels"))
    return (
        isinstance(selector, dict)
        and isinstance(labels, dict)
        and bool(selector)
        and selector.items() <= labels.items()
    )


def _names(one: Manifest, other: Manifest) -> bool:
    """Return whether an object names another in a reference of kind and name, or an Ingress its Service."""
    if one.key.kind in {"Ingress", "HTTPRoute", "IngressRoute", "VirtualService"} and other.key.kind == "Service":
        return other.key.name in set(_backends(one.document.get("spec")))
    if template_pointer(one.document) is not None:
        return False
    return (other.key.kind, other.key.name) in set(_references(dict(one.document)))


def _references(value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            if isinstance(kind := value.get("kind"), str) and isinstance(name := value.get("name"), str):
                yield kind, name
            for part in value.values():
                yield from _references(part)
        case list():
            for part in value:
                yield from _references(part)
        case _:
            return


def _backends(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for key, part in value.items():
                if key == "serviceName" and isinstance(part, str):
                    yield part
                if key in {"service", "backendRefs", "destination", "services"}:
                    for each in part if isinstance(part, list) else [part]:
                        yield str(pick(each, ("name",)) or pick(each, ("host",)) or "")
                yield from _backends(part)
        case list():
            for part in value:
                yield from _backends(part)
        case _:
            return


# --- names and ports -------------------------------------------------------------------------------------------------


def _name(group: _Group, project: str) -> str:
    names = [each.key.name for each in _workloads(group.manifests)]
    if len(names) == 1:
        return slug(names[0])
    stem = posixpath.splitext(posixpath.basename(group.files[0].path))[0]
    if len(group.files) > 1 and not names:
        stem = posixpath.basename(posixpath.dirname(group.files[0].path))
    if slug(stem) not in _GENERIC:
        return slug(stem)
    if names:
        return slug(project)
    first = group.manifests[0].key
    return slug(first.name if len(group.manifests) == 1 else f"{project}-config")


class Ports:
    """Gives each local port to one service."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def proposed(self, service: str, found: ServiceFacts) -> dict[int, int | str] | None:
        """Return the ports to forward: those that devloop would choose, each once; None where there is none."""
        derived = {rule.local: rule.remote for rule in rules(service, None, found)}
        if not derived:
            return None
        ports: dict[int, int | str] = {}
        for local, remote in derived.items():
            number = remote if isinstance(remote, int) else local
            ports[self.free(local)] = number
        return ports if is_possible(service, ports, found) else None

    def free(self, local: int) -> int:
        """Return this local port, or the next one that no service has."""
        while local in self._taken:
            local += 1
        self._taken.add(local)
        return local

    def take(self, ports: Iterable[int]) -> None:
        """Note that these local ports are given."""
        self._taken.update(ports)


def is_possible(service: str, ports: Mapping[int, int | str], found: ServiceFacts) -> bool:
    """Return whether the ports lead somewhere."""
    try:
        rules(service, ports, found)
    except InputErrors:
        return False
    return True


def ports_of(
    service: DraftService, asked: Mapping[int, int | str], files: Sequence[ManifestFile], where: Where | None
) -> tuple[DraftService, tuple[Note, ...]]:
    """Return a service with ports that another tool forwards, and notes about those that lead nowhere."""
    found = facts([each for file in files if file.path in service.manifests for each in file.manifests])
    kept: dict[int, int | str] = {}
    notes = []
    for local, remote in asked.items():
        try:
            rules(service.name, {local: remote}, found)
        except InputErrors as error:
            notes.append(Note(text=f"the port-forward of {local} is left out: {error.errors[0].message}", where=where))
        except InputError as error:
            notes.append(Note(text=f"the port-forward of {local} is left out: {error.message}", where=where))
        else:
            kept[local] = remote
    return replace(service, ports={**(service.ports or {}), **kept} or service.ports), tuple(notes)
