"""What devloop adds to a build: against `docker buildx build` and against the plugin by itself, in the same run.

    python benchmarks/build.py [ROUNDS]

Needs a Docker engine and the image `busybox`. Prints one line a measurement: median and minimum in milliseconds.
"""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from devloop.adapters.docker import DockerBuilder
from devloop.adapters.docker.buildx import build_arguments, find_buildx
from devloop.model import ImageRef
from devloop.runtime.ports import BuildLog, BuildProgress, BuildRequest

NAME = "devloop-benchmark"


def ignore(_: BuildProgress) -> None:
    pass


async def measure(title: str, rounds: int, work: Callable[[], Awaitable[object]]) -> None:
    await work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        await work()
        times.append((time.perf_counter() - start) * 1000)
    print(f"{title:58} {statistics.median(times):7.1f} {min(times):7.1f}", flush=True)


def command(*arguments: str) -> Callable[[], Awaitable[object]]:
    async def work() -> None:
        subprocess.run(arguments, check=True, capture_output=True)  # noqa: ASYNC221 - the floor, without any async

    return work


async def cancelled(builder: DockerBuilder, request: BuildRequest) -> float:
    """Return the milliseconds from the cancellation of a build to its end; its RUN step is running by then."""
    begun = anyio.Event()

    def report(told: BuildProgress) -> None:
        if isinstance(told, BuildLog) and told.line == "begun":
            begun.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(builder.build, request, report)
        await begun.wait()
        start = time.perf_counter()
        tasks.cancel_scope.cancel("the benchmark")
    return (time.perf_counter() - start) * 1000


async def main(rounds: int) -> None:
    print(f"{'':58} {'median':>7} {'min':>7}  ms, {rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "Dockerfile").write_text("FROM busybox\nCOPY file /file\n")
        (context / "file").write_text("0")
        request = BuildRequest(name=NAME, context=folder, dockerfile=str(context / "Dockerfile"), labels={NAME: ""})
        arguments = tuple(build_arguments(request))
        numbers = itertools.count(time.time_ns())

        def edited(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
            def edit_and_work() -> Awaitable[object]:
                (context / "file").write_text(str(next(numbers)))
                return work()

            return edit_and_work

        async with DockerBuilder() as builder:
            ours = lambda: builder.build(request, ignore)  # noqa: E731
            floors = {
                "docker buildx": command("docker", "buildx", *arguments),
                "the plugin": command(*find_buildx(), *arguments),
                "devloop": ours,
            }
            for name, work in floors.items():
                await measure(f"cached build: {name}", rounds, work)
            for name, work in floors.items():
                await measure(f"one file changed: {name}", rounds, edited(work))
            image = await builder.build(request, ignore)
            ref = ImageRef(path=NAME, tag="dev-1")
            await measure("tag: docker", rounds, command("docker", "tag", image, str(ref)))
            await measure("tag: devloop", rounds, lambda: builder.tag(image, ref))
            await measure("resolve: docker", rounds, command("docker", "image", "inspect", str(ref)))
            await measure("resolve: devloop", rounds, lambda: builder.resolve(str(ref)))
            await measure("prune with nothing to remove: devloop", rounds, lambda: builder.prune(NAME, {image}))
            await builder.prune(NAME, ())
            (context / "Dockerfile").write_text("FROM busybox\nCOPY file /file\nRUN echo begun; sleep 3600\n")
            times = [await cancelled(builder, request) for _ in range(5)]
            await command("docker", "image", "prune", "--force", f"--filter=label={NAME}")()
            print(
                f"{'from cancelling to no process left: devloop':58} {statistics.median(times):7.1f} {min(times):7.1f}"
            )


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 15)
