"""What devloop infers from a Dockerfile, held against what the real builder does."""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from devloop.core.dockerfile import land
from tests.conformance.engine import Checkout, Project, RefusedError
from tests.conformance.generated import generate, generate_ignored
from tests.conformance.projects import PROJECTS, TRIGGER

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("_base_images")]

SEED = int(os.environ.get("DEVLOOP_CONFORMANCE_SEED", "1"))
COUNT = int(os.environ.get("DEVLOOP_CONFORMANCE_COUNT", "4"))


@pytest.fixture(scope="module")
def _base_images() -> Iterator[None]:
    text = b"FROM scratch\nONBUILD COPY a.txt /t/\nLABEL made.for=devloop\n"
    command = ["docker", "buildx", "build", "--quiet", "--tag", TRIGGER, "-"]
    subprocess.run(command, input=text, check=True, capture_output=True)
    yield
    subprocess.run(["docker", "image", "rm", "--force", TRIGGER], check=False, capture_output=True)


@pytest.fixture
def built() -> Iterator[list[str]]:
    """The images that a test made, removed afterwards."""
    ids: list[str] = []
    yield ids
    if ids:
        subprocess.run(["docker", "image", "rm", "--force", *set(ids)], check=False, capture_output=True)


@pytest.mark.parametrize("name", PROJECTS)
def test_exactly_the_inputs_change_the_image(name: str, tmp_path: Path, built: list[str]) -> None:
    _check_inputs(PROJECTS[name].write(tmp_path), built)


@pytest.mark.parametrize("name", PROJECTS)
def test_files_land_where_devloop_says(name: str, tmp_path: Path) -> None:
    _check_destinations(PROJECTS[name].write(tmp_path))


@pytest.mark.timeout(60 + 20 * COUNT)
def test_generated_projects_are_read_as_the_builder_reads_them(tmp_path: Path, built: list[str]) -> None:
    accepted = 0
    for number in range(COUNT * 5):
        project = generate(random.Random(f"{SEED}/{number}"))
        checkout = project.write(tmp_path / str(number))
        try:
            checkout.image_id()
        except RefusedError:
            continue
        _check_inputs(checkout, built)
        _check_destinations(checkout)
        accepted += 1
        if accepted == COUNT:
            return
    pytest.fail(f"the builder refused too many: only {accepted} of {COUNT * 5} were accepted")


@pytest.mark.timeout(60 + 20 * COUNT)
def test_generated_ignore_rules_keep_out_what_the_builder_keeps_out(tmp_path: Path) -> None:
    for number in range(3 * COUNT):
        project = generate_ignored(random.Random(f"{SEED}/{number}"))
        try:
            real = project.write(tmp_path / str(number)).image()
        except RefusedError:
            continue
        said = {f"/{path}" for path in project.sent}
        assert said == set(real), f"only for devloop: {said - set(real)}, only real: {set(real) - said}\n{project}"


def _check_inputs(checkout: Checkout, built: list[str]) -> None:
    project = checkout.project
    every = (*project.paths, *project.absent)
    inputs = project.facts.inputs(every, project.rules, project.links, directories=project.directories)
    changeable = [path for path in every if path not in project.links or path in project.relinked]
    others = tuple(path for path in changeable if path not in inputs)
    alone = [(path,) for path in changeable if path in inputs]
    before = checkout.image_id()
    after, *changed = checkout.image_ids_with([others, *alone])
    built += [before, after, *changed]
    if after != before:
        # The engine may have thrown its cache away in between and run a step anew: ask once more, one by one.
        now, *found = checkout.image_ids_with([(), *((path,) for path in others)])
        guilty = [path for path, image in zip(others, found, strict=True) if image != now]
        assert not guilty, f"no inputs for devloop, but they change the image\n{project}"
    silent = [path for (path,), image in zip(alone, changed, strict=True) if image == before]
    assert not silent, f"inputs for devloop that do not change the image\n{project}"


def _check_destinations(checkout: Checkout) -> None:
    project = checkout.project
    image = checkout.image()
    directories = project.rules.included(project.directories)
    landing = land(project.facts, project.sent, project.links, directories=directories)
    for path in project.sent:
        if path in {"Dockerfile", ".dockerignore"}:
            continue
        found = landing.of(path)
        content = f"-> {project.links[path]}" if path in project.links else path
        real = {place for place, held in image.items() if held == content}
        for place in found.landed:
            assert place.runs or place.path in real, f"{path} is not at {place.path}\n{project}"
        for choice in found.choices:
            assert choice.runs or {choice.path, choice.inside} & real, f"{path} is at neither of {choice}\n{project}"
        said = {*found.paths, *(each for choice in found.choices for each in (choice.path, choice.inside))}
        assert found.doubts or real <= said, f"{path} is also at {real - said}\n{project}"


def test_words_expand_as_the_builder_expands_them(tmp_path: Path) -> None:
    values = {"A": "one", "V": "1.2.3", "EMPTY": "", "P": "usr-lib-python"}
    words = (
        *("$A", "${A}x", "$Ax", "${U:-two}", "${EMPTY:-two}", "${EMPTY-two}", "${A:+two}", "${U:+two}", "${U:-${A}$V}"),
        *("${V#*.}", "${V##*.}", "${V%.*}", "${V%%.*}", "${V/./-}", "${V//./-}", "${V#9}", "\\$A", "'$A'", "$$"),
        *("${P#*-*-}", "${P##*-*i}", "${P%-*b-*}", "${P/l*y/_}", "${P//[a-z]/_}", "${P#?}", "a\\\\b", '"\\x"'),
    )
    lines = [f"ENV {name}={value}" for name, value in values.items()]
    lines += [f"COPY a.txt /{number}/.{word}/" for number, word in enumerate(words)]
    project = Project(dockerfile="\n".join(("FROM scratch", *lines)) + "\n", files=("a.txt",))
    real = set(project.write(tmp_path).image())
    assert set(land(project.facts, project.files, directories=()).of("a.txt").paths) == real
