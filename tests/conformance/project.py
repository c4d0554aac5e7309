"""Projects for the judge: a build context with a Dockerfile, as values, and on disk."""

import functools
import json
import os
import subprocess
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from devloop.core.dockerfile import BaseConfig, BuildFacts, build_facts, parse
from devloop.core.dockerfile.archives import HEAD, may_be_archive
from devloop.core.dockerfile.bases import base_config
from devloop.core.dockerfile.sources import InputTable
from devloop.core.patterns import IgnoreRules
from devloop.core.reference import same_name
from devloop.errors import InputErrors
from devloop.runtime.images import ignore_rules

LOOK = "devloop-look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A build context with a Dockerfile.

    Attributes:
        dockerfile: Its text.
        at: Where it is.
        files: The files; each holds its own path, so that it is recognised in the image.
        contents: Files that hold something else than their path.
        changed: What such files hold after a change.
        folders: Empty directories.
        links: Symbolic links with their targets.
        relinked: Other targets for links, which count as their change.
        ignores: The `.dockerignore` files, by their paths.
        target: The stage to build.
        args: The build arguments.
        absent: Files that are not there, and whose appearance counts as a change.
        bases: What devloop is told of base images.
        contexts: Named contexts: folders of the context, or addresses.
    """

    dockerfile: str
    at: str = "Dockerfile"
    files: tuple[str, ...] = ()
    contents: Mapping[str, bytes] = field(default_factory=dict)
    changed: Mapping[str, bytes] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    relinked: Mapping[str, str] = field(default_factory=dict)
    ignores: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    bases: Mapping[str, BaseConfig] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> BuildFacts:
        """What devloop knows of it, the links of the context followed."""
        found = build_facts(
            parse(self.dockerfile),
            target=self.target,
            build_args=self.args,
            bases={"busybox": _inspected("busybox"), **self.bases},
            contexts=tuple(self.contexts),
        )
        return found.following(self.links)

    @property
    def rules(self) -> IgnoreRules:
        """The `.dockerignore` that holds."""
        return ignore_rules(".", self.at, self.ignores.get)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file and link of the context."""
        return (*self.files, *self.links, self.at, *self.ignores)

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory of the context."""
        parents = {str(parent) for path in (*self.paths, *self.folders) for parent in PurePosixPath(path).parents}
        return tuple({*parents, *self.folders} - {"."})

    @property
    def sent(self) -> tuple[str, ...]:
        """What devloop thinks the builder sees."""
        return tuple(self.rules.included(self.paths))

    @property
    def is_understood(self) -> bool:
        """Whether devloop finds no mistake in it."""
        try:
            return (self.facts, self.rules) is not None
        except InputErrors:
            return False

    @property
    def archives(self) -> frozenset[str]:
        """The files that `ADD` may unpack."""
        return frozenset(path for path, content in self.contents.items() if may_be_archive(content[:HEAD]))

    @property
    def inputs(self) -> frozenset[str]:
        """What devloop thinks changes the image; of files that are not there: when it alone comes."""
        found = self._inputs_among(self.paths)
        for each in self.absent:
            found |= {each} & self._inputs_among([*self.paths, each])
        return frozenset(found)

    def _inputs_among(self, every: Sequence[str]) -> set[str]:
        directories, archives = self.directories, self.archives
        facts = self.facts
        found = set(facts.inputs(every, self.rules, self.links, directories=directories, archives=archives))
        for name, folder in self.contexts.items():
            table = InputTable(each for key, read in facts.elsewhere.items() if same_name(key, name) for each in read)
            inner = [path for path in every if path.startswith(f"{folder}/")]
            found |= {path for path in inner if table.selects(path.removeprefix(f"{folder}/"))}
        return found

    @property
    def changeable(self) -> tuple[str, ...]:
        """What is changed in turn."""
        return tuple(path for path in (*self.paths, *self.absent) if path not in self.links or path in self.relinked)

    def content(self, path: str) -> bytes:
        """Return what a file holds."""
        return self.contents.get(path, path.encode())

    def write(
        self, root: Path, changed: Collection[str] = (), gone: Collection[str] = (), *, looking: bool = False
    ) -> None:
        """Write it to disk.

        Args:
            root: The folder.
            changed: What is changed: other content, there at all, another target.
            gone: What is deleted.
            looking: Whether the Dockerfile gets a stage that copies the whole context.
        """
        root.mkdir(parents=True)
        root.chmod(0o755)  # the mode of the context's root counts where all of it is mounted
        text = f"{self.dockerfile}\nFROM scratch AS {LOOK}\nCOPY . /\n" if looking else self.dockerfile
        held = {path: self.content(path) for path in self.files}
        held |= {path: ignore.encode() for path, ignore in self.ignores.items()} | {self.at: text.encode()}
        held |= {path: path.encode() for path in self.absent if path in changed}
        for path, content in held.items():
            other = self.changed.get(path, content + b"\n# changed\n")
            _place(root, path).write_bytes(other if path in changed else content)
        for path in self.folders:
            (root / path).mkdir(parents=True, exist_ok=True)
        for path, target in self.links.items():
            _place(root, path).symlink_to(self.relinked[path] if path in changed else target)
        for path in gone:
            (root / path).unlink()
        for place in root.rglob("*"):
            # The builder takes a file of the same size and time for the one that it has of another project.
            time = zlib.crc32(place.read_bytes()) if place.is_file() and not place.is_symlink() else 1
            os.utime(place, (time, time), follow_symlinks=False)


def _place(root: Path, path: str) -> Path:
    found = root / path
    found.parent.mkdir(parents=True, exist_ok=True)
    return found


@functools.cache
def _inspected(image: str) -> BaseConfig:
    done = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=True)
    return base_config(json.loads(done.stdout)[0])
