"""Skaffold's hooks → tasks."""

import shlex
from collections.abc import Callable

from devloop.core.draft.fields import Fields
from devloop.core.draft.model import Command, DraftTask
from devloop.core.draft.tree import joined

__all__ = ["tasks_of_hooks", "words_of"]


def words_of(fields: Fields) -> str:
    """Return a hook's command as one for a shell."""
    words = fields.texts("command")
    if len(words) == 3 and words[:2] in {("sh", "-c"), ("bash", "-c"), ("/bin/sh", "-c")}:
        return words[2]
    return shlex.join(words)


def tasks_of_hooks(
    hooks: Fields,
    name: str,
    folder: str,
    what: str,
    *,
    image: str | None = None,
    services: tuple[str, ...] = (),
    owner: Callable[[str, str], str | None] = lambda _pod, _container: None,
    containers: bool = True,
) -> list[DraftTask]:
    """Return the commands that Skaffold runs on the host before and after something, as tasks.

    Args:
        hooks: The hooks.
        name: The node's name.
        folder: Where the commands run.
        what: Before or after what they run: a build, a sync or a deploy.
        image: The image that a task after it needs.
        services: The services that a task after it needs.
        owner: Returns the service of a pod's and a container's names, where that is known.
        containers: Whether commands in containers are tasks, too.
    """
    found = []
    for key in ("before", "after"):
        commands = [
            command
            for each in hooks.mappings(key)
            if (command := _hook_command(each, folder, owner, containers=containers)) is not None
        ]
        if commands:
            task = f"{name}-{key}-{what}"
            found.append(
                DraftTask(
                    name=task,
                    commands=tuple(commands),
                    about=f"Skaffold runs this {key} each {what}; here `devloop run {task}` does.",
                    images=(image,) if image and key == "after" and what == "build" else (),
                    services=services if key == "after" else (),
                )
            )
    hooks.rest()
    return found


def _hook_command(
    each: Fields, folder: str, owner: Callable[[str, str], str | None], *, containers: bool
) -> Command | None:
    if "container" in each:
        container = each.mapping("container")
        if not containers:
            each.settled("container")
            return None
        command = words_of(container)
        pod, name = container.text("podName") or "", container.text("containerName") or ""
        service = owner(pod, name)
        container.rest()
        if service is None:
            each.note("container", f"not carried over: it is not known which service `{pod or name}` belongs to")
            return None
        option = f"--container {name} " if name else ""
        return Command(text=f"devloop exec {option}{service} sh -c {shlex.quote(command)}")
    own = each.mapping("host") if "host" in each else each
    own.settled("os")
    where = own.text("dir")
    command = words_of(own)
    own.rest()
    each.settled("host")
    if not command:
        return None
    return Command(text=command, folder=joined(folder, where) if where else folder)
