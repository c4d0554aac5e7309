from pathlib import PurePosixPath

import pytest

from devloop.core.dockerfile import Destinations, Landing, build_facts, land, parse

FILES = ("a.txt", "b.txt", "src/main.py", "src/lib/util.py", "docs/a.txt", "data.tar.gz")


def landing(*lines: str, files: tuple[str, ...] = FILES, links: dict[str, str] | None = None) -> Landing:
    folders = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents if parent.name}
    return land(build_facts(parse("\n".join(lines) + "\n")), (*files, *(links or {})), links, directories=folders)


def paths(found: Destinations) -> list[str]:
    assert not found.unknown
    return list(found.paths)


def test_a_file_lands_in_a_directory_or_under_a_new_name() -> None:
    where = landing("FROM scratch", "COPY a.txt /d/", "COPY b.txt /e")
    assert (paths(where.of("a.txt")), paths(where.of("b.txt"))) == (["/d/a.txt"], ["/e"])


def test_the_files_of_a_directory_land_without_its_name() -> None:
    where = landing("FROM python", "COPY src /app")
    assert paths(where.of("src/lib/util.py")) == ["/app/lib/util.py"]


def test_a_relative_destination_starts_from_the_workdir_of_its_stage() -> None:
    where = landing(
        "FROM scratch AS one", "WORKDIR /x", "FROM scratch", "WORKDIR w", "WORKDIR v", "COPY a.txt .", "COPY src ../s"
    )
    assert (paths(where.of("a.txt")), paths(where.of("src/main.py"))) == (["/w/v/a.txt"], ["/w/s/main.py"])


def test_a_relative_destination_on_an_image_without_a_known_workdir_is_unknown() -> None:
    found = landing("FROM python", "COPY a.txt app/").of("a.txt")
    assert found.landed == ()
    assert [unknown.line for unknown in found.unknown] == [2]


def test_whether_a_destination_is_a_directory_may_be_up_to_the_base_image() -> None:
    found = landing("FROM python", "COPY a.txt /etc/x").of("a.txt")
    (choice,) = found.choices
    assert (choice.path, choice.inside, choice.line) == ("/etc/x", "/etc/x/a.txt", 2)
    assert found.landed == ()
    assert found.unknown == (choice.why,)


def test_a_directory_that_an_earlier_line_makes_is_one() -> None:
    where = landing(
        "FROM python", "WORKDIR /w", "COPY src /s", "RUN x", "COPY a.txt /w", "COPY docs /t", "COPY b.txt /t"
    )
    assert (paths(where.of("a.txt")), paths(where.of("b.txt"))) == (["/w/a.txt"], ["/t/b.txt"])


def test_a_run_may_take_a_directory_away_unless_it_works_there() -> None:
    found = landing("FROM python", "COPY src /s", "RUN x", "COPY a.txt /s").of("a.txt")
    assert [choice.inside for choice in found.choices] == ["/s/a.txt"]


def test_a_directory_made_where_a_file_may_be_tells_that_it_was_one() -> None:
    where = landing("FROM python", "COPY a.txt /etc/x", "COPY b.txt /etc/x/")
    assert paths(where.of("a.txt")) == ["/etc/x/a.txt"]


def test_the_later_copy_wins() -> None:
    where = landing("FROM scratch", "COPY src /s", "COPY a.txt /s/main.py", "COPY docs /s")
    assert paths(where.of("src/main.py")) == []
    assert paths(where.of("docs/a.txt")) == ["/s/a.txt"]


def test_stages_are_followed_onwards() -> None:
    where = landing(
        "FROM scratch AS one", "COPY . /in/", "FROM scratch AS two", "COPY --from=one /in/src/* /mid/",
        "FROM one", "COPY --from=two /mid /out"
    )  # fmt: skip
    assert paths(where.of("src/main.py")) == ["/in/src/main.py", "/out/main.py"]
    assert paths(where.of("src/lib/util.py")) == ["/in/src/lib/util.py", "/out/util.py"]


def test_runs_after_the_copy_are_told_across_stages() -> None:
    where = landing(
        "FROM a AS one", "RUN zero", "COPY src /s", "RUN make", "FROM scratch", "COPY --from=one /s /t", "RUN x"
    )
    (landed,) = where.of("src/main.py").landed
    assert (landed.path, landed.line, landed.runs) == ("/t/main.py", 6, (4, 7))


