import io
import tarfile
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.names import from_system, to_system
from devloop.core.sync.answers import (
    Acknowledged,
    Answer,
    Answers,
    Greeting,
    Located,
    Refusal,
    hint,
    is_lasting,
    reason,
)
from devloop.core.sync.container_scripts import Lines
from devloop.core.sync.protocol import (
    Content,
    Frame,
    Link,
    abandonment,
    bundle,
    deletion,
    in_order,
    last_part,
    part,
    release,
    single,
)
from devloop.core.sync.script import loop_script
from devloop.model import Digest, FileChange, RelPath


def change(*destinations: str, digest: str | None = "sha256:1") -> FileChange:
    return FileChange(
        source=RelPath(destinations[0].lstrip("/")),
        digest=Digest(digest) if digest else None,
        destinations=destinations,
    )


def content(*destinations: str, data: bytes = b"data", mode: int = 0o100644) -> Content:
    return Content(change=change(*destinations), mode=mode, data=data)


def gone(*destinations: str) -> FileChange:
    return change(*destinations, digest=None)


# --- order ---------------------------------------------------------------------------------------------------


def test_new_files_come_before_old_ones_go() -> None:
    assert in_order([gone("/app/old"), change("/app/new")]) == ((), (change("/app/new"),), (gone("/app/old"),))


@pytest.mark.parametrize(
    ("old", "new"), [("/app/lib", "/app/lib/x"), ("/app/lib", "/app/lib/deep/x"), ("/app/lib/deep/x", "/app/lib")]
)
def test_what_stands_in_the_way_goes_first(old: str, new: str) -> None:
    assert in_order([change(new), gone(old)]) == ((gone(old),), (change(new),), ())


def test_names_that_only_begin_alike_do_not_stand_in_the_way() -> None:
    assert in_order([change("/app/library"), gone("/app/lib")])[0] == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/a/b", "/a/b/c", "/d", "/d/e"]), st.booleans()),
        unique_by=lambda pair: pair[0],
    )
)
def test_the_order_loses_and_doubles_nothing(pairs: list[tuple[str, bool]]) -> None:
    changes = [change(place) if written else gone(place) for place, written in pairs]
    first, writes, last = in_order(changes)
    assert sorted(map(str, (*first, *writes, *last))) == sorted(map(str, changes))
    assert all(each.digest for each in writes)
    assert not any(each.digest for each in (*first, *last))


# --- frames --------------------------------------------------------------------------------------------------


def unpacked(frame: Frame) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(frame.payload)) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_a_frame_is_one_line_and_what_its_commands_read() -> None:
    frame = Frame(commands=b"take 3", payload=b"\n\n\n")
    assert frame.encoded("TOKEN", 7) == b"TOKEN 7 take 3\n\n\n\n"


def test_long_commands_are_read_in_one_go() -> None:
    commands = b"del " + b"'/app/x' " * 200
    line, _, rest = Frame(commands=commands, payload=b"payload").encoded("TOKEN", 1).partition(b"\n")
    assert line == b'TOKEN 1 eval "$(take %d)"' % len(commands)
    assert rest == commands + b"payload"


@pytest.mark.parametrize("name", ["new\nline", "it's", "--help", "$HOME", "`ls`", "a b", "\\n", "ünï"])
def test_no_name_ends_the_line(name: str) -> None:
    many = [f"/app/{name}/{name}{number}" for number in range(30)]
    frames = [
        *single(content(f"/app/{name}/{name}"), ".tmp"),
        *single(Link(change=change("/app/link"), target=name), ".tmp"),
        bundle([content(f"/app/{name}/{name}")], ".tmp"),
        bundle([content(place) for place in many], ".tmp", written=many),
        release([f"/app/{name}"], last=True),
        deletion([gone(f"/app/{name}")]),
        part(b"x", f"/app/{name}", ".tmp", first=True),
        part(b"x", f"/app/{name}", ".tmp", first=False),
        last_part(change(f"/app/{name}", f"/other/{name}"), 0o644, ".tmp"),
        abandonment(f"/app/{name}/x", ".tmp"),
    ]
    assert [frame.commands for frame in frames if b"\n" in frame.commands] == []


