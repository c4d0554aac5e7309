"""A draft from Dockerfiles and manifests alone, with the charts and kustomizations among them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from devloop.core.draft.dockerfiles import base_names, builds, names_repository, ports_exposed
from devloop.core.draft.grouping import services_of
from devloop.core.draft.image_names import images_of
from devloop.core.draft.layouts import Layouts, layouts
from devloop.core.draft.manifests import ManifestFile, looks_like_manifest, manifest_files
from devloop.core.draft.model import Draft, DraftImage, DraftService, Manifests, Note
from devloop.core.draft.objects import Port, Workload, objects_text
from devloop.core.draft.proposals import propose
from devloop.core.draft.tree import Tree
from devloop.core.manifest import facts

__all__ = ["plain_draft"]

_TEMPLATES: Final = (".j2", ".jinja", ".jinja2")


def plain_draft(tree: Tree) -> Draft | None:
    """Return what Dockerfiles and manifests say, or None where there are none."""
    found, variants = builds(tree)
    arranged = layouts(tree)
    files, unread = manifest_files(tree, (path for path in tree.files if not arranged.holds(path)))
    if not found and not files and not arranged.services:
        return None
    templates = _templates(tree, arranged)
    uses = _Uses((*files, *arranged.files))
    references = {**uses.owners(), **arranged.references}
    images, doubts = images_of(tree, found, references)
    services, left_out = services_of(files, project=tree.name, taken=[each.name for each in arranged.services])
    bases = base_names(tree, images)
    images.sort(key=lambda each: each.name not in bases)
    about = [_about(images, files, arranged.services)]
    written: dict[str, str] = {}
    if files or arranged.services or templates:
        images = [_with_use(each, references, each.name in bases) for each in images]
    else:
        services, written = _deployments(tree, [each for each in images if each.name not in bases])
        about.append("There were no manifests: those in k8s/ were written with it, and are yours from here on.")
    return Draft(
        about=tuple(about),
        images=tuple(images),
        services=(*arranged.services, *services),
        syncs=tuple(
            sync
            for each in images
            if each.name not in bases
            for sync in propose(tree, each, uses.commands(each.repository))
        ),
        notes=(*variants, *doubts, *unread, *left_out, *arranged.notes, *templates),
        files=written,
    )


@dataclass(frozen=True, slots=True)
class _Uses:
    """Who uses which image."""

    files: tuple[ManifestFile, ...]

    def owners(self) -> dict[str, list[str]]:
        """Return the names of the workloads and containers by each reference that they name."""
        found: dict[str, list[str]] = {image: [] for file in self.files for image in file.images}
        for file in self.files:
            for workload in facts(file.manifests).workloads:
                for container in workload.containers:
                    found.setdefault(container.image, []).extend((workload.key.name, container.name))
        return found

    def commands(self, repository: str) -> list[str]:
        """Return the commands of the containers that run an image and do not leave it to the image."""
        return [
            " ".join(words)
            for file in self.files
            for workload in facts(file.manifests).workloads
            for container in workload.containers
            if (words := (*(container.command or ()), *(container.args or ())))
            and names_repository(container.image, repository)
        ]


def _templates(tree: Tree, arranged: Layouts) -> list[Note]:
    """Return notes about manifests that are templates already: what they need, nobody but their author knows."""
    found = []
    for path in tree.files:
        text = tree.read(path) if path.endswith(_TEMPLATES) and not arranged.holds(path) else None
        if text is not None and looks_like_manifest(text):
            found.append(Note(text=f"`{path}` is a template: write a @service for it with its variables as arguments"))
    return found


def _with_use(image: DraftImage, references: dict[str, list[str]], is_base: bool) -> DraftImage:  # noqa: FBT001
    """Return an image with a note where nobody asks for it."""
    if is_base or any(names_repository(text, image.repository) for text in references):
        return image
    note = Note(text="no manifest names this image; if one calls it otherwise, say so: `ref=`")
    return replace(image, notes=(*image.notes, note))


def _about(images: Sequence[DraftImage], files: Sequence[ManifestFile], arranged: Sequence[DraftService]) -> str:
    tools = {each.tool for service in arranged for each in service.manifests if isinstance(each, Manifests)}
    there = {
        "Dockerfiles": bool(images),
        "manifests": bool(files),
        "charts": "helm" in tools,
        "kustomizations": "kustomize" in tools,
    }
    *words, last = [word for word, is_there in there.items() if is_there] or ["files"]
    return f"Written by `devloop init` from this project's {', '.join(words)}{' and ' if words else ''}{last}."


def _deployments(tree: Tree, images: Sequence[DraftImage]) -> tuple[list[DraftService], dict[str, str]]:
    """Return services and their manifests for a project that has none: a Deployment, and a Service for its ports."""
    services: list[DraftService] = []
    written: dict[str, str] = {}
    for image in images:
        ports = tuple(Port(number) for number in ports_exposed(tree, image))
        path = f"k8s/{image.name}.yaml"
        workload = Workload(name=image.name, image=image.repository, ports=ports, reached=bool(ports))
        written[path] = objects_text(workload, about=f"Written by `devloop init` for {image.dockerfile}.")
        services.append(DraftService(name=image.name, manifests=(path,)))
    return services, written
