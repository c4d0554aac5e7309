"""Projects made at random, from a seed."""

import random
from typing import Final

from tests.conformance.engine import Project

_PATHS: Final = (
    "a.txt", "b.txt", "c.md", ".rc", "src/a.txt", "src/b.py", "src/lib/a.txt", "src/lib/c.py", "src/.rc", "lib/a.txt", "lib/x/y.txt",
)  # fmt: skip
_SOURCES: Final = (
    ".", "src", "src/", "lib", "a.txt", "*.txt", "src/*", "*/a.txt", "src/lib", "?.*", "s*", "l*/x", "lib/x/..", "./b.txt", "/c.md",
    ".rc", "[a-b].txt", "src/[^b]*", "*", "$S", "${S:-lib}", "${N}.txt",
)  # fmt: skip
_DESTINATIONS: Final = ("/", "/w/", "/w", ".", "x", "x/", "/w/lib", "../y/", "/w/a.txt", "$D", "/${N:-v}/", "./x/.")
_RULES: Final = (
    "src", "*.txt", "!a.txt", "**/a.txt", "!src/lib", "lib/*", "!lib", "src/**", "!**/*.py", "**/.rc", "./lib/", "# no", "  c.md ", "!",
    "l?b/x", "*/*/*.txt", "[ab].txt", "!src", "*",
)  # fmt: skip


def generate(chance: random.Random) -> Project:
    """Return a project; the builder may well refuse it."""
    files = tuple(path for path in _PATHS if chance.random() < 0.8)
    lines = ["ARG G=src"] if chance.random() < 0.3 else []
    count = chance.choice((1, 1, 2, 3))
    for stage in range(count):
        base = chance.choice(("scratch", "scratch", "scratch", "busybox", *(f"s{each}" for each in range(stage))))
        lines.append(f"FROM {base} AS s{stage}")
        lines += [_instruction(chance, stage) for _ in range(chance.randint(1, 5))]
    rules = [rule for rule in chance.sample(_RULES, chance.randint(1, 5)) if rule != "!"]
    return Project(
        dockerfile="\n".join(lines) + "\n",
        files=files,
        absent=("new.txt", "src/new.py"),
        ignore="\n".join(rules) + "\n" if chance.random() < 0.5 else None,
        args={"G": "lib", "S": "lib"} if chance.random() < 0.2 else {},
    )


def _instruction(chance: random.Random, stage: int) -> str:
    kind = chance.random()
    destination = chance.choice(_DESTINATIONS)
    if kind < 0.15:
        return chance.choice(("ARG S=src", "ENV S=lib N=b", "ENV D=/w/ N=a", "ARG G", "ARG D=/e S", "ENV S=$N"))
    if kind < 0.25:
        return f"WORKDIR {chance.choice(('/w', 'x', '/w/lib', '/$N', '..'))}"
    if kind < 0.45 and stage:
        source = chance.choice(("/", "/w", "/w/", "/x*", "/w/*", "/w/lib", "/*/a.txt"))
        return f"COPY --from={chance.choice((f's{stage - 1}', '0'))} {source} {destination}"
    if kind < 0.55:
        return chance.choice(("RUN true", "RUN --mount=type=bind,source=src,target=/m true", "RUN --mount=target=/m true"))
    if kind < 0.6:
        return f"ONBUILD COPY {chance.choice(_SOURCES)} {destination}"
    verb = chance.choice(("COPY", "COPY", "COPY", "COPY --link", "ADD"))
    return f"{verb} {' '.join(chance.sample(_SOURCES, chance.choice((1, 1, 2))))} {destination}"
