"""Late wake-ups of anyio's Unix sockets are not reported, all else is."""

import asyncio
import socket
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from devloop.adapters.docker.wakeups import ignore_late_wakeups

pytestmark = pytest.mark.anyio


async def test_a_wait_that_is_cancelled_in_the_round_in_which_data_comes_says_nothing() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: told.append(context))
    try:
        ignore_late_wakeups()
        ignore_late_wakeups()
        here, there = socket.socketpair()
        here.setblocking(False)
        future = loop.create_future()
        loop.add_reader(here, future.set_result, None)
        there.send(b"x")
        future.cancel()
        await anyio.sleep(0.01)
        loop.remove_reader(here)
        here.close()
        there.close()
        assert told == []
        loop.call_soon(int, "no number")
        await anyio.lowlevel.checkpoint()
        assert [type(each["exception"]) for each in told] == [ValueError]
    finally:
        loop.set_exception_handler(before)
