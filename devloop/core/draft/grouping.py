"""Manifest files → services: which files belong together, what each is called, which ports it offers.

A file is never divided. Files with workloads are services of their own; the others go to the one workload that they
have to do with, or are a service themselves when it is none or several.
"""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from devloop.core.draft.manifests import ManifestFile
from devloop.core.draft.model import DraftService, Note
from devloop.core.draft.naming import slug, unique
from devloop.core.draft.port_choices import Ports
from devloop.core.draft.relations import related
from devloop.core.manifest import Manifest, facts
from devloop.core.manifest.pod_templates import template_pointer

__all__ = ["services_of"]

_GENERIC: Final = frozenset(
    {
        "all", "app", "application", "base", "config", "configmap", "deploy", "deployment", "deployments", "dev", "k8s",
        "kube", "kubernetes", "kustomization", "local", "manifest", "manifests", "pod", "resources", "secret",
        "service", "services", "stack", "statefulset",
    }
)  # fmt: skip


_PREFERRED: Final = ("local", "dev", "development", "base", "k8s")


_AVOIDED: Final = ("prod", "production", "staging", "stage", "release", "test", "ci")


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
            group for group in workloads if group not in found and related(file.manifests, group.files[0].manifests)
        ]
        near = [
            each
            for each in others
            if each.path not in seen and not _holds_ground(each) and related(file.manifests, each.manifests)
        ]
        seen.update(each.path for each in near)
        waiting += near
    return found


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
