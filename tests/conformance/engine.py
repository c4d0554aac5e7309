"""The real builder as a judge: what changes an image, what reaches the context, and where files land."""

import io
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from devloop.core.dockerfile import BaseConfig, BuildFacts, build_facts, parse
from devloop.core.patterns import NO_IGNORE, IgnoreRules


class RefusedError(Exception):
    """The builder refused the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A build context with a Dockerfile.

    Attributes:
        dockerfile: Its text.
        files: The files; each holds its own path, so that it is recognised in the image.
        links: Symbolic links with their targets.
        ignore: The text of `.dockerignore`, None for no such file.
        target: The stage to build.
        args: The build arguments.
        absent: Files that are not there, and whose appearance counts as a change.
        relinked: Other targets for links, which count as their change.
        bases: What devloop is told of base images.
        contents: Files that hold something else than their path.
    """

    dockerfile: str
    files: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    ignore: str | None = None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    relinked: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, BaseConfig] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def facts(self) -> BuildFacts:
        """What devloop knows of it."""
        return build_facts(parse(self.dockerfile), target=self.target, build_args=self.args, bases=self.bases)

    @property
    def rules(self) -> IgnoreRules:
        """Its `.dockerignore`."""
        return NO_IGNORE if self.ignore is None else IgnoreRules.parse(self.ignore)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file and link of the context."""
        ignore = () if self.ignore is None else (".dockerignore",)
        return (*self.files, *self.links, "Dockerfile", *ignore)

    @property
    def directories(self) -> tuple[str, ...]:
        """Every directory of the context."""
        return tuple({str(parent) for path in self.paths for parent in PurePosixPath(path).parents if parent.name})

    @property
    def sent(self) -> tuple[str, ...]:
        """What devloop thinks the builder sees."""
        return tuple(self.rules.included(self.paths))

    def write(self, root: Path) -> "Checkout":
        """Write it to disk."""
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)  # the mode of the context's root counts where all of it is mounted
        for path in self.files:
            place(root, path).write_bytes(self.contents.get(path, path.encode()))
        for path, target in self.links.items():
            place(root, path).symlink_to(target)
        place(root, "Dockerfile").write_text(self.dockerfile)
        if self.ignore is not None:
            place(root, ".dockerignore").write_text(self.ignore)
        return Checkout(project=self, root=root)


def place(root: Path, path: str) -> Path:
    """Return where a file goes, with its folder made."""
    found = root / path
    found.parent.mkdir(parents=True, exist_ok=True)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A project on disk."""

    project: Project
    root: Path

    def image_id(self) -> str:
        """Build it and return the id of the image.

        Raises:
            RefusedError: The builder refused it.
        """
        return self._build("--quiet").decode().strip()

    def image_ids_with(self, changes: Iterable[tuple[str, ...]]) -> list[str]:
        """Return the ids of the image for each of several sets of changed paths."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self._image_id_with, changes))

    def _image_id_with(self, changed: tuple[str, ...]) -> str:
        with TemporaryDirectory(dir=self.root.parent) as folder:
            checkout = self.project.write(Path(folder))
            for path in changed:
                checkout.change(path)
            return checkout.image_id()

    def change(self, path: str) -> None:
        """Change a file, make one that is not there, or let a link lead elsewhere."""
        where = self.root / path
        if where.is_symlink():
            target = self.project.relinked[path]
            where.unlink()
            where.symlink_to(target)
        else:
            with place(self.root, path).open("ab") as file:
                file.write(b"\n# changed\n")

    def image(self) -> dict[str, str]:
        """Build it and return the files of the image with their contents; a link gives its target after `-> `."""
        archive = self._build("--output=type=tar,dest=-")
        found: dict[str, str] = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() and member.size < 4096 else None
                if content is not None:
                    found["/" + member.name] = content.read().decode(errors="replace")
                elif member.issym():
                    found["/" + member.name] = "-> " + member.linkname
        return found

    def _build(self, *options: str) -> bytes:
        project = self.project
        target = [] if project.target is None else [f"--target={project.target}"]
        args = [f"--build-arg={name}={value}" for name, value in project.args.items()]
        command = ["docker", "buildx", "build", *options, *target, *args, "."]
        done = subprocess.run(command, cwd=self.root, capture_output=True, check=False, timeout=100)
        if done.returncode:
            raise RefusedError(done.stderr.decode(errors="replace")[-600:])
        return done.stdout
