"""What every `Watcher` does, shown on inotify, watchfiles and the fake; then what only the system can do wrong."""

import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import anyio
import pytest
from anyio.abc import ObjectReceiveStream

from devloop.adapters.watch import FileWatcher
from devloop.adapters.watch.batch import Batch
from devloop.adapters.watch.inotify import _Kernel
from devloop.adapters.watch.polling import sends_no_events
from devloop.errors import ToolError
from devloop.model import RelPath
from devloop.runtime.ports import Hint, PathsHint, RescanHint, Watcher
from tests.fakes.files import FakeFiles
from tests.fakes.watcher import FakeWatcher

pytestmark = pytest.mark.anyio

Keep = Callable[[RelPath], bool]


def everything(_: RelPath) -> bool:
    return True


def no_modules(path: RelPath) -> bool:
    return not path.endswith("node_modules")


class Tree(Protocol):
    def write(self, path: str, text: str) -> None: ...

    def delete(self, path: str) -> None: ...


class DiskTree:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()


@asynccontextmanager
async def hints_of(
    watcher: Watcher, roots: Iterable[str] = (".",), keep: Keep = everything
) -> AsyncIterator[ObjectReceiveStream[Hint]]:
    async with watcher.watch([RelPath(root) for root in roots], keep) as hints:
        yield hints


async def until(hints: ObjectReceiveStream[Hint], *paths: str) -> set[str]:
    """Return all paths that are hinted until those named have been."""
    seen: set[str] = set()
    with anyio.fail_after(60):
        while not seen.issuperset(paths):
            match await hints.receive():
                case PathsHint(paths=more):
                    seen |= more
                case RescanHint(reason=reason):
                    pytest.fail(f"a rescan: {reason}")
    return seen


async def whole(hints: ObjectReceiveStream[Hint], count: int) -> list[set[str]]:
    """Return the paths of each batch until so many were told and the last one is over."""
    seen: list[set[str]] = [set()]
    with anyio.fail_after(60):
        while True:
            hint = await hints.receive()
            assert isinstance(hint, PathsHint)
            seen[-1] |= hint.paths
            if hint.over and len(set().union(*seen)) >= count:
                return seen
            if hint.over:
                seen.append(set())


async def until_any(hints: ObjectReceiveStream[Hint], *paths: str) -> None:
    """Return when one of these is hinted: a new directory, or, where nothing tells of directories, what is in it."""
    with anyio.fail_after(60):
        while True:
            match await hints.receive():
                case PathsHint(paths=more) if not more.isdisjoint(paths):
                    return
                case _:
                    continue


def waiting(hints: ObjectReceiveStream[Hint]) -> frozenset[str]:
    """Return the paths of the hint that waits to be taken."""
    hinted = getattr(hints, "_hinted", None)
    return frozenset(hinted.paths if hinted else getattr(hints, "_paths", ()))


