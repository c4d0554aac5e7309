"""A draft from a Compose file: images, syncs and services, and the manifests that Compose has no word for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from devloop.core.draft.compose_build import image_of, repository_of, syncs_of
from devloop.core.draft.compose_file import Compose, read_compose
from devloop.core.draft.compose_mounts import Mounts, mounts_of
from devloop.core.draft.compose_ports import published_ports
from devloop.core.draft.compose_service import Known, workload_of
from devloop.core.draft.dockerfiles import facts_of, ports_exposed
from devloop.core.draft.fields import Fields
from devloop.core.draft.model import Draft, DraftImage, DraftService, DraftSync, Note, Value
from devloop.core.draft.naming import slug, switch_name
from devloop.core.draft.objects import Port, claim, objects_text
from devloop.core.draft.port_choices import Ports
from devloop.core.draft.proposals import propose
from devloop.core.draft.tree import Tree
from devloop.errors import InputError, Where

__all__ = ["compose_draft"]

_FOLDER = "k8s"


def compose_draft(tree: Tree, path: str) -> Draft:
    """Return what a Compose file says.

    Raises:
        InputErrors: It cannot be read.
        InputError: A value is wrong.
    """
    compose = read_compose(tree, path)
    if not compose.services:
        raise InputError(f"`{path}` has no services", where=Where(path=path))
    drafting = _Drafting(tree, compose)
    optional = {name: fields.texts("profiles") for name, fields in compose.services.items()}
    for name in compose.services:
        drafting.read(name)
    whole = drafting.draft([name for name, profiles in optional.items() if not profiles])
    switches = dict.fromkeys(profile for profiles in optional.values() for profile in profiles)
    profiles = {
        switch_name(profile): replace(
            drafting.draft([name for name, own in optional.items() if not own or profile in own]),
            about=(f"the profile `{profile}` of {path}",),
        )
        for profile in switches
    }
    return replace(whole, profiles=profiles, notes=tuple(compose.notes), files=drafting.files)


@dataclass(slots=True, kw_only=True)
class _Part:
    service: DraftService
    image: DraftImage | None
    syncs: list[DraftSync]


class _Drafting:
    def __init__(self, tree: Tree, compose: Compose) -> None:
        self._tree = tree
        self._compose = compose
        self.files: dict[str, str] = {}
        self._names = {name: slug(name) for name, fields in compose.services.items() if "build" in fields}
        self._awaited = _awaited(compose)
        self._shared = _shared_volumes(compose)
        self._images = self._built()
        self._parts: dict[str, _Part] = {}
        self._ports = Ports()

    def _built(self) -> dict[str, DraftImage]:
        """Return the images by service; services that build the same have the same one."""
        found: dict[str, DraftImage] = {}
        for name, fields in self._compose.services.items():
            made = image_of(self._compose, self._tree, name, fields, self._names)
            if made is None:
                continue
            image, written = made
            self.files.update(written)
            if (checked := self._checked(image, fields)) is not None:
                found[name] = checked
        named = {name for name, fields in self._compose.services.items() if "image" in fields}
        leaders: dict[object, DraftImage] = {}
        for name in sorted(found, key=lambda each: each not in named):
            each = found[name]
            key = (each.context, each.dockerfile, repr(each.options), repr(each.returned))
            leader = leaders.setdefault(key, each)
            if name not in named or leader.repository == each.repository:
                found[name] = leader
        return found

    def read(self, name: str) -> None:
        """Read a service."""
        fields = self._compose.services[name]
        image = self._images.get(name)
        if image is None and "image" not in fields:
            text = f"`{name}` is left out: it names no image, and none can be built for it"
            self._compose.notes.append(Note(text=text, where=fields.where()))
            fields.settled(*fields)
            return
        ports, forwards = published_ports(fields)
        if image is not None:
            exposed = [Port(number) for number in ports_exposed(self._tree, image)]
            ports = list(dict.fromkeys((*ports, *exposed)))
        mounts = mounts_of(self._compose, self._tree, name, fields, image)
        known = Known(
            image=image.repository if image else repository_of(name, fields),
            built=image is not None,
            ports=ports,
            mounts=mounts,
            once=name in self._awaited,
        )
        workload = workload_of(self._compose, self._tree, name, fields, known)
        path = f"{_FOLDER}/{workload.name}.yaml{'.j2' if mounts.template else ''}"
        about = f"Written by `devloop init` from `{name}` of {fields.path}; it is yours from here on."
        own = [claim(each) for each in dict.fromkeys(mounts.claims) if each not in self._shared]
        self.files[path] = objects_text(workload, [*own, *mounts.objects], about=about)
        service = DraftService(
            name=workload.name,
            manifests=(path,),
            ports={self._ports.free(local): target for local, target in forwards.items()},
            services=self._needs(name, fields),
        )
        syncs = self._syncs(name, fields, image, mounts, workload.container)
        self._parts[name] = _Part(service=service, image=image, syncs=syncs)

    def _checked(self, image: DraftImage, fields: Fields) -> DraftImage | None:
        """Return the image if its Dockerfile can be read."""
        if image.dockerfile in self.files:
            return image
        _, problem = facts_of(self._tree, image)
        if problem is None:
            return image
        text = f"the image of `{image.name}` is left out: {problem.message}"
        self._compose.notes.append(Note(text=text, where=problem.where or fields.where("build")))
        return None

    def _needs(self, name: str, fields: Fields) -> tuple[str, ...]:
        raw = fields.raw("depends_on")
        if not isinstance(raw, list | dict | None):
            raise fields.error("depends_on", "a list or a mapping")
        wanted = [str(each) for each in raw or ()]
        for each in wanted:
            if each not in self._compose.services:
                raise InputError(f"`{name}` depends on `{each}`, which is not there", where=fields.where("depends_on"))
        return tuple(slug(each) for each in wanted)

    def _syncs(
        self, name: str, fields: Fields, image: DraftImage | None, mounts: Mounts, container: Mapping[str, Any]
    ) -> list[DraftSync]:
        watched = syncs_of(self._compose, name, fields, image)
        if name in self._awaited:
            return []
        if watched:
            return watched
        if mounts.syncs:
            return mounts.syncs
        if image is None or image.dockerfile in self.files:
            return []
        command = " ".join(str(word) for key in ("command", "args") for word in container.get(key, ()))
        return propose(self._tree, image, [command] if command else [])

    # --- all of it -----------------------------------------------------------------------------------------------

    def draft(self, names: Iterable[str]) -> Draft:
        """Return the draft of these services."""
        parts = [self._parts[name] for name in names if name in self._parts]
        there = {part.service.name for part in parts}
        images = _once(part.image for part in parts if part.image is not None)
        services = [
            replace(
                part.service,
                services=tuple(each for each in part.service.services if each in there),
            )
            for part in parts
        ]
        if self._shared:
            path = f"{_FOLDER}/volumes.yaml"
            about = f"Written by `devloop init`: volumes that several services of {self._compose.path} mount."
            self.files[path] = f"# {about}\n" + "---\n".join(_dumped(claim(each)) for each in sorted(self._shared))
            services.insert(0, DraftService(name="volumes", manifests=(path,)))
        project: dict[str, Value] = {"name": slug(self._compose.name)} if self._compose.name else {}
        return Draft(
            about=(
                f"Written by `devloop init` from {self._compose.path}.",
                f"The manifests in {_FOLDER}/ were written with it: Compose has none. They are yours from here on.",
            ),
            project=project,
            images=tuple(images),
            services=tuple(services),
            syncs=tuple(dict.fromkeys(sync for part in parts for sync in part.syncs)),
        )


def _dumped(document: Mapping[str, Any]) -> str:
    from devloop.core.yaml.documents import dump

    return dump(document)


def _once(images: Iterable[DraftImage]) -> list[DraftImage]:
    found: dict[str, DraftImage] = {}
    for image in images:
        found.setdefault(image.name, image)
    return list(found.values())


def _awaited(compose: Compose) -> set[str]:
    """Return the services whose end others wait for."""
    found = set()
    for fields in compose.services.values():
        raw = fields.value.get("depends_on")
        for name, condition in raw.items() if isinstance(raw, dict) else ():
            if isinstance(condition, dict) and condition.get("condition") == "service_completed_successfully":
                found.add(name)
    return found


def _shared_volumes(compose: Compose) -> set[str]:
    """Return the claims that more than one service mounts."""
    users: dict[str, set[str]] = {}
    for name, fields in compose.services.items():
        for item in _sources(fields.value.get("volumes")):
            users.setdefault(item, set()).add(name)
    return {
        slug(str((compose.volumes[each].value.get("name") if each in compose.volumes else None) or each))
        for each, names in users.items()
        if len(names) > 1
    }


def _sources(raw: Any) -> Sequence[str]:
    found = []
    for item in raw if isinstance(raw, list) else []:
        if isinstance(item, str) and ":" in item and not item.startswith((".", "/", "~", "$")):
            found.append(item.partition(":")[0])
        elif isinstance(item, dict) and item.get("type", "volume") == "volume" and item.get("source"):
            found.append(str(item["source"]))
    return found
