import io
import json
import os
import threading
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from inline_snapshot import snapshot

from devloop.events import Event, Noted, PodChanged, PodOutput, ProjectLoaded, RunOutput, Settled, from_json
from devloop.ui.lines import JsonFront, PlainFront, json_line
from tests.ui.story import API, NODES, STORE, number, opening, story, told

pytestmark = pytest.mark.anyio


class Stream(io.TextIOWrapper):
    """A stream of an encoding, which can be read back."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.raw_bytes = io.BytesIO()
        super().__init__(self.raw_bytes, encoding=encoding, newline="\n")

    def text(self) -> str:
        return self.raw_bytes.getvalue().decode(self.encoding)


async def plain(*events: Event, encoding: str = "utf-8", colour: bool = False) -> str:
    stream = Stream(encoding)
    await PlainFront(stream, colour=colour).run(told(events))
    return stream.text()


def output(line: str, *, pod: str = "api-7d9-x7k2p", container: str = "api") -> PodOutput:
    return PodOutput(node=API, pod=pod, container=container, line=line, time="t")


LOADED = ProjectLoaded(project="shop", target="t", nodes=(API, STORE), seconds=0.1)


async def test_the_first_pass_in_plain_lines() -> None:
    assert await plain(*number(opening())) == snapshot("""\
devloop  | shop → docker-desktop/default: 8 nodes, read in 0.1s
base     | ▶ build: never built
store    | ▶ deploy: never deployed
api      | · waits for image `base`
worker   | · waits for image `base`
api      | · waits for image `api`
worker   | · waits for image `worker`
smoke    | · waits for service `api`
base     | [1/2] FROM python:3.11-slim-bookworm
store    | · pod store-0: ContainerCreating
store    | 0 of 1 pods ready: ContainerCreating
store    | · pod store-0: Running, ready
store    | error: local port 6379 is taken by `redis-server` (pid 812)
store    |   devfile.py:18  ports={6379: 6379}
store    | hint: stop it, or choose another local port for `store`
store    | ✓ deployed in 1.1s: 2 objects, 1 pod ready
store    | Ready to accept connections
base     | [2/2] RUN pip install fastapi uvicorn
base     | Collecting fastapi
base     |   Downloading fastapi-0.121.0-py3-none-any.whl (109 kB)
base     | Successfully installed fastapi-0.121.0 uvicorn-0.38.0
base     | ✓ built in 3.0s: base:dev-3f2a9c81d0e4
api      | ▶ build: never built
worker   | ▶ build: never built
api      | [3/4] COPY src /app/src
worker   | [3/4] RUN pip install -r requirements.txt
api      | ✓ built in 0.9s: api:dev-91aa02bd7f10
api      | ▶ deploy: image `api` is new
worker   | ✗ build failed after 1.1s
worker   | error: step `[3/4] RUN pip install -r requirements.txt` failed with exit code 1
worker   |   worker/Dockerfile:7  RUN pip install -r requirements.txt
worker   |   devfile.py:9  worker_image(base_image)
worker   |   | ERROR: Could not find a version that satisfies the requirement fastapi==9.9 (from versions: 0.1.0, 0.1.2)
worker   |   | ERROR: No matching distribution found for fastapi==9.9
worker   | hint: mend the line in `worker/requirements.txt`; the build starts again by itself
worker   | · waits for image `worker`, which failed
api      | · pod api-7d9f8c-x7k2p: Running
api      | INFO: Started server process
api      | INFO: Startup complete
api      | · pod api-7d9f8c-x7k2p: Running, ready
api      | ✓ http://localhost:8000 → 80
api      | ✓ deployed in 1.4s: 3 objects, 1 pod ready
smoke    | ▶ check: service `api` is new
smoke    | ✓ passed in 0.2s
devloop  | ✗ not ready after 5.7s: worker
""")


async def test_the_rest_of_the_story_in_plain_lines() -> None:
    told_before = len(list(opening()))
    front = PlainFront(Stream())
    texts = [front.text(event) for event in story()]
    assert "".join(texts[told_before:]) == snapshot("""\
devloop  | worker/requirements.txt changed
worker   | ▶ build: worker/requirements.txt changed
worker   | [3/4] RUN pip install -r requirements.txt
devloop  | worker/main.py changed
worker   | · build cancelled after 1.0s: worker/main.py changed
worker   | ▶ build: worker/main.py changed
worker   | ✓ built in 1.4s: worker:dev-0c77d1e6a2b3
worker   | ▶ deploy: image `worker` is new
worker   | · pod worker-5b6d-2xv9c: Running, ready
worker   | ✓ deployed in 0.7s: 1 object, 1 pod ready
worker   | waiting for jobs
devloop  | ✓ ready in 3.1s
devloop  | api/src/main.py changed
api-code | ▶ sync: api/src/main.py changed
api-code | ✓ synced in 12ms: 1 file to 1 container
devloop  | ✓ ready in 14ms
devloop  | error: service `api` asks for `api_imgae`, which nothing defines
devloop  |   devfile.py:25  def api(api_imgae: Image, postgres: Service)
devloop  | hint: did you mean `api_image` (image, devfile.py:4)?
devloop  | shop → docker-desktop/default: 8 nodes, read in 50ms
base     | ✓ up to date: no input changed
devloop  | note: no sync covers `api/Dockerfile`: image `api` is rebuilt
devloop  | hint: this is slower
worker   | · pod worker-5b6d-2xv9c: CrashLoopBackOff, 3 restarts
devloop  | ✓ ready in 0.1s
devloop  | stopped: interrupted; what was deployed stays, `devloop down` removes it
""")


async def test_a_stream_that_is_not_utf_8_gets_plain_signs() -> None:
    text = await plain(*story(), encoding="ascii")
    assert "api      | > build: never built" in text
    assert "api      | + built in 0.9s" in text


async def test_what_an_encoding_cannot_show_is_escaped() -> None:
    assert await plain(LOADED, output("snow ☃"), encoding="latin-1") == snapshot("""\
