"""The real `Delivery`: nothing for a shared engine, a load into the nodes, or a push; each image once.

Which of them it is, `core.delivery.choose` decides. Whether the cluster still has an image is asked of the cluster or
the registry itself, never of notes from an earlier session: a cluster may have been made anew under the same name.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import assert_never

from devloop.adapters.delivery.loading import Load
from devloop.adapters.delivery.pushing import Push
from devloop.core.delivery.plans import DeliveryPlan, LoadImages, PushImages, SharedEngine
from devloop.core.delivery.pull_secrets import Obstacle
from devloop.core.manifest import Manifest
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import Builder, Delivery, Way

__all__ = ["delivery_for"]


def delivery_for(plan: DeliveryPlan, builder: Builder, environment: Mapping[str, str] | None = None) -> Delivery:
    """Return the delivery that does what the plan says.

    Args:
        plan: As `core.delivery.choose` made it.
        builder: Whose engine holds the images.
        environment: What the docker CLI must be told to reach that engine, on top of devloop's own environment.
    """
    match plan:
        case SharedEngine():
            return _Shared(builder)
        case LoadImages():
            return Load(plan, environment or {})
        case PushImages():
            return Push(plan, builder, environment or {})
        case _:
            assert_never(plan)


class _Shared:
    """The cluster uses the engine's images."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder

    async def way(self, repository: ImageRef) -> Way:  # noqa: ARG002
        """Return how images of a repository reach the cluster: they are there."""
        return Way()

    async def obstacles(self, manifests: Sequence[Manifest], images: Collection[str]) -> tuple[Obstacle, ...]:  # noqa: ARG002
        """Return what may keep nodes from pulling: they do not."""
        return ()

    async def deliver(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> ImageRef:  # noqa: ARG002
        """Return the reference as it is: an image that was built is there."""
        return ref

    async def has(self, image: Digest, ref: ImageRef) -> bool:
        """Return whether the engine holds the image under that reference."""
        return await self._builder.resolve(str(ref)) == image