def test_a_file_that_only_a_run_reads_is_nowhere() -> None:
    found = landing("FROM a AS one", "COPY src /s", "RUN make", "FROM scratch", "COPY --from=one /out /").of(
        "src/main.py"
    )
    assert (found.landed, found.unknown, found.read_at) == ((), (), (2,))


def test_what_another_stage_made_may_replace_a_file() -> None:
    where = landing(
        "FROM a AS one", "RUN make", "FROM scratch", "COPY src /s", "COPY a.txt /t", "COPY --from=one /out /s"
    )
    assert [unknown.line for unknown in where.of("src/main.py").unknown] == [6]
    assert paths(where.of("a.txt")) == ["/t"]


def test_an_archive_that_add_may_unpack_is_unknown() -> None:
    where = landing("FROM scratch", "ADD data.tar.gz a.txt /d/", "COPY data.tar.gz /e/")
    assert [unknown.line for unknown in where.of("data.tar.gz").doubts] == [2]
    assert [landed.path for landed in where.of("data.tar.gz").landed] == ["/e/data.tar.gz"]


def test_archives_within_an_added_directory_stay_packed() -> None:
    where = landing("FROM scratch", "ADD . /d/")
    assert paths(where.of("data.tar.gz")) == ["/d/data.tar.gz"]


def test_a_linked_layer_may_replace_a_directory() -> None:
    found = landing("FROM scratch", "WORKDIR /d", "COPY --link a.txt /d").of("a.txt")
    assert [choice.inside for choice in found.choices] == ["/d/a.txt"]


def test_a_link_that_is_named_lands_as_the_file_that_it_leads_to() -> None:
    where = landing(
        "FROM scratch", "COPY l1 l2 /d/", "COPY sub /s", links={"l1": "a.txt", "l2": "src", "sub/up": "../b.txt"}
    )
    assert paths(where.of("a.txt")) == ["/d/l1"]
    assert paths(where.of("src/main.py")) == ["/d/main.py"]
    assert paths(where.of("sub/up")) == ["/s/up"]
    assert paths(where.of("b.txt")) == []


def test_a_heredoc_overwrites_as_a_file_does() -> None:
    where = landing("FROM scratch", "COPY a.txt /d/", "COPY <<a.txt /d/", "x", "a.txt")
    assert paths(where.of("a.txt")) == []


def test_parents_keep_the_directories_below_the_pivot() -> None:
    where = landing("FROM scratch", "COPY --parents ./src/./lib/*.py docs/a.txt /d/")
    assert (paths(where.of("src/lib/util.py")), paths(where.of("docs/a.txt"))) == (
        ["/d/lib/util.py"],
        ["/d/docs/a.txt"],
    )


def test_an_excluded_file_lands_nowhere() -> None:
    assert paths(landing("FROM scratch", "COPY --exclude=*.py src /d/").of("src/main.py")) == []


def test_engines_differ_in_whether_a_source_that_is_a_file_can_be_excluded() -> None:
    where = landing("FROM scratch", "COPY --exclude=a.txt *.txt /d/")
    assert [unknown.line for unknown in where.of("a.txt").unknown] == [2]
    assert paths(where.of("b.txt")) == ["/d/b.txt"]


def test_a_source_that_is_not_known_makes_all_destinations_unknown() -> None:
    where = landing("FROM python", "COPY $HOME /d/", "COPY a.txt /e/")
    assert [unknown.line for unknown in where.of("b.txt").unknown] == [2]
    assert where.of("a.txt").paths == ("/e/a.txt",)


def test_an_empty_directory_makes_a_directory() -> None:
    facts = build_facts(parse("FROM scratch\nCOPY empty /d\nCOPY a.txt /d\nCOPY full /e\nCOPY b.txt /e/sub\n"))
    where = land(facts, ("a.txt", "b.txt", "full/c"), directories=("empty", "full", "full/sub"))
    assert paths(where.of("a.txt")) == ["/d/a.txt"]
    assert paths(where.of("b.txt")) == ["/e/sub/b.txt"]


def test_without_the_directories_an_empty_one_may_make_a_difference() -> None:
    facts = build_facts(parse("FROM scratch\nCOPY full /e\nCOPY b.txt /e/sub\n"))
    (choice,) = land(facts, ("b.txt", "full/c")).of("b.txt").choices
    assert (choice.path, choice.inside) == ("/e/sub", "/e/sub/b.txt")


