"""From a save to its hint, a burst of files as one hint, start-up and idle cost; the walk and the digests beside them.

    python benchmarks/watch.py [FILES] [SAVES]

Needs nothing but a disk. Compares devloop's own reader (Linux) with watchfiles on the same tree.
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import anyio
from anyio.abc import ObjectReceiveStream

from devloop.adapters.files import DiskFiles
from devloop.adapters.watch import FileWatcher
from devloop.model import RelPath
from devloop.runtime.ports import Hint, PathsHint

IN_DIRECTORY = 20
BURST = 5000
WRITER = """
import sys, time
for place in sys.argv[1:]:
    with open(place, "w") as file:
        file.write("changed\\n")
print(time.monotonic())
"""


def everything(_: RelPath) -> bool:
    return True


def plant(root: Path, count: int) -> list[Path]:
    places = [root / f"d{number // IN_DIRECTORY}/f{number}.py" for number in range(count)]
    for place in places:
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"value = {place.name!r}\n" * 20)
    return places


def tell(title: str, *seconds: float) -> None:
    ordered = sorted(seconds)
    share = {name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for name, part in SHARES.items()}
    shown = "  ".join(f"{name} {value * 1000:8.2f}" for name, value in (share if len(ordered) > 1 else {}).items())
    print(f"{title:46} {shown or f'    {ordered[0] * 1000:8.2f}'} ms", flush=True)


SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


async def watching(root: Path, places: list[Path], saves: int, *, portable: bool) -> None:
    name = "watchfiles" if portable else "inotify"
    start = time.perf_counter()
    async with FileWatcher(root, portable=portable).watch([RelPath(".")], everything) as hints:
        tell(f"{name}: start with {len(places)} files", time.perf_counter() - start)
        times = []
        for number in range(saves):
            await anyio.sleep(0.02)
            place = places[number * 7919 % len(places)]
            start = time.perf_counter()
            place.write_text(f"value = {number}\n")
            await hints.receive()
            times.append(time.perf_counter() - start)
        tell(f"{name}: save to hint", *times)
        await burst(name, hints, places[:BURST])
        start, cpu = time.perf_counter(), time.process_time()
        await anyio.sleep(3)
        idle = (time.process_time() - cpu) / (time.perf_counter() - start)
        print(f"{name + ': idle processor time':46} {idle * 100:12.2f} %", flush=True)


async def burst(name: str, hints: ObjectReceiveStream[Hint], places: list[Path]) -> None:
    seen: set[str] = set()
    count = 0
    writer = await anyio.open_process([sys.executable, "-c", WRITER, *map(str, places)])
    with anyio.move_on_after(30):
        while len(seen) < len(places):
            hint = await hints.receive()
            count += 1
            if not isinstance(hint, PathsHint):
                print(f"{name}: {hint}")
                break
            seen |= hint.paths
    end = time.monotonic()
    assert writer.stdout
    last = float(await writer.stdout.receive())
    await writer.aclose()
    tell(f"{name}: {len(places)} writes, {count} hint(s), after the last", end - last)


def walking(root: Path, state: Path, place: Path) -> None:
    def timed(title: str, files: DiskFiles) -> None:
        start = time.perf_counter()
        files.scan(RelPath("."), everything)
        tell(title, time.perf_counter() - start)

    files = DiskFiles(root, state)
    timed("files: every digest, nothing remembered", files)
    time.sleep(2.1)  # until the times of the files are to be trusted
    files.scan(RelPath("."), everything)
    timed("files: every digest, all remembered", files)
    start = time.perf_counter()
    files.save()
    tell("files: save the memory", time.perf_counter() - start)
    timed("files: every digest, after a new start", DiskFiles(root, state))
    name = RelPath(str(place.relative_to(root)))
    known = files.scan(RelPath("."), everything)
    times = []
    for number in range(100):
        place.write_text(f"{number}")
        start = time.perf_counter()
        files.look_again([name], known, everything)
        times.append(time.perf_counter() - start)
    tell("files: look again at one", *times)


async def main(count: int, saves: int) -> None:
    print(f"{count} files, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with TemporaryDirectory(dir=Path(gettempdir()).resolve()) as folder:
        root = Path(folder) / "project"
        root.mkdir()
        places = plant(root, count)
        if sys.platform == "linux":
            await watching(root, places, saves, portable=False)
        await watching(root, places, saves, portable=True)
        walking(root, root.parent / "state", places[0])


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    anyio.run(main, numbers[0] if numbers else 20_000, numbers[1] if numbers[1:] else 200)
