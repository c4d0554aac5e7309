"""Catching up: what a container lacks, given what its image was built from and what it acknowledged."""

from collections.abc import Mapping
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from devloop.core.sync.catch_up import difference, holding, wanted_files, what_changed
from devloop.core.sync.rules import Placement, Source, patterns
from devloop.core.trace import UNSURE
from devloop.model import Digest, FileChange, Kind, NodeId, RelPath

ONE, TWO = Digest("sha256:1"), Digest("sha256:2")
IMAGE, CODE = NodeId(Kind.IMAGE, "api"), NodeId(Kind.SYNC, "api-code")
A, B = RelPath("src/a"), RelPath("src/b")
PLACEMENT = Placement(
    node=CODE, sources=(Source(node=CODE, path="src", destination="/app"),), ignored=(patterns(["src/*.md"]),)
)


def change(path: RelPath, digest: Digest | None) -> FileChange:
    return FileChange(source=path, digest=digest, destinations=(f"/app/{path.removeprefix('src/')}",))


def held(*changes: FileChange) -> dict[RelPath, Digest]:
    return {each.source: holding(each) for each in changes}


def lacks(
    wanted: Mapping[RelPath, Digest],
    built: Mapping[RelPath, Digest],
    acknowledged: Mapping[RelPath, Digest] | None = None,
) -> list[FileChange]:
    return list(difference(PLACEMENT, wanted, built, acknowledged or {}))


def test_a_container_of_the_present_files_lacks_nothing() -> None:
    assert lacks({A: ONE}, {A: ONE}) == []


def test_changed_new_and_deleted_files_are_lacking() -> None:
    c = RelPath("src/c")

    assert lacks({A: TWO, B: ONE}, {A: ONE, c: ONE}) == [change(A, TWO), change(B, ONE), change(c, None)]


def test_what_was_acknowledged_is_not_sent_again() -> None:
    assert lacks({A: TWO}, {A: ONE}, held(change(A, TWO))) == []


def test_what_was_taken_back_is_sent_though_the_image_has_it() -> None:
    assert lacks({A: ONE}, {A: ONE}, held(change(A, TWO))) == [change(A, ONE)]


def test_what_is_on_its_way_is_sent_again() -> None:
    assert lacks({A: ONE}, {A: ONE}, {A: UNSURE}) == [change(A, ONE)]


def test_a_file_that_was_only_ever_copied_is_deleted_when_it_is_gone() -> None:
    assert lacks({}, {}, held(change(A, ONE))) == [change(A, None)]


def test_a_file_that_was_deleted_in_the_container_is_not_deleted_again() -> None:
    assert lacks({}, {A: ONE}, held(change(A, None))) == []


def test_a_file_that_now_belongs_elsewhere_is_sent_there() -> None:
    moved = Placement(node=CODE, sources=(Source(node=CODE, path="src", destination="/moved"),))

    (found,) = difference(moved, {A: TWO}, {A: ONE}, held(change(A, TWO)))

    assert found.destinations == ("/moved/a",)


def test_ignored_files_and_those_that_no_sync_covers_are_not_sent() -> None:
    assert lacks({RelPath("src/x.md"): ONE, RelPath("lib/x"): ONE}, {}) == []


def test_the_files_given_to_the_dockerfiles_placement_include_those_that_are_gone() -> None:
    asked: list[set[RelPath]] = []

    def destinations(path: RelPath, files: object) -> tuple[str, ...]:
        assert isinstance(files, set | frozenset)
        asked.append(set(files))
        return (f"/app/{path}",)

    whole = Placement(node=CODE, sources=(Source(node=CODE, path=None, destination=None),), destinations=destinations)

    found = list(difference(whole, {}, {A: ONE}, {B: ONE}))

    assert [each.source for each in found] == [A, B]
    assert asked == [{A, B}, {A, B}]


def test_wanted_are_the_images_files_and_what_its_syncs_add() -> None:
    files = {IMAGE: {A: ONE}, CODE: {A: TWO, B: TWO}, NodeId(Kind.SYNC, "other"): {RelPath("x"): ONE}}

    assert wanted_files(files, IMAGE, PLACEMENT) == {A: ONE, B: TWO}


def test_the_first_files_are_named_and_the_others_counted() -> None:
    changes = [change(RelPath(f"src/{name}"), ONE) for name in "abcde"] + [change(A, None)]

    assert what_changed(changes[:1]) == ("src/a changed",)
    assert what_changed([change(A, None)]) == ("src/a was deleted",)
    assert what_changed(changes) == ("src/a changed", "src/b changed", "src/c changed", "3 more files")


MANY = {RelPath(f"src/{number}"): ONE for number in range(2000)}
PATHS = st.sampled_from([*list(MANY)[:4], RelPath("src/new"), RelPath("src/x.md")])


@given(st.lists(st.tuples(PATHS, st.sampled_from([ONE, TWO, None]), st.booleans()), max_size=20))
def test_what_is_remembered_of_large_trees_makes_no_difference(
    steps: list[tuple[RelPath, Digest | None, bool]],
) -> None:
    wanted, acknowledged = dict(MANY), dict[RelPath, Digest]()
    for path, digest, arrives in steps:
        wanted = {each: kept for each, kept in wanted.items() if each != path}
        if digest is not None:
            wanted[path] = digest
        found = difference(PLACEMENT, wanted, MANY, acknowledged)
        assert found == difference(replace(PLACEMENT), wanted, MANY, acknowledged)
        if arrives:
            acknowledged = {**acknowledged, **held(*found)}
        assert difference(PLACEMENT, wanted, MANY, acknowledged) == (() if arrives else found)
