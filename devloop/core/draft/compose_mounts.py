"""What a Compose service mounts → volumes, claims, ConfigMaps and Secrets, or a sync of its sources."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.draft.compose_file import Compose
from devloop.core.draft.fields import Fields
from devloop.core.draft.model import DraftImage, DraftSync, Note
from devloop.core.draft.naming import slug
from devloop.core.draft.objects import Included, config_map, secret
from devloop.core.draft.tree import Tree, joined
from devloop.errors import InputError, Where

__all__ = ["Mounts", "mounts_of"]

_MOST_FILES: Final = 20
_LONGEST: Final = 200_000
_JINJA: Final = ("{{", "{%", "{#")


@dataclass(slots=True)
class Mounts:
    """What is mounted.

    Attributes:
        volumes: The pod's volumes.
        mounts: The container's mounts.
        objects: ConfigMaps and Secrets.
        claims: The names of the claims.
        syncs: What is copied instead.
        template: Whether the manifest is a template, since it includes files.
    """

    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    syncs: list[DraftSync] = field(default_factory=list)
    template: bool = False

    def add(self, name: str, source: Mapping[str, Any], path: str, **more: Any) -> None:
        """Add a volume and its mount."""
        if name not in (each["name"] for each in self.volumes):
            self.volumes.append({"name": name, **source})
        self.mounts.append({"name": name, "mountPath": path, **{key: value for key, value in more.items() if value}})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mount:
    kind: str
    source: str | None
    target: str
    read_only: bool
    size: str | None = None
    subpath: str | None = None


def mounts_of(compose: Compose, tree: Tree, service: str, fields: Fields, image: DraftImage | None) -> Mounts:
    """Return what a service mounts.

    Args:
        compose: The whole.
        tree: The project's files.
        service: The service's name.
        fields: What it says.
        image: The image that it builds, or None.
    """
    reading = _Reading(compose, tree, service, fields, image)
    for mount in _declared(fields):
        reading.mount(mount)
    for path in fields.texts("tmpfs"):
        reading.mount(_Mount(kind="tmpfs", source=None, target=path.partition(":")[0], read_only=False))
    if size := fields.text("shm_size"):
        reading.found.add("shm", {"emptyDir": {"medium": "Memory", "sizeLimit": memory(size)}}, "/dev/shm")  # noqa: S108
    reading.files("secrets", compose.secrets, "/run/secrets")
    reading.files("configs", compose.configs, "")
    return reading.found


def memory(text: str) -> str:
    """Return an amount of memory as Kubernetes writes it."""
    number = text.lower().removesuffix("b")
    suffix = {"k": "Ki", "m": "Mi", "g": "Gi", "t": "Ti"}.get(number[-1:], "")
    return number[:-1] + suffix if suffix else number


def _declared(fields: Fields) -> Iterator[_Mount]:
    raw = fields.raw("volumes")
    for number, item in enumerate(raw if isinstance(raw, list) else []):
        mark = fields.mark.at(("volumes", number))
        where = Where(path=fields.path, line=mark.line, column=mark.column)
        if isinstance(item, str):
            yield _short(item)
        elif isinstance(item, dict):
            yield _long(Fields(item, mark, fields.path, fields.notes, f"{fields.name}.volumes[{number}]"))
        else:
            raise InputError("a volume must be text or a mapping", where=where)


def _short(text: str) -> _Mount:
    parts = text.split(":")
    if len(parts) == 1:
        return _Mount(kind="anonymous", source=None, target=parts[0], read_only=False)
    source, target, *modes = parts
    kind = "bind" if source.startswith((".", "/", "~", "$")) else "volume"
    return _Mount(kind=kind, source=source, target=target, read_only="ro" in ",".join(modes).split(","))


def _long(fields: Fields) -> _Mount:
    kind = fields.text("type") or "volume"
    source, target = fields.text("source"), fields.text("target") or "/"
    size, subpath = None, None
    if kind == "tmpfs":
        options = fields.mapping("tmpfs")
        size = options.text("size")
        options.rest()
    elif kind == "volume":
        options = fields.mapping("volume")
        options.settled("nocopy", "labels")
        subpath = options.text("subpath")
        kind = "volume" if source else "anonymous"
    fields.settled("bind", "consistency")
    read_only = fields.flag("read_only")
    fields.rest()
    return _Mount(kind=kind, source=source, target=target, read_only=read_only, size=size, subpath=subpath)


class _Reading:
    def __init__(self, compose: Compose, tree: Tree, service: str, fields: Fields, image: DraftImage | None) -> None:
        self.found = Mounts()
        self._compose = compose
        self._tree = tree
        self._service = service
        self._fields = fields
        self._image = image

    def mount(self, mount: _Mount) -> None:
        match mount.kind:
            case "tmpfs":
                limit = {"sizeLimit": memory(mount.size)} if mount.size else {}
                source = {"emptyDir": {"medium": "Memory", **limit}}
                self.found.add(self._name(mount.target), source, mount.target)
            case "anonymous":
                if self._image is None:
                    self.found.add(self._name(mount.target), {"emptyDir": {}}, mount.target)
            case "volume":
                self._claim(mount)
            case "bind":
                self._bind(mount)
            case _:
                self._note(f"the mount at `{mount.target}` is left out: Kubernetes has none of type `{mount.kind}`")

    def _claim(self, mount: _Mount) -> None:
        name = mount.source or ""
        declared = self._compose.volumes.get(name)
        if declared is not None:
            name = declared.text("name") or name
            declared.settled("external", "labels")
            declared.left_out("driver", "not carried over: the cluster's default storage class serves the claim")
            declared.left_out("driver_opts", "not carried over: the cluster's default storage class serves the claim")
            declared.rest()
        claim = slug(name)
        self.found.claims.append(claim)
        source = {"persistentVolumeClaim": {"claimName": claim}}
        self.found.add(claim, source, mount.target, readOnly=mount.read_only, subPath=mount.subpath)

    def _bind(self, mount: _Mount) -> None:
        source = mount.source or "."
        if source.startswith(("/", "~", "$")):
            self._note(f"the mount of `{source}` is left out: a cluster's nodes do not have this machine's files")
            return
        path = joined(self._compose.folders.get(self._service, "."), source)
        folder = path in self._tree.folders
        if self._image is not None and (folder or not mount.read_only):
            sync = DraftSync(image=self._image.name, source=path, destination=mount.target)
            if folder or self._tree.has(path):
                self.found.syncs.append(sync)
            else:
                self._note(f"the mount of `{source}` is left out: there is no such file or folder")
            return
        files = self._files(path) if folder else [path] if self._tree.has(path) else []
        if not files:
            self._note(f"the mount of `{source}` is left out: it is missing, or too much for a ConfigMap")
            return
        name = f"{slug(self._service)}-{slug(posixpath.basename(path))}"
        data = {posixpath.basename(each): self._content(each) for each in files}
        self.found.objects.append(config_map(name, data))
        subpath = None if folder else posixpath.basename(path)
        self.found.add(name, {"configMap": {"name": name}}, mount.target, subPath=subpath, readOnly=mount.read_only)

    def _files(self, folder: str) -> list[str]:
        files = list(self._tree.below(folder))
        texts = [self._tree.read(each) for each in files]
        flat = all(posixpath.dirname(each) == folder for each in files)
        small = len(files) <= _MOST_FILES and sum(len(text or "") for text in texts) <= _LONGEST
        return files if flat and small and all(text is not None for text in texts) else []

    def _content(self, path: str) -> str | Included:
        text = self._tree.read(path) or ""
        if path.startswith("..") or any(mark in text for mark in _JINJA) or not text.strip():
            return text
        self.found.template = True
        return Included(path, ends=text.endswith("\n"))

    # --- secrets and configs -------------------------------------------------------------------------------------

    def files(self, key: str, declared: Mapping[str, Fields], folder: str) -> None:
        """Mount the secrets or configs of the service."""
        raw = self._fields.raw(key)
        for item in raw if isinstance(raw, list) else []:
            source = str(item.get("source") if isinstance(item, dict) else item)
            target = str(item.get("target") or source) if isinstance(item, dict) else source
            where = self._fields.where(key)
            if source not in declared:
                raise InputError(f"there is no `{source}` among the {key}", where=where)
            path = target if target.startswith("/") else f"{folder}/{target}"
            self._file(key, source, declared[source], path)

    def _file(self, key: str, source: str, declared: Fields, path: str) -> None:
        name = slug(source)
        file = posixpath.basename(path)
        text = self._given(declared)
        if text is not None:
            made = (secret if key == "secrets" else config_map)(name, {file: text})
            self.found.objects.append(made)
        origin = {"secret": {"secretName": name}} if key == "secrets" else {"configMap": {"name": name}}
        self.found.add(name, origin, path, subPath=file, readOnly=True)

    def _given(self, declared: Fields) -> str | Included | None:
        declared.settled("name", "labels", "template_driver")
        if declared.raw("external"):
            declared.note(None, "is external: it has to be in the cluster already")
            return None
        if (content := declared.text("content")) is not None:
            return content
        if (variable := declared.text("environment")) is not None:
            declared.note("environment", f"the value of `{variable}` is not written into a manifest: put it there")
            return ""
        file = declared.text("file")
        path = joined(posixpath.dirname(declared.path) or ".", file or "")
        if file is None or not self._tree.has(path):
            declared.note("file", "is empty in the manifest: there is no such file")
            return ""
        return self._content(path)

    def _name(self, target: str) -> str:
        return slug(target)

    def _note(self, text: str) -> None:
        self._fields.notes.append(Note(text=f"`{self._service}`: {text}", where=self._fields.where("volumes")))
