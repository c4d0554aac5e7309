"""Files with anything in any place: a mistake with its place, or a devfile that is Python; never a crash."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from devloop.core.draft import Tree, devfile, draft
from devloop.errors import InputError, InputErrors
from tests.init.making import HERE

VALUES: Final[list[Any]] = [
    None,
    True,
    0,
    1.5,
    "",
    [],
    {},
    [None],
    [[]],
    {"a": None},
    "x",
    "a:b:c",
    "${X",
    "*",
    [{"name": 1}],
]
TRIES: Final = 60
"""How many of all changes are tried, spread over the file: enough to find what is wrong, soon enough for each time."""


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each part of a document."""
    yield at
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*at, key))


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """Return the document with another value at a place."""
    if not at:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = put(value[at[0]], at[1:], new)
    return copy


def damaged(text: str) -> Iterator[str]:
    """Yield a YAML file with one value exchanged, in many ways."""
    documents = list(yaml.safe_load_all(text))
    ways = [(number, at, new) for number, document in enumerate(documents) for at in places(document) for new in VALUES]
    for number, at, new in ways[:: max(len(ways) // TRIES, 1)]:
        yield yaml.safe_dump_all([*documents[:number], put(documents[number], at, new), *documents[number + 1 :]])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("compose", "compose.yaml"),
        ("skaffold", "skaffold.yaml"),
        ("skaffold-modules", "skaffold.yaml"),
        ("skaffold-modules", "frontend/skaffold.yaml"),
        ("skaffold-modules", "backend/skaffold.yaml"),
        ("single", "k8s/deployment.yaml"),
        ("single", "k8s/service.yaml"),
        ("kustomize", "k8s/base/kustomization.yaml"),
        ("helm", "charts/shop/Chart.yaml"),
        ("helm", "charts/shop/values.yaml"),
    ],
)
def test_damage_is_a_mistake_with_its_place_or_makes_no_difference(name: str, path: str) -> None:
    parts = re.split(r"(?m)^=== (.+)\n", (HERE / "projects" / f"{name}.txt").read_text())
    files = dict(zip(parts[1::2], parts[2::2], strict=True))

    for text in damaged(files[path]):
        problems = mistakes(Tree(name="p", files=tuple(files), read={**files, path: text}.get))
        assert all(each.where or each.hint for each in problems), text


def mistakes(project: Tree) -> tuple[InputError, ...]:
    """Return what is said of a project that cannot be read; nothing where its devfile is Python."""
    try:
        compile(devfile(draft(project)), "devfile.py", "exec")
    except InputErrors as found:
        return found.errors
    except InputError as found:
        return (found,)
    return ()