def test_a_single_file_is_written_beside_its_destination() -> None:
    (frame,) = single(content("/app/a.py", mode=0o100755), ".tmp")
    assert b"one 4 755 '/app/.tmp' '/app/a.py'" in frame.commands
    assert frame.payload == b"data"
    assert frame.changes == (change("/app/a.py"),)


def test_a_file_with_two_destinations_counts_once_both_are_written() -> None:
    first, second = single(content("/app/a", "/other/a"), ".tmp")
    assert first.changes == ()
    assert second.changes == (change("/app/a", "/other/a"),)


def test_a_bundle_unpacks_into_a_directory_beside_each_destination() -> None:
    frame = bundle([content("/app/a"), content("/app/d/b"), content("/app/c")], ".tmp")
    assert unpacked(frame).keys() == {"app/.tmp/a", "app/.tmp/c", "app/d/.tmp/b"}
    assert frame.commands.count(b"all ") == 2
    assert len(frame.changes) == 3


def test_what_many_files_replace_is_held_where_it_was_written_before() -> None:
    entries = [content(f"/app/{folder}/{number}") for folder in "abc" for number in range(30)]
    written = {f"/app/a/{number}" for number in range(25)} | {f"/app/b/{number}" for number in range(19)}
    frame = bundle(entries, ".tmp", written=written)
    assert frame.held == ("/app/a/.tmp-old",)
    (hold,) = [command for command in frame.commands.split(b"; ") if command.startswith(b"hold ")]
    assert hold.count(b"'") == 2 * (2 + 25)
    assert frame.commands.index(b"mkdir") < frame.commands.index(b"hold") < frame.commands.index(b"all")
    assert bundle(entries, ".tmp").held == ()


def test_what_is_held_is_let_go_and_forgotten_with_the_last() -> None:
    assert release(["/app/a b/.tmp-old", "/x"], last=False).commands == b"rm -rf -- '/app/a b/.tmp-old' '/x'"
    assert release(["/x"], last=True).commands == b"rm -rf -- '/x'; g="


def test_many_names_are_moved_in_several_steps() -> None:
    frame = bundle([content(f"/app/{number}") for number in range(1200)], ".tmp")
    assert frame.commands.count(b"all '/app'") == 3


def test_what_is_deleted_is_deleted_in_several_steps() -> None:
    assert deletion([gone(f"/app/{number}") for number in range(1200)]).commands.count(b"del ") == 3


_NAME = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs", "Co")), min_size=1, max_size=120
).filter(lambda name: name not in (".", ".."))


@given(
    names=st.lists(st.lists(_NAME, min_size=1, max_size=4).map("/".join), min_size=1, max_size=5, unique=True),
    data=st.binary(max_size=1500),
    mode=st.integers(0, 0o777),
)
def test_tar_is_as_pythons_own_reads_it(names: list[str], data: bytes, mode: int) -> None:
    entries = [content(f"/app/{name}", data=data, mode=0o100000 | mode) for name in names]
    frame = bundle([*entries, Link(change=change("/app/link"), target="t" * 130)], ".tmp")
    with tarfile.open(fileobj=io.BytesIO(frame.payload), encoding="utf-8") as archive:
        members = {member.name: member for member in archive.getmembers()}
        for name in names:
            directory, _, base = f"app/{name}".rpartition("/")
            member = members[f"{directory}/.tmp/{base}"]
            file = archive.extractfile(member)
            assert file is not None
            assert file.read() == data
            assert member.mode == mode
        assert members["app/.tmp/link"].linkname == "t" * 130
        assert len(members) == len(names) + 1


