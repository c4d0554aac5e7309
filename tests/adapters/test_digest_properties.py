"""Random work on a tree: the digests change exactly when something changed that the builder can see.

Every state is looked at three ways: by the session that saw all before it, by a new session with what the last one
left, and by one that knows nothing. What a state *is* comes from a model that no file system takes part in.
"""

import os
import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devloop.adapters.files import DiskFiles
from devloop.adapters.files.stat_cache import Identity
from devloop.model import Digest, RelPath

TICK = 20_000_000
"""The clock of the files' times goes this coarsely, in nanoseconds: several changes happen within one tick."""

SHORT = TICK + 5_000_000
"""For so long a file is distrusted after it changed."""

NAMES = ("a", "d/b", "d/e/c")


@dataclass(frozen=True)
class Is:
    """What the builder sees of a file."""

    text: str = ""
    mode: int = 0
    link: bool = False


@dataclass
class Tree:
    """A tree on disk beside what it should hold."""

    root: Path
    holds: dict[str, Is] = field(default_factory=dict)

    def write(self, path: str, text: str) -> None:
        """Write in place, and let neither size nor modification time tell."""
        place = self.root / path
        was = self.holds.get(path)
        if was is not None and was.link:
            self.delete(path)
            was = None
        place.parent.mkdir(parents=True, exist_ok=True)
        status = place.stat() if was is not None else None
        place.write_text(text)
        if status is not None:
            os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            place.chmod(0o644)
        self.holds[path] = Is(text=text, mode=was.mode if was is not None else 0o644)

    def link(self, path: str, text: str) -> None:
        self.delete(path)
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(text or "nowhere")
        self.holds[path] = Is(text=text or "nowhere", link=True)

    def chmod(self, path: str, mode: int) -> None:
        was = self.holds.get(path)
        if was is not None and not was.link:
            (self.root / path).chmod(mode)
            self.holds[path] = Is(text=was.text, mode=mode)

    def delete(self, path: str) -> None:
        if self.holds.pop(path, None) is not None:
            (self.root / path).unlink()

    def move(self, path: str, to: str) -> None:
        if path in self.holds and path != to:
            (self.root / to).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).rename(self.root / to)
            self.holds[to] = self.holds.pop(path)

    def exchange(self, path: str, other: str) -> None:
        """Let two files change places, their times and inodes with them."""
        if path in self.holds and other in self.holds and path != other:
            (self.root / path).rename(self.root / "between")
            (self.root / other).rename(self.root / path)
            (self.root / "between").rename(self.root / other)
            self.holds[path], self.holds[other] = self.holds[other], self.holds[path]

    def touch(self, path: str) -> None:
        if path in self.holds:
            os.utime(self.root / path, ns=(1, 1), follow_symlinks=False)

    def copy(self, path: str) -> None:
        """Replace a file by a copy of itself: another inode, another owner of the same content."""
        if path in self.holds:
            shutil.copy2(self.root / path, self.root / "copy", follow_symlinks=False)
            (self.root / "copy").rename(self.root / path)

    def rest(self) -> None:
        """Let so much time pass that what is on disk now is trusted when it is read."""
        until = time.time_ns() + SHORT
        while time.time_ns() <= until:
            time.sleep(0.002)


_PATHS = st.sampled_from(NAMES)
_TEXTS = st.sampled_from(["1", "2", "3", "22", ""])
_MODES = st.sampled_from([0o644, 0o755, 0o600, 0o4755])
_ACTS = st.one_of(
    st.tuples(st.just("write"), _PATHS, _TEXTS),
    st.tuples(st.just("write"), _PATHS, _TEXTS),
    st.tuples(st.just("link"), _PATHS, _TEXTS),
    st.tuples(st.just("chmod"), _PATHS, _MODES),
    st.tuples(st.just("delete"), _PATHS),
    st.tuples(st.just("move"), _PATHS, _PATHS),
    st.tuples(st.just("exchange"), _PATHS, _PATHS),
    st.tuples(st.just("touch"), _PATHS),
    st.tuples(st.just("copy"), _PATHS),
    st.tuples(st.just("rest")),
)


@pytest.fixture(autouse=True, scope="module")
def _coarse_clock() -> Iterator[None]:
    def identity(status: os.stat_result) -> Identity:
        ticks = (status.st_mtime_ns // TICK, status.st_ctime_ns // TICK)
        return Identity(struct.pack("<qqqQI", status.st_size, *ticks, status.st_ino, status.st_mode))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("devloop.adapters.files.hashing.RACY_NS", SHORT)
        patch.setattr("devloop.adapters.files.hashing.identity", identity)
        patch.setattr("devloop.adapters.files.identity", identity)
        yield


@pytest.mark.timeout(180)
@settings(max_examples=60, deadline=None)
@given(rounds=st.lists(st.lists(_ACTS, min_size=1, max_size=4), min_size=2, max_size=5).map(lambda acts: [[], *acts]))
def test_digests_change_exactly_when_something_changes_that_the_builder_sees(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, *tuple[object, ...]]]]
) -> None:
    folder = tmp_path_factory.mktemp("work")
    tree = Tree(folder / "project")
    tree.root.mkdir()
    for path in NAMES:
        tree.write(path, "1")
    tree.rest()
    lasting = DiskFiles(tree.root, folder / "state")
    before: tuple[dict[str, Is], dict[RelPath, Digest]] = ({}, {})
    for acts in rounds:
        for act, *arguments in acts:
            getattr(tree, act)(*arguments)
        found = _scan(DiskFiles(tree.root, folder / "none"))
        assert found == _scan(lasting)
        again = DiskFiles(tree.root, folder / "state")
        assert found == _scan(again)
        again.save()
        now = (dict(tree.holds), found)
        assert found.keys() == tree.holds.keys()
        for path in found.keys() & before[1].keys():
            assert (found[path] == before[1][path]) == (tree.holds[str(path)] == before[0][str(path)]), path
        before = now


def _scan(files: DiskFiles) -> dict[RelPath, Digest]:
    return files.scan(RelPath("."), lambda _: True)
