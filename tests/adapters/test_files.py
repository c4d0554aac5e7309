"""What every `Files` does, shown on the disk and on the fake; then what only the disk can do wrong."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.adapters.files import DiskFiles, stat_cache
from devloop.core.digests import ABSENT
from devloop.core.dockerfile.archives import HEAD
from devloop.errors import InputError
from devloop.model import RelPath
from devloop.runtime.ports import Entry, Files
from tests.fakes.files import FakeFiles


def everything(_: RelPath) -> bool:
    return True


def paths(*names: str) -> list[RelPath]:
    return [RelPath(name) for name in names]


class Tree(Protocol):
    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None: ...

    def link(self, path: str, target: str) -> None: ...

    def delete(self, path: str) -> None: ...


class DiskTree:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        place.chmod(mode)

    def link(self, path: str, target: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(target)

    def delete(self, path: str) -> None:
        place = self.root / path
        if place.is_dir() and not place.is_symlink():
            for below in sorted(place.rglob("*"), reverse=True):
                below.rmdir() if below.is_dir() and not below.is_symlink() else below.unlink()
            place.rmdir()
        else:
            place.unlink()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    place.mkdir()
    return place


@pytest.fixture
def disk(root: Path, tmp_path: Path) -> DiskFiles:
    return DiskFiles(root, tmp_path / "state")


@pytest.fixture(params=["disk", "fake"])
def both(request: pytest.FixtureRequest, root: Path, disk: DiskFiles) -> Iterator[tuple[Tree, Files]]:
    if request.param == "disk":
        yield DiskTree(root), disk
    else:
        fake = FakeFiles()
        yield fake, fake


Both = tuple[Tree, Files]


# --- every implementation ------------------------------------------------------------------------------------


def test_a_link_tells_where_it_leads_as_it_is_written(both: tuple[Tree, Files]) -> None:
    tree, files = both
    tree.write("d/a", "x")
    tree.link("l", "d/../d/a")
    assert [files.link_target(path) for path in paths("l", "d", "d/a", "nothing")] == ["d/../d/a", None, None, None]


def test_the_entries_of_a_folder_are_told_by_kind(both: tuple[Tree, Files]) -> None:
    tree, files = both
    tree.write("d/a", "x")
    tree.write("d/e/f", "x")
    tree.link("d/l", "nowhere")
    assert files.entries(RelPath("d")) == {"a": Entry.FILE, "e": Entry.FOLDER, "l": Entry.LINK}
    assert files.entries(RelPath(".")) == {"d": Entry.FOLDER}
    assert files.entries(RelPath("nothing")) == {}


def test_the_head_of_a_file_is_its_first_bytes(both: tuple[Tree, Files]) -> None:
    tree, files = both
    tree.write("d/a", b"\xff" * 1000)
    tree.link("d/l", "a")
    heads = [files.head(path) for path in paths("d/a", "d/l", "d", "nothing")]
    assert heads == [b"\xff" * HEAD, b"\xff" * HEAD, None, None]


def test_a_scan_finds_every_file_below_a_directory(both: Both) -> None:
    tree, files = both
    for path in ("top", "api/a.py", "api/deep/er/b.py", "web/c.js"):
        tree.write(path, "text")
    assert files.scan(RelPath("."), everything).keys() == {"top", "api/a.py", "api/deep/er/b.py", "web/c.js"}
    assert files.scan(RelPath("api"), everything).keys() == {"api/a.py", "api/deep/er/b.py"}


def test_a_scan_of_a_file_is_that_file_and_of_nothing_is_nothing(both: Both) -> None:
    tree, files = both
    tree.write("requirements.txt", "x")
    assert files.scan(RelPath("requirements.txt"), everything).keys() == {"requirements.txt"}
    assert files.scan(RelPath("missing"), everything) == {}


def test_a_scan_leaves_out_directories_that_are_not_kept(both: Both) -> None:
    tree, files = both
    asked = []

    def keep(path: RelPath) -> bool:
        asked.append(path)
        return not path.endswith("node_modules")

    tree.write("web/node_modules/left-pad/index.js", "x")
    tree.write("web/src/index.js", "x")
    assert files.scan(RelPath("."), keep).keys() == {"web/src/index.js"}
    assert set(asked) == {"web", "web/node_modules", "web/src"}, "asked about directories, and none below a refused one"


def test_content_and_permissions_and_kind_make_the_digest_and_nothing_else(both: Both) -> None:
    tree, files = both
    tree.write("a", "same")
    tree.write("b", "same")
    tree.write("other", "different")
    tree.write("executable", "same", 0o755)
    tree.link("link", "same")
    tree.link("link-elsewhere", "elsewhere")
    found = files.scan(RelPath("."), everything)
    assert found[RelPath("a")] == found[RelPath("b")]
    assert len(set(found.values())) == 5
    assert ABSENT not in found.values()


def test_paths_may_lead_out_of_the_project(both: Both) -> None:
    tree, files = both
    tree.write("../shared/lib.py", "x")
    tree.write("own.py", "x")
    assert files.scan(RelPath("../shared"), everything).keys() == {"../shared/lib.py"}
    assert files.scan(RelPath("."), everything).keys() == {"own.py"}
    assert files.look_again(paths("../shared/lib.py"), (), everything).keys() == {"../shared/lib.py"}


def test_looking_again_gives_the_present_digest_and_none_for_what_is_gone(both: Both) -> None:
    tree, files = both
    tree.write("a", "1")
    tree.write("b", "1")
    known = files.scan(RelPath("."), everything)
    tree.write("a", "2")
    tree.delete("b")
    again = files.look_again(paths("a", "b"), known, everything)
    assert again == {"a": files.scan(RelPath("."), everything)[RelPath("a")], "b": None}
    assert again[RelPath("a")] != known[RelPath("a")]


def test_looking_again_at_a_directory_walks_it(both: Both) -> None:
    tree, files = both
    tree.write("new/deep/a", "1")
    tree.write("new/skip/b", "1")
    again = files.look_again(paths("new"), (), lambda path: path != "new/skip")
    assert again.keys() == {"new/deep/a"}
    assert None not in again.values()


def test_looking_again_at_a_directory_that_is_not_kept_finds_nothing(both: Both) -> None:
    tree, files = both
    tree.write("node_modules/a", "1")
    assert files.look_again(paths("node_modules"), (), lambda path: path != "node_modules") == {"node_modules": None}


def test_files_that_are_not_wanted_are_left_out(both: Both) -> None:
    tree, files = both
    tree.write("src/a.py", "1")
    tree.write("src/dump.sql", "1")
    tree.write("log", "1")

    def sources(path: RelPath) -> bool:
        return path.endswith(".py")

    known = files.scan(RelPath("."), everything, sources)
    assert known.keys() == {"src/a.py"}
    assert files.look_again(paths("log", "src/a.py"), known, everything, sources) == {"log": None} | known


def test_of_a_directory_that_is_gone_every_known_file_is_gone(both: Both) -> None:
    tree, files = both
    tree.write("old/a", "1")
    tree.write("old/deep/b", "1")
    tree.write("older", "1")
    known = files.scan(RelPath("."), everything)
    tree.delete("old")
    again = files.look_again(paths("old"), known, everything)
    assert {path for path in again if path != "old"} == {"old/a", "old/deep/b"}
    assert set(again.values()) == {None}


def test_a_directory_that_became_a_file_and_back(both: Both) -> None:
    tree, files = both
    tree.write("thing/a", "1")
    known = files.scan(RelPath("."), everything)
    tree.delete("thing")
    tree.write("thing", "file")
    again = files.look_again(paths("thing"), known, everything)
    assert again[RelPath("thing/a")] is None
    assert again[RelPath("thing")] is not None
    known = files.scan(RelPath("."), everything)
    tree.delete("thing")
    tree.write("thing/a", "1")
    again = files.look_again(paths("thing"), known, everything)
    assert again[RelPath("thing")] is None
    assert again[RelPath("thing/a")] is not None


def test_many_gone_directories_are_found_as_well_as_few(both: Both) -> None:
    tree, files = both
    names = [f"d{number}" for number in range(30)]
    for name in names:
        tree.write(f"{name}/f", "1")
    known = files.scan(RelPath("."), everything)
    for name in names:
        tree.delete(name)
    again = files.look_again(paths(*names), known, everything)
    assert {path for path in again if "/" in path} == {f"{name}/f" for name in names}


def test_definition_files_are_read_as_text(both: Both) -> None:
    tree, files = both
    tree.write("api/Dockerfile", "FROM scratch\r\n# ünï\n")
    assert files.read(RelPath("api/Dockerfile")) == "FROM scratch\r\n# ünï\n"
    assert files.read(RelPath("api/missing")) is None
    assert files.read(RelPath("api/Dockerfile/below-a-file")) is None


def test_what_cannot_be_read_as_text_is_a_mistake_of_the_project(both: Both) -> None:
    tree, files = both
    tree.write("binary", b"ok\xff")
    with pytest.raises(InputError, match=r"`binary` is not UTF-8 text \(byte 2\)") as caught:
        files.read(RelPath("binary"))
    assert str(caught.value.where) == "binary"
    tree.write("folder/file", "")
    with pytest.raises(InputError, match="`folder` is a directory, not a file"):
        files.read(RelPath("folder"))


def test_directories_are_told_from_files(both: Both) -> None:
    tree, files = both
    tree.write("folder/file", "")
    assert files.is_directory(RelPath("folder"))
    assert files.is_directory(RelPath("."))
    assert not files.is_directory(RelPath("folder/file"))
    assert not files.is_directory(RelPath("missing"))


_NAMES = st.sampled_from(["a", "b", "a/x", "a/y", "a/x/1", "b/x"])
_EDITS = st.lists(st.tuples(_NAMES, st.sampled_from(["write", "delete", "link"]), st.integers(0, 3)), max_size=12)


@given(edits=_EDITS)
def test_looking_again_at_all_that_was_touched_equals_a_new_scan(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, str, int]]
) -> None:
    root = tmp_path_factory.mktemp("project")
    files = DiskFiles(root, root.parent / "state")
    tree = DiskTree(root)
    known = files.scan(RelPath("."), everything)
    for path, act, value in edits:
        for above in (*reversed(Path(path).parents), Path(path)):
            place = root / above
            if place != root and (place.is_symlink() or place.exists()) and (str(above) == path or not place.is_dir()):
                tree.delete(str(above))
        if act == "write":
            tree.write(path, "x" * value)
        elif act == "link":
            tree.link(path, "x" * value or "a")
    touched = {above for path, _, _ in edits for above in (path, *map(str, Path(path).parents)) if above != "."}
    again = files.look_again(paths(*touched), known, everything)
    now = {path: digest for path, digest in (known | again).items() if digest is not None}
    assert now == files.scan(RelPath("."), everything)


# --- the disk ------------------------------------------------------------------------------------------------


def test_links_below_a_directory_stay_links(root: Path, disk: DiskFiles) -> None:
    (root / "real").mkdir()
    (root / "real/file").write_text("x")
    (root / "to-directory").symlink_to("real")
    (root / "to-nowhere").symlink_to("nowhere")
    (root / "loop").symlink_to(".")
    assert disk.scan(RelPath("."), everything).keys() == {"real/file", "to-directory", "to-nowhere", "loop"}


def test_a_linked_source_is_followed(root: Path, tmp_path: Path, disk: DiskFiles) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").write_text("x")
    (root / "src").symlink_to(elsewhere)
    known = disk.scan(RelPath("src"), everything)
    assert known.keys() == {"src/a"}
    (elsewhere / "a").write_text("changed")
    (elsewhere / "b").write_text("new")
    assert disk.look_again(paths("src/a", "src"), known, everything).keys() == {"src/a", "src/b"}


def test_what_lies_behind_a_link_is_not_there_twice(root: Path, disk: DiskFiles) -> None:
    (root / "real").mkdir()
    (root / "real/file").write_text("x")
    known = disk.scan(RelPath("."), everything)
    (root / "link").symlink_to("real")
    again = disk.look_again(paths("link", "link/file"), known, everything)
    assert again[RelPath("link/file")] is None
    assert again[RelPath("link")] is not None


def test_what_has_no_content_is_not_a_file(root: Path, disk: DiskFiles) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(root)  # addresses of sockets are short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        (root / "file").write_text("")
        assert disk.scan(RelPath("."), everything).keys() == {"file"}
        assert disk.look_again(paths("fifo", "socket"), (), everything) == {"fifo": None, "socket": None}


def test_names_that_are_not_utf8_can_be_shown_and_found_again(root: Path, disk: DiskFiles) -> None:
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))).write_text("x")
    found = disk.scan(RelPath("."), everything)
    (name,) = found
    assert name.encode()
    assert disk.look_again([name], (), everything) == found
    disk.save()


def test_files_that_vanish_while_walking_are_left_out(root: Path, disk: DiskFiles) -> None:
    for name in ("a", "b"):
        (root / name).mkdir()
        (root / name / "file").write_text("x")

    def keep(path: RelPath) -> bool:
        DiskTree(root).delete("b" if path == "a" else "a")
        return True

    try:
        found = disk.scan(RelPath("."), keep)
    except FileNotFoundError:
        pytest.fail("a walk must survive what vanishes")
    assert len(found) <= 1


@pytest.fixture(autouse=True)
def _short_distrust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devloop.adapters.files.hashing.RACY_NS", 100_000_000)


def _age(*places: Path) -> None:
    """Let the files' change time be long enough ago for the cache to trust it."""
    newest = max(place.stat().st_ctime_ns for place in places)
    while time.time_ns() - newest < 110_000_000:
        time.sleep(0.01)