@contextmanager
def at_one_stroke(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be read of what happens until it is over: a busy machine may pause in the middle of a save."""
    over, read = threading.Event(), _Kernel.read

    def late(self: _Kernel) -> Iterable[tuple[int, int, bytes]]:
        over.wait()
        yield from read(self)

    monkeypatch.setattr(_Kernel, "read", late)
    try:
        yield
    finally:
        over.set()


async def rescan(hints: ObjectReceiveStream[Hint]) -> str:
    with anyio.fail_after(60):
        while True:
            match await hints.receive():
                case RescanHint(reason=reason):
                    return reason
                case _:
                    continue


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    return place


@pytest.fixture(params=["inotify", "watchfiles", "polling"])
def disk(request: pytest.FixtureRequest, root: Path) -> FileWatcher:
    return FileWatcher(root, portable=request.param == "watchfiles", polling=request.param == "polling")


@pytest.fixture(params=["inotify", "watchfiles", "fake"])
def both(request: pytest.FixtureRequest, root: Path) -> tuple[Tree, Watcher]:
    if request.param == "fake":
        files = FakeFiles()
        return files, FakeWatcher(files)
    return DiskTree(root), FileWatcher(root, portable=request.param == "watchfiles")


@pytest.fixture
def inotify(root: Path) -> FileWatcher:
    return FileWatcher(root)


Both = tuple[Tree, Watcher]


# --- every implementation ------------------------------------------------------------------------------------


async def test_new_changed_and_deleted_files_are_hinted(both: Both) -> None:
    tree, watcher = both
    tree.write("src/old", "1")
    async with hints_of(watcher) as hints:
        tree.write("src/new", "1")
        await until(hints, "src/new")
        tree.write("src/old", "2")
        await until(hints, "src/old")
        tree.delete("src/old")
        await until(hints, "src/old")


async def test_changes_from_before_are_not_hinted_and_the_first_after_is(both: Both) -> None:
    tree, watcher = both
    tree.write("before", "1")
    async with hints_of(watcher) as hints:
        tree.write("after", "1")
        assert await until(hints, "after") == {"after"}


async def test_what_is_not_kept_is_not_hinted(both: Both) -> None:
    tree, watcher = both
    tree.write("web/node_modules/a", "1")
    async with hints_of(watcher, keep=no_modules) as hints:
        tree.write("web/node_modules/a", "2")
        tree.write("web/node_modules/new/b", "2")
        tree.write("web/src", "1")
        assert await until(hints, "web/src") <= {"web/src", "web"}


async def test_only_the_roots_are_watched(both: Both) -> None:
    tree, watcher = both
    for path in ("api/a", "web/b", "other/c", "../shared/d"):
        tree.write(path, "1")
    async with hints_of(watcher, roots=("api", "../shared")) as hints:
        for path in ("other/c", "web/b", "api/a", "../shared/d"):
            tree.write(path, "2")
        assert await until(hints, "api/a", "../shared/d") == {"api/a", "../shared/d"}


async def test_what_happens_until_a_hint_is_taken_is_one_hint(both: Both) -> None:
    tree, watcher = both
    for number in range(50):
        tree.write(f"d{number}/f", "1")
    async with hints_of(watcher) as hints:
        for number in range(50):
            tree.write(f"d{number}/f", "2")
        with anyio.fail_after(60):
            while len(waiting(hints)) < 50:  # noqa: ASYNC110 - nobody is told of hints that nobody takes
                await anyio.sleep(0.01)
            hint = await hints.receive()
        assert isinstance(hint, PathsHint)
        assert hint.paths == {f"d{number}/f" for number in range(50)}


async def test_a_root_within_another_is_hinted_by_its_path(both: Both) -> None:
    tree, watcher = both
    tree.write("api/src/a", "1")
    async with hints_of(watcher, roots=(".", "api")) as hints:
        tree.write("api/src/a", "2")
        await until(hints, "api/src/a")


async def test_a_linked_root_within_another_is_followed(disk: FileWatcher, root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").write_text("1")
    (root / "src").symlink_to(elsewhere)
    async with hints_of(disk, roots=(".", "src")) as hints:
        (elsewhere / "a").write_text("changed")
        await until(hints, "src/a")


# --- the disk, however it is watched -------------------------------------------------------------------------


async def test_new_directories_are_watched(disk: FileWatcher, root: Path) -> None:
    async with hints_of(disk) as hints:
        (root / "a/b/c").mkdir(parents=True)
        (root / "a/b/c/first").write_text("1")
        await until_any(hints, "a", "a/b/c/first")
        (root / "a/b/c/second").write_text("1")
        await until(hints, "a/b/c/second")


async def test_a_directory_that_is_moved_in_is_hinted(disk: FileWatcher, root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/file").write_text("1")
    async with hints_of(disk) as hints:
        outside.rename(root / "inside")
        await until_any(hints, "inside", "inside/deep/file")
        (root / "inside/deep/file").write_text("changed")
        await until(hints, "inside/deep/file")


async def test_a_linked_root_is_followed(disk: FileWatcher, root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").write_text("1")
    (root / "src").symlink_to(elsewhere)
    async with hints_of(disk, roots=("src",)) as hints:
        (elsewhere / "a").write_text("changed")
        assert await until(hints, "src/a") == {"src/a"}


async def test_a_root_that_comes_later_is_watched(disk: FileWatcher, root: Path) -> None:
    async with disk.watch([RelPath("later/src")], everything) as hints:
        (root / "later/src").mkdir(parents=True)
        (root / "later/src/first").write_text("1")
        with anyio.fail_after(60):
            await hints.receive()
        (root / "later/src/second").write_text("1")
        with anyio.fail_after(60):
            await hints.receive()


async def test_a_root_that_is_deleted_and_made_again_is_watched(disk: FileWatcher, root: Path) -> None:
    (root / "src").mkdir()
    (root / "src/a").write_text("1")

    async def noticed(hints: ObjectReceiveStream[Hint], file: str) -> None:
        await (rescan(hints) if disk._portable else until_any(hints, file if disk._polling else "src"))

    async with disk.watch([RelPath("src")], everything) as hints:
        (root / "src/a").unlink()
        (root / "src").rmdir()
        await noticed(hints, "src/a")
        (root / "src").mkdir()
        (root / "src/b").write_text("1")
        await noticed(hints, "src/b")
        (root / "src/b").write_text("changed")
        await until_any(hints, "src/b")


async def test_cancelling_is_quick(disk: FileWatcher) -> None:
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                async with hints_of(disk) as hints:
                    tasks.cancel_scope.cancel()
                    await hints.receive()

            tasks.start_soon(watch)


async def test_what_the_body_raises_comes_out_as_it_is(disk: FileWatcher) -> None:
    with pytest.raises(KeyError):
        async with hints_of(disk):
            raise KeyError


# --- inotify: what only it can do ----------------------------------------------------------------------------


async def test_directories_that_are_not_kept_are_not_watched_at_all(
    inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = []
    add = _Kernel.add

    def listening(self: _Kernel, path: str) -> int:
        watched.append(path)
        return add(self, path)

    monkeypatch.setattr(_Kernel, "add", listening)
    (root / "web/node_modules/a/b").mkdir(parents=True)
    async with hints_of(inotify, keep=no_modules) as hints:
        (root / "api/node_modules/c").mkdir(parents=True)
        await until(hints, "api")
    assert {path for path in watched if "node_modules" in path} == set()
    assert str(root / "web") in watched


async def test_a_save_by_rename_is_one_hint(inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "f.py").write_text("old")
    async with hints_of(inotify) as hints:
        with at_one_stroke(monkeypatch):
            (root / ".f.py.tmp").write_text("new")
            (root / ".f.py.tmp").rename(root / "f.py")
        with anyio.fail_after(60):
            assert await hints.receive() == PathsHint(paths=frozenset({RelPath("f.py")}))


async def test_a_save_by_vim_is_one_hint_of_the_file_alone(
    inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "f.py").write_text("old")
    async with hints_of(inotify) as hints:
        with at_one_stroke(monkeypatch):
            (root / "4913").write_text("")
            (root / "4913").unlink()
            (root / "f.py").rename(root / "f.py~")
            with (root / "f.py").open("w") as file:
                file.write("new")
                file.flush()
                os.fsync(file.fileno())
            (root / "f.py").chmod(0o644)
            (root / "f.py~").unlink()
        with anyio.fail_after(60):
            hint = await hints.receive()
        assert isinstance(hint, PathsHint)
        assert hint.paths <= {"f.py", "f.py~"}
        assert "f.py" in hint.paths


async def test_a_file_is_hinted_when_it_is_closed_not_while_it_is_written(
    inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.watch.batch._WRITING", 30.0)
    async with hints_of(inotify) as hints:
        with (root / "slow").open("w") as file:
            for _ in range(5):
                file.write("line\n")
                file.flush()
                await anyio.sleep(0.02)
                with pytest.raises(anyio.WouldBlock):
                    receive_nowait(hints)
        assert await until(hints, "slow") == {"slow"}


def receive_nowait(hints: ObjectReceiveStream[Hint]) -> None:
    if hints._hinted:  # type: ignore[attr-defined]
        pytest.fail("there is a hint")
    raise anyio.WouldBlock


async def test_a_file_that_stays_open_is_hinted_all_the_same(inotify: FileWatcher, root: Path) -> None:
    async with hints_of(inotify) as hints:
        with (root / "log").open("w") as file:
            for _ in range(3):
                file.write("line\n")
                file.flush()
                assert await until(hints, "log") == {"log"}


async def test_links_and_second_names_are_hinted_at_once(inotify: FileWatcher, root: Path) -> None:
    (root / "file").write_text("x")
    async with hints_of(inotify) as hints:
        (root / "soft").symlink_to("file")
        await until(hints, "soft")
        (root / "hard").hardlink_to(root / "file")
        await until(hints, "hard")


async def test_names_that_are_not_utf8_are_hinted(inotify: FileWatcher, root: Path) -> None:
    async with hints_of(inotify) as hints:
        (root / os.fsdecode(b"caf\xe9")).write_text("x")
        (root / "b").write_text("x")
        seen = await until(hints, "b")
        assert [name for name in seen if name.encode() and name.startswith("caf")]


async def test_a_directory_that_was_renamed_is_watched_under_its_new_name(inotify: FileWatcher, root: Path) -> None:
    (root / "old/deep").mkdir(parents=True)
    async with hints_of(inotify) as hints:
        (root / "old").rename(root / "new")
        await until(hints, "old", "new")
        (root / "new/deep/f").write_text("x")
        assert await until(hints, "new/deep/f") == {"new/deep/f"}


async def test_a_directory_that_was_moved_out_is_watched_no_more(inotify: FileWatcher, root: Path) -> None:
    (root / "old/deep").mkdir(parents=True)
    async with hints_of(inotify) as hints:
        (root / "old").rename(root.parent / "away")
        await until(hints, "old")
        (root.parent / "away/deep/f").write_text("x")
        (root / "other").write_text("x")
        assert await until(hints, "other") == {"other"}


async def test_a_link_to_a_root_that_is_led_elsewhere_is_followed(
    inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (root.parent / name).mkdir()
    (root / "src").symlink_to(root.parent / "first")
    async with hints_of(inotify, roots=("src",)) as hints:
        with at_one_stroke(monkeypatch):
            (root / "src").unlink()
            (root / "src").symlink_to(root.parent / "second")
        await until(hints, "src")
        (root.parent / "first/f").write_text("x")
        (root.parent / "second/g").write_text("x")
        assert await until(hints, "src/g") == {"src/g"}


async def test_one_directory_reached_by_two_roots_is_hinted_under_both(inotify: FileWatcher, root: Path) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    async with hints_of(inotify, roots=("real", "link")) as hints:
        (root / "real/f").write_text("x")
        await until(hints, "real/f", "link/f")


async def test_more_events_than_the_system_holds_cause_a_rescan_and_watching_goes_on(
    inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = _Kernel.read
    overflow = [(-1, 0x4000, b"")]

    def overflowing(self: _Kernel) -> Iterable[tuple[int, int, bytes]]:
        yield from read(self)
        if overflow:
            yield overflow.pop()

    monkeypatch.setattr(_Kernel, "read", overflowing)
    async with hints_of(inotify) as hints:
        (root / "a").write_text("x")
        assert "more happened" in await rescan(hints)
        (root / "b").write_text("x")
        await until(hints, "b")


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.ENOSPC, r"limit of watched directories \(\d+\) is reached", "max_user_watches"),
        (errno.EMFILE, "limit of watchers is reached", "max_user_instances"),
    ],
)
async def test_a_limit_that_is_reached_at_the_start_is_an_error_that_says_the_way_out(
    inotify: FileWatcher, monkeypatch: pytest.MonkeyPatch, number: int, message: str, hint: str
) -> None:
    def failing(self: _Kernel, *_: str) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_Kernel, "add" if number == errno.ENOSPC else "open", failing)
    with pytest.raises(ToolError, match=message) as caught:
        async with hints_of(inotify):
            pass
    assert hint in (caught.value.hint or "")


async def test_a_limit_that_is_reached_later_causes_rescans_and_says_so(
    inotify: FileWatcher, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: _Kernel, path: str) -> int:
        raise OSError(errno.ENOSPC, path)

    async with hints_of(inotify) as hints:
        monkeypatch.setattr(_Kernel, "add", failing)
        (root / "new").mkdir()
        assert "limit" in await rescan(hints)


async def test_a_burst_of_thousands_of_files_is_one_hint(inotify: FileWatcher, root: Path) -> None:
    for number in range(20):
        (root / f"d{number}").mkdir()
    async with hints_of(inotify) as hints:

        def write() -> None:
            for number in range(2000):
                (root / f"d{number % 20}/f{number}").write_text("x")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, write)
            seen = await whole(hints, 2000)
        assert len(frozenset().union(*seen)) == 2000


@pytest.mark.parametrize("kind", ["repository", "worktree"])
@pytest.mark.parametrize("portable", [False, True], ids=["inotify", "watchfiles"])
async def test_what_git_writes_is_one_hint_however_long_it_pauses(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, portable: bool
) -> None:
    monkeypatch.setattr("devloop.adapters.watch.batch._LOCKED_QUIET", 30.0)
    (root / "sub/deep").mkdir(parents=True)
    git = root / ".git" if kind == "repository" else root / ".worktree"
    git.mkdir()
    if kind == "worktree":
        (root / "sub/.git").write_text("gitdir: ../.worktree\n")

    def check_out() -> None:
        (git / "index.lock").touch()
        for part in range(3):
            for number in range(20):
                (root / f"sub/deep/{part}-{number}").write_text("x")
            time.sleep(0.2)
        (git / "index.lock").rename(git / "index")

    watcher = FileWatcher(root, portable=portable)
    async with watcher.watch([RelPath("sub/deep")], everything) as hints, anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, check_out)
        seen = await whole(hints, 60)
    assert len([paths for paths in seen if len(paths) >= 8]) == 1  # a busy machine may tell the first few before


# --- polling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "silent"),
    [("/home/me/project", False), ("/mnt/c/project", True), ("/net/share/deep", True), ("/a share/project", True)],
)
def test_file_systems_that_send_no_events_are_known_by_their_mount(place: str, silent: bool) -> None:
    mounts = "/dev/sda / ext4 rw 0 0\nC: /mnt/c 9p rw 0 0\ns:/x /net nfs4 rw 0 0\nx@y: /a\\040share fuse.sshfs rw 0 0\n"
    assert sends_no_events(Path(place), mounts) is silent


# --- watchfiles: what it does wrong --------------------------------------------------------------------------


async def test_watchfiles_survives_names_that_are_not_utf8(root: Path) -> None:
    async with hints_of(FileWatcher(root, portable=True)) as hints:
        (root / os.fsdecode(b"caf\xe9")).symlink_to("b")  # one event, where a file that is written has several
        await rescan(hints)
        (root / "b").write_text("x")
        await until(hints, "b")


# --- batches: pure -------------------------------------------------------------------------------------------


def path(name: str) -> RelPath:
    return RelPath(name)


def taken(batch: Batch, now: float) -> set[str] | None:
    """Return what is told at the end of a batch; None when it is not over."""
    match batch.take(now):
        case PathsHint(paths=paths, over=True):
            return set(paths)
        case None | PathsHint(over=False):
            return None
        case other:
            pytest.fail(f"{other}")


def test_a_lone_change_comes_out_after_a_short_silence() -> None:
    batch = Batch()
    assert batch.wait(0) is None
    batch.closed(path("a"), 10.0)
    wait = batch.wait(10.0)
    assert wait is not None
    assert 0 < wait < 0.01
    assert taken(batch, 10.001) is None
    assert taken(batch, 10.0 + wait) == {"a"}
    assert batch.wait(11) is None


def test_constant_small_changes_come_out_now_and_then() -> None:
    batch = Batch()
    for step in range(100):
        batch.changed(path("a"), step / 1000)
        if taken(batch, step / 1000):
            break
    else:
        pytest.fail("nothing came out within 0.1 s")


def test_a_large_batch_is_waited_for_longer_and_told_in_parts_meanwhile() -> None:
    batch = Batch()
    hints = []
    for number in range(100):
        batch.closed(path(f"{number}"), number / 500)
        hints.append(batch.take(number / 500))
    parts = [hint for hint in hints if isinstance(hint, PathsHint)]
    assert len(parts) == 3  # one each 50 ms
    assert not any(part.over for part in parts)
    last = batch.take(0.3)
    assert isinstance(last, PathsHint)
    assert last.over
    told = [each for part in (*parts, last) for each in part.paths]
    assert sorted(told) == sorted(f"{number}" for number in range(100))  # each once
    assert len({part.since for part in (*parts, last)}) == 1
    assert batch.wait(0.3) is None


def test_the_end_of_a_batch_is_told_even_when_all_of_it_was() -> None:
    batch = burst()
    part = batch.take(0.06)
    assert part == PathsHint(paths=frozenset(path(f"{number}") for number in range(10)), over=False)
    wait = batch.wait(0.06)
    assert wait is not None
    assert taken(batch, 0.06 + wait) == set()
    assert batch.wait(1) is None


def test_what_changes_again_after_it_was_told_in_a_part_is_told_again() -> None:
    batch = burst()
    assert isinstance(batch.take(0.06), PathsHint)
    batch.gone(path("3"), 0.07)
    batch.written(path("4"), 0.07)
    batch.closed(path("4"), 0.08)
    assert taken(batch, 1.0) == {"3", "4"}


def test_a_large_batch_waits_while_git_holds_its_lock_and_comes_out_soon_after() -> None:
    batch = burst()
    assert batch.burst == "9"
    batch.lock(0.0, held=True)
    wait = batch.wait(0.0)
    assert wait is not None
    assert wait <= 0.01  # to look at the lock again
    assert taken(batch, 0.4) is None
    batch.lock(0.4, held=False)
    assert taken(batch, 0.42) is None
    assert taken(batch, 0.45) is not None
    assert batch.wait(0.45) is None


def test_a_lock_that_is_taken_again_is_waited_for_again() -> None:
    batch = burst()
    batch.lock(0.0, held=True)
    batch.lock(0.1, held=False)
    batch.lock(0.12, held=True)
    assert taken(batch, 0.3) is None


def test_a_lock_that_was_left_behind_holds_a_batch_for_half_a_second() -> None:
    batch = burst()
    batch.lock(0.1, held=True)
    assert taken(batch, 0.5) is None
    batch.lock(0.6, held=True)
    assert taken(batch, 0.6) is not None


def burst() -> Batch:
    batch = Batch()
    for number in range(10):
        batch.closed(path(f"{number}"), number / 200)
    return batch


def test_what_came_and_went_never_was() -> None:
    batch = Batch()
    batch.written(path("4913"), 0.0, born=True)
    batch.closed(path("4913"), 0.001)
    batch.gone(path("4913"), 0.002)
    assert taken(batch, 1.0) is None
    assert batch.wait(1.0) is None


def test_what_went_came_back_and_went_again_is_told() -> None:
    batch = Batch()
    batch.gone(path("link"), 0.0)
    batch.written(path("link"), 0.001, born=True)
    batch.gone(path("link"), 0.002)
    assert taken(batch, 1.0) == {"link"}


def test_a_probe_file_holds_the_batch_for_its_dance() -> None:
    batch = Batch()
    batch.closed(path("src/f.py~"), 0.0)
    assert taken(batch, 0.02) is None
    assert taken(batch, 0.04) == {"src/f.py~"}


def test_a_deleted_file_holds_the_batch_for_what_may_take_its_place() -> None:
    batch = Batch()
    batch.gone(path("page.html"), 0.0)
    assert taken(batch, 0.02) is None
    batch.written(path("page.html"), 0.02, born=True)
    batch.closed(path("page.html"), 0.021)
    assert taken(batch, 0.026) == {"page.html"}


def test_a_deletion_alone_comes_out_all_the_same() -> None:
    batch = Batch()
    batch.gone(path("page.html"), 0.0)
    assert taken(batch, 0.035) == {"page.html"}


def test_a_loss_overrules_everything() -> None:
    batch = Batch()
    batch.changed(path("a"), 0.0)
    batch.lost("too much")
    assert batch.wait(0.0) == 0.0
    assert batch.take(0.0) == RescanHint(reason="too much")
    assert batch.take(9.0) is None
