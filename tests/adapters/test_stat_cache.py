"""What is remembered of files between two starts: it comes back as it was, or not at all."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.adapters.files import stat_cache
from devloop.model import Digest

ROOT = "/project"
DIGEST = Digest("sha256:" + "ab" * 32)


def some(place: Path, count: int = 3) -> dict[str, stat_cache.Record]:
    place.write_text("x")
    seen = stat_cache.identity(place.stat())
    return {f"dir/file {number}\nü": stat_cache.record(seen, DIGEST) for number in range(count)}


@pytest.mark.parametrize("count", [0, 1, 3, 1000])
def test_what_was_saved_comes_back(tmp_path: Path, count: int) -> None:
    remembered = some(tmp_path / "file", count)
    stat_cache.save(tmp_path / "state/cache", ROOT, remembered)
    found = stat_cache.load(tmp_path / "state/cache", ROOT)
    assert found == remembered
    assert {stat_cache.digest_of(each) for each in found.values()} <= {DIGEST}


def test_a_record_begins_with_what_the_file_looked_like(tmp_path: Path) -> None:
    (record,) = some(tmp_path / "file", 1).values()
    assert record.startswith(stat_cache.identity((tmp_path / "file").stat()))
    os.utime(tmp_path / "file", ns=(0, 1))
    assert not record.startswith(stat_cache.identity((tmp_path / "file").stat()))


@given(at=st.integers(0, 10_000), change=st.integers(1, 255), cut=st.integers(0, 10_000))
def test_damage_anywhere_makes_it_as_good_as_none(
    tmp_path_factory: pytest.TempPathFactory, at: int, change: int, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("state")
    stat_cache.save(folder / "cache", ROOT, some(folder / "file"))
    data = bytearray((folder / "cache").read_bytes())
    (folder / "cache").write_bytes(data[: cut % len(data)])
    assert stat_cache.load(folder / "cache", ROOT) == {}
    data[at % len(data)] ^= change
    (folder / "cache").write_bytes(data)
    assert stat_cache.load(folder / "cache", ROOT) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"version": 1, "files": {}}', b"\n", b"{}\nxyz"])
def test_what_cannot_be_understood_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cache").write_bytes(content)
    assert stat_cache.load(tmp_path / "cache", ROOT) == {}


def test_what_another_project_or_version_left_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat_cache.save(tmp_path / "cache", ROOT, some(tmp_path / "file"))
    assert stat_cache.load(tmp_path / "cache", "/elsewhere") == {}
    monkeypatch.setattr(stat_cache, "_VERSION", 99)
    assert stat_cache.load(tmp_path / "cache", ROOT) == {}
