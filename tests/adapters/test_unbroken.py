"""Steps that are not broken off between them, and the end of the patience with them."""

import anyio
import pytest

from devloop.adapters.docker.cluster.unbroken import unbroken
from devloop.errors import ToolError

pytestmark = pytest.mark.anyio


async def test_a_block_that_is_cancelled_comes_to_its_end_and_what_is_after_it_does_not() -> None:
    done: list[str] = []
    with anyio.CancelScope() as scope:
        async with unbroken(60):
            scope.cancel()
            await anyio.sleep(0.01)
            done.append("inside")
        done.append("after")
    assert done == ["inside"]
    assert scope.cancelled_caught


async def test_a_block_that_hangs_is_given_up() -> None:
    over = False
    with anyio.fail_after(60), anyio.CancelScope() as scope:
        async with unbroken(0.01):
            scope.cancel()
            await anyio.sleep_forever()
        over = True
    assert not over
    assert scope.cancelled_caught


async def test_a_block_may_take_its_time_when_nobody_cancels_it() -> None:
    async with unbroken(0):
        await anyio.sleep(0.05)


async def test_an_error_comes_out_as_it_is() -> None:
    with pytest.raises(ToolError, match="no"):
        async with unbroken(1):
            raise ToolError("no")
