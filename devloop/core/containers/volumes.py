"""A pod's volumes: what each is in the engine, the files that ConfigMaps and Secrets put into it, and its mounts."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.containers.environment import (
    ConfigurationError,
    Surroundings,
    expanded,
    field_value,
    resource_value,
    values,
)
from devloop.core.containers.identity import Identity, Role, short_hash, thing_name
from devloop.core.containers.quantities import number
from devloop.core.manifest.pod_templates import pick
from devloop.model import Document

__all__ = ["File", "Volume", "as_bind", "below_of", "concerns", "files", "mounts", "volumes"]

_FILES: Final = ("configMap", "secret", "projected", "downwardAPI")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a volume holds."""

    path: str
    content: bytes
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume of a pod.

    Attributes:
        name: Its name in the pod.
        role: What it is: files, an empty directory, a claim; None for a directory of the host.
        engine_name: The engine's volume, or the directory of the host.
        source: What the manifest says of it.
        group: The group that its files belong to.
        options: How the engine's volume driver is to make it.
    """

    name: str
    role: Role | None
    engine_name: str
    source: Mapping[str, Any]
    group: int = 0
    options: tuple[tuple[str, str], ...] = ()

    @property
    def own(self) -> bool:
        """Whether it ends with its pod."""
        return self.role is Role.EMPTY


def volumes(pod: Identity) -> tuple[Volume, ...]:
    """Return the pod's volumes."""
    group = pick(pod.spec, ("securityContext", "fsGroup"), 0)
    return tuple(_volume(pod, each, group) for each in pod.spec.get("volumes") or ())


def _volume(pod: Identity, said: Mapping[str, Any], group: int) -> Volume:
    name = str(said.get("name"))
    kind = next((key for key in said if key != "name"), "emptyDir")
    source = {key: value for key, value in said.items() if key != "name"}
    place = (pod.project, pod.namespace)
    if kind in _FILES:
        own = pod.name if "downwardAPI" in str(source) else ""
        engine_name = thing_name(*place, "files", short_hash([source, group, own]))
        return Volume(name=name, role=Role.FILES, engine_name=engine_name, source=source, group=group)
    if kind == "persistentVolumeClaim":
        claim = str(pick(source, (kind, "claimName")))
        return Volume(
            name=name, role=Role.CLAIM, engine_name=thing_name(*place, "claim", claim), source=source, group=group
        )
    if kind == "hostPath":
        return Volume(name=name, role=None, engine_name=str(pick(source, (kind, "path"))), source=source)
    engine_name = thing_name(*place, "empty", pod.name, pod.uid[:8], name)
    options = _memory(source.get("emptyDir") or {})
    return Volume(name=name, role=Role.EMPTY, engine_name=engine_name, source=source, group=group, options=options)


