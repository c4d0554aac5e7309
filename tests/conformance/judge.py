"""The real builder as a judge: what changes an image, what reaches the context, and where files land."""

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from devloop.adapters.docker.buildx import find_buildx
from devloop.core.dockerfile import land
from devloop.errors import InputErrors
from tests.conformance.project import LOOK, Project

_EACH: Final = bool(os.environ.get("DEVLOOP_CONFORMANCE_EACH"))
"""Whether every input is changed alone, even one whose content stands in the image for all to see."""
_TOGETHER: Final = 15
"""How many projects' changes are built at once."""
_MISSING: Final = re.compile(
    r"not found|no such file|failed to compute cache key|not a directory|cannot (?:replace|copy|overwrite)",
    re.IGNORECASE,
)
_NOT_FOUND: Final = re.compile(r'"/?([^"]*)": not found')

_Files: TypeAlias = dict[str, str]


class RefusedError(Exception):
    """The builder refused a build."""

    @property
    def misses_something(self) -> bool:
        """Whether that is for something that is not there, which a Dockerfile alone does not tell."""
        return _MISSING.search(str(self)) is not None

    @property
    def missed(self) -> str | None:
        """The path of the context that was not there."""
        found = _NOT_FOUND.search(str(self))
        from_stage = any("--from=" in line for line in str(self).splitlines() if ">>>" in line)
        return found[1] if found and not from_stage else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build of a project.

    Attributes:
        project: The project.
        changed: The paths that are changed before it.
        gone: The paths that are deleted before it.
        wants: The id of the image, its files, or what reached the context.
    """

    project: Project
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    wants: Literal["id", "files", "context"] = "id"


@dataclass(slots=True, kw_only=True)
class Case:
    """A project before the judge.

    Attributes:
        project: The project.
        image: The id of its image; None while it is not built.
        refused: Whether it cannot be built, for reasons that both sides agree on.
        disagreements: In what devloop and the builder disagree.
        alone: What has to be changed alone, because the image does not show it.
    """

    project: Project
    image: str | None = None
    refused: bool = False
    disagreements: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether there is more to ask the builder."""
        return self.image is not None and not self.disagreements


