"""Which engine answers: Docker, or Podman behind the same API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EngineVersion", "version_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineVersion:
    """What an engine is.

    Attributes:
        product: `Docker` or `Podman`.
        number: Its version.
        api: The version of the Engine API that it speaks.
        processor: Its machine's processor, as Go names it (`amd64`).
    """

    product: str
    number: str
    api: tuple[int, ...]
    processor: str

    @property
    def is_podman(self) -> bool:
        """Return whether it is Podman, which takes some things otherwise than Docker."""
        return self.product == "Podman"


def version_of(said: Mapping[str, Any]) -> EngineVersion:
    """Return what an engine is by its answer to `GET /version`."""
    podman = any("Podman" in str(part.get("Name")) for part in said.get("Components") or ())
    return EngineVersion(
        product="Podman" if podman else "Docker",
        number=str(said.get("Version", "?")),
        api=tuple(int(part) for part in str(said.get("ApiVersion", "")).split(".") if part.isdecimal()),
        processor=str(said.get("Arch", "")),
    )
