"""Images go to a registry: only layers that it lacks travel."""

from collections.abc import Callable, Mapping

from devloop.adapters.delivery.once import Once
from devloop.core.delivery.plans import PushImages, pulled_from, pushed_by_builders, pushed_to, seen_from_here
from devloop.errors import ToolError
from devloop.model import Digest, ImageRef
from devloop.runtime.ports import Builder, Way

__all__ = ["Push"]


class Push(Once):
    """Pushes by the docker CLI, which has the user's credentials.

    Args:
        plan: To which registry.
        builder: Whose engine holds the images.
        environment: What commands need in their environment.
    """

    def __init__(self, plan: PushImages, builder: Builder, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._plan = plan
        self._builder = builder

    async def way(self, repository: ImageRef) -> Way:
        """Return where a builder of its own pushes images of a repository, and what the nodes call that."""
        found = pushed_by_builders(self._plan, repository)
        return Way(pushed=found and found[0], pulled=pulled_from(self._plan.registry, repository))

    def _reference(self, ref: ImageRef) -> ImageRef:
        there = pulled_from(self._plan.registry, ref)
        if there is None:
            raise ToolError(
                f"{self._plan.reason}, and nothing says from where it could pull `{ref.path}`",
                hint='name a registry that both reach: `project(registry="registry.example.com/team")`',
            )
        return there

    async def _carry(self, image: Digest, ref: ImageRef, report: Callable[[str], None]) -> None:
        target = pushed_to(self._plan.registry, ref) or ref
        if target != ref:
            await self._builder.tag(image, target)
        await self._run(("docker", "push", str(target)), f"pushing `{target}`", report)

    async def _is_there(self, ref: ImageRef) -> bool:
        target = seen_from_here(self._plan.registry, ref)
        # With the user's credentials, and plain HTTP for registries on this machine. (`docker manifest inspect` fails
        # at those that do not answer TLS at all.) Where it cannot be asked, pushing once more costs a HEAD a layer.
        answer = await self._asked(("docker", "buildx", "imagetools", "inspect", "--raw", str(target)))
        return answer is not None and not answer.exit_code
