"""Which files each node reads, and which folders have to be looked at."""

from pathlib import Path

import pytest

from devloop.core.graph import Graph
from devloop.model import Digest, Kind, NodeId, RelPath
from devloop.runtime.selection import (
    FileTable,
    Readers,
    Selection,
    below,
    inside,
    keep_directory,
    outermost,
    roots,
    selections,
)
from tests.runtime.projects import discovered, write

IMAGE = NodeId(Kind.IMAGE, "api")


def selected(root: Path, files: dict[str, str]) -> tuple[Selection, ...]:
    write(root, files)
    project = discovered(root)
    assert project.mistakes == ()
    return selections(project.graph, {})


def reads(found: tuple[Selection, ...], path: str) -> bool:
    return any(below(path, each.folder) and each.wants(path) for each in found)


@pytest.mark.parametrize(
    ("path", "folder", "lies"),
    [
        ("a/b", "a", True),
        ("a", "a", True),
        ("ab", "a", False),
        ("a", ".", True),
        ("../a", ".", False),
        ("../a/b", "../a", True),
        (".", "a", False),
    ],
)
def test_a_path_lies_below_its_folders(path: str, folder: str, lies: bool) -> None:
    assert below(path, folder) is lies


@pytest.mark.parametrize(
    ("path", "folder", "rest"), [("a/b", "a", "b"), ("a", "a", ""), ("a/b", ".", "a/b"), (".", ".", "")]
)
def test_a_path_below_a_folder_is_known_relative_to_it(path: str, folder: str, rest: str) -> None:
    assert inside(path, folder) == rest


def test_an_image_reads_what_its_dockerfile_copies_less_what_is_ignored(tmp_path: Path) -> None:
    found = selected(
        tmp_path,
        {
            "devfile.py": "@image('api')\ndef api_image(): ...\n",
            "api/Dockerfile": "FROM scratch\nCOPY src lib/*.py /app/\n",
            "api/.dockerignore": "**/*.pyc\nsrc/vendor\n",
        },
    )

    assert reads(found, "api/src/deep/a.py")
    assert reads(found, "api/lib/a.py")
    assert not reads(found, "api/src/a.pyc")
    assert not reads(found, "api/src/vendor/a.py")
    assert not reads(found, "api/other/a.py")
    assert not reads(found, "src/a.py")


def test_folders_that_nothing_is_read_from_are_not_looked_at(tmp_path: Path) -> None:
    files = {
        "devfile.py": "@image('api')\ndef api_image(): ...\n@service('k8s/deep/app.yaml')\ndef app(): ...\n",
        "api/Dockerfile": "FROM scratch\nCOPY src /app/\n",
        "api/.dockerignore": "src/vendor\n",
        "k8s/deep/app.yaml": "",
    }
    found = selected(tmp_path, files)
    keep = keep_directory(found, ["k8s/deep/app.yaml", "devfile.py"])

    kept = [path for path in ("api", "api/src", "api/src/deep", "k8s", "k8s/deep", ".") if keep(RelPath(path))]
    assert kept == ["api", "api/src", "api/src/deep", "k8s", "k8s/deep", "."]
    assert not any(keep(RelPath(path)) for path in (".git", "node_modules", "api/src/vendor", "api/docs", "k8s/other"))


def test_a_sync_reads_its_source_though_no_dockerfile_copies_it(tmp_path: Path) -> None:
    files = {
        "devfile.py": "@image('api')\ndef api_image(): ...\n@sync('api/dev', '/dev')\ndef code(api_image): ...\n",
        "api/Dockerfile": "FROM scratch\n",
        "api/.dockerignore": "**/*.pyc\n",
        "api/dev/x": "",
    }

    found = selected(tmp_path, files)

    assert reads(found, "api/dev/x")
    assert not reads(found, "api/dev/x.pyc")


def test_a_task_reads_what_its_patterns_match_wherever_that_is(tmp_path: Path) -> None:
    found = selected(
        tmp_path,
        {
            "devfile.py": "include('svc/devfile.py')\n",
            "svc/devfile.py": "@task(inputs=['*.c', '../common/**/*.h', '../../shared/x'])\ndef lint(): ...\n",
        },
    )

    assert [path for path in ("svc/a.c", "common/d/a.h", "../shared/x", "a.c") if reads(found, path)] == [
        "svc/a.c",
        "common/d/a.h",
        "../shared/x",
    ]
    assert roots(found, []) == (".", "../shared/x")


