"""Names: of nodes, from folders and repositories; of functions, from nodes."""

import builtins
import keyword
import re
from collections.abc import Iterable

from devloop.model import Kind

__all__ = ["Functions", "last_part", "slug", "switch_name", "unique"]

_LANGUAGE = frozenset(
    {
        "check",
        "copy",
        "environ",
        "helm",
        "ignore",
        "image",
        "include",
        "kustomize",
        "project",
        "pull",
        "restart",
        "run",
        "service",
        "setting",
        "sh",
        "sync",
        "task",
    }
)


def slug(text: str) -> str:
    """Return a text as the name of a node: lower case, with dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "app"


def last_part(repository: str) -> str:
    """Return the last part of a repository's name, without a tag."""
    return repository.partition("@")[0].rpartition("/")[2].partition(":")[0]


def unique(name: str, taken: Iterable[str]) -> str:
    """Return the name, with a number where it is taken."""
    taken = frozenset(taken)
    number = 2
    found = name
    while found in taken:
        found = f"{name}-{number}"
        number += 1
    return found


def switch_name(profile: str) -> str:
    """Return the name of a profile's switch: one that Python and the language of devfiles leave free."""
    name = slug(profile).replace("-", "_")
    if name in _LANGUAGE or keyword.iskeyword(name) or hasattr(builtins, name) or name[0].isdigit():
        return f"profile_{name}"
    return name


class Functions:
    """The names of a devfile's functions, each given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {*_LANGUAGE, *taken}

    def name(self, kind: Kind, node: str) -> tuple[str, bool]:
        """Return a name for a node's function, and whether the node is then called so without being told.

        Args:
            kind: The node's kind.
            node: The node's name.
        """
        stem = node.replace("-", "_")
        if stem[:1].isdigit():
            stem = f"_{stem}"
        choices = [f"{stem}_{kind}"] if kind is Kind.IMAGE else [stem, f"{stem}_{kind}"]
        for choice in choices:
            if not self._is_taken(choice):
                self._taken.add(choice)
                return choice, True
        choice = next(each for number in range(2, 1000) if not self._is_taken(each := f"{stem}_{kind}_{number}"))
        self._taken.add(choice)
        return choice, False

    def _is_taken(self, name: str) -> bool:
        return name in self._taken or keyword.iskeyword(name) or hasattr(builtins, name)
