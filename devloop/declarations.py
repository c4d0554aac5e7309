"""What the functions of a devfile declare, as values: `devloop.dsl` makes them, the core works with them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devloop.errors import Where
from devloop.model import ImagePath, Kind, NodeId, Spec

__all__ = ["Declaration", "Parameter", "ProjectSpec", "SettingSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument of a decorated function.

    Attributes:
        name: Its name: that of another function, or of a setting.
        kind: The node kind that its annotation asks for, or None.
        annotation: The annotation itself, or None.
        required: Whether it has no default, so that it names a node.
        default: The default of a setting.
        node: The node that its default is, or None.
    """

    name: str
    kind: Kind | None = None
    annotation: Any = None
    required: bool = False
    default: Any = None
    node: NodeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A decorated function.

    Attributes:
        id: The node.
        argument: The name under which other functions' arguments ask for it.
        spec: What the decorator was given.
        function: The plain function.
        parameters: Its arguments.
        where: Its `def` line.
        folder: The folder of its devfile, relative to the project's root; the spec's paths are relative to it.
    """

    id: NodeId
    argument: str
    spec: Spec
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    where: Where
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSpec:
    """What `project` was given.

    Attributes:
        name: The project's name; None for the folder's.
        namespace: The Kubernetes namespace; None for the context's own.
        contexts: Names (or patterns with `*`) of contexts that may be deployed to though they are not local.
        registry: Where images are pushed for the cluster to pull.
        builder: The buildx builder of images that name none; None for the current one.
        cache: Where builds keep their cache, as `core.delivery.cache` reads it.
        images: Further places where manifests name images, for all services.
        helper: The image of the containers that stand beside those without a shell.
        where: The place of the call.
    """

    name: str | None = None
    namespace: str | None = None
    contexts: tuple[str, ...] = ()
    registry: str | None = None
    builder: str | None = None
    cache: tuple[str, ...] = ()
    images: tuple[ImagePath, ...] = ()
    helper: str = "busybox:musl"
    where: Where | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingSpec:
    """What `setting` was given.

    Attributes:
        name: The setting's name.
        default: Its default, whose type is its own.
        where: The place of the call.
    """

    name: str
    default: object
    where: Where
