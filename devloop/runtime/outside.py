"""What discovery asks of the world outside of the project: the engine's images, and what it runs on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from devloop.core.dockerfile import BaseConfig

__all__ = ["NOTHING_OUTSIDE", "Outside"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What is known outside of the project.

    Attributes:
        base: Returns what an image of the engine hands on to what is built on it; None where that is not known. Asks
            nobody but the engine, and pulls nothing.
        platform: What the engine runs on.
    """

    base: Callable[[str], BaseConfig | None] = lambda _reference: None
    platform: str = "linux/amd64"


NOTHING_OUTSIDE: Final = Outside()
