"""The entries of a cluster in a kubeconfig: put there and taken out, with everything else left as it was written. Pure.

The text itself is edited, so that comments and the order of keys stay. Where it is written in a way that this does not
understand (flow style, aliases), the whole is written anew: the same values without the comments.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from devloop.core.yaml.documents import YamlError, dump, parse_documents
from devloop.errors import InputError

__all__ = ["Entries", "server_of", "with_entries", "without_entries"]

_MARK: Final = "devloop.dev/before"
"""The extension of our context that remembers which context was current before."""

_SECTIONS: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}
_CURRENT: Final = "current-context"
_EMPTY: Final = "apiVersion: v1\nkind: Config\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A cluster, a user and a context of one name.

    Attributes:
        name: The name.
        cluster: What the kubeconfig says of the cluster.
        user: What it says of the user.
    """

    name: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]


def server_of(text: str, name: str) -> str | None:
    """Return the server of the cluster with this name, or None where there is no such cluster.

    Raises:
        InputError: The text is no kubeconfig.
    """
    found = _named(_config(text), "clusters", name)
    return None if found is None else str((found.get("cluster") or {}).get("server", ""))


def with_entries(text: str, entries: Entries) -> str:
    """Return the kubeconfig with the entries, in the place of those of the same name, and their context current.

    Raises:
        InputError: The text is no kubeconfig.
    """
    text = text if text.strip() else _EMPTY
    config = _config(text)
    current, old = config.get(_CURRENT), _named(config, "contexts", entries.name)
    before = _before(old) if current == entries.name else current
    context: dict[str, Any] = {"cluster": entries.name, "user": entries.name}
    if before:
        context["extensions"] = [{"name": _MARK, "extension": {"context": before}}]
    contents = {"clusters": dict(entries.cluster), "users": dict(entries.user), "contexts": context}
    wanted = {plural: {"name": entries.name, _SECTIONS[plural]: content} for plural, content in contents.items()}
    return _edited(text, config, entries.name, wanted, entries.name)


def without_entries(text: str, name: str, known: Collection[str] = ()) -> str:
    """Return the kubeconfig without the entries of this name; the context that was current before is so again.

    Args:
        text: The kubeconfig.
        name: The name.
        known: The contexts of further files.

    Raises:
        InputError: The text is no kubeconfig.
    """
    config = _config(text)
    if config.get(_CURRENT) != name:
        return _edited(text, config, name, {}, None)
    before = _before(_named(config, "contexts", name))
    there = before is not None and (before in known or _named(config, "contexts", before) is not None)
    return _edited(text, config, name, {}, before if there else "")


def _config(text: str) -> dict[str, Any]:
    try:
        documents = parse_documents(text)
    except YamlError as error:
        raise InputError(f"the kubeconfig cannot be read: {error}") from error
    value = documents[0].value if documents else {}
    if len(documents) > 1 or not isinstance(value, dict):
        raise InputError("the kubeconfig is not one")
    return value


def _named(config: Mapping[str, Any], plural: str, name: str) -> Mapping[str, Any] | None:
    return next((each for each in config.get(plural) or () if each.get("name") == name), None)


def _before(context: Mapping[str, Any] | None) -> str | None:
    extensions = ((context or {}).get("context") or {}).get("extensions") or ()
    found = next((each.get("extension") for each in extensions if each.get("name") == _MARK), None)
    return found.get("context") if isinstance(found, Mapping) else None


def _edited(
    text: str, config: Mapping[str, Any], name: str, wanted: Mapping[str, dict[str, Any]], current: str | None
) -> str:
    """Return the text with the wanted entries in the place of those of the name.

    Args:
        text: The kubeconfig.
        config: Its content.
        name: The name.
        wanted: The entries by section; a section that is missing here has none of the name then.
        current: The context that is current then; None for the one that is so now.
    """
    expected = dict(config)
    for plural in _SECTIONS:
        there, new = config.get(plural) or [], [wanted[plural]] if plural in wanted else []
        old = next((number for number, each in enumerate(there) if each.get("name") == name), None)
        if old is not None:
            expected[plural] = [*there[:old], *new, *there[old + 1 :]]
        elif new:
            expected[plural] = [*new, *there]
    if current is not None:
        expected[_CURRENT] = current
    if expected == config:
        return text
    try:
        edited = _with_edits(text, _edits(text, name, wanted, current))
        if [each.value for each in parse_documents(edited)] == [expected]:
            return edited
    except (YamlError, yaml.YAMLError):
        pass  # it is written in a way that is not understood
    return json.dumps(expected, indent=4) + "\n" if text.lstrip().startswith("{") else dump(expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    start: int
    end: int
    text: str


def _with_edits(text: str, edits: Iterator[_Edit]) -> str:
    for edit in sorted(edits, key=lambda each: each.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edits(text: str, name: str, wanted: Mapping[str, dict[str, Any]], current: str | None) -> Iterator[_Edit]:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    nodes = {key.value: value for key, value in root.value} if isinstance(root, yaml.MappingNode) else {}
    appended = "" if text.endswith("\n") else "\n"
    for plural in _SECTIONS:
        node = nodes.get(plural)
        if node is None:
            appended += f"{plural}:\n{dump([wanted[plural]])}" if plural in wanted else ""
        elif isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
            yield from _in_sequence(text, node, name, wanted.get(plural))
        elif plural in wanted:  # `clusters: []`, or nothing after the colon
            yield _Edit(
                start=node.start_mark.index, end=node.end_mark.index, text=f"\n{dump([wanted[plural]])}".rstrip()
            )
    if current is not None and (node := nodes.get(_CURRENT)) is not None:
        yield _Edit(start=node.start_mark.index, end=node.end_mark.index, text=_spaced(text, node, current))
    elif current is not None:
        appended += f"{_CURRENT}: {dump(current).splitlines()[0]}\n"
    if appended.strip():
        yield _Edit(start=len(text), end=len(text), text=appended)


def _in_sequence(text: str, node: yaml.SequenceNode, name: str, wanted: dict[str, Any] | None) -> Iterator[_Edit]:
    """Yield what puts an item into a block sequence: in the place of the one that has its name, or first."""
    indent = " " * node.start_mark.column
    items = [text.rfind("\n", 0, item.start_mark.index) + 1 for item in node.value]
    new = "" if wanted is None else "".join(f"{indent}{line}\n" for line in dump([wanted]).splitlines())
    old = next((number for number, item in enumerate(node.value) if _name(item) == name), None)
    if old is None:
        yield _Edit(start=items[0], end=items[0], text=new)
        return
    end = items[old + 1] if old + 1 < len(items) else _line_after(text, _last(node.value[old]))
    if not new and len(items) == 1:
        yield _Edit(start=text.rfind(":", 0, items[0]) + 1, end=end, text=" []\n")
    else:
        yield _Edit(start=items[old], end=end, text=new)


def _name(item: yaml.Node) -> str | None:
    pairs = item.value if isinstance(item, yaml.MappingNode) else ()
    return next((value.value for key, value in pairs if key.value == "name"), None)


def _last(node: yaml.Node) -> int:
    """Return where the last value below a node ends; the node itself ends only where the next one begins."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _last(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end


def _line_after(text: str, index: int) -> int:
    return text.find("\n", index) + 1 or len(text)


def _spaced(text: str, node: yaml.Node, value: str) -> str:
    written = dump(value).splitlines()[0]
    return f" {written}" if text[node.start_mark.index - 1] == ":" else written
