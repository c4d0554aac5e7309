"""What a person or a program asks of devloop, before anything is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from devloop.core.plan import Mode
from devloop.errors import InputError
from devloop.model import Kind

__all__ = ["BUILD", "CI", "DEPLOY", "DEVFILE", "SYNC", "UP", "Options", "find_devfile"]

DEVFILE: Final = "devfile.py"

UP: Final = Mode()
BUILD: Final = Mode(kinds=frozenset({Kind.IMAGE}), sync=False, once=True)
DEPLOY: Final = Mode(kinds=frozenset({Kind.IMAGE, Kind.SERVICE, Kind.TASK}), sync=False, once=True)
SYNC: Final = Mode(kinds=frozenset(), alone=True)
CI: Final = Mode(kinds=frozenset({Kind.IMAGE, Kind.SERVICE, Kind.TASK, Kind.CHECK}), sync=False, once=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for.

    Attributes:
        devfile: The devfile; None for the nearest one, here or in a folder above.
        nodes: The nodes that are wanted with all that they need; empty for all.
        settings: What `--set` gave.
        target: `docker` or `kubernetes`; None for a cluster where one is chosen, else the engine.
        context: The Kubernetes context; None for the current one, if it is local or the project allows it.
        kubeconfig: The kubeconfig; None for the user's own.
        namespace: The namespace; None for the project's, else the context's own.
        mode: What is done.
        no_cache: Whether images are built from nothing.
        pull: Whether newer base images are asked for.
        timeout: Seconds that a failing rollout may take to mend itself in a session that ends by itself.
        logs: Whether the containers' logs are followed.
        ports: Whether ports are forwarded.
        asked: Whether the named nodes themselves must run, changed or not.
    """

    devfile: Path | None = None
    nodes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    mode: Mode = UP
    no_cache: bool = False
    pull: bool = False
    timeout: float = 60.0
    logs: bool = True
    ports: bool = True
    asked: bool = False


def find_devfile(given: Path | None) -> Path:
    """Return the devfile to use.

    Raises:
        InputError: There is none.
    """
    if given is not None:
        path = given / DEVFILE if given.is_dir() else given
        if not path.is_file():
            raise InputError(f"there is no devfile `{given}`", hint="give the path of a devfile or of its folder")
        return path.resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / DEVFILE).is_file():
            return folder / DEVFILE
    hint = "run `devloop init`, which writes one, or name one: `--file PATH`"
    raise InputError(f"there is no `{DEVFILE}` here or in a folder above", hint=hint)
