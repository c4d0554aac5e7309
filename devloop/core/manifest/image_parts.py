"""References that are written in parts: `{repository, tag}` as charts have it, `imageRepository:` beside `imageTag:`.

Which keys of a mapping belong together, what they spell, and how they spell another reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from devloop.core import reference
from devloop.errors import InputError
from devloop.model import ImageRef

__all__ = ["Keys", "beside", "exchanged", "joined", "under_image"]

Keys = Mapping[str, str]
"""The key of each part: `repository`, and where there are such `registry`, `tag`, `digest`."""

_PROMETHEUS: Final = "monitoring.coreos.com"
_TRIPLE: Final = ("repository", "image", "version")
_SUFFIXES: Final = ("Repository", "_repository", "-repository", "Repo", "Name", "_name", "-name", "")


def under_image(parts: Mapping[str, Any]) -> Keys | None:
    """Return the keys of a mapping that stands under a key for images, or None where it spells no reference."""
    tag = _first(parts, ("tag", "version"))
    repository = _first(parts, ("repository", "repo") if tag is None else ("repository", "repo", "name"))
    if repository is None:
        return None
    return _keys(parts, repository, tag or "tag")


def beside(parts: Mapping[str, Any], group: str) -> Iterator[Keys]:
    """Yield the keys of the references that the mapping of an API group has in keys beside one another."""
    if "repository" in parts and all(isinstance(parts.get(key), str) and parts[key] for key in _TRIPLE):
        yield {"registry": "repository", "repository": "image", "tag": "version"}
        return
    for key, value in parts.items():
        if not ("mage" in key or key == "repository") or not isinstance(value, str) or not value:
            continue
        if group == _PROMETHEUS and key in ("baseImage", "image"):
            if key == "baseImage":
                yield _keys(parts, key, "tag")
        elif (tag := _first(parts, _tag_keys(key))) is not None and _is_bare(value):
            yield _keys(parts, key, tag)


def joined(parts: Mapping[str, Any], keys: Keys) -> str | None:
    """Return the reference that the parts spell, or None where it is none."""
    given = {role: parts.get(key) for role, key in keys.items()}
    text = given["repository"]
    if not isinstance(text, str):
        return None
    if isinstance(registry := given.get("registry"), str) and registry:
        text = f"{registry}/{text}"
    if (tag := given.get("tag")) not in (None, ""):
        text += f":{tag}"
    if digest := given.get("digest"):
        text += f"@{digest}" if ":" in str(digest) else f"@sha256:{digest}"
    return text if _reference(text) else None


def exchanged(parts: Mapping[str, Any], keys: Keys, text: str) -> dict[str, Any]:
    """Return the mapping spelling another reference, its other keys and their order as they are.

    A digest without a key of its own goes behind the tag, as charts join both by `:`.
    """
    ref = reference.parse(text)
    new = dict(parts)
    if "registry" in keys:
        new[keys["registry"]] = ref.domain or (parts.get(keys["registry"]) and "docker.io")
        new[keys["repository"]] = ref.path
    else:
        new[keys["repository"]] = ref.repository
    return _with_version(new, keys, ref)


def _with_version(new: dict[str, Any], keys: Keys, ref: ImageRef) -> dict[str, Any]:
    tag, digest = keys.get("tag"), keys.get("digest")
    if digest in new and ref.digest is None:
        del new[digest]
    elif digest in new and ref.digest:
        new[digest] = ref.digest if ":" in str(new[digest]) else ref.digest.partition(":")[2]
        ref = replace(ref, digest=None)
        if ref.tag is None:
            new.pop(tag or "", None)
            return new
    version = ref.tag or "latest"
    if tag is not None and (tag in new or ref.tag or ref.digest):
        new[tag] = f"{version}@{ref.digest}" if ref.digest else version
    return new


def _keys(parts: Mapping[str, Any], repository: str, tag: str) -> Keys:
    found = {"repository": repository, "tag": tag}
    if "registry" in parts and repository in ("repository", "repo", "name", "image"):
        found["registry"] = "registry"
    if (digest := _first(parts, (f"{repository}Digest", "imageDigest", "digest", "sha"))) is not None:
        found["digest"] = digest
    return found


def _tag_keys(key: str) -> Sequence[str]:
    """Return the keys beside this one that may have its tag."""
    if key == "repository":
        return ("tag",)
    for suffix in _SUFFIXES:
        stem = key.removesuffix(suffix)
        if key.endswith(suffix) and stem.endswith(("image", "Image")):
            own = (f"{stem}Tag", f"{stem}_tag", f"{stem}-tag")
            return (*own, "tag") if stem in ("image", "baseImage") else own
    return ()


def _first(parts: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of the keys that has a plain value."""
    return next((key for key in keys if isinstance(parts.get(key), str | int | float) and parts[key] != ""), None)


def _is_bare(text: str) -> bool:
    ref = _reference(text)
    return ref is not None and ref.tag is None and ref.digest is None


def _reference(text: str) -> ImageRef | None:
    try:
        return reference.parse(text)
    except InputError:
        return None
