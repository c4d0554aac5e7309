"""What the disk says about a build beyond the texts of its files: links, archives, folders under other names, bases."""

import tarfile
from collections.abc import Mapping
from pathlib import Path

from devloop.adapters.devfile import PythonDevfile
from devloop.adapters.files import DiskFiles
from devloop.core.dockerfile import BaseConfig
from devloop.core.dockerfile.bases import base_config
from devloop.core.graph import ImageDetail
from devloop.model import Kind, NodeId, RelPath
from devloop.runtime.discover import Project, discover
from devloop.runtime.looks import may_differ
from devloop.runtime.observe import Observer
from devloop.runtime.outside import Outside
from devloop.runtime.syncs import Landings
from tests.fakes.renderer import renderings
from tests.fakes.watcher import FakeWatcher
from tests.runtime.projects import write

API = NodeId(Kind.IMAGE, "api")
TREE = {"api/src/main.py": "1", "api/lib/a.py": "1", "api/lib/b.md": "1", "api/other": "1"}


class OnDisk:
    """A project with one image, on disk."""

    def __init__(self, root: Path, *lines: str, outside: Outside | None = None, image: str = "'api'") -> None:
        self.root = root / "project"
        files = {"devfile.py": f"@image({image})\ndef api_image(): ...\n", "api/Dockerfile": "\n".join(lines) + "\n"}
        write(self.root, {**files, **TREE})
        self.outside = outside or Outside()
        self.files = DiskFiles(self.root, root / "state")
        self.renderings = renderings(str(self.root))

    def discovered(self) -> Project:
        devfile = PythonDevfile(self.root / "devfile.py")
        return discover(devfile, self.files, self.renderings, given={}, environment={}, outside=self.outside)

    def inputs(self) -> list[str]:
        observation = Observer(self.discovered, self.files, FakeWatcher(), self.renderings).look_now()
        assert not observation.mistakes
        return sorted(observation.files[API])

    def detail(self) -> ImageDetail:
        detail = self.discovered().graph.nodes[API].detail
        assert isinstance(detail, ImageDetail)
        return detail

    def every(self) -> list[RelPath]:
        return list(self.files.scan(RelPath("."), lambda _: True))

    def link(self, path: str, target: str) -> None:
        (self.root / path).unlink(missing_ok=True)
        (self.root / path).symlink_to(target)


def test_a_link_that_is_named_and_what_it_leads_to_are_inputs(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "COPY now /app")
    project.link("api/now", "then")
    project.link("api/then", "lib")
    assert project.inputs() == ["api/lib/a.py", "api/lib/b.md", "api/now", "api/then"]


def test_a_link_on_the_way_to_a_source_is_followed(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "COPY now/*.py /app/")
    project.link("api/now", "./src/../lib")
    assert project.inputs() == ["api/lib/a.py", "api/now"]


def test_links_that_a_pattern_finds_are_followed(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "COPY s*/m* /app/")
    project.link("api/src/more", "../other")
    project.link("api/src/away", "../lib")
    assert project.inputs() == ["api/other", "api/src/main.py", "api/src/more"]


def test_a_link_that_is_kept_out_of_the_context_leads_nowhere(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "COPY n* src /app/")
    project.link("api/now", "lib")
    (project.root / "api/.dockerignore").write_text("now\n")
    assert project.inputs() == ["api/src/main.py"]


def test_a_link_that_leads_elsewhere_shows(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "COPY now l*/a.py /app")
    project.link("api/now", "lib")
    seen = project.discovered().looks
    assert not may_differ(seen, project.files, None)
    project.link("api/now", "src")
    assert may_differ(seen, project.files, None)
    assert may_differ(seen, project.files, {"api/now"})
    assert not may_differ(seen, project.files, {"api/other"})


def test_a_link_that_comes_where_a_pattern_looks_shows(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "COPY *.txt src /app/")
    seen = project.discovered().looks
    project.link("api/new.txt", "other")
    assert may_differ(seen, project.files, {"api/new.txt"})
    assert project.inputs() == ["api/new.txt", "api/other", "api/src/main.py"]


