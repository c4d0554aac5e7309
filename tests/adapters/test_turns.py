"""Turns of builds: a few begin at once, the others soon."""

import anyio
import pytest

from devloop.adapters.docker.turns import Turns

pytestmark = pytest.mark.anyio


async def hold(
    turns: Turns, begun: list[int], number: int, until: anyio.Event, early: anyio.Event | None = None
) -> None:
    with turns.place(held=await turns.wait()) as give_back:
        begun.append(number)
        if early is not None:
            await early.wait()
            give_back()
        await until.wait()


async def test_others_begin_when_one_ends_or_gives_its_place_back() -> None:
    turns, begun = Turns(2, longest=60), list[int]()
    ends = [anyio.Event() for _ in range(4)]
    early = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number, end in enumerate(ends):
            tasks.start_soon(hold, turns, begun, number, end, early if number == 0 else None)
        await anyio.wait_all_tasks_blocked()
        assert begun == [0, 1]
        early.set()
        await anyio.wait_all_tasks_blocked()
        assert begun == [0, 1, 2]
        ends[1].set()
        await anyio.wait_all_tasks_blocked()
        assert begun == [0, 1, 2, 3]
        for end in ends:
            end.set()
    with turns.place(held=await turns.wait()), turns.place(held=await turns.wait()):
        pass  # all places are free again, and nobody stands in line


async def test_nobody_waits_for_ever() -> None:
    turns, never = Turns(1, longest=0.01), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold, turns, list[int](), 1, never)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            assert not await turns.wait()
        tasks.cancel_scope.cancel()


async def test_who_gives_up_waiting_leaves_the_line() -> None:
    turns, begun, end = Turns(1, longest=60), list[int](), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold, turns, begun, 1, end)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0.01):
            await turns.wait()
        end.set()
    with turns.place(held=await turns.wait()):
        begun.append(2)
    assert begun == [1, 2]
