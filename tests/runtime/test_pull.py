"""What comes back from a container."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from devloop.errors import ToolError
from devloop.runtime.pull import unpack


def archive(files: dict[str, str], *, at: float = 1_000, mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(text), int(at), mode
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_a_file_lands_where_the_rule_says_under_its_own_name_there(tmp_path: Path) -> None:
    pulled = unpack(archive({"poetry.lock": "locked"}), tmp_path / "api/my.lock")

    assert (tmp_path / "api/my.lock").read_text() == "locked"
    assert pulled.written == (tmp_path / "api/my.lock",)


def test_a_folder_lands_with_all_that_it_holds(tmp_path: Path) -> None:
    unpack(archive({"migrations/1.sql": "a", "migrations/old/0.sql": "b"}), tmp_path / "db")

    assert (tmp_path / "db/1.sql").read_text() == "a"
    assert (tmp_path / "db/old/0.sql").read_text() == "b"


def test_a_file_that_is_the_same_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("same")
    before = (tmp_path / "lock").stat()

    assert unpack(archive({"lock": "same"}, at=before.st_mtime + 100), tmp_path / "lock").written == ()
    assert (tmp_path / "lock").stat().st_ino == before.st_ino


def test_an_older_file_on_the_host_is_replaced_and_gets_the_mode(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("old")
    os.utime(tmp_path / "lock", (500, 500))

    unpack(archive({"lock": "new"}, mode=0o755), tmp_path / "lock")

    assert (tmp_path / "lock").read_text() == "new"
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o755


def test_a_newer_file_on_the_host_stays_and_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine")

    pulled = unpack(archive({"lock": "theirs"}), tmp_path / "lock")

    assert (tmp_path / "lock").read_text() == "mine"
    assert pulled.kept == (tmp_path / "lock",)


def test_nothing_is_written_outside_of_the_destination(tmp_path: Path) -> None:
    unpack(archive({"x/../../evil": "!"}), tmp_path / "deep/in")

    assert not list(tmp_path.rglob("evil"))


def test_what_is_no_archive_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="`lock` cannot be written"):
        unpack(b"garbage" * 200, tmp_path / "lock")