devloop | shop -> t: 2 nodes, read in 0.1s
api     | snow \\u2603
""")


async def test_bytes_that_were_no_text_do_not_stop_anything() -> None:
    assert "bad \\udcff" in await plain(output("bad \udcff"))


async def test_only_pods_and_containers_that_need_it_are_named() -> None:
    pods = [PodChanged(node=API, pod=f"api-7d9-{name}", status="Running", ready=True) for name in ("x7k2p", "aaaaa")]
    text = await plain(
        LOADED,
        pods[0],
        output("alone"),
        pods[1],
        output("of two"),
        output("beside", container="proxy"),
        PodChanged(node=API, pod="api-7d9-aaaaa", status="Gone", ready=False),
        output("alone again"),
    )
    assert [line for line in text.splitlines() if "pod" not in line][1:] == [
        "api     | alone",
        "api     | [x7k2p] of two",
        "api     | [x7k2p proxy] beside",
        "api     | [api] alone again",
    ]


async def test_every_state_of_a_progress_bar_is_kept() -> None:
    text = await plain(LOADED, RunOutput(node=API, run=1, line="10%\r50%\r100%"))
    assert text.splitlines()[1:] == ["api     | 10%", "api     | 50%", "api     | 100%"]


async def test_colours_of_programs_are_kept_only_where_wanted() -> None:
    assert "\x1b" not in await plain(LOADED, output("\x1b[31mred\x1b[0m"))
    assert "\x1b[31mred\x1b[0m\x1b[0m\n" in await plain(LOADED, output("\x1b[31mred\x1b[0m"), colour=True)


async def test_a_flood_loses_no_line() -> None:
    events: list[Event] = [LOADED, *(output(f"line {number}") for number in range(30_000))]
    assert (await plain(*events)).count("| line ") == 30_000


async def test_json_lines_are_the_events() -> None:
    stream = Stream("ascii")
    await JsonFront(stream).run(told(story()))
    assert tuple(from_json(json.loads(line)) for line in stream.text().splitlines()) == story()


async def test_json_survives_every_byte() -> None:
    event = output("☃ \udcff \x00 \x1b[31m \u2028 \n")
    line = json_line(event)
    assert line.isascii()
    assert line.count("\n") == 1
    assert from_json(json.loads(line)) == event


@pytest.mark.parametrize("front_type", [PlainFront, JsonFront])
async def test_lines_are_written_when_they_come(front_type: type[PlainFront | JsonFront]) -> None:
    reader, writer = os.pipe()
    send, receive = anyio.create_memory_object_stream[Event](1)
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as written, send, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(front_type(stream).run, receive)
            await send.send(Noted(message="first"))
            assert b"first" in await anyio.to_thread.run_sync(written.readline)
            send.close()


@pytest.mark.parametrize("front_type", [PlainFront, JsonFront])
async def test_a_reader_that_leaves_ends_the_front(front_type: type[PlainFront | JsonFront]) -> None:
    async def for_ever() -> AsyncIterator[Event]:
        while True:
            yield Noted(message="still here")
            await anyio.lowlevel.checkpoint()

    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream, anyio.fail_after(60):
        await front_type(stream).run(for_ever())


class Stuck(io.StringIO):
    """A stream whose reader takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def write(self, text: str) -> int:
        self.released.wait()
        return super().write(text)


@pytest.mark.parametrize("front_type", [PlainFront, JsonFront])
async def test_a_reader_that_takes_nothing_does_not_stop_the_loop(front_type: type[PlainFront | JsonFront]) -> None:
    stream = Stuck()
    send, receive = anyio.create_memory_object_stream[Event](0)
    with send, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(front_type(stream).run, receive)
            for number_ in range(2_000):
                await send.send(Noted(message=f"note {number_}"))
            tasks.cancel_scope.cancel("enough")
    assert stream.getvalue() == ""
    stream.released.set()


async def test_what_was_read_is_written_when_the_front_is_cancelled() -> None:
    stream = Stream()
    send, receive = anyio.create_memory_object_stream[Event](0)
    with send, receive:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(PlainFront(stream).run, receive)
            for number_ in range(500):
                await send.send(output(f"line {number_}"))
            tasks.cancel_scope.cancel("enough")
    assert stream.text().count("| line ") == 500


async def test_tags_are_as_wide_as_the_longest_name() -> None:
    loaded = ProjectLoaded(project="shop", target="t", nodes=NODES, seconds=0.1)
    text = await plain(loaded, output("hello"), Settled(ok=True, failed=(), seconds=1.0))
    assert [line.index("|") for line in text.splitlines()] == [9, 9, 9]
