"""Settings: the arguments with plain defaults, typed by annotation or default, given by `--set` or the environment."""

import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin

from devloop.core.graph import Binding, suggestion
from devloop.declarations import Parameter, SettingSpec
from devloop.errors import InputError, Where
from devloop.model import NodeId

__all__ = ["PREFIX", "Setting", "of_project", "resolve"]

PREFIX: Final = "DEVLOOP_SET_"

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, resolved.

    Attributes:
        node: The node whose function has the argument; None for a setting of the whole project.
        name: The argument's name.
        type: What values it takes, in words.
        value: Its value.
        source: Where the value comes from: `default`, `--set replicas`, `DEVLOOP_SET_REPLICAS`.
        default: Its default.
        where: Where it is declared.
    """

    node: NodeId | None
    name: str
    type: str
    value: object
    source: str
    default: object
    where: Where

    def __str__(self) -> str:
        """Return its full name, as `--set` takes it."""
        return self.name if self.node is None else f"{self.node.name}.{self.name}"


def of_project(spec: SettingSpec, given: Mapping[str, str], environment: Mapping[str, str]) -> Setting:
    """Return a setting of the whole project with its value.

    Args:
        spec: What the devfile says.
        given: What `--set` gave, by name.
        environment: The environment variables.

    Raises:
        InputError: The value given is of another type.
    """
    source, text = "default", None
    if spec.name in given:
        source, text = f"--set {spec.name}", given[spec.name]
    elif (variable := _variable(spec.name)) in environment:
        source, text = variable, environment[variable]
    kind = type(spec.default)
    try:
        value = spec.default if text is None else _read(kind, text)
    except ValueError as error:
        message = f"setting `{spec.name}` cannot be `{text}`: {error}"
        raise InputError(message, where=spec.where, hint=f"it comes from {source}") from None
    return Setting(
        node=None,
        name=spec.name,
        type=_words(kind),
        value=value,
        source=source,
        default=spec.default,
        where=spec.where,
    )


def resolve(
    bindings: Iterable[Binding],
    given: Mapping[str, str],
    environment: Mapping[str, str],
    *,
    others: Collection[str] = (),
) -> tuple[tuple[Setting, ...], list[InputError]]:
    """Return all settings with their values, and the mistakes found on the way.

    `--set api.replicas=3` (the node's name first) wins over `--set replicas=3`, that over the environment's
    `DEVLOOP_SET_API_REPLICAS` and `DEVLOOP_SET_REPLICAS`, and those over the default.

    Args:
        bindings: The declarations.
        given: What `--set` gave, by name.
        environment: The environment variables.
        others: The names of the settings of the whole project, which are known already.
    """
    settings: list[Setting] = []
    errors: list[InputError] = []
    used = set(others)
    for binding in bindings:
        node = binding.declaration.id
        for parameter in binding.settings:
            source, text = _text(node, parameter.name, given, environment)
            used |= {f"{node.name}.{parameter.name}", f"{node}.{parameter.name}", parameter.name}
            kind = _type(parameter)
            try:
                value = parameter.default if text is None else _read(kind, text)
            except ValueError as error:
                errors.append(
                    InputError(
                        f"setting `{parameter.name}` of {node} cannot be `{text}`: {error}",
                        where=binding.declaration.where,
                        hint=f"it comes from {source}",
                    )
                )
                value = parameter.default
            settings.append(
                Setting(
                    node=node,
                    name=parameter.name,
                    type=_words(kind),
                    value=value,
                    source=source,
                    default=parameter.default,
                    where=binding.declaration.where,
                )
            )
    errors.extend(
        InputError(f"there is no setting `{name}`", hint=suggestion(name, [*others, *_names(settings)], "settings"))
        for name in given
        if name not in used
    )
    return tuple(settings), errors


def _names(settings: Iterable[Setting]) -> list[str]:
    return [name for each in settings for name in (each.name, str(each))]


def _text(node: NodeId, name: str, given: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, str | None]:
    for key in (f"{node}.{name}", f"{node.name}.{name}", name):
        if key in given:
            return f"--set {key}", given[key]
    for key in (f"{node.name}_{name}", name):
        variable = _variable(key)
        if variable in environment:
            return variable, environment[variable]
    return "default", None


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace("-", "_")


def _type(parameter: Parameter) -> Any:
    if parameter.annotation is not None:
        return parameter.annotation
    return str if parameter.default is None else type(parameter.default)


def _read(kind: Any, text: str) -> object:
    origin = get_origin(kind)
    if origin is Literal:
        return _one_of(get_args(kind), text)
    if origin in {Union, types.UnionType}:
        return _any_of(get_args(kind), text)
    if kind in {list, tuple} or origin in {list, tuple}:
        items = [each.strip() for each in text.split(",") if each.strip()]
        inner = [each for each in get_args(kind) if each is not Ellipsis]
        values = [_read(inner[0], each) if inner else each for each in items]
        return tuple(values) if tuple in {kind, origin} else values
    if kind is bool:
        return _boolean(text)
    if kind in {int, float}:
        return _number(kind, text)
    if kind in {str, Any, object}:
        return text
    raise ValueError(f"settings of type {_words(kind)} cannot be given as text")


def _one_of(choices: tuple[Any, ...], text: str) -> object:
    for choice in choices:
        if str(choice) == text:
            return choice
    raise ValueError("it must be one of " + ", ".join(f"`{choice}`" for choice in choices))


def _any_of(kinds: tuple[Any, ...], text: str) -> object:
    if type(None) in kinds and text.lower() in {"", "none", "null"}:
        return None
    problems = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return _read(kind, text)
            except ValueError as error:
                problems.append(str(error))
    raise ValueError(problems[0])


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("it must be true or false")


def _number(kind: type, text: str) -> object:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"it must be {'a whole number' if kind is int else 'a number'}") from None


def _words(kind: Any) -> str:
    if get_origin(kind) is not None or not isinstance(kind, type):
        return str(kind).replace("typing.", "")
    return kind.__name__
