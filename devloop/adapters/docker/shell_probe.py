"""Whether images have a shell. The engine only looks into containers: one is made, never started, and removed."""

import anyio

from devloop.adapters.docker.engine import Engine
from devloop.model import Digest

__all__ = ["ShellProbe"]


class ShellProbe:
    """Looks into images, into each once; what stands on the same first layer as one with a shell has one, too.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._images: dict[Digest, bool] = {}
        self._bottoms: set[str] = set()

    async def has_shell(self, image: Digest) -> bool:
        """Return whether the image has `/bin/sh`; it takes 0.1 s to look.

        Raises:
            ToolError: The engine does not hold the image.
            UnreachableError: It did not answer.
        """
        found = await self._engine.image(image) or {}
        bottoms = set(((found.get("RootFS") or {}).get("Layers") or ())[:1])
        if not bottoms.isdisjoint(self._bottoms):
            return True
        if image not in self._images:
            self._images[image] = await self._look(image)
        if self._images[image]:
            self._bottoms |= bottoms
        return self._images[image]

    async def _look(self, image: Digest) -> bool:
        created = await self._engine.post("/containers/create", {"Image": image, "Entrypoint": ["/"], "Cmd": []})
        path = f"/containers/{created['Id']}"
        try:
            return await self._engine.head(f"{path}/archive", path="/bin/sh")
        finally:
            with anyio.move_on_after(5, shield=True):
                await self._engine.delete(path, force="1")