def _memory(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if said.get("medium") != "Memory":
        return ()
    limit = number(said.get("sizeLimit") or "")
    size = f",size={int(limit)}" if limit else ""
    return (("type", "tmpfs"), ("device", "tmpfs"), ("o", f"mode=1777{size}"))


# --- files -------------------------------------------------------------------------------------------------------


def files(pod: Identity, source: Mapping[str, Any], around: Surroundings) -> tuple[File, ...]:
    """Return the files of a volume that is made of ConfigMaps, Secrets and the downward API.

    Raises:
        ConfigurationError: It refers to what is not there.
    """
    kind, said = next(iter(source.items()))
    if kind == "projected":
        mode = pick(said, ("defaultMode",), 0o644)
        found = [
            file
            for each in said.get("sources") or ()
            for part, inner in each.items()
            if part in _FILES
            for file in _files(pod, part, inner, mode, around)
        ]
    else:
        found = list(_files(pod, kind, said, pick(said, ("defaultMode",), 0o644), around))
    return tuple(sorted(found, key=lambda file: file.path))


def concerns(source: Mapping[str, Any], kind: str, name: str) -> bool:
    """Return whether a volume is made of this ConfigMap or Secret."""
    part = {"ConfigMap": "configMap", "Secret": "secret"}.get(kind)
    parts: Iterable[Any] = [source, *(pick(source, ("projected", "sources"), []))]
    return any(
        name in (pick(each, (part, "name")), pick(each, (part, "secretName")))
        for each in parts
        if part and part in each
    )


def _files(pod: Identity, kind: str, said: Mapping[str, Any], mode: int, around: Surroundings) -> Iterator[File]:
    if kind == "downwardAPI":
        yield from _downward(pod, said, mode, around)
        return
    object_kind = "ConfigMap" if kind == "configMap" else "Secret"
    name = str(said.get("name") or said.get("secretName"))
    document = around.objects.get((object_kind, pod.namespace, name))
    if document is None:
        if said.get("optional"):
            return
        raise ConfigurationError(f'{object_kind.lower()} "{name}" not found')
    found = values(document)
    items = said.get("items")
    if items is None:
        yield from (File(path=key, content=content, mode=mode) for key, content in found.items())
        return
    for item in items:
        key = str(item.get("key"))
        if key in found:
            yield File(path=str(item.get("path")), content=found[key], mode=pick(item, ("mode",), mode))
        elif not said.get("optional"):
            raise ConfigurationError(f"{object_kind.lower()} `{name}` has no key `{key}`")


def _downward(pod: Identity, said: Mapping[str, Any], mode: int, around: Surroundings) -> Iterator[File]:
    for item in said.get("items") or ():
        if reference := item.get("resourceFieldRef"):
            content = resource_value(pod, {}, reference, around)
        else:
            content = field_value(pod, str(pick(item, ("fieldRef", "fieldPath"))), around)
        yield File(path=str(item.get("path")), content=content.encode(), mode=pick(item, ("mode",), mode))


# --- mounts ------------------------------------------------------------------------------------------------------


def mounts(container: Mapping[str, Any], known: Sequence[Volume], variables: Mapping[str, str]) -> tuple[Document, ...]:
    """Return the container's mounts as the Engine API takes them.

    Args:
        container: As the manifest has it.
        known: The pod's volumes.
        variables: The container's environment, for `subPathExpr`.

    Raises:
        ConfigurationError: It mounts a volume that the pod does not have.
    """
    by_name = {volume.name: volume for volume in known}
    found = []
    for mount in container.get("volumeMounts") or ():
        volume = by_name.get(str(mount.get("name")))
        if volume is None:
            raise ConfigurationError(f"there is no volume `{mount.get('name')}`")
        below = str(mount.get("subPath") or expanded(str(mount.get("subPathExpr") or ""), variables))
        found.append(_mount(volume, mount, below))
    return tuple(found)


def below_of(mount: Document) -> str:
    """Return the path inside its volume that a mount of the Engine API shows, or an empty text for all of it."""
    return str(pick(mount, ("VolumeOptions", "Subpath"), ""))


def as_bind(mount: Document, folder: str) -> Document:
    """Return a volume's mount as a bind of the folder that the engine keeps the volume in."""
    shared = {name: mount[name] for name in ("Target", "ReadOnly")}
    return {"Type": "bind", "Source": posixpath.join(folder, below_of(mount)), **shared}


def _mount(volume: Volume, said: Mapping[str, Any], below: str) -> Document:
    target = str(said.get("mountPath"))
    read_only = bool(said.get("readOnly")) or volume.role is Role.FILES
    if volume.role is None:
        source = posixpath.join(volume.engine_name, below) if below else volume.engine_name
        return {
            "Type": "bind",
            "Source": source,
            "Target": target,
            "ReadOnly": read_only,
            "BindOptions": {"CreateMountpoint": pick(volume.source, ("hostPath", "type")) not in {"File", "Directory"}},
        }
    options: dict[str, Any] = {"NoCopy": True, **({"Subpath": below} if below else {})}
    return {
        "Type": "volume",
        "Source": volume.engine_name,
        "Target": target,
        "ReadOnly": read_only,
        "VolumeOptions": options,
    }
