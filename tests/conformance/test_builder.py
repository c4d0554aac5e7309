"""What devloop infers from a Dockerfile, held against what the real builder does.

`DEVLOOP_CONFORMANCE_COUNT` generated projects are judged (75; `make conformance`: 300), from `DEVLOOP_CONFORMANCE_SEED`
(1). To be quick, an input whose content the image shows is not changed alone; with `DEVLOOP_CONFORMANCE_EACH=1` it is.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devloop.core.dockerfile import land
from tests.conformance.generated import generate, generate_ignored
from tests.conformance.judge import Build, Case, Judge
from tests.conformance.project import Project
from tests.conformance.projects import PROJECTS, TRIGGER

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("_base_images")]

SEED = os.environ.get("DEVLOOP_CONFORMANCE_SEED", "1")
COUNT = int(os.environ.get("DEVLOOP_CONFORMANCE_COUNT", "75"))
BATCH = 15


@pytest.fixture(scope="module")
def _base_images() -> Iterator[None]:
    text = b"FROM scratch\nONBUILD COPY a.txt /t/\nLABEL made.for=devloop\n"
    command = ["docker", "buildx", "build", "--quiet", "--tag", TRIGGER, "-"]
    subprocess.run(command, input=text, check=True, capture_output=True)
    yield
    subprocess.run(["docker", "image", "rm", "--force", TRIGGER], check=False, capture_output=True)


@contextmanager
def judging(root: Path) -> Iterator[Judge]:
    """The builder; the images that it makes are removed afterwards."""
    judge = Judge(root)
    try:
        yield judge
    finally:
        if judge.ids:
            subprocess.run(["docker", "image", "rm", "--force", *judge.ids], check=False, capture_output=True)


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    """The builder."""
    with judging(tmp_path) as judge:
        yield judge


class HardCases:
    """What the builder says about the projects picked by hand, asked in batches for the time that it takes."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[str, Case] = {}

    def __getitem__(self, name: str) -> Case:
        if name not in self._known:
            start = list(PROJECTS).index(name)
            names = list(PROJECTS)[start : start + BATCH]
            cases = self._judge.judge(PROJECTS[each] for each in names)
            self._known |= dict(zip(names, cases, strict=True))
        return self._known[name]


@pytest.fixture(scope="module")
def hard_cases(_base_images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HardCases]:
    with judging(tmp_path_factory.mktemp("hard")) as judge:
        yield HardCases(judge)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROJECTS)
def test_a_hard_case_is_read_as_the_builder_reads_it(name: str, hard_cases: HardCases) -> None:
    case = hard_cases[name]
    assert not case.disagreements, f"{case.disagreements}\n{case.project}"
    assert not case.refused


@pytest.mark.timeout(300)
@pytest.mark.parametrize("batch", range(-(-COUNT // BATCH)))
def test_generated_projects_are_read_as_the_builder_reads_them(batch: int, judge: Judge) -> None:
    accepted = 0
    for attempt in range(8):
        numbers = range(attempt * BATCH, attempt * BATCH + BATCH - accepted)
        projects = [generate(random.Random(f"{SEED}/{batch}/{number}")) for number in numbers]
        for case in judge.judge(projects):
            assert not case.disagreements, f"{case.disagreements}\n{case.project}"
            accepted += not case.refused
        if accepted == BATCH:
            return
    pytest.fail(f"the builder refused too many: only {accepted} were accepted")


@pytest.mark.parametrize("batch", range(-(-COUNT // (2 * BATCH))))
def test_generated_ignore_rules_keep_out_what_the_builder_keeps_out(batch: int, judge: Judge) -> None:
    projects = [generate_ignored(random.Random(f"{SEED}/{batch}/{number}")) for number in range(BATCH)]
    wanted = [Build(project=project, wants="files") for project in projects if project.is_understood]
    for build, real in zip(wanted, judge.build(wanted), strict=True):
        said = {f"/{path}" for path in build.project.sent}
        only = f"only for devloop: {said - set(real)}, only real: {set(real) - said}"
        assert said == set(real), f"{only}\n{build.project}"


def test_words_expand_as_the_builder_expands_them(judge: Judge) -> None:
    values = {"A": "one", "V": "1.2.3", "EMPTY": "", "P": "usr-lib-python"}
    words = (
        *("$A", "${A}x", "$Ax", "${U:-two}", "${EMPTY:-two}", "${EMPTY-two}", "${A:+two}", "${U:+two}", "${U:-${A}$V}"),
        *("${V#*.}", "${V##*.}", "${V%.*}", "${V%%.*}", "${V/./-}", "${V//./-}", "${V#9}", "\\$A", "'$A'", "$$"),
        *("${P#*-*-}", "${P##*-*i}", "${P%-*b-*}", "${P/l*y/_}", "${P//[a-z]/_}", "${P#?}", "a\\\\b", '"\\x"'),
    )
    lines = [f"ENV {name}={value}" for name, value in values.items()]
    lines += [f"COPY a.txt /{number}/.{word}/" for number, word in enumerate(words)]
    project = Project(dockerfile="\n".join(("FROM scratch", *lines)) + "\n", files=("a.txt",))
    (real,) = judge.build([Build(project=project, wants="files")])
    assert set(land(project.facts, project.files, directories=()).of("a.txt").paths) == set(real)


def test_most_places_are_known_for_sure() -> None:
    known = unknown = 0
    for number in range(200):
        project = generate(random.Random(f"{SEED}/places/{number}"))
        if project.is_understood and not any(stage.image for stage in project.facts.stages.values()):
            directories = list(project.rules.included(project.directories))
            landing = land(
                project.facts, project.sent, project.links, directories=directories, archives=project.archives
            )
            doubts = [bool(each.unknown) for each in landing.files().values()]
            unknown += sum(doubts)
            known += len(doubts) - sum(doubts)
    assert known > 4 * unknown
