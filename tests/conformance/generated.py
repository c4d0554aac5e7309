"""Projects made at random, from a seed: every instruction and form that says what a build reads and where it lands."""

import io
import random
import tarfile
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.patterns import IgnoreRules
from devloop.errors import InputErrors
from tests.conformance.project import Project
from tests.conformance.words import Scope, Speller

__all__ = ["generate", "generate_ignored", "packed"]

_FILES: Final = (
    "a.txt", "b.txt", "c.md", ".rc", "src/a.txt", "src/b.py", "src/lib/a.txt", "src/lib/deep/z.py", "src/.rc",
    "src/.d/e", "lib/a.txt", "lib/x/y.txt", "lib/x/a.txt", "docs/a.md", "A.txt", "w/a.txt", "with space.txt",
    "docs/a[1].md", "$x/d.txt",
)  # fmt: skip
_FOLDERS: Final = ("empty", "src/none", "lib/x/e")
_LINKS: Final = {
    "l": ("src", "lib"),
    "lf": ("a.txt", "b.txt"),
    "l2": ("l", "docs"),
    "src/up": ("../a.txt", "../b.txt"),
    "src/over": ("../lib", "../docs"),
    "abs": ("/src/lib", "/lib/x"),
    "out": ("../../src", "../lib"),
    "dangling": ("nowhere", "elsewhere"),
    "lib/self": ("self", "other"),
    "docs/lib": ("../lib/x", "../src/lib"),
}
_BROKEN: Final = ("dangling", "lib/self", "out")
_ARCHIVES: Final = ("pack.tar", "pack.tgz", "hidden.bin", "src/in.tar", "p.txt", "p.bz2")
_PLACES: Final = (
    "/", "/w/", "/w", ".", "./", "x", "x/", "../y/", "/w/deep/er", "/w/deep/er/", "/w/a.txt", "/w/.", "..", "/w//v/",
)  # fmt: skip
_WORKDIRS: Final = ("/w", "x", "/w/lib", "..", "/w/deep/er", "/x/y", ".", "y/z", "/w/./..//w")
_HARMLESS: Final = (
    "LABEL a=b c='d e'", 'CMD ["x", "y"]', "EXPOSE 80", "ENTRYPOINT run", "STOPSIGNAL 9", "VOLUME /vol",
    "HEALTHCHECK NONE", 'SHELL ["/bin/sh", "-c"]', "MAINTAINER me",
)  # fmt: skip
_INDENTED_HEREDOC: Final = ("\tCOPY $S /", "\tone", "ADD lib /x", "two")
# What runs gives another result each time, so that it shows whether the builder runs it again.
_RUN: Final = "mkdir -p /sums && cat /proc/sys/kernel/random/uuid >> /sums/sum"


def generate(chance: random.Random) -> Project:
    """Return a project; the builder may well refuse it."""
    return _Maker(chance).project()


