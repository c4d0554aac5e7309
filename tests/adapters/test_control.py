"""Another process asks a running loop to do something again."""

from pathlib import Path

import anyio
import pytest

from devloop.adapters.control import _socket, ask_to_run, controlled
from devloop.errors import InputError, ToolError

pytestmark = pytest.mark.anyio


def runs(name: str) -> str:
    if name == "nothing":
        raise InputError("there is no node `nothing`", hint="did you mean `api`?")
    return f"service:{name}"


async def test_a_loop_is_asked_and_answers(tmp_path: Path) -> None:
    async with controlled(tmp_path, runs):
        assert await ask_to_run(tmp_path, ["api", "web"]) == ("service:api", "service:web")


async def test_what_the_loop_refuses_is_an_error_with_its_hint(tmp_path: Path) -> None:
    async with controlled(tmp_path, runs):
        with pytest.raises(InputError, match="no node `nothing`") as refused:
            await ask_to_run(tmp_path, ["nothing"])
    assert refused.value.hint == "did you mean `api`?"


async def test_where_no_loop_runs_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no loop of this project runs"):
        await ask_to_run(tmp_path, ["api"])
    async with controlled(tmp_path, runs):
        pass
    with pytest.raises(ToolError, match="no loop of this project runs"):
        await ask_to_run(tmp_path, ["api"])


async def test_a_socket_that_a_killed_loop_left_is_replaced(tmp_path: Path) -> None:
    async with controlled(tmp_path, runs), controlled(tmp_path, runs):
        assert await ask_to_run(tmp_path, ["api"]) == ("service:api",)


async def test_a_path_too_long_for_a_socket_does_not_matter(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 40)
    async with controlled(state, runs):
        assert await ask_to_run(state, ["api"]) == ("service:api",)


@pytest.mark.parametrize("said", [b"", b"nonsense\n", b"[]\n", b"{}\n"])
async def test_who_speaks_otherwise_harms_nothing(tmp_path: Path, said: bytes) -> None:
    async with controlled(tmp_path, runs):
        async with await anyio.connect_unix(_socket(tmp_path)) as stream:
            await stream.send(said)
            assert await ask_to_run(tmp_path, ["api"]) == ("service:api",)
        assert await ask_to_run(tmp_path, ["api"]) == ("service:api",)
