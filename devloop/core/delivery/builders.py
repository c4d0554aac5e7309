"""What buildx is told to make a builder: in a cluster for a team, or in a container of the engine. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from devloop.errors import InputError

__all__ = ["ContainerBuilder", "KubernetesBuilder", "create_arguments"]

_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,40}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerBuilder:
    """A builder with a BuildKit of its own in one container of the engine.

    Attributes:
        name: Its name.
        image: The image of BuildKit; None for buildx's own choice.
    """

    name: str
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesBuilder:
    """A builder by buildx's Kubernetes driver: a Deployment of BuildKit.

    Attributes:
        name: Its name; who makes one of the same name in the same namespace shares it.
        namespace: Where its pods run.
        replicas: How many pods.
        cpu: What each pod asks for, as Kubernetes takes it; None for nothing.
        memory: What each pod asks for, as Kubernetes takes it; None for nothing.
        image: The image of BuildKit; None for buildx's own choice.
        rootless: Whether BuildKit runs without privileges.
        platforms: What its nodes can build for; empty for what they say themselves.
    """

    name: str
    namespace: str
    replicas: int = 1
    cpu: str | None = None
    memory: str | None = None
    image: str | None = None
    rootless: bool = False
    platforms: tuple[str, ...] = ()


def create_arguments(builder: ContainerBuilder | KubernetesBuilder) -> tuple[str, ...]:
    """Return the arguments for `docker buildx`, from `create` on.

    Raises:
        InputError: There is no such builder.
    """
    if not _NAME.fullmatch(builder.name):
        raise InputError(
            f"a builder cannot be called `{builder.name}`", hint="small letters, digits and dashes, a letter first"
        )
    match builder:
        case ContainerBuilder():
            return tuple(_in_container(builder))
        case KubernetesBuilder():
            if builder.replicas < 1:
                raise InputError(f"a builder has at least one replica, not {builder.replicas}")
            return tuple(_in_cluster(builder))
        case _:
            assert_never(builder)


def _in_container(builder: ContainerBuilder) -> Iterator[str]:
    yield from ("create", "--driver=docker-container", f"--name={builder.name}", "--bootstrap")
    if builder.image is not None:
        yield f"--driver-opt=image={builder.image}"


def _in_cluster(builder: KubernetesBuilder) -> Iterator[str]:
    # buildx would make a name for the node up, and with it a Deployment for each developer; so it is the same for all.
    yield from ("create", "--driver=kubernetes", f"--name={builder.name}", f"--node={builder.name}", "--bootstrap")
    options = {
        "namespace": builder.namespace,
        "replicas": str(builder.replicas),
        "loadbalance": "sticky",  # builds of one folder go to one pod: the one whose cache has their layers
        "requests.cpu": builder.cpu,
        "requests.memory": builder.memory,
        "image": builder.image,
        "rootless": "true" if builder.rootless else None,
    }
    yield from (f"--driver-opt={name}={value}" for name, value in options.items() if value is not None)
    if builder.platforms:
        yield f"--platform={','.join(builder.platforms)}"