def test_a_custom_builder_reads_its_inputs_beside_its_devfile_and_elsewhere(tmp_path: Path) -> None:
    found = selected(
        tmp_path,
        {
            "devfile.py": "include('svc/devfile.py')\n",
            "svc/devfile.py": "@image(inputs=['src/**', '../common', '!src/old/**'])\ndef api(ref): ...\n",
        },
    )

    assert [path for path in ("svc/src/a", "common/x", "svc/src/old/a", "svc/a") if reads(found, path)] == [
        "svc/src/a",
        "common/x",
    ]


def test_roots_are_the_project_and_what_lies_outside_none_inside_another(tmp_path: Path) -> None:
    assert roots([], ["../a/b/x", "../a/y", "devfile.py"]) == (".", "../a")


def test_a_node_with_mistakes_reads_what_it_did_before(tmp_path: Path) -> None:
    files = {
        "devfile.py": "@image('api')\ndef api_image(): ...\n@sync('api/src', '/x')\ndef code(api_image): ...\n",
        "api/Dockerfile": "FROM scratch\nCOPY src /app/\n",
        "api/.dockerignore": "**/*.pyc\n",
        "api/src/a": "",
    }
    good = selected(tmp_path, files)
    before = discovered(tmp_path).graph
    write(tmp_path, {"api/Dockerfile": "FRM x\n"})
    broken = discovered(tmp_path).graph

    again = selections(broken, before.nodes)

    assert broken.nodes[IMAGE].problems
    assert [each.signature for each in again] == [each.signature for each in good]


def test_without_nodes_nothing_is_read() -> None:
    assert selections(Graph(), {}) == ()


@pytest.mark.parametrize(
    ("path", "around"),
    [
        ("a/b/c", {"a/b", "a", "."}),
        ("a", {"a", "."}),
        (".", {"."}),
        ("../x/y", {"../x", ".."}),
        ("..data/x", {"..data", "."}),
        ("ab", {"."}),
    ],
)
def test_readers_are_found_by_the_folders_around_a_path(path: str, around: set[str]) -> None:
    folders = ("a", "a/b", ".", "..", "../x", "..data")
    readers = Readers(_reader(each) for each in folders)

    assert {each.folder for each in readers.around(path)} == around
    assert {each for each in folders if below(path, each)} == around


def test_only_readers_that_want_the_file_read_it() -> None:
    readers = Readers([_reader(".", wants="a/x"), _reader("a", wants="a/y")])

    assert [each.folder for each in readers.of("a/y")] == ["a"]


def test_a_table_of_files_gives_those_below_a_folder_and_follows_changes() -> None:
    digest = Digest("1")
    table = FileTable({RelPath(path): digest for path in ("a/x", "a.b", "a/y/z", "ab", "../o", "a0")})

    assert [path for path, _ in table.below("a")] == ["a/x", "a/y/z"]
    assert [path for path, _ in table.below("a.b")] == ["a.b"]
    assert {path for path, _ in table.below(".")} == {"a/x", "a.b", "a/y/z", "ab", "a0"}
    assert [path for path, _ in table.below("..")] == ["../o"]

    table.apply({RelPath("a/x"): None, RelPath("a/new"): Digest("2"), RelPath("ab"): Digest("2")})

    assert dict(table.below("a")) == {"a/new": "2", "a/y/z": "1"}
    assert dict(table.below("ab")) == {"ab": "2"}


def test_of_nested_folders_the_outermost_are_looked_at() -> None:
    assert outermost(["a/b", "a", "ab", "../x/y", "../x"]) == ("../x", "a", "ab")
    assert outermost(["a", ".", "../x"]) == (".", "../x")


def test_a_file_whose_name_begins_with_two_dots_is_part_of_the_project(tmp_path: Path) -> None:
    found = selected(
        tmp_path,
        {
            "devfile.py": "@image('.')\ndef api_image(): ...\n",
            "Dockerfile": "FROM scratch\nCOPY . /app/\n",
            "..data/x": "",
        },
    )

    assert reads(found, "..data/x")
    assert keep_directory(found, ())(RelPath("..data"))


def _reader(folder: str, wants: str | None = None) -> Selection:
    return Selection(
        node=IMAGE,
        folder=folder,
        signature=folder,
        wants=lambda path: wants in {None, path},
        may_want_below=lambda _: True,
    )
