"""Image references inside Kubernetes objects: where they stand, and how they are replaced.

What Kubernetes and common custom resources have in common is the key: containers everywhere (pod templates in any
resource, Knative, Argo, KEDA, Tekton steps) say `image:`, others `sidecarImage:`, `imageName:`, or have the reference
in parts (`image_parts`). Where the key does not tell, places are known or declared (`image_places`). Every
such text that reads as a reference counts; the graph keeps those that name a declared image.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from devloop.core import reference
from devloop.core.manifest.image_parts import Keys, beside, exchanged, joined, under_image
from devloop.core.manifest.image_places import ImagePlace, known_places
from devloop.core.manifest.objects import Manifest
from devloop.core.manifest.pod_templates import pick, put
from devloop.core.yaml.documents import Pointer
from devloop.errors import InputError, Where

__all__ = ["ImageUse", "image_uses", "missing", "replace_images", "without_forced_pulls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageUse:
    """One place of a manifest that names an image.

    Attributes:
        pointer: The way to the text, or to the mapping that has the reference in parts.
        text: The reference as written (joined, where it is in parts); `core.reference.parse` accepts it.
        where: The place in the file.
        keys: For a reference in parts, the key of each part.
        before: What stands before the reference in the text, such as `docker://` or `--image=`.
    """

    pointer: Pointer
    text: str
    where: Where
    keys: Keys = field(default_factory=dict)
    before: str = ""


def image_uses(manifest: Manifest) -> tuple[ImageUse, ...]:
    """Return every place of the manifest that holds an image reference; those that keys do not tell come last."""
    document, key = manifest.document, manifest.key
    found: dict[tuple[Pointer, str], _Found] = {}
    if (key.group, key.kind) not in _WITHOUT_IMAGES:
        for each in _walk(document, (), key.group):
            found.setdefault(each.identity, each)
    for place in (*known_places(key.group, key.kind), *manifest.places):
        if place.is_of(key.group, key.kind):
            for pointer in place.pointers(document):
                if (declared := _declared(pick(document, pointer), pointer, place.keys)) is not None:
                    found.setdefault(declared.identity, declared)
    return tuple(
        ImageUse(
            pointer=each.pointer,
            text=each.text,
            where=manifest.where_of((*each.pointer, *filter(None, (each.keys.get("repository"),)))),
            keys=each.keys,
            before=each.before,
        )
        for each in found.values()
    )


def missing(place: ImagePlace, manifests: Sequence[Manifest], where: Where) -> InputError | None:
    """Return the mistake of a declared place that leads to no reference in any of the manifests, or None.

    Args:
        place: The place.
        manifests: The objects that should have it.
        where: The place's own place, in the devfile.
    """
    fitting = [each for each in manifests if place.is_of(each.key.group, each.key.kind)]
    named = place.kind if place.group is None else f"{place.group}/{place.kind}"
    if not fitting:
        kinds = ", ".join(f"`{kind}`" for kind in dict.fromkeys(each.key.kind for each in manifests))
        message = f"images of `{named}` are declared, but the manifests have no such object"
        return InputError(message, where=where, hint=f"they have {kinds}" if kinds else "they are empty")
    reached = False
    for manifest in fitting:
        for pointer in place.pointers(manifest.document):
            reached = True
            if _declared(pick(manifest.document, pointer), pointer, place.keys) is not None:
                return None
    what = "leads to no image reference" if reached else "leads to nothing"
    message = f"`{place.written}` {what} in any `{named}` of the manifests"
    return InputError(message, where=where, chain=(fitting[0].where,), hint=_nearest(place, fitting[0]))


def _nearest(place: ImagePlace, manifest: Manifest) -> str:
    """Return a hint that says how far the path gets."""
    for length in range(len(place.steps) - 1, -1, -1):
        shorter = replace(place, steps=place.steps[:length])
        for pointer in shorter.pointers(manifest.document):
            value = pick(manifest.document, pointer)
            at = ".".join(map(str, pointer)) or "the object"
            if isinstance(value, dict) and value:
                return f"`{at}` has {', '.join(f'`{key}`' for key in list(value)[:8])}"
            return f"`{at}` is {'a list: `[*]` means each item' if isinstance(value, list) else 'the last on the way'}"
    return "check the path"


def replace_images(manifest: Manifest, mapping: Mapping[str, str]) -> Manifest:
    """Return the manifest with the references that `mapping` has as keys replaced; nothing else changes.

    Args:
        manifest: The object to change.
        mapping: Text of a reference as `image_uses` gives it, to the new reference.
    """
    document = manifest.document
    for use in image_uses(manifest):
        if use.text in mapping:
            new = mapping[use.text]
            old = pick(document, use.pointer)
            document = put(document, use.pointer, exchanged(old, use.keys, new) if use.keys else use.before + new)
    return manifest.with_document(document)


def without_forced_pulls(manifest: Manifest, images: Collection[str]) -> Manifest:
    """Return the manifest where the containers of these images take what the node has before they ask a registry.

    For references whose tag follows the content: a pull policy `Always` can bring nothing newer, and fails where the
    image came to the node without a registry.

    Args:
        manifest: The object to change.
        images: The references as the manifest has them now.
    """
    document = manifest.document
    for use in image_uses(manifest):
        for policy in _policies(use) if use.text in images else ():
            if pick(document, policy) == "Always":
                document = put(document, policy, "IfNotPresent")
    return manifest.with_document(document)


def _policies(use: ImageUse) -> Iterator[Pointer]:
    """Yield where the pull policy of a reference may stand."""
    above, last = use.pointer[:-1], use.pointer[-1:]
    if use.keys:
        yield (*use.pointer, "pullPolicy")
        yield (*use.pointer, "imagePullPolicy")
    if last in (("image",), ("imageName",)):
        yield (*above, "imagePullPolicy")
    if last == ("reference",):
        yield (*above, "pullPolicy")


# --- what the keys tell ------------------------------------------------------------------------------------

# Their content is text for programs and people, or (in a CRD) a description of values, not values.
_WITHOUT_IMAGES: Final = {
    ("", "ConfigMap"),
    ("", "Secret"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
}
_NEVER_INSIDE: Final = {"annotations", "labels", "matchLabels", "nodeSelector"}
_ANNOTATIONS: Final = ("sidecar.istio.io/proxyImage",)
_IMAGE_KEY: Final = re.compile(
    r"(?:[\w.-]*(?:[a-z0-9]I|[_.-]i|[a-z])|i|I)mage(?:[_-]?(?:[Nn]ame|[Rr]ef|[Uu]r[il]|UR[IL]))?\Z"
)
_IMAGES_KEY: Final = re.compile(r"images\Z|[\w.-]*[a-z0-9]Images\Z|[\w.-]+[_-]images\Z")
_SCHEME: Final = re.compile(r"(?:docker|oci)://")
_ASSIGNED: Final = re.compile(r"-{0,2}[A-Za-z_][\w.-]*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    pointer: Pointer
    text: str
    keys: Keys = field(default_factory=dict)
    before: str = ""

    @property
    def identity(self) -> tuple[Pointer, str]:
        return self.pointer, self.keys.get("repository", "")


def _walk(value: Any, pointer: Pointer, group: str) -> Iterator[_Found]:
    match value:
        case dict():
            yield from _in_mapping(value, pointer, group)
        case list():
            for position, part in enumerate(value):
                if isinstance(part, dict | list):
                    yield from _walk(part, (*pointer, position), group)
        case _:
            return


def _in_mapping(value: Mapping[str, Any], pointer: Pointer, group: str) -> Iterator[_Found]:
    taken: set[str] = set()
    for keys in beside(value, group):
        if (text := joined(value, keys)) is not None:
            taken.update(keys.values())
            yield _Found(pointer=pointer, text=text, keys=keys)
    for key, part in value.items():
        at = (*pointer, key)
        if key == "annotations" or (not pointer and key == "metadata"):
            yield from _in_annotations(part, at)
        elif key in _NEVER_INSIDE or key in taken or (not pointer and key == "status"):
            continue
        elif "mage" not in key:
            if isinstance(part, dict | list):
                yield from _walk(part, at, group)
        elif _IMAGES_KEY.match(key):
            yield from _in_images(part, at, group)
        elif _IMAGE_KEY.match(key):
            yield from _at_image(part, at, group)
        else:
            yield from _walk(part, at, group)


def _in_annotations(value: Any, pointer: Pointer) -> Iterator[_Found]:
    if pointer == ("metadata",):
        value, pointer = pick(value, ("annotations",)), ("metadata", "annotations")
    for name in _ANNOTATIONS:
        if (found := _text(pick(value, (name,)), (*pointer, name))) is not None:
            yield found


def _in_images(value: Any, pointer: Pointer, group: str) -> Iterator[_Found]:
    """Yield the references in the value of a key for several images: a list, or a mapping by purpose."""
    match value:
        case list():
            items: Iterator[tuple[Any, Any]] = iter(enumerate(value))
        case dict() if under_image(value) is None:
            items = iter(value.items())
        case _:
            yield from _at_image(value, pointer, group)
            return
    for key, item in items:
        yield from _at_image(item, (*pointer, key), group)


def _at_image(value: Any, pointer: Pointer, group: str) -> Iterator[_Found]:
    """Yield the references in the value of a key for an image."""
    if isinstance(value, str):
        found = _text(value, pointer)
        yield from () if found is None else (found,)
        return
    if isinstance(value, dict):
        keys = under_image(value)
        if keys is not None and (text := joined(value, keys)) is not None:
            yield _Found(pointer=pointer, text=text, keys=keys)
            return
        if (found := _text(value.get("reference"), (*pointer, "reference"))) is not None:
            yield found  # a volume whose content is an image
            return
    yield from _walk(value, pointer, group)


def _declared(value: Any, pointer: Pointer, keys: Keys) -> _Found | None:
    """Return the reference at a place that is known or declared."""
    if not isinstance(value, dict):
        return _text(value, pointer) or _text(value, pointer, _ASSIGNED)
    keys = keys or under_image(value) or {}
    text = joined(value, keys) if keys else None
    return None if text is None else _Found(pointer=pointer, text=text, keys=keys)


def _text(value: Any, pointer: Pointer, before: re.Pattern[str] = _SCHEME) -> _Found | None:
    """Return the reference that a text is, or ends with behind what may stand before."""
    if not isinstance(value, str):
        return None
    found = before.match(value)
    start = found.end() if found else 0
    try:
        reference.parse(value[start:])
    except InputError:
        return None
    return _Found(pointer=pointer, text=value[start:], before=value[:start])
