"""What a file becomes that a container hands back: decided from three states by content, never by who wrote last.

The three are: the host's file now, the container's now, and what both were when they were last alike. Only what the
container itself changed since it was looked at last is brought back, and only over a file that nobody edited here.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from devloop.core.digests import ABSENT
from devloop.model import ContainerTarget, Digest, RelPath

__all__ = ["Ledger", "Looked", "Outcome", "disputed", "look_script", "outcome"]


class Outcome(Enum):
    """What becomes of the host's file."""

    ALIKE = auto()
    STAY = auto()
    TAKE = auto()
    DELETE = auto()
    CONFLICT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look into a container brought: what both sides agree on now, and what the container has.

    Attributes:
        target: The container.
        agreed: The files that are alike here and there now; `ABSENT` for one that is gone from both.
        seen: All files that it has where rules look; `disputed` for one that stays another one here.
    """

    target: ContainerTarget
    agreed: Mapping[RelPath, Digest] = field(default_factory=dict)
    seen: Mapping[RelPath, Digest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is remembered of the exchange.

    Attributes:
        agreed: For each file on the host, what it was when it was last the same as in a container, `ABSENT` if gone.
        seen: For each container, what it had when it was looked at last.
    """

    agreed: Mapping[RelPath, Digest] = field(default_factory=dict)
    seen: Mapping[ContainerTarget, Mapping[RelPath, Digest]] = field(default_factory=dict)

    def after(self, looked: Looked) -> "Ledger":
        """Return the ledger with what a look brought."""
        return Ledger(agreed={**self.agreed, **looked.agreed}, seen={**self.seen, looked.target: looked.seen})

    def without(self, gone: AbstractSet[ContainerTarget]) -> "Ledger":
        """Return the ledger without these containers."""
        if gone.isdisjoint(self.seen):
            return self
        return Ledger(
            agreed=self.agreed, seen={target: files for target, files in self.seen.items() if target not in gone}
        )


def outcome(
    *, host: Digest | None, container: Digest | None, agreed: Digest | None, seen: Digest | None, changed: bool
) -> Outcome:
    """Return what becomes of the host's file; None stands for a file that is not there.

    Args:
        host: What it is here now.
        container: What it is there now.
        agreed: What both were when they were last alike.
        seen: What it was there when the container was looked at last.
        changed: Whether the container's differs from `seen`; for a container that was never looked at, whether the file
            is younger than its container, and so not its image's.
    """
    if container == host:
        return Outcome.ALIKE
    if container is None:
        if seen is None:
            return Outcome.STAY  # the container never had it
        return Outcome.DELETE if host == agreed else Outcome.CONFLICT
    if not changed:
        new_to_both = host is None and seen is None and agreed is None
        return Outcome.TAKE if new_to_both else Outcome.STAY
    return Outcome.TAKE if host in {None, agreed} else Outcome.CONFLICT


def disputed(digest: Digest | None) -> Digest:
    """Return what is remembered as seen of a file that stays another one here; it never equals what a look finds."""
    return Digest(f"disputed {digest or ABSENT}")


# It runs under dash, busybox's ash and bash. The first line that it prints says that it looks from now on.
_LOOK: Final = r"""
exec 3<&0 </dev/null 2>/dev/null
me=$$
{ while read -r _; do :; done; kill -KILL $me; } <&3 >/dev/null &
exec 3<&-
look() { for x; do find "$x" -type f -exec stat -c '%n %i %s %f %y %z' {} +; done; }
told=
last=
while :; do
now=$(look "$@")
if [ "$now" = "$last" ] && [ "$now" != "$told" ]; then
echo changed || exit 0
told=$now
fi
last=$now
sleep 1
done
"""


def look_script() -> str:
    """Return the script for `sh -c` that prints a line when files below its arguments have changed and come to rest.

    It looks once a second, at names, sizes and times alone, and ends when its standard input does.
    """
    return _LOOK.strip()
