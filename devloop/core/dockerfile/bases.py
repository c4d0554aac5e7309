"""What an image says about itself → what it hands on to what is built on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from devloop.core.dockerfile.build import BaseConfig

__all__ = ["base_config"]


def base_config(image: Mapping[str, Any]) -> BaseConfig:
    """Return what an image hands on.

    Args:
        image: What `docker image inspect` shows of it.
    """
    config: Mapping[str, Any] = image.get("Config") or {}
    pairs = (str(each).partition("=") for each in config.get("Env") or ())
    return BaseConfig(
        environment={name: value for name, _, value in pairs},
        triggers=_texts(config.get("OnBuild")),
        workdir=config.get("WorkingDir") or "/",
        user=config.get("User") or "",
        entrypoint=_texts(config.get("Entrypoint")),
        command=_texts(config.get("Cmd")),
        shell=_texts(config.get("Shell")) or BaseConfig().shell,
    )


def _texts(value: Sequence[object] | None) -> tuple[str, ...]:
    return tuple(map(str, value or ()))
