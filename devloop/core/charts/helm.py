"""Helm charts: how `helm template` is asked, what its values can be, and what its text says of places and hooks."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from devloop.core.manifest import Manifest
from devloop.errors import InputError, Where
from devloop.model import HelmSource

__all__ = ["arguments", "origins", "values", "without_unused_hooks"]

_USED_HOOKS: Final = frozenset({"pre-install", "post-install", "pre-upgrade", "post-upgrade", "crd-install"})
_SOURCE: Final = re.compile(r"# Source: (\S+)\Z")


def arguments(source: HelmSource, *, release: str, namespace: str, with_values: bool) -> tuple[str, ...]:
    """Return the arguments of `helm` that render a chart; values of the service's function come from standard input."""
    return tuple(_arguments(source, release, namespace, with_values=with_values))


def _arguments(source: HelmSource, release: str, namespace: str, *, with_values: bool) -> Iterator[str]:
    yield from ("template", source.release or release, source.chart, f"--namespace={namespace}")
    if source.repository:
        yield f"--repo={source.repository}"
    if source.version:
        yield f"--version={source.version}"
    yield from (f"--values={path}" for path in source.values)
    if with_values:
        yield "--values=-"
    yield from (f"--set-file={name}={path}" for name, path in source.files.items())
    yield "--include-crds" if source.crds else "--skip-crds"
    if not source.hooks:
        yield "--no-hooks"
    if source.kube_version:
        yield f"--kube-version={source.kube_version}"
    yield from (f"--api-versions={version}" for version in source.api_versions)


def values(returned: Mapping[Any, Any], *, texts: tuple[type, ...], where: Where, what: str) -> dict[str, Any]:
    """Return what a service's function returns as values of a chart: plain data, all the way down.

    Args:
        returned: What it returns.
        texts: Types whose text is the value (images, services).
        where: The function's place.
        what: What it is, for messages: ``service `api` ``.

    Raises:
        InputError: Something in it is no plain data.
    """

    def plain(value: Any, path: tuple[str, ...]) -> Any:
        match value:
            case None | bool() | int() | float() | str():
                return value
            case _ if isinstance(value, texts):
                return str(value)
            case Mapping():
                return {str(key): plain(part, (*path, str(key))) for key, part in value.items()}
            case Sequence() if not isinstance(value, bytes | bytearray):
                return [plain(part, (*path, str(position))) for position, part in enumerate(value)]
            case _:
                name = ".".join(path)
                message = f"{what} returns {type(value).__name__} as `{name}`, which is no value for a chart"
                raise InputError(message, where=where, hint="return texts, numbers, truth values, lists and mappings")

    return {str(key): plain(value, (str(key),)) for key, value in returned.items()}


def origins(text: str, *, chart: str) -> tuple[Where | None, ...]:
    """Return for each line of what `helm template` prints the template that it comes from.

    Args:
        text: What it printed.
        chart: The chart's folder, relative to the project's root; Helm begins each path with the chart's own name.
    """
    place: Where | None = None
    found: list[Where | None] = []
    for line in text.split("\n"):
        if line == "---":
            place = None
        elif source := _SOURCE.match(line):
            place = Where(path=f"{chart}/{source[1].partition('/')[2]}")
        found.append(place)
    return tuple(found)


def without_unused_hooks(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Return the objects less the hooks for what devloop never does: tests, deletion and rollback of a release."""
    return tuple(each for each in manifests if not (events := _hook_events(each)) or events & _USED_HOOKS)


def _hook_events(manifest: Manifest) -> frozenset[str]:
    annotations = manifest.document["metadata"].get("annotations") or {}
    return frozenset(each.strip() for each in (annotations.get("helm.sh/hook") or "").split(",") if each.strip())
