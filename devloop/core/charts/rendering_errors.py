"""What kustomize and Helm say when they refuse to render, as errors with the places that they name.

Their texts differ from version to version; what is recognised is only how they spell a file and a line. The message is
theirs, shortened where a place or a repetition says the same.
"""

import re
from typing import Final

from devloop.errors import InputError, Where

__all__ = ["of_helm", "of_kustomize"]

_PLACE: Final = re.compile(r"(?P<path>[\w.@+-]+(?:/[\w.@+-]+)+):(?P<line>\d+)(?::(?P<column>\d+))?")
_ON: Final = re.compile(r"YAML parse error on (?P<path>\S+?):? ")
_VALUES: Final = re.compile(r"(?:failed to parse|cannot load) (?P<path>[^\s:]+):.*?line (?P<line>\d+)", re.DOTALL)
_PREFIX: Final = re.compile(r"\A(?:Error|error|ERROR): ")
_NOISE: Final = re.compile(r"\n*Use --debug flag to render out invalid YAML\s*\Z")
_LINE_OF_OUTPUT: Final = re.compile(r"\byaml: line (\d+)")
_EXECUTING: Final = re.compile(r'executing "[^"]*" at (<.*?>):\s*')
_CALLING: Final = re.compile(r"error calling (?:include|template|tpl|required|fail)s?:\s*")
_AT_PLACE: Final = re.compile(r"(?:parse|execution) error at \([^)]*\):\s*")


def of_helm(said: str, *, chart: str, folder: str, where: Where, command: str) -> InputError:
    """Return what Helm says as an error at the chart's own file and line.

    Args:
        said: Its standard error.
        chart: The chart's folder, relative to the project's root.
        folder: The devfile's folder, which values files are relative to.
        where: The place that names the chart.
        command: How a person can repeat it.
    """
    text = _text(said)
    places = [
        Where(path=_in_chart(found["path"], chart), line=int(found["line"]), column=_number(found["column"]))
        for found in _PLACE.finditer(text)
        if "/templates/" in found["path"] or found["path"].endswith(".tpl")
    ]
    hint = f"to see it by itself: `{command}`"
    if places:
        *outer, innermost = dict.fromkeys(places)
        return InputError(_last_words(text), where=innermost, chain=(*reversed(outer), where), hint=hint)
    if found := _ON.search(text):
        line = _LINE_OF_OUTPUT.search(text)
        message = f"the rendering is no YAML: {text.rpartition(': ')[2]}"
        message += f", in line {line[1]} of what the template renders" if line else ""
        return InputError(message, where=Where(path=_in_chart(found["path"], chart)), chain=(where,), hint=hint)
    if found := _VALUES.search(text):
        path = f"{chart}/{found['path']}" if found["path"] == "values.yaml" else _joined(folder, found["path"])
        message = f"`{path}` is no YAML: {text.rpartition(': ')[2]}"
        return InputError(message, where=Where(path=path, line=int(found["line"])), chain=(where,))
    if "helm dependency build" in text:
        hint = f"fetch them: `helm dependency build {chart}`"
        return InputError(_last_words(text), where=Where(path=f"{chart}/Chart.yaml"), chain=(where,), hint=hint)
    return InputError(f"helm cannot render `{chart}`: {text}", where=where, hint=hint)


def of_kustomize(said: str, *, kustomization: str, root: str, where: Where, command: str) -> InputError:
    """Return what kustomize says as an error at the kustomization.

    Args:
        said: Its standard error.
        kustomization: The kustomization's path, relative to the project's root.
        root: The project's root, absolute; it is left out of the message.
        where: The place that names the kustomization.
        command: How a person can repeat it.
    """
    text = _text(said).replace(f"{root}/", "")
    line = _LINE_OF_OUTPUT.search(text) if "invalid Kustomization" in text or text.startswith("yaml: ") else None
    place = Where(path=kustomization, line=int(line[1]) if line else None)
    hint = f"to see it by itself: `{command}`"
    return InputError(
        f"kustomize: {text.removeprefix('invalid Kustomization: ')}", where=place, chain=(where,), hint=hint
    )


def _text(said: str) -> str:
    lines = [line for line in said.splitlines() if not line.startswith(("# Warning:", "WARNING:", "level="))]
    text = _PREFIX.sub("", "\n".join(lines).strip())
    return " ".join(_NOISE.sub("", text).split()) or "it ended with an error and said nothing"


def _last_words(text: str) -> str:
    """Return the message behind the chain of templates that led to it."""
    message = text
    for pattern in (_AT_PLACE, _EXECUTING, _CALLING):
        message = _after_last(pattern, message)
    found = list(_EXECUTING.finditer(text))
    message = _PLACE.sub("", message).removeprefix("template: ").strip(" :")
    return f"{message} at {found[-1][1]}" if found and found[-1][1] not in message else message


def _after_last(pattern: re.Pattern[str], text: str) -> str:
    ends = [found.end() for found in pattern.finditer(text)]
    return text[ends[-1] :] if ends else text


def _in_chart(path: str, chart: str) -> str:
    return f"{chart}/{path.partition('/')[2]}"


def _joined(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder and not path.startswith("/") else path


def _number(text: str | None) -> int | None:
    return int(text) if text else None
