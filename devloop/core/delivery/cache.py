"""Where builds keep their cache, said once for a project: `project(cache="type=registry,ref=…/cache/{image}")`.

One text gives both of buildx's options, which spell the same place differently. Pure.
"""

from dataclasses import dataclass
from typing import Final

from devloop.errors import InputError, Where

__all__ = ["CacheOptions", "cache_options"]

_IMAGE: Final = "{image}"
_TYPES: Final = ("registry", "local", "s3", "gha", "azblob")
_PLACE: Final = {"registry": "ref", "local": "path", "s3": "bucket", "azblob": "account_url"}
"""What a cache of this type cannot do without."""
_EXPORT_ONLY: Final = frozenset(
    {
        "mode",
        "compression",
        "compression-level",
        "force-compression",
        "ignore-error",
        "image-manifest",
        "oci-mediatypes",
    }
)
_SEPARATES: Final = {"s3": "name", "gha": "scope", "azblob": "name"}
"""What keeps the caches of several images apart where they share a place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """What buildx is told: its `--cache-from` and its `--cache-to`.

    Attributes:
        imported: Where the cache is taken from.
        exported: Where it is left: all steps of all stages (`mode=max`), and a build does not fail by it.
    """

    imported: str
    exported: str


def cache_options(text: str, image: str, where: Where | None = None) -> CacheOptions:
    """Return what buildx is told for a cache that the project says.

    Args:
        text: As buildx takes it (`type=registry,ref=…`, `type=s3,bucket=…`, `type=gha`), or `type=local,path=…`;
            `{image}` stands for the image's name.
        image: The image's name.
        where: Where it is said.

    Raises:
        InputError: It is no such text.
    """
    fields = dict(_field(part, text, where) for part in text.split(",") if part.strip())
    kind = fields.get("type", "")
    if kind not in _TYPES:
        known = ", ".join(f"`type={each}`" for each in _TYPES)
        raise InputError(f"`{text}` names no type of build cache", where=where, hint=f"one of {known}")
    needed = _PLACE.get(kind)
    if needed is not None and needed not in fields:
        raise InputError(f"the build cache `{text}` has no `{needed}=`", where=where, hint=f"add `{needed}=…`")
    if _IMAGE not in text:
        _separate(fields, kind, text, where)
    said = {name: value.replace(_IMAGE, image) for name, value in fields.items()}
    imported = {name: value for name, value in said.items() if name not in _EXPORT_ONLY}
    exported = {**said, "mode": said.get("mode", "max"), "ignore-error": said.get("ignore-error", "true")}
    if kind == "local":
        imported = {_renamed(name, "src"): value for name, value in imported.items()}
        exported = {_renamed(name, "dest"): value for name, value in exported.items()}
    return CacheOptions(imported=_joined(imported), exported=_joined(exported))


def _field(part: str, text: str, where: Where | None) -> tuple[str, str]:
    name, equals, value = part.strip().partition("=")
    if not equals or not value:
        message = f"`{part.strip()}` in the build cache `{text}` is no `name=value`"
        raise InputError(message, where=where, hint='for example cache="type=registry,ref=registry.example.com/cache"')
    return name, value


def _separate(fields: dict[str, str], kind: str, text: str, where: Where | None) -> None:
    """Keep the caches of several images apart: a second one in the same place would end the first."""
    if kind in _SEPARATES:
        fields[_SEPARATES[kind]] = f"{fields[_SEPARATES[kind]]}-{_IMAGE}" if _SEPARATES[kind] in fields else _IMAGE
    elif kind == "local":
        fields["path"] += f"/{_IMAGE}"
    else:
        said = f"ref={fields['ref']}"
        raise InputError(
            f"all images would share the build cache `{text}`, and each would end the other's",
            where=where,
            hint=f"name it by the image: `{text.replace(said, f'{said}:{_IMAGE}')}`",
        )


def _renamed(name: str, path: str) -> str:
    return path if name == "path" else name


def _joined(fields: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in fields.items())
