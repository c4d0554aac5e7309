"""Image references by the grammar of the distribution project, as `docker` and Kubernetes read them.

Text in, `ImageRef` out; no registry is asked.
"""

import functools
import re
from dataclasses import replace
from typing import NoReturn

from devloop.errors import InputError
from devloop.model import Digest, ImageRef

__all__ = ["full_repository", "normalise", "parse", "same_name", "same_repository"]

_DEFAULT_DOMAIN = "docker.io"
_LONGEST_PATH = 255
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"(?P<algorithm>sha256|sha384|sha512):(?P<hex>[a-f0-9]+)\Z")
_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_IDENTIFIER = re.compile(r"(?:sha256:)?[a-f0-9]{64}\Z")


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> ImageRef:
    """Return the reference that `text` spells.

    Raises:
        InputError: When it is not a reference; without a place, which the caller knows.
    """
    rest, at, digest = text.partition("@")
    domain, rest = _split_domain(rest)
    path, colon, tag = rest.partition(":")
    if at:
        _check_digest(text, digest)
    if colon and not _TAG.match(tag):
        reason = f"`{tag}` is not a valid tag" if tag else "the tag is empty"
        _refuse(text, reason, "a tag has letters, digits, `_`, `.` and `-`, 128 at the most")
    _check_path(text, path)
    if _IDENTIFIER.match(text):
        _refuse(text, "an image is not named by its bare ID")
    ref = ImageRef(domain=domain, path=path, tag=tag if colon else None, digest=Digest(digest) if at else None)
    if len(normalise(ref).path) > _LONGEST_PATH:
        _refuse(text, f"the repository's name is longer than {_LONGEST_PATH} characters")
    return ref


def normalise(ref: ImageRef) -> ImageRef:
    """Return the full form that `docker` would pull: registry, `library/` and the tag `latest` written out."""
    domain, path = _full_name(ref)
    tag = ref.tag if ref.tag or ref.digest else "latest"
    return replace(ref, domain=domain, path=path, tag=tag)


def full_repository(ref: ImageRef) -> str:
    """Return the repository with the registry and `library/` written out: equal for all that name the same one."""
    domain, path = _full_name(ref)
    return f"{domain}/{path}"


def same_repository(a: ImageRef, b: ImageRef) -> bool:
    """Return whether both name the same repository, whatever their tags and digests."""
    return full_repository(a) == full_repository(b)


def same_name(a: str, b: str) -> bool:
    """Return whether both texts name the same image, however they are written; what is no reference names itself."""
    return a == b or _canonical(a) == _canonical(b)


def _canonical(text: str) -> ImageRef | str:
    try:
        return normalise(parse(text))
    except InputError:
        return text.lower()


def _full_name(ref: ImageRef) -> tuple[str, str]:
    domain = ref.domain or _DEFAULT_DOMAIN
    if domain == "index.docker.io":
        domain = _DEFAULT_DOMAIN
    path = f"library/{ref.path}" if domain == _DEFAULT_DOMAIN and "/" not in ref.path else ref.path
    return domain, path


def _split_domain(name: str) -> tuple[str | None, str]:
    """Return the registry, if the first part of the name is one, and the rest."""
    first, slash, rest = name.partition("/")
    is_domain = slash and (first == "localhost" or any(mark in first for mark in ".:[") or first != first.lower())
    if not is_domain:
        return None, name
    return first, rest


def _check_path(text: str, path: str) -> None:
    first, _, _ = text.partition("/")
    if not text:
        _refuse(text, "it is empty")
    if path != path.lower():
        _refuse(text, "a repository's name must be lower case", f"write `{text.lower()}`")
    if not all(_COMPONENT.match(part) for part in path.split("/")):
        _refuse(text, f"`{path}` is not a valid repository name" if path else "the repository's name is missing")
    if path != text and _split_domain(text)[0] and not _DOMAIN.match(first):
        _refuse(text, f"`{first}` is not a valid registry host")


def _check_digest(text: str, digest: str) -> None:
    if not digest:
        _refuse(text, "the digest is empty")
    found = _DIGEST.match(digest)
    if not found:
        _refuse(text, f"`{digest}` is not a valid digest", "a digest is `sha256:` and 64 hexadecimal digits")
    if len(found["hex"]) != (wanted := _HEX_LENGTHS[found["algorithm"]]):
        _refuse(text, f"a {found['algorithm']} digest has {wanted} hexadecimal digits, not {len(found['hex'])}")


def _refuse(text: str, reason: str, hint: str | None = None) -> NoReturn:
    message = f"`{text}` is not an image reference: {reason}"
    raise InputError(message, hint=hint)