def test_directories_are_carried_from_stage_to_stage() -> None:
    where = landing("FROM scratch AS one", "WORKDIR /w/v", "FROM scratch", "COPY --from=one /w /x", "COPY a.txt /x/v")
    assert paths(where.of("a.txt")) == ["/x/v/a.txt"]


def test_what_a_run_made_may_be_a_file_or_a_directory() -> None:
    where = landing("FROM a AS one", "RUN make", "FROM scratch", "COPY --from=one /out /d", "COPY a.txt /d")
    assert [(choice.path, choice.inside) for choice in where.of("a.txt").choices] == [("/d", "/d/a.txt")]


def test_all_files_that_reach_the_image_are_listed() -> None:
    assert sorted(landing("FROM scratch", "COPY docs b.txt /d/").files()) == ["b.txt", "docs/a.txt"]


# This engine has neither of the two: the cases are those of the reference and of the builder's own tests.
_DEEP = (
    "t/a/b/c/d/foo", "t/a/b/c/d/e/bay", "t/a/b2/c/d/e/bar", "t/a/b/c2/d/e/baz", "t/a/b/c2/d/e2/baz", "t/a/b/c/x",
)  # fmt: skip


@pytest.mark.parametrize(
    ("source", "lands"),
    [
        ("t/a/b/c/d/foo", ["/o/t/a/b/c/d/foo"]),
        ("t/a/b/c/d/fo*", ["/o/t/a/b/c/d/foo"]),
        ("/t/a/b/./c/d", ["/o/c/d/e/bay", "/o/c/d/foo"]),
        ("/t/a/b/c/d/.", ["/o/t/a/b/c/d/e/bay", "/o/t/a/b/c/d/foo"]),
        ("./t/a/b/c/d", ["/o/t/a/b/c/d/e/bay", "/o/t/a/b/c/d/foo"]),
        ("/t/a/./b/./c", ["/o/b/c/d/e/bay", "/o/b/c/d/foo", "/o/b/c/x"]),
        ("/t/a/./*/c", ["/o/b/c/d/e/bay", "/o/b/c/d/foo", "/o/b/c/x", "/o/b2/c/d/e/bar"]),
        ("/t/a/b*/./c/**/e", ["/o/c/d/e/bar", "/o/c/d/e/bay"]),
        ("/t/a/b/c*/./d/**/baz", ["/o/d/e/baz", "/o/d/e2/baz"]),
        ("../t/./a/b2", ["/o/a/b2/c/d/e/bar"]),
        ("./nothing/./x", []),
    ],
)
def test_parents_are_kept_as_the_reference_has_it(source: str, lands: list[str]) -> None:
    found = landing("FROM scratch", f"COPY --parents {source} /o/", files=_DEEP)
    assert sorted(path for each in _DEEP for path in found.of(each).paths) == lands


_MEDIA = ("d1/1.png", "d1/2.txt", "d1/3.jpeg", "d2/1.pdf", "d2/2.jpeg", "d3/1.mp3", "d3/2.mpeg", "d3/in/3.mp3")


@pytest.mark.parametrize(
    ("instruction", "lands"),
    [
        (
            "COPY --exclude=*/*.png --exclude=*/*.jpeg . /o",
            ["d1/2.txt", "d2/1.pdf", "d3/1.mp3", "d3/2.mpeg", "d3/in/3.mp3"],
        ),
        ("ADD --exclude=*.mp3 d3/ /o/", ["2.mpeg", "in/3.mp3"]),
        ("ADD --exclude=**/*.mp3 d3/ /o/", ["2.mpeg"]),
        ("COPY --exclude=*.png --exclude=*.jp* --exclude=2.* d* /o/", ["1.mp3", "1.pdf", "in/3.mp3"]),
        ("ADD --exclude=* d* /o", []),
        (
            "COPY --exclude=d3 --exclude=!d3/in . /o",
            ["d1/1.png", "d1/2.txt", "d1/3.jpeg", "d2/1.pdf", "d2/2.jpeg", "d3/in/3.mp3"],
        ),
        ("COPY --parents --exclude=**/1.* d1 d3 /o", ["d1/2.txt", "d1/3.jpeg", "d3/2.mpeg", "d3/in/3.mp3"]),
    ],
)
def test_excluded_files_are_left_out_as_the_reference_has_it(instruction: str, lands: list[str]) -> None:
    found = landing("FROM scratch", instruction, files=_MEDIA)
    assert sorted(path for each in _MEDIA for path in found.of(each).paths) == [f"/o/{path}" for path in lands]
