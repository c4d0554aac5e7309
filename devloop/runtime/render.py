"""Rendering a service: its function's variables into its templates, its manifests into objects.

Used twice: once with placeholders for the images' references, to learn what the manifests declare, and again by each
deploy with the references of the built images.
"""

import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from devloop.core import digests, reference
from devloop.core.graph import Node, ServiceDetail
from devloop.core.manifest import Manifest, parse
from devloop.core.manifest.image_places import ImagePlace, place
from devloop.core.manifest.images import image_uses, missing, replace_images, without_forced_pulls
from devloop.core.template import mistakes, render
from devloop.dsl import Image, Service
from devloop.errors import InputError, InputErrors, Where
from devloop.model import HelmSource, ImagePath, ImageRef, KustomizeSource, NodeId, RelPath, ServiceSpec
from devloop.runtime.charts import Reads, chart_path, helm_manifests, kustomize_manifests, recipe_name
from devloop.runtime.definitions import Definitions
from devloop.runtime.renderings import Renderings, Request, UnrenderedError
from devloop.runtime.user_code import call

__all__ = [
    "PLACEHOLDER_TAG",
    "TEMPLATE_SUFFIXES",
    "Read",
    "Rendered",
    "all_in_folder",
    "by_repository",
    "image_named",
    "image_places",
    "in_folder",
    "manifests_of",
    "placeholder_image",
    "rendered",
    "service_handle",
    "with_images",
]

PLACEHOLDER_TAG: Final = "devloop-unbuilt"
"""The tag that stands for an image's reference until the image is built."""

TEMPLATE_SUFFIXES: Final = (".j2", ".jinja", ".jinja2")

Read = Callable[[str], str | None]
"""Returns the text of a file by its path relative to the project's root, or None where there is none."""


def in_folder(folder: str, path: str) -> str:
    """Return a devfile's path as one relative to the project's root."""
    return posixpath.normpath(posixpath.join(folder, path)) if path else posixpath.normpath(folder or ".")


