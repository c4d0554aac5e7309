"""Steps that belong together, and are not broken off between them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

__all__ = ["unbroken"]


@asynccontextmanager
async def unbroken(within: float) -> AsyncIterator[None]:
    """Let the block come to its end although it is cancelled.

    Args:
        within: Seconds that it gets for that after the cancellation, so that an engine that hangs holds nobody up.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope(shield=True) as block:
            tasks.start_soon(_limit, block, within)
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
        tasks.cancel_scope.cancel("the block has ended")
    if failure is not None:
        raise failure
    await checkpoint_if_cancelled()  # whether it came to its end or not


async def _limit(block: anyio.CancelScope, within: float) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        block.deadline = anyio.current_time() + within