class Judge:
    """Asks the builder.

    Args:
        root: An empty folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._builds = iter(range(1_000_000))
        self.ids: set[str] = set()

    def judge(self, projects: Iterable[Project]) -> list[Case]:
        """Return what the builder says about projects."""
        cases = [Case(project=project) for project in projects]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(self._open, cases))
        for start in range(0, len(cases), _TOGETHER):
            some = cases[start : start + _TOGETHER]
            self._look_at_images([case for case in some if case.is_open])
            self._change_alone([case for case in some if case.is_open])
        return cases

    def _open(self, case: Case) -> None:
        """Build the project as it is, and what reached the context."""
        project = case.project
        try:
            sent = set(project.sent)
            understood = project.facts is not None
        except InputErrors as errors:
            sent, understood = set(), False
            mistakes = [str(each) for each in errors.errors]
        wanted = [Build(project=project)]
        if understood and project.ignores:
            wanted.append(Build(project=project, wants="context"))
        try:
            image, *looked = self.build(wanted)
        except RefusedError as refused:
            case.refused = True
            if understood and not refused.misses_something:
                case.disagreements.append(f"the builder alone refuses it: {refused}")
            missed = refused.missed
            named = {each.pattern for each in project.facts.sources if not each.is_found} if understood else set()
            if missed in sent & named:
                case.disagreements.append(f"{missed} is there for devloop, not for the builder: {refused}")
            return
        if not understood:
            case.disagreements.append(f"devloop alone refuses it: {mistakes}")
            return
        case.image = str(image)
        said = {f"/{path}" for path in sent}
        for real in map(set, looked):
            if real != said:
                only = f"{sorted(said - real)} for devloop only, {sorted(real - said)} really only"
                case.disagreements.append(f"what is sent differs: {only}")

    def _look_at_images(self, cases: Sequence[Case]) -> None:
        """Compare where files land, and whether what is no input changes the image."""
        wanted = []
        for case in cases:
            inputs = case.project.inputs
            others = tuple(path for path in case.project.changeable if path not in inputs)
            wanted += [Build(project=case.project, wants="files"), Build(project=case.project, changed=others)]
        answers = iter(self.build(wanted))
        for case, files, image in zip(cases, answers, answers, strict=False):
            assert isinstance(files, dict)
            case.disagreements += _misplaced(case.project, files)
            if image != case.image:
                case.disagreements += self._guilty(case.project)
            shown = set() if _EACH else {path for path in case.project.files if path in files.values()}
            inputs = case.project.inputs
            case.alone = [path for path in case.project.changeable if path in inputs and path not in shown]

    def _guilty(self, project: Project) -> list[str]:
        # The engine may have thrown its cache away in between and run a step anew: ask once more, one by one.
        now = self._id_of(Build(project=project))
        others = [path for path in project.changeable if path not in project.inputs]
        guilty = [path for path in others if self._id_of(Build(project=project, changed=(path,))) != now]
        return [f"{path} is no input for devloop, but changes the image" for path in guilty]

    def _change_alone(self, cases: Sequence[Case]) -> None:
        """Compare whether each input that the image does not show changes it."""
        wanted = [(case, path) for case in cases for path in case.alone]
        builds = [Build(project=case.project, changed=(path,)) for case, path in wanted]
        try:
            answers = self.build(builds)
        except RefusedError:
            answers = [self._id_of(build) for build in builds]
        for (case, path), image in zip(wanted, answers, strict=True):
            if image == case.image and not self._is_missed(case, path):
                case.disagreements.append(f"{path} is an input for devloop, but does not change the image")

    def _is_missed(self, case: Case, path: str) -> bool:
        """Return whether the builder notices when a file is gone."""
        if path in case.project.absent:
            return False
        return self._id_of(Build(project=case.project, gone=(path,))) != case.image

    def _id_of(self, build: Build) -> str:
        try:
            return str(self.build([build])[0])
        except RefusedError:
            return "refused"

    def build(self, builds: Sequence[Build]) -> list[str | _Files]:
        """Build side by side; return the id of each image, or its files with their contents.

        Raises:
            RefusedError: The builder refused one of them.
        """
        if not builds:
            return []
        folder = self._root / f"build-{next(self._builds)}"
        targets = {f"t{number}": _target(each, folder / str(number)) for number, each in enumerate(builds)}
        definition, metadata = folder / "bake.json", folder / "metadata.json"
        definition.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}))
        command = (*find_buildx(), "bake", "--progress=plain", f"--metadata-file={metadata}", f"-f{definition}")
        environment = {**os.environ, "BUILDX_GIT_INFO": "false"}
        done = subprocess.run(command, capture_output=True, check=False, timeout=170, env=environment)
        if done.returncode:
            raise RefusedError(done.stderr.decode(errors="replace")[-900:])
        told = json.loads(metadata.read_text())
        answers: list[str | _Files] = []
        for number, each in enumerate(builds):
            if each.wants == "id":
                answers.append(told[f"t{number}"]["containerimage.config.digest"])
                self.ids.add(told[f"t{number}"]["containerimage.config.digest"])
            else:
                answers.append(_files(folder / f"{number}.tar"))
        return answers


def _target(build: Build, folder: Path) -> dict[str, object]:
    project = build.project
    looks = build.wants == "context"
    project.write(folder, build.changed, build.gone, looking=looks)
    target = LOOK if looks else project.target
    contexts = {name: value if "://" in value else str(folder / value) for name, value in project.contexts.items()}
    return {
        "context": str(folder),
        "dockerfile": project.at,
        "args": dict(project.args),
        "contexts": contexts,
        "output": ["type=docker" if build.wants == "id" else f"type=tar,dest={folder}.tar"],
        **({"target": target} if target is not None else {}),
    }


def _files(archive: Path) -> _Files:
    """Return the files of an image with their contents; a link gives its target after `-> `."""
    found: _Files = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() and member.size < 20_000 else None
            if content is not None:
                found["/" + member.name] = content.read().decode("latin-1")
            elif member.issym():
                found["/" + member.name] = "-> " + member.linkname
    return found


def _misplaced(project: Project, image: Mapping[str, str]) -> Iterator[str]:
    directories = list(project.rules.included(project.directories))
    sent = set(project.sent)
    landing = land(project.facts, sent, project.links, directories=directories, archives=project.archives)
    elsewhere = tuple(f"{folder}/" for folder in project.contexts.values())
    for path in sorted(sent & {*project.files, *project.links}):
        if path.startswith(elsewhere):
            continue
        found = landing.of(path)
        content = f"-> {project.links[path]}" if path in project.links else project.content(path).decode("latin-1")
        real = {place for place, held in image.items() if held == content}
        for place in found.landed:
            if not place.runs and place.path not in real:
                yield f"{path} is not at {place.path}, but at {sorted(real)}"
        for choice in found.choices:
            if not choice.runs and not {choice.path, choice.inside} & real:
                yield f"{path} is at neither place of {choice}, but at {sorted(real)}"
        said = {*found.paths, *(each for choice in found.choices for each in (choice.path, choice.inside))}
        if not found.doubts and not real <= said:
            yield f"{path} is at {sorted(real - said)} too, not only at {sorted(said)}"