# --- answers -------------------------------------------------------------------------------------------------

TALK = (
    b"\nT0 hello tar find\n\nT0 ok 1\nmv: some words\n\nT0 ok 2\n"
    b"tar: short\ndf: more\n\nT0 real 2 0 /srv/a  b\n\nT0 fail 3 permission app /app/a b\n"
)
ANSWERS: list[Answer] = [
    Greeting(missing=frozenset({"tar", "find"})),
    Acknowledged(number=1),
    Acknowledged(number=2),
    Located(number=2, index=0, path="/srv/a  b"),
    Refusal(
        number=3,
        kind="permission",
        user="app",
        place="/app/a b",
        words=("mv: some words", "tar: short", "df: more"),
    ),
]


@given(st.lists(st.integers(0, len(TALK)), max_size=8))
def test_answers_are_found_however_they_are_cut(cuts: list[int]) -> None:
    answers = Answers("T0")
    edges = sorted({0, len(TALK), *cuts})
    found = [answer for start, end in pairwise(edges) for answer in answers.feed(TALK[start:end])]
    assert found == ANSWERS


def test_words_of_tools_are_no_answers() -> None:
    answers = Answers("T0")
    assert answers.feed(b"T0 ok 1\nsh: syntax error") == []
    assert answers.words == ("T0 ok 1\nsh: syntax error",) or answers.words[-1].endswith("syntax error")


@given(st.binary(max_size=300))
def test_no_output_breaks_the_reader(noise: bytes) -> None:
    answers = Answers("deadbeef")
    assert answers.feed(noise) == []
    assert answers.feed(b"\ndeadbeef ok 5\n") == [Acknowledged(number=5)]


def refused(kind: str) -> Refusal:
    return Refusal(number=1, kind=kind, user="app", place="/app/b", words=("mv: busy",))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("readonly", "the file system at `/app` of container `web` is read-only"),
        ("permission", "user `app` of container `web` may not write to `/app`"),
        ("full", "there is no space left at `/app` of container `web`"),
        ("directory", "`/app/b` is a directory in container `web`, where a file should be"),
        ("file", "`/app` leads through a file in container `web`, where a directory should be"),
        ("mount", "`/app/b` of container `web` is a volume's file, which cannot be replaced from inside"),
        ("other", "container `web` did not take `/app/b`: mv: busy"),
    ],
)
def test_each_refusal_is_told_in_a_sentence(kind: str, sentence: str) -> None:
    assert reason(refused(kind), "web") == sentence


def test_a_refusal_can_always_be_told() -> None:
    assert reason(Refusal(number=1, kind="other", user="", place="", words=()), "web")


def test_what_the_pod_template_decides_lasts_and_has_a_hint() -> None:
    assert all(is_lasting(refused(kind)) and hint(refused(kind)) for kind in ("readonly", "permission", "mount"))
    assert not any(is_lasting(refused(kind)) for kind in ("full", "directory", "file", "other"))


# --- the rest ------------------------------------------------------------------------------------------------


def test_the_script_fits_into_an_address() -> None:
    script = loop_script("0123456789ab")
    assert "TOKEN" not in script
    assert len(script) < 4000


def test_output_is_cut_into_lines() -> None:
    lines: list[str] = []
    cutter = Lines(lines.append)
    for data in (b"on", b"e\r\ntw", b"o\n\nth\xc3", b"\xbcree\xff"):
        cutter.feed(data)
    cutter.end()
    cutter.end()
    assert lines == ["one", "two", "", "thüree\ufffd"]


@given(st.binary(min_size=1, max_size=30))
def test_every_name_can_be_shown_and_comes_back(raw: bytes) -> None:
    name = raw.decode("utf-8", "surrogateescape")
    shown = from_system(name)
    assert shown.encode()
    if not any(0xEF80 <= ord(character) <= 0xEFFF for character in name):
        assert to_system(shown) == name
