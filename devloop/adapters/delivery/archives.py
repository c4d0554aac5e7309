"""Archives of images, as `docker save` writes them: which layers they have, and the same archive with fewer."""

import json
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["layers", "without_layers"]


def layers(archive: Path) -> frozenset[str]:
    """Return the digests of the layers that an archive brings; nothing where it is no OCI layout.

    In the older layout (Docker before 25, Podman) layers have no names by content, so the whole must be sent.
    """
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
        if "oci-layout" not in names or "index.json" not in names:
            return frozenset()
        found = frozenset(_layers(tar, names, _document(tar, "index.json")))
        return frozenset(digest for digest in found if _blob(digest) in names)


def without_layers(archive: Path, digests: Collection[str], target: Path) -> None:
    """Write the archive to another file without the blobs of these digests."""
    left_out = {_blob(digest) for digest in digests}
    with tarfile.open(archive) as source, tarfile.open(target, "w") as reduced:
        for member in source:
            if member.name not in left_out:
                reduced.addfile(member, source.extractfile(member) if member.isfile() else None)


def _layers(tar: tarfile.TarFile, names: Collection[str], index: Any) -> Iterator[str]:
    for entry in index.get("manifests") or ():
        if _blob(entry["digest"]) not in names:  # of an image for many platforms, the engine may hold one only
            continue
        document = _document(tar, _blob(entry["digest"]))
        yield from _layers(tar, names, document)
        yield from (layer["digest"] for layer in document.get("layers") or ())


def _document(tar: tarfile.TarFile, name: str) -> Any:
    file = tar.extractfile(name)
    return json.load(file) if file is not None else {}


def _blob(digest: str) -> str:
    return str(PurePosixPath("blobs", *digest.split(":", 1)))
