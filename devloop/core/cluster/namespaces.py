"""The namespace that a project says, with the developer's own name in it where it asks for that."""

import re
from typing import Final

from devloop.errors import InputError, Where

__all__ = ["namespace_for"]

_LENGTH: Final = 63
_USER: Final = "{user}"
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def namespace_for(text: str, user: str, where: Where | None = None) -> str:
    """Return the namespace that `text` means for a developer: `dev-{user}` is `dev-ada-l` for `Ada.L`.

    Args:
        text: A namespace; `{user}` stands for the developer.
        user: The developer's name, in whatever form the system has it.
        where: Where it is said.

    Raises:
        InputError: What comes of it is no namespace.
    """
    around = len(text.replace(_USER, ""))
    room = max(1, (_LENGTH - around) // max(1, text.count(_USER)))
    found = text.replace(_USER, _label(user)[:room].strip("-")) if _USER in text else text
    if len(found) <= _LENGTH and _LABEL.fullmatch(found):
        return found
    if _USER in text and not _label(user):
        message = f"the user's name `{user}` has nothing that could stand in the namespace `{text}`"
        raise InputError(message, where=where, hint="say who you are: `DEVLOOP_USER=ada`")
    raise InputError(
        f"`{found}` is no namespace",
        where=where,
        hint="small letters, digits and dashes, 63 at most; `{user}` stands for who runs devloop",
    )


def _label(user: str) -> str:
    """Return a name as a part of a DNS label: without the domain that Windows puts before it, or a mail address has."""
    name = user.rpartition("\\")[2].partition("@")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")
