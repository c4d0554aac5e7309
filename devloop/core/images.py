"""Image references inside Kubernetes objects: where they stand, and how they are replaced.

What Kubernetes and common custom resources have in common is the key: containers everywhere (pod templates in any
resource, Knative, Argo, KEDA, Tekton steps) say `image:`, others `sidecarImage:`, `imageName:`, or a mapping with
`repository` and `tag`. Every such text that reads as a reference counts; the graph keeps those that name a declared
image.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devloop.core import reference
from devloop.core.objects import Manifest
from devloop.core.pod_templates import group_of, pick, put
from devloop.core.yaml_documents import Pointer
from devloop.errors import InputError, Where
from devloop.model import ImageRef

__all__ = ["ImageUse", "image_uses", "replace_images", "without_forced_pulls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """One place of a manifest that names an image.

    Attributes:
        pointer: The way to the text, or to the mapping that has the reference in parts.
        text: The reference as written (joined, where it is in parts); `core.reference.parse` accepts it.
        where: The place in the file.
    """

    pointer: Pointer
    text: str
    where: Where


def image_uses(manifest: Manifest, *, paths: Sequence[str] = ()) -> tuple[ImageUse, ...]:
    """Return every place of the manifest that holds an image reference, in the order of the document.

    Args:
        manifest: The object to look at.
        paths: Further places, for resources that keep references under other keys: dotted keys with `*` for every key
            or item and numbers for one item, such as `spec.steps.*.run.uses`.

    Raises:
        InputError: When one of `paths` is empty or has an empty part.
    """
    document = manifest.document
    found: dict[Pointer, str] = {}
    if (group_of(document), document.get("kind")) not in _WITHOUT_IMAGES:
        found.update(_walk(document, ()))
    for path in paths:
        for pointer in _expand(document, (), _split(path)):
            if (text := _reference_text(pick(document, pointer))) is not None:
                found.setdefault(pointer, text)
    return tuple(
        ImageUse(pointer=pointer, text=text, where=manifest.where_of(pointer)) for pointer, text in found.items()
    )


def replace_images(manifest: Manifest, mapping: Mapping[str, str], *, paths: Sequence[str] = ()) -> Manifest:
    """Return the manifest with the references that `mapping` has as keys replaced; nothing else changes.

    Args:
        manifest: The object to change.
        mapping: Text of a reference as `image_uses` gives it, to the new reference.
        paths: As for `image_uses`.
    """
    document = manifest.document
    for use in image_uses(manifest, paths=paths):
        if use.text in mapping:
            document = put(document, use.pointer, _replaced(pick(document, use.pointer), mapping[use.text]))
    return manifest.with_document(document)


def without_forced_pulls(manifest: Manifest, images: Collection[str]) -> Manifest:
    """Return the manifest where the containers of these images take what the node has before they ask a registry.

    For references whose tag follows the content: `imagePullPolicy: Always` can bring nothing newer, and fails where the
    image came to the node without a registry.

    Args:
        manifest: The object to change.
        images: The references as the manifest has them now.
    """
    document = manifest.document
    for use in image_uses(manifest):
        policy = (*use.pointer[:-1], "imagePullPolicy")
        if use.text in images and use.pointer[-1] == "image" and pick(document, policy) == "Always":
            document = put(document, policy, "IfNotPresent")
    return manifest.with_document(document)


# Their content is text for programs and people, or (in a CRD) a description of values, not values.
_WITHOUT_IMAGES = {
    ("", "ConfigMap"),
    ("", "Secret"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
}
_NEVER_INSIDE = {"annotations", "labels", "matchLabels", "nodeSelector"}
_IMAGE_KEY = re.compile(r"image\Z|imageName\Z|\w+(?:Image|ImageName)\Z|\w+[_-]image\Z")
_IMAGE_LIST_KEY = re.compile(r"images\Z|\w+Images\Z")


def _walk(value: Any, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    match value:
        case dict():
            for key, part in value.items():
                if key in _NEVER_INSIDE or (not pointer and key in ("metadata", "status")):
                    continue
                yield from _at_key(key, part, (*pointer, key))
        case list():
            for position, part in enumerate(value):
                yield from _walk(part, (*pointer, position))
        case _:
            return


def _at_key(key: str, value: Any, pointer: Pointer) -> Iterator[tuple[Pointer, str]]:
    """Yield the references in the value of one key of a mapping."""
    if _IMAGE_KEY.match(key):
        if (text := _reference_text(value)) is not None:
            yield pointer, text
            return
        if isinstance(value, dict) and (text := _reference_text(value.get("reference"))) is not None:
            yield (*pointer, "reference"), text  # a volume whose content is an image
            return
    if _IMAGE_LIST_KEY.match(key) and isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, str) and _is_reference(item):
                yield (*pointer, position), item
    yield from _walk(value, pointer)


def _reference_text(value: Any) -> str | None:
    """Return the reference that a text, or a mapping with `repository`, spells; None where it is none."""
    if isinstance(value, dict):
        value = _joined(value)
    return value if isinstance(value, str) and _is_reference(value) else None


def _is_reference(text: str) -> bool:
    try:
        reference.parse(text)
    except InputError:
        return False
    return True


# --- references in parts: {registry, repository, tag, digest} ---------------------------------------------


def _joined(parts: Mapping[str, Any]) -> str | None:
    repository, registry = parts.get("repository"), parts.get("registry")
    if not isinstance(repository, str):
        return None
    text = f"{registry}/{repository}" if isinstance(registry, str) and registry else repository
    if (tag := parts.get("tag")) not in (None, ""):
        text += f":{tag}"
    if digest := parts.get("digest"):
        text += f"@{digest}"
    return text


def _replaced(value: Any, new: str) -> Any:
    if not isinstance(value, dict):
        return new
    ref = reference.parse(new)
    parts = dict(value)
    if "registry" in parts:
        parts["registry"] = ref.domain or ""
        parts["repository"] = ref.path
    else:
        parts["repository"] = ref.repository
    return _with_version(parts, ref)


def _with_version(parts: dict[str, Any], ref: ImageRef) -> dict[str, Any]:
    """Set tag and digest; a digest without a key of its own goes behind the tag, as charts join both by `:`."""
    parts.pop("tag", None)
    has_digest = parts.pop("digest", None) is not None
    if ref.digest and not has_digest:
        parts["tag"] = f"{ref.tag or 'latest'}@{ref.digest}"
        return parts
    if ref.tag:
        parts["tag"] = ref.tag
    if ref.digest:
        parts["digest"] = ref.digest
    return parts


# --- paths that the user declares --------------------------------------------------------------------------


def _split(path: str) -> tuple[str, ...]:
    steps = tuple(path.replace("[", ".").replace("]", "").removeprefix("$").removeprefix(".").split("."))
    if not all(steps):
        message = f"`{path}` is not a path to an image"
        raise InputError(message, hint="write keys with dots between them, `*` for every item: `spec.steps.*.image`")
    return steps


def _expand(value: Any, pointer: Pointer, steps: Sequence[str]) -> Iterator[Pointer]:
    if not steps:
        yield pointer
        return
    match value:
        case dict():
            keys: list[str | int] = [key for key in value if steps[0] in ("*", key)]
        case list():
            keys = [position for position in range(len(value)) if steps[0] in ("*", str(position))]
        case _:
            return
    for key in keys:
        yield from _expand(value[key], (*pointer, key), steps[1:])