def all_in_folder(folder: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """Return a devfile's patterns (`!` for exceptions) as ones relative to the project's root."""
    return tuple(
        "!" + in_folder(folder, each[1:]) if each.startswith("!") else in_folder(folder, each) for each in patterns
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a service's files declare.

    Attributes:
        manifests: Its objects.
        reads: By its place in the recipe: all that tools render something of, and what a template includes.
    """

    manifests: tuple[Manifest, ...]
    reads: Mapping[str, Reads]


def manifests_of(
    node: Node, handles: Mapping[str, object], *, read: Definitions, renderings: Renderings
) -> tuple[Manifest, ...]:
    """Return the objects of a service, as `rendered` does."""
    return rendered(node, handles, read=read, renderings=renderings).manifests


def rendered(node: Node, handles: Mapping[str, object], *, read: Definitions, renderings: Renderings) -> Rendered:
    """Return what the files of a service declare.

    Args:
        node: The service.
        handles: Its arguments by name: images, other services, settings.
        read: Reads the project's files.
        renderings: What tools outside of devloop rendered.

    Raises:
        InputErrors: All mistakes of its files.
        UnrenderedError: Tools have to render something first.
    """
    declaration = node.declaration
    spec = declaration.spec
    assert isinstance(spec, ServiceSpec)
    what = f"service `{node.id.name}`"
    returned = call(declaration.function, handles, root=renderings.root, where=declaration.where, what=what)
    if returned is not None and not isinstance(returned, Mapping):
        message = f"{what} returns {type(returned).__name__}, but variables for its templates are a mapping"
        raise InputErrors([InputError(message, where=declaration.where, hint='return {"name": value, …}, or nothing')])
    variables = {**handles, **(returned or {})}
    found: list[Manifest] = []
    errors: list[InputError] = []
    if not spec.manifests:
        hint = 'say which file deploys it: @service("k8s/api.yaml")'
        errors.append(InputError(f"{what} names no manifest", where=declaration.where, hint=hint))
    reads: dict[str, Reads] = {}
    missing: list[Request] = []
    for each in spec.manifests:
        try:
            match each:
                case str():
                    path = in_folder(declaration.folder, each)
                    own = reads.setdefault(path, Reads())
                    found.extend(_read_manifest(node, path, variables, _noting(read, path, own)))
                case KustomizeSource():
                    own = reads.setdefault(recipe_name(in_folder(declaration.folder, each.folder)), Reads())
                    found.extend(kustomize_manifests(node, each, own, read=read, renderings=renderings))
                case HelmSource():
                    own = reads.setdefault(recipe_name(chart_path(node, each)), Reads())
                    found.extend(helm_manifests(node, each, returned or {}, own, read=read, renderings=renderings))
        except InputErrors as mistakes:
            errors.extend(mistakes.errors)
        except InputError as mistake:
            errors.append(mistake)
        except UnrenderedError as unrendered:
            missing.extend(unrendered.requests)
    if missing:
        raise UnrenderedError(missing)
    errors.extend(_twice(found))
    if errors:
        raise InputErrors(errors)
    return Rendered(manifests=_with_places(found, spec.images, declaration.where), reads=reads)


def image_places(declared: Iterable[ImagePath], where: Where | None) -> tuple[ImagePlace, ...]:
    """Return the places of images that a devfile declares.

    Raises:
        InputErrors: All that are none.
    """
    found: list[ImagePlace] = []
    errors: list[InputError] = []
    for each in declared:
        try:
            found.append(place(each))
        except InputError as error:
            errors.append(InputError(error.message, where=where, hint=error.hint))
    if errors:
        raise InputErrors(errors)
    return tuple(found)


def with_images(
    manifests: tuple[Manifest, ...],
    images: Mapping[NodeId, tuple[ImageRef, str]],
    pulled: Collection[NodeId] = (),
) -> tuple[Manifest, ...]:
    """Return the manifests with each declared image's reference replaced by that of the built one.

    Args:
        manifests: The objects.
        images: For each image node, the repository it is declared under and the reference to use.
        pulled: The nodes whose images the cluster pulls from a registry; only others must never be pulled.
    """
    nodes = by_repository({each: repository for each, (repository, _) in images.items()})
    replaced = []
    for manifest in manifests:
        mapping, carried = {}, set()
        for use in image_uses(manifest):
            node = image_named(use.text, nodes)
            if node is not None:
                mapping[use.text] = images[node][1]
                carried |= {images[node][1]} if node not in pulled else set()
        if mapping:
            manifest = without_forced_pulls(replace_images(manifest, mapping), carried)  # noqa: PLW2901
        replaced.append(manifest)
    return tuple(replaced)


def by_repository(repositories: Mapping[NodeId, ImageRef]) -> dict[str, NodeId]:
    """Return the image nodes by the full names of their repositories, as `image_named` looks them up."""
    found: dict[str, NodeId] = {}
    for node, repository in repositories.items():
        found.setdefault(reference.full_repository(repository), node)
    return found


def image_named(text: str, nodes: Mapping[str, NodeId]) -> NodeId | None:
    """Return the image node that a reference names by its repository; a reference with a digest names none.

    Args:
        text: The reference.
        nodes: The nodes as `by_repository` gives them.
    """
    try:
        ref = reference.parse(text)
    except InputError:
        return None
    return nodes.get(reference.full_repository(ref)) if ref.digest is None else None


def placeholder_image(node: NodeId, repository: ImageRef) -> Image:
    """Return what stands for an image that is not built yet."""
    return Image(node.name, f"{repository}:{PLACEHOLDER_TAG}")


def service_handle(node: Node, urls: tuple[str, ...] = ()) -> Service:
    """Return what other functions see of a service."""
    if not isinstance(node.detail, ServiceDetail):
        return Service(node.id.name, host=node.id.name)  # its own mistakes are reported; do not add to them
    facts = node.detail.facts
    port = facts.ports[0].number if facts.ports else None
    return Service(node.id.name, host=facts.host, port=port, urls=urls)


def _read_manifest(node: Node, path: str, variables: Mapping[str, Any], read: Read) -> tuple[Manifest, ...]:
    text = read(path)
    if text is None:
        message = f"service `{node.id.name}` names the manifest `{path}`, which does not exist"
        raise InputError(message, where=node.declaration.where, hint="the path is relative to the devfile's folder")
    if not path.endswith(TEMPLATE_SUFFIXES):
        return parse(text, path=path)
    if found := mistakes(path, variables, read):
        raise InputErrors([_asked_by(node, mistake) for mistake in found])
    try:
        made = render(path, variables, read)
    except InputError as error:
        raise _asked_by(node, error) from error
    return parse(made.text, path=path, rendered_from=path, origins=made.lines)


def _noting(read: Read, path: str, reads: Reads) -> Read:
    """Return how a manifest reads files, with a note of those that it includes."""

    def noted(each: str) -> str | None:
        text = read(each)
        if text is not None and each != path:
            reads.files[RelPath(each)] = digests.of_text(text)
        return text

    return noted


def _with_places(manifests: Sequence[Manifest], declared: Sequence[ImagePath], where: Where) -> tuple[Manifest, ...]:
    """Return the manifests knowing where they name images.

    Raises:
        InputErrors: A place is none, or leads to nothing though it is required.
    """
    places = image_places(declared, where)
    found = tuple(replace(manifest, places=places) for manifest in manifests)
    required = [each for path, each in zip(declared, places, strict=True) if path.required]
    if missed := [error for each in required if (error := missing(each, found, where)) is not None]:
        raise InputErrors(missed)
    return found


def _asked_by(node: Node, error: InputError) -> InputError:
    chain = (*error.chain, node.declaration.where)
    return InputError(error.message, where=error.where, hint=error.hint, chain=chain)


def _twice(manifests: list[Manifest]) -> list[InputError]:
    first: dict[object, Manifest] = {}
    errors = []
    for manifest in manifests:
        other = first.setdefault(manifest.key, manifest)
        if other is not manifest and other.where.path != manifest.where.path:
            message = f"{manifest.key} is declared twice"
            errors.append(InputError(message, where=manifest.where, chain=(other.where,), hint="remove one of them"))
    return errors