def test_a_file_that_add_names_lands_as_such_unless_it_holds_an_archive(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch", "ADD *.md other /app/")
    with tarfile.open(project.root / "api/other", "w:xz") as archive:
        archive.add(project.root / "api/lib/a.py", "a.py")
    (project.root / "api/notes.md").write_text("x")
    detail = project.detail()
    files = project.every()
    landings = Landings(detail)
    assert landings(RelPath("api/notes.md"), files) == "line 2 may unpack something there"
    assert "archive" in str(landings(RelPath("api/other"), files))
    (project.root / "api/other").write_text("x")
    landings = Landings(project.detail())
    assert landings(RelPath("api/other"), files) == ("/app/other",)
    assert landings(RelPath("api/notes.md"), files) == ("/app/notes.md",)


def test_of_a_named_context_only_what_is_taken_and_not_ignored_is_an_input(tmp_path: Path) -> None:
    image = "'api', contexts={'shared': 'shared', 'unused': 'api/lib'}"
    project = OnDisk(
        tmp_path, "FROM scratch", "COPY --from=shared a* /app/", "COPY --from=shared d /d", "COPY src /src", image=image
    )
    names = ("a1", "a2", "b", "d/e", "d/f", ".dockerignore")
    write(project.root, {f"shared/{name}": name for name in names} | {"shared/.dockerignore": "a2\nd/f\n"})
    assert project.inputs() == ["api/src/main.py", "shared/a1", "shared/d/e"]


def test_a_stage_that_starts_from_a_named_context_takes_all_of_it(tmp_path: Path) -> None:
    image = "'api', contexts={'alpine:latest': 'shared'}"
    project = OnDisk(tmp_path, "FROM docker.io/library/alpine", "COPY src /src", image=image)
    write(project.root, {"shared/a": "1", "shared/b/c": "1"})
    assert project.inputs() == ["api/src/main.py", "shared/a", "shared/b/c"]


def test_what_reaches_only_a_stage_of_which_something_else_is_taken_is_no_input(tmp_path: Path) -> None:
    project = OnDisk(tmp_path, "FROM scratch AS one", "COPY . /w/", "FROM scratch", "COPY --from=one /w/src /")
    assert project.inputs() == ["api/src/main.py"]


def test_a_folder_that_is_read_by_another_name_too_counts_there(tmp_path: Path) -> None:
    image = "'api', contexts={'lib': 'api/lib'}"
    lines = ("FROM scratch AS one", "COPY . /w/", "FROM scratch", "COPY --from=one /w/src /", "COPY --from=lib a.py /")
    assert OnDisk(tmp_path, *lines, image=image).inputs() == ["api/lib/a.py", "api/src/main.py"]


INSPECTED = {"Config": {"Env": ["HOME=/srv", "S=src"], "WorkingDir": "/app", "OnBuild": ["COPY lib /lib"], "Cmd": None}}


def asked(known: Mapping[str, Mapping[str, object]], names: list[str]) -> Outside:
    def base(reference: str) -> BaseConfig | None:
        names.append(reference)
        return base_config(known[reference]) if reference in known else None

    return Outside(base=base)


def test_what_an_image_of_the_engine_hands_on_counts(tmp_path: Path) -> None:
    names: list[str] = []
    project = OnDisk(tmp_path, "FROM node:20", "COPY $S $HOME/x/", outside=asked({"node:20": INSPECTED}, names))
    assert project.inputs() == ["api/lib/a.py", "api/lib/b.md", "api/src/main.py"]
    facts = project.detail().facts
    assert facts is not None
    assert (facts.unknown, facts.workdir) == ((), "/app")


def test_of_an_image_that_the_engine_lacks_nothing_is_known(tmp_path: Path) -> None:
    names: list[str] = []
    project = OnDisk(tmp_path, "FROM node:20", "COPY $S /x/", outside=asked({}, names))
    assert set(project.inputs()) == set(TREE) | {"api/Dockerfile"}
    assert names == ["node:20"]


def test_the_engine_is_asked_for_what_a_named_context_puts_in_an_images_place(tmp_path: Path) -> None:
    names: list[str] = []
    image = "'api', contexts={'node:20': 'docker-image://other:1'}"
    outside = asked({"other:1": INSPECTED}, names)
    project = OnDisk(tmp_path, "FROM node:20", "COPY $S /x/", image=image, outside=outside)
    assert project.inputs() == ["api/lib/a.py", "api/lib/b.md", "api/src/main.py"]
    assert set(names) == {"other:1"}


def test_the_engine_is_not_asked_for_scratch_nor_for_what_is_only_copied_from(tmp_path: Path) -> None:
    names: list[str] = []
    OnDisk(tmp_path, "FROM scratch", "COPY --from=tools /a /a", outside=asked({}, names)).inputs()
    assert names == []


def test_what_an_image_of_the_project_hands_on_counts_for_those_built_on_it(tmp_path: Path) -> None:
    names: list[str] = []
    project = OnDisk(tmp_path, "FROM base", "COPY $S /x/", outside=asked({}, names), image="'api'")
    devfile = "@image('api')\ndef api_image(): ...\n@image('base')\ndef base_image(): ...\n"
    write(project.root, {"devfile.py": devfile, "base/Dockerfile": "FROM scratch\nENV S=src\nONBUILD COPY lib /l\n"})
    assert project.inputs() == ["api/lib/a.py", "api/lib/b.md", "api/src/main.py"]
    assert names == []


def test_the_platform_is_the_builders_own_or_what_the_image_is_built_for(tmp_path: Path) -> None:
    outside = Outside(platform="linux/arm64")
    lines = ("FROM scratch", "ARG TARGETARCH BUILDPLATFORM", "COPY src /$TARGETARCH/", "COPY lib /$BUILDPLATFORM/")
    for image, place in (("'api'", "/arm64"), ("'api', platforms=['linux/s390x']", "/s390x")):
        project = OnDisk(tmp_path / place[1:], *lines, outside=outside, image=image)
        files = project.every()
        landings = Landings(project.detail())
        assert landings(RelPath("api/src/main.py"), files) == (f"{place}/main.py",)
        assert landings(RelPath("api/lib/a.py"), files) == ("/linux/arm64/a.py",)