@dataclass(slots=True, kw_only=True)
class _Stage:
    """A stage that was written.

    Attributes:
        name: What others call it.
        runs: Whether it starts from an image that has a shell.
        traced: Whether /sums holds a trace of what ran in it, which has to be handed on: else nothing would show
            whether it ran again.
        scope: Its variables.
        places: Where it copied to.
    """

    name: str
    runs: bool
    traced: bool
    scope: Scope
    places: list[str] = field(default_factory=list)


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.runs = chance.random() < 0.12
        self.files = [path for path in _FILES if chance.random() < 0.75] or ["a.txt"]
        self.folders = [path for path in _FOLDERS if chance.random() < 0.4]
        self.links = self._links() if chance.random() < 0.35 else []
        self.archives = self._archives() if chance.random() < 0.2 else {}
        self.stages: list[_Stage] = []
        self.speller = Speller(chance, "`" if chance.random() < 0.07 else "\\")
        self.named: set[str] = set()

    def _links(self) -> list[str]:
        names = self.chance.sample(sorted(_LINKS), self.chance.randint(1, 3))
        return [name for name in names if name not in _BROKEN or self.chance.random() < 0.3]

    def _archives(self) -> dict[str, str]:
        """Return archives with the way they are packed; the empty way is no archive, whatever its name says."""
        ways = ("w:", "w:gz", "w:bz2", "w:xz")
        found = {name: self.chance.choice(ways) for name in self.chance.sample(_ARCHIVES, 2)}
        return found | ({"plain.tar": ""} if self.chance.random() < 0.5 else {})

    def project(self) -> Project:
        blocks = [self._stage(number) for number in range(self.chance.choice((1, 1, 2, 2, 3, 4)))]
        head = ["# escape=`"] if self.speller.escape == "`" else []
        lines = [*head, *self.speller.arguments, *(line for block in blocks for line in block)]
        at = self._one_of("Dockerfile", 6, "docker/api.Dockerfile", 1, "api.Dockerfile", 1)
        return Project(
            dockerfile=self._text(lines),
            at=at,
            files=tuple(dict.fromkeys((*self.files, *self.archives))),
            contents={name: packed(way, name) for name, way in self.archives.items()},
            changed={name: packed(way, name, b"otherwise") for name, way in self.archives.items()},
            folders=tuple(self.folders),
            links={name: _LINKS[name][0] for name in self.links},
            relinked={name: _LINKS[name][1] for name in self.links},
            ignores=self._ignores(at),
            target=self._cased(self.chance.choice(self.stages).name) if self.chance.random() < 0.2 else None,
            args=self.speller.given,
            absent=("new.txt", "src/new.py", "lib/x/new.txt"),
        )

    def _one_of(self, *weighted: Any) -> str:
        return str(self.chance.choices(weighted[::2], weighted[1::2])[0])

    # --- stages and instructions ------------------------------------------------------------------------------------

    def _stage(self, number: int) -> list[str]:
        chance = self.chance
        name = f"s{number}" if chance.random() < 0.8 else f"Stage_{number}.x"
        base, parent = "scratch", None
        if self.runs and chance.random() < 0.5:
            base = "busybox"
        elif self.stages and chance.random() < 0.35:
            parent = chance.choice(self.stages)
            base = self._cased(parent.name) if chance.random() < 0.03 else parent.name.lower()
        elif chance.random() < 0.15:
            base = self._global(base)
        unseen = {each: value for stage in self.stages for each, value in stage.scope.seen.items()}
        scope = Scope(seen=dict(parent.scope.seen) if parent else {}, unseen=unseen)
        runs = base == "busybox" or (parent is not None and parent.runs)
        stage = _Stage(name=name, runs=runs, traced=runs or (parent is not None and parent.traced), scope=scope)
        platform = self._one_of("", 4, "--platform=linux/amd64 ", 1, "--platform=$TARGETPLATFORM ", 1)
        lines = [f"{self._keyword('FROM')} {platform}{base} {chance.choice(('AS', 'as', 'As'))} {name}"]
        for _ in range(chance.randint(1, 6)):
            lines += self._instruction(stage)
        self.stages.append(stage)
        return [*lines, f"RUN {_RUN}"] if base == "busybox" else lines

    def _instruction(self, stage: _Stage) -> list[str]:
        kind = self.chance.random()
        if kind < 0.10:
            return self._variables(stage)
        if kind < 0.22:
            return self._with(stage, self._keyword("WORKDIR"), [self.chance.choice(_WORKDIRS)])
        if kind < 0.26:
            return [self.chance.choice(_HARMLESS if self.runs else (*_HARMLESS, "USER 1:1"))]
        if kind < 0.30:
            return self._trigger(stage)
        if kind < 0.50 and self.stages:
            return self._copy_from(stage)
        if kind < 0.62 and stage.runs:
            return [f"RUN {self._mount()}{_RUN}"]
        return self._documents(stage) if kind < 0.68 else self._copy(stage)

    def _trigger(self, stage: _Stage) -> list[str]:
        lines = self._copy(stage)
        return [f"ONBUILD {lines[0]}"] if len(lines) == 1 else ["ONBUILD ENV S=lib", "ONBUILD WORKDIR /o"]

    def _variables(self, stage: _Stage) -> list[str]:
        first, second = self.speller.name(), self.speller.name()
        value = self.chance.choice(("src", "a.txt", "lib", "/w", "x"))
        stage.scope.seen[first] = value
        return self.chance.choice(
            (
                [f"ENV {first}={value} {second}=${{{first}:-lib}}"],
                [f"ENV {first} {value}"],
                [f"ARG {first}={value} {second}"],
                [f"ARG TARGETARCH {first}={value}", f"COPY . /w/$TARGETARCH/${first}/"],
                [f"ENV {first}={value}", f"COPY . /w/$TARGETOS$HTTP_PROXY/${first}/"],
            )
        )

    def _copy(self, stage: _Stage) -> list[str]:
        chance = self.chance
        verb = self._one_of("COPY", 3 if not self.archives else 1, "ADD", 1)
        flags = self._one_of("", 4, " --link", 1, " --chown=1:1", 1, " --chmod=640", 1, " --link --chmod=700", 1)
        sources = [self._source() for _ in range(chance.choice((1, 1, 1, 2, 3)))]
        place = self._place(stage, several=len(sources) > 1)
        if chance.random() < 0.15 or any(" " in source for source in sources):
            words = ", ".join(f'"{self.speller.in_array(word)}"' for word in (*sources, place))
            return [f"{self._keyword(verb)}{flags} [{words}]"]
        return self._with(stage, f"{self._keyword(verb)}{flags}", [*sources, place])

    def _copy_from(self, stage: _Stage) -> list[str]:
        chance = self.chance
        origin = chance.choice(self.stages)
        name = chance.choice((self._cased(origin.name), str(self.stages.index(origin))))
        ends = ("", "/", "/*", "*")
        known = [place.rstrip("/") + chance.choice(ends) for place in origin.places if place.startswith("/")]
        path = chance.choice(("/", "/*", "/w*", "/w*/*", "/*.txt", "w*/a*", *known, *known))
        # What an archive holds is not known to devloop; so that it can be exact, stages with one are taken as a whole.
        path = path if path and not self.archives else "/"
        flags = self._one_of("", 3, "--link ", 1, "--chmod=755 ", 1)
        lines = [f"{self._keyword('COPY')} {flags}--from={name} {path} {self._place(stage, several='*' in path)}"]
        if not origin.traced:
            return lines
        stage.traced = True
        return [*lines, f"COPY --from={name} /sums /sums/{name}/"]

    def _documents(self, stage: _Stage) -> list[str]:
        place = self._place(stage, several=True)
        beside = "a.txt " if "a.txt" in self.files and self.chance.random() < 0.5 else ""
        self.named |= {"a.txt"} if beside else set()
        return self.chance.choice(
            (
                [f"COPY <<EOF {place}", "COPY . /everything", "# no comment", "EOF"],
                [f"COPY <<-'one' <<two {beside}{place}", *_INDENTED_HEREDOC],
                [f'ADD <<"EOF" {place}', "FROM busybox", "EOF"],
            )
        )

    def _mount(self) -> str:
        folders = sorted({path.rpartition("/")[0] for path in self.files} - {"", "$x"})
        chosen = self.chance.choice(
            (
                "", "--mount=target=/m ", "--mount=type=tmpfs,target=/t ", "--mount=type=cache,target=/c ",
                *(f"--mount=type=bind,source={folder},target=/m " for folder in folders),
                *(f"--mount=from={stage.name},target=/m " for stage in self.stages),
            )
        )  # fmt: skip
        self.named |= {folder for folder in folders if f"source={folder}," in chosen}
        return chosen

    # --- sources and destinations -----------------------------------------------------------------------------------

    def _source(self) -> str:
        """Return a source: what is there, or a pattern that finds it."""
        chance = self.chance
        links = [link for link in self.links if link not in _BROKEN or chance.random() < 0.1]
        path = chance.choice([*self.files, *self.folders, *links, *self.archives, *links, *self.archives])
        self.named.add(path)
        parts = path.split("/")
        if path in self.links and chance.random() < 0.3:
            parts.append(chance.choice(("a.txt", "*", "lib", "a*")))
        if len(parts) > 1 and chance.random() < 0.5:
            parts = parts[: chance.randint(1, len(parts) - 1)]
        if chance.random() < 0.08:
            return chance.choice((".", "./", "/", "*", "*/*", "..", "src/.."))
        if chance.random() < 0.35:
            at = chance.randrange(len(parts))
            parts[at] = _pattern(chance, parts[at])
        else:
            parts = [part.replace("[", "[[]") for part in parts]
        around = "src/../" if "src/a.txt" in self.files else ""
        start = self._one_of("", 4, "./", 1, "/", 1, "../", 1, around, 1)
        end = "/" if parts[-1] in {"src", "lib", "docs", "empty"} and chance.random() < 0.25 else ""
        return start + "/".join(parts) + end

    def _place(self, stage: _Stage, *, several: bool) -> str:
        place = self.chance.choice((*_PLACES, *stage.places))
        if several and not place.endswith("/") and self.chance.random() < 0.9:
            place += "/"
        stage.places.append(place)
        return place

    def _with(self, stage: _Stage, start: str, texts: list[str]) -> list[str]:
        """Return an instruction with these words, after the lines that define the variables in them."""
        lines, words = [], []
        for text in texts:
            before, word = self.speller.spelled(text, stage.scope)
            lines += before
            words.append(word)
        return [*lines, " ".join((start, *words))]

    def _global(self, value: str) -> str:
        name = self.speller.name()
        if self.chance.random() < 0.5:
            self.speller.arguments.append(f"ARG {name}={value}")
            return f"${{{name}}}"
        self.speller.arguments.append(f"ARG {name}")
        return f"${{{name}:-{value}}}"

    # --- layout -----------------------------------------------------------------------------------------------------

    def _text(self, lines: list[str]) -> str:
        text = "\n".join(map(self._laid_out, lines)) + "\n"
        if self.chance.random() < 0.1 and "<<" not in text:
            text = text.replace("\n", "\r\n")
        return "\ufeff" + text if self.chance.random() < 0.05 else text

    def _keyword(self, word: str) -> str:
        return word if self.chance.random() < 0.9 else self.chance.choice((word.lower(), word.capitalize()))

    def _cased(self, name: str) -> str:
        return self.chance.choice((name, name, name.upper(), name.lower()))

    def _laid_out(self, line: str) -> str:
        """Return the line, perhaps continued over several with comments and empty ones between."""
        special = line.startswith(("#", "FROM busybox", "COPY $S", "COPY . /every", *_INDENTED_HEREDOC))
        if self.chance.random() > 0.12 or special or " " not in line or "<<" in line or "'" in line or '"' in line:
            return line
        spaces = [at for at, each in enumerate(line) if each == " " and line[:at].strip()]
        at = self.chance.choice(spaces)
        between = self.chance.choice(("", "# COPY . /never\n", "   # ADD x\n\n", "\n\n"))
        return f"{line[:at]} {self.speller.escape}\n{between} {line[at + 1 :]}"

    # --- .dockerignore ----------------------------------------------------------------------------------------------

    def _ignores(self, at: str) -> dict[str, str]:
        found = {}
        if self.chance.random() < 0.45:
            found[".dockerignore"] = self._rules()
        if self.chance.random() < (0.5 if at != "Dockerfile" else 0.08):
            found[f"{at}.dockerignore"] = self._rules()
        return found

    def _rules(self) -> str:
        # What is named and ignored makes the builder refuse the project, which tells little if it is done often.
        tries = [self._some_rules() for _ in range(10)]
        return next((each for each in tries[:-1] if self._lets_pass(each)), tries[-1])

    def _lets_pass(self, text: str) -> bool:
        try:
            return not any(map(IgnoreRules.parse(text).excludes, self.named))
        except InputErrors:
            return False

    def _some_rules(self) -> str:
        chance = self.chance
        rules = []
        for _ in range(chance.randint(1, 4)):
            path = chance.choice((*self.files, *self.links, *self.folders, *self.archives))
            parts = path.split("/")
            if chance.random() < 0.5:
                parts = parts[: chance.randint(1, len(parts))]
            at = chance.randrange(len(parts))
            parts[at] = chance.choice((parts[at], parts[at], "*", "**", _pattern(chance, parts[at])))
            rule = chance.choice(("", "", "", "!", "!", "/", "**/", "# ", " ", "./")) + "/".join(parts)
            rules.append(rule + chance.choice(("", "", "", "/", "/**", " ", "/*")))
            if chance.random() < 0.3:
                rules.append("!" + path)
        end = chance.choice(("\n", "\n", "\r\n"))
        return chance.choice(("", "", "\ufeff")) + end.join(rules) + chance.choice(("", end))


def _pattern(chance: random.Random, name: str) -> str:
    """Return a pattern that finds the name."""
    place = chance.randrange(len(name))
    before, character, after = name[:place], name[place], name[place + 1 :]
    if character in "[]$ ":
        return "*"
    middles = ("?", f"[{character}]", "[!-~]", "[^~]", f"[a-z{character}]")
    return chance.choice(
        ("*", f"{before}*", f"*{character}{after}", f"{before}*{after}*", *_within(before, middles, after))
    )


def _within(before: str, middles: tuple[str, ...], after: str) -> list[str]:
    return [before + middle + after for middle in middles]


def packed(way: str, name: str, content: bytes = b"") -> bytes:
    """Return an archive, packed in one of tarfile's ways; without a way something that is none."""
    if not way:
        return name.encode() + content
    held = io.BytesIO()
    packing: Any = tarfile.open
    stem = name.replace("/", "-")
    with packing(fileobj=held, mode=way) as tar:
        for each in (f"{stem}-packed", f"inner/{stem}-packed"):
            member = tarfile.TarInfo(each)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return held.getvalue()


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
        ignores={".dockerignore": chance.choice(("", "\ufeff")) + "\n".join(rules) + "\n"},
    )


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts))}
