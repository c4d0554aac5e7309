"""Projects made at random, from a seed."""

import random
from typing import Final

from tests.conformance.engine import Project

_PATHS: Final = (
    "a.txt", "b.txt", "c.md", ".rc", "src/a.txt", "src/b.py", "src/lib/a.txt", "src/.rc",
    "lib/a.txt", "lib/x/y.txt",
)  # fmt: skip
_SOURCES: Final = (
    ".", "src", "src/", "lib", "a.txt", "*.txt", "src/*", "*/a.txt", "src/lib", "?.*", "s*", "l*/x", "lib/x/..",
    "./b.txt", "/c.md", ".rc", "[a-b].txt", "src/[^b]*", "*", "$S", "${S:-lib}", "${N}.txt",
)  # fmt: skip
_DESTINATIONS: Final = ("/", "/w/", "/w", ".", "x", "x/", "/w/lib", "../y/", "/w/a.txt", "$D", "/${N:-v}/", "./x/.")
_RULES: Final = (
    "src", "*.txt", "!a.txt", "**/a.txt", "!src/lib", "lib/*", "!lib", "src/**", "!**/*.py", "**/.rc",
    "./lib/", "# no", "  c.md ", "!", "l?b/x", "*/*/*.txt", "[ab].txt", "!src", "*",
)  # fmt: skip

_LOOK: Final = (
    "RUN mkdir -p /w; find / $(ls -d /m) -xdev -type f ! -path '/etc/*' ! -path '/bin/*' "
    "| sort | xargs md5sum | md5sum >> /w/sum"
)


def generate(chance: random.Random) -> Project:
    """Return a project; the builder may well refuse it."""
    files = tuple(path for path in _PATHS if chance.random() < 0.8)
    lines = ["ARG G=src"] if chance.random() < 0.3 else []
    count = chance.choice((1, 1, 2, 3))
    for stage in range(count):
        base = chance.choice(("scratch", "scratch", "scratch", "busybox", *(f"s{each}" for each in range(stage))))
        lines.append(f"FROM {base} AS s{stage}")
        instructions = [_instruction(chance, stage) for _ in range(chance.randint(1, 5))]
        # What runs leaves a trace of all that it can see, and the image takes the trace: else the builder would find
        # out that the run changed nothing.
        lines += [*instructions, _LOOK] if base == "busybox" else [each for each in instructions if "RUN" not in each]
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
        source = chance.choice(("/", "/", "/w", "/w/", "/w/*", "/w/../w/."))
        return f"COPY --from={chance.choice((f's{stage - 1}', '0'))} {source} {destination}"
    if kind < 0.55:
        return chance.choice(
            (
                _LOOK,
                _LOOK.replace("RUN", "RUN --mount=source=src,target=/m"),
                _LOOK.replace("RUN", "RUN --mount=target=/m"),
            )
        )
    if kind < 0.6:
        return f"ONBUILD COPY {chance.choice(_SOURCES)} {destination}"
    verb = chance.choice(("COPY", "COPY", "COPY", "COPY --link", "ADD"))
    return f"{verb} {' '.join(chance.sample(_SOURCES, chance.choice((1, 1, 2))))} {destination}"


_NAMES: Final = ("a", "b", "ab", "a.b", ".a", "a*", "#a", " a")
_PARTS: Final = (*_NAMES, "*", "**", "a*", "*b", "?", "[ab]", "[^a]", "[a-b]?", ".", "..", "a\\*", "*.*", "**b", "a**")


def generate_ignored(chance: random.Random) -> Project:
    """Return a project that copies everything, less what random rules leave out."""
    files = {"/".join(chance.choices(_NAMES, k=chance.choice((1, 2, 2, 3, 4)))) for _ in range(40)}
    folders = {parent for path in files for parent in _parents(path)}
    rules = []
    for _ in range(chance.randint(1, 6)):
        pattern = "/".join(chance.choices(_PARTS, k=chance.choice((1, 1, 2, 3))))
        rules.append(chance.choice(("", "", "!", "! ", "/", " ")) + pattern + chance.choice(("", "", "/", " ", "\r")))
    return Project(
        dockerfile="FROM scratch\nCOPY . /\n",
        files=tuple(sorted(files - folders)),
        ignore=chance.choice(("", "\ufeff")) + "\n".join(rules) + "\n",
    )


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts))}