def _refuse_to_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected(*_: object) -> None:
        pytest.fail("a file was read")

    monkeypatch.setattr("devloop.adapters.files.hashing._digest", unexpected)


def test_a_second_start_reads_nothing_that_did_not_change(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_text("x")
    _age(root / "a")
    first = DiskFiles(root, tmp_path / "state")
    found = first.scan(RelPath("."), everything)
    first.save()
    _refuse_to_hash(monkeypatch)
    assert DiskFiles(root, tmp_path / "state").scan(RelPath("."), everything) == found


def test_what_is_not_wanted_is_not_read(root: Path, disk: DiskFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "dump.sql").write_text("x")
    _refuse_to_hash(monkeypatch)
    assert disk.scan(RelPath("."), everything, lambda _: False) == {}
    assert disk.look_again(paths("dump.sql"), (), everything, lambda _: False) == {"dump.sql": None}


def test_a_file_that_just_changed_is_not_trusted(root: Path, disk: DiskFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devloop.adapters.files.hashing.RACY_NS", 60_000_000_000)
    (root / "a").write_text("1")
    disk.scan(RelPath("."), everything)
    _refuse_to_hash(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="was read"):
        disk.scan(RelPath("."), everything)


@pytest.mark.parametrize("change", ["content", "mode", "replaced"])
def test_the_cache_notices_every_change(root: Path, tmp_path: Path, change: str) -> None:
    place = root / "a"
    place.write_text("1")
    _age(place)
    files = DiskFiles(root, tmp_path / "state")
    before = files.scan(RelPath("."), everything)
    status = place.stat()
    match change:
        case "content":
            place.write_text("2")
        case "mode":
            place.chmod(0o600)
        case _:
            (root.parent / "b").write_text("2")
            (root.parent / "b").rename(place)
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert files.scan(RelPath("."), everything) != before


def test_many_files_are_hashed_as_few_are(root: Path, disk: DiskFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = DiskTree(root)
    for number in range(150):
        tree.write(f"d{number % 7}/f{number}", f"{number}" * number)
    (root / "d1/secret").write_text("x")
    together = disk.scan(RelPath("."), everything)
    monkeypatch.setattr("devloop.adapters.files.hashing._BATCH", 1)
    assert DiskFiles(root, root.parent / "other").scan(RelPath("."), everything) == together
    assert len(together) == 151


def test_the_cache_forgets_files_that_are_gone_and_keeps_what_was_not_looked_at(root: Path, tmp_path: Path) -> None:
    tree = DiskTree(root)
    for name in ("a/gone", "a/stays", "b/untouched"):
        tree.write(name, "x")
    _age(root / "a/gone", root / "b/untouched")
    first = DiskFiles(root, tmp_path / "state")
    first.scan(RelPath("."), everything)
    first.save()
    tree.delete("a/gone")
    tree.write("a/new", "x")
    _age(root / "a/new")
    second = DiskFiles(root, tmp_path / "state")
    second.scan(RelPath("a"), everything)
    second.save()
    kept = stat_cache.load(tmp_path / "state/files.cache", str(root))
    assert kept.keys() == {"a/stays", "a/new", "b/untouched"}


def test_a_state_directory_that_cannot_be_written_does_no_harm(root: Path, tmp_path: Path) -> None:
    (root / "a").write_text("x")
    _age(root / "a")
    (tmp_path / "in-the-way").write_text("")
    files = DiskFiles(root, tmp_path / "in-the-way/state")
    assert files.scan(RelPath("."), everything)
    files.save()


def test_a_file_that_changes_while_it_is_read_is_read_again(
    root: Path, disk: DiskFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = root / "a"
    place.write_text("first")
    read: Callable[[int, int], bytes] = os.read
    meddled: list[bool] = []

    def meddling(handle: int, size: int) -> bytes:
        data = read(handle, size)
        if not meddled:
            meddled.append(True)
            place.write_text("second, longer")
        return data

    monkeypatch.setattr(os, "read", meddling)
    torn = disk.scan(RelPath("."), everything)
    monkeypatch.undo()
    assert torn == disk.scan(RelPath("."), everything)
