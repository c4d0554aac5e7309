"""Projects made at random, from a seed: every instruction and form that says what a build reads and where it lands."""

import io
import random
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from devloop.core.patterns import IgnoreRules
from devloop.errors import InputErrors
from tests.conformance.project import Project

_FILES: Final = (
    "a.txt", "b.txt", "c.md", ".rc", "src/a.txt", "src/b.py", "src/lib/a.txt", "src/lib/deep/z.py", "src/.rc", "src/.d/e",
    "lib/a.txt", "lib/x/y.txt", "lib/x/a.txt", "docs/a.md", "A.txt", "w/a.txt", "with space.txt", "docs/a[1].md", "$x/d.txt",
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
_TOP: Final = ("/", "/w/", "/w", ".", "./", "x", "x/", "../y/", "/w/deep/er", "/w/deep/er/", "/w/a.txt", "/w/.", "..", "/w//v/")
# What runs gives another result each time, so that it shows whether the builder runs it again.
_LOOK: Final = "RUN mkdir -p /sums && cat /proc/sys/kernel/random/uuid >> /sums/sum"


def generate(chance: random.Random) -> Project:
    """Return a project; the builder may well refuse it."""
    return _Maker(chance).project()


@dataclass(slots=True)
class _Stage:
    """A stage that was written.

    Attributes:
        name: What others call it.
        traced: Whether /sums holds a trace of what ran in it, which has to be handed on: else the builder would find
            out that a run changed nothing.
        places: Where it has copied to.
    """

    name: str
    traced: bool
    places: list[str] = field(default_factory=list)


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.running = chance.random() < 0.12
        self.files = [path for path in _FILES if chance.random() < 0.75] or ["a.txt"]
        self.folders = [path for path in _FOLDERS if chance.random() < 0.4]
        self.links = self._links() if chance.random() < 0.35 else {}
        self.archives: dict[str, bytes] = {}
        self.changed: dict[str, bytes] = {}
        if chance.random() < 0.2:
            self._archives()
        self.stages: list[_Stage] = []
        self.arguments: list[str] = []
        self.args: dict[str, str] = {}
        self.escape = "`" if chance.random() < 0.07 else "\\"
        self.numbers = iter(range(10_000))
        self.named: set[str] = set()

    def _links(self) -> dict[str, str]:
        names = self.chance.sample(sorted(_LINKS), self.chance.randint(1, 3))
        if self.chance.random() < 0.7:
            names = [name for name in names if name not in _BROKEN]
        return {name: _LINKS[name][0] for name in names}

    def _archives(self) -> None:
        for name in self.chance.sample(("pack.tar", "pack.tgz", "hidden.bin", "src/in.tar", "p.txt", "p.bz2"), 2):
            kind = self.chance.choice(("w", "w:gz", "w:bz2", "w:xz"))
            self.archives[name] = _archive(kind, name, b"packed")
            self.changed[name] = _archive(kind, name, b"packed otherwise")
        if self.chance.random() < 0.5:
            self.archives["plain.tar"] = b"plain.tar"

    def project(self) -> Project:
        count = self.chance.choice((1, 1, 2, 2, 3, 4))
        blocks = [self._stage(number) for number in range(count)]
        head = ["# escape=`"] if self.escape == "`" else []
        head += self.arguments
        lines = [self._laid_out(line) for line in (*head, *(line for block in blocks for line in block))]
        text = "\n".join(lines) + "\n"
        heredocs = "<<" in text
        if self.chance.random() < 0.1 and not heredocs:
            text = text.replace("\n", "\r\n")
        if self.chance.random() < 0.05:
            text = "\ufeff" + text
        at = "Dockerfile" if self.chance.random() < 0.85 else self.chance.choice(("docker/api.Dockerfile", "api.Dockerfile"))
        target = None
        if self.chance.random() < 0.2:
            target = self._cased(self.chance.choice(self.stages).name)
        return Project(
            dockerfile=text,
            at=at,
            files=tuple(dict.fromkeys((*self.files, *self.archives))),
            contents=self.archives,
            changed=self.changed,
            folders=tuple(self.folders),
            links=self.links,
            relinked={name: _LINKS[name][1] for name in self.links},
            ignores=self._ignores(at),
            target=target,
            args=self.args,
            absent=("new.txt", "src/new.py", "lib/x/new.txt"),
        )

    # --- stages and instructions ------------------------------------------------------------------------------------

    def _stage(self, number: int) -> list[str]:
        chance = self.chance
        base, inherited = "scratch", False
        earlier = [stage for stage in self.stages]
        if self.running and chance.random() < 0.5:
            base, inherited = "busybox", True
        elif earlier and chance.random() < 0.35:
            parent = chance.choice(earlier)
            base, inherited = self._cased(parent.name) if chance.random() < 0.03 else parent.name.lower(), parent.traced
        stage = _Stage(f"s{number}" if chance.random() < 0.8 else f"Stage_{number}.x", inherited)
        written = base
        if base == "scratch" and chance.random() < 0.15:
            written = self._global(base)
        flags = chance.choice(("", "", "", "", "--platform=linux/amd64 ", "--platform=$TARGETPLATFORM "))
        lines = [f"{self._keyword('FROM')} {flags}{written} {chance.choice(('AS', 'as', 'As'))} {stage.name}"]
        own = self._on_busybox(base)
        for _ in range(chance.randint(1, 6)):
            lines += self._instruction(stage, runs=own)
        if own:
            lines.append(_LOOK)
        self.stages.append(stage)
        return lines

    def _on_busybox(self, base: str) -> bool:
        return base == "busybox"

    def _instruction(self, stage: _Stage, *, runs: bool) -> list[str]:
        kind = self.chance.random()
        if kind < 0.10:
            return self._variables()
        if kind < 0.22:
            place = self.chance.choice(("/w", "x", "/w/lib", "..", "/w/deep/er", "/x/y", ".", "y/z"))
            return self._with(f"{self._keyword('WORKDIR')} {{}}", place)
        if kind < 0.26:
            user = "USER 1:1" if not self.running else "MAINTAINER me"
            more = ("LABEL a=b c='d e'", 'CMD ["x", "y"]', "EXPOSE 80", "ENTRYPOINT run", "STOPSIGNAL 9", "VOLUME /vol")
            return [self.chance.choice((user, *more))]
        if kind < 0.30:
            return [f"ONBUILD {line}" if number == 0 else line for number, line in enumerate(self._trigger(stage))]
        if kind < 0.50 and self.stages:
            return self._copy_from(stage)
        if kind < 0.62 and runs:
            return [self._run()]
        if kind < 0.68:
            return self._documents(stage)
        return self._copy(stage)

    def _trigger(self, stage: _Stage) -> list[str]:
        *before, last = self._copy(stage)
        return [last] if not before else ["WORKDIR /o"]

    def _variables(self) -> list[str]:
        first, second = f"V{next(self.numbers)}", f"V{next(self.numbers)}"
        value = self.chance.choice(("src", "a.txt", "lib", "/w", "x"))
        return [
            self.chance.choice(
                (
                    f"ENV {first}={value} {second}=${{{first}:-lib}}",
                    f"ENV {first} {value}",
                    f"ARG {first}={value} {second}",
                    f"ARG {first}\nENV {second}=${first}",
                    f"ENV S={value}",
                    f"ARG S={value}",
                    f"ARG D={value} S",
                )
            )
        ]

    def _copy(self, stage: _Stage) -> list[str]:
        chance = self.chance
        verb = chance.choice(("COPY", "COPY", "COPY", "ADD")) if not self.archives else chance.choice(("COPY", "ADD"))
        flags = chance.choice(("", "", "", "", "--link ", "--chown=1:1 ", "--chmod=640 ", "--link --chmod=700 "))
        sources = [self._source() for _ in range(chance.choice((1, 1, 1, 2, 3)))]
        place = self._place(stage, several=len(sources) > 1)
        if chance.random() < 0.15 or any(" " in source for source in sources):
            words = ", ".join(f'"{word}"' for word in (*(self._literal(source, quoted=False) for source in sources), place))
            return [f"{self._keyword(verb)} {flags}[{words}]"]
        return self._with(f"{self._keyword(verb)} {flags}" + " ".join("{}" for _ in (*sources, place)), *sources, place)

    def _copy_from(self, stage: _Stage) -> list[str]:
        origin = self.chance.choice(self.stages)
        number = self.stages.index(origin)
        name = self.chance.choice((self._cased(origin.name), str(number)))
        known = [place.rstrip("/") + self.chance.choice(("", "/", "/*", "*")) for place in origin.places if place.startswith("/")]
        # What an archive holds is not known to devloop; so that it can be exact, stages with one are taken as a whole.
        path = self.chance.choice(("/", "/*", "/w*", "/w*/*", "/*.txt", "w*/a*", *known, *known)) if not self.archives else "/"
        place = self._place(stage, several="*" in path)
        flags = self.chance.choice(("", "", "", "--link ", "--chmod=755 "))
        lines = [f"{self._keyword('COPY')} {flags}--from={name} {path} {place}"]
        if origin.traced:
            stage.traced = True
            lines.append(f"COPY --from={name} /sums /sums/{name}/")
        return lines

    def _documents(self, stage: _Stage) -> list[str]:
        self.named.add("a.txt")
        place = self._place(stage, several=True)
        return self.chance.choice(
            (
                [f"COPY <<EOF {place}", "COPY . /everything", "# no comment", "EOF"],
                [f"COPY <<-'one' <<two a.txt {place}" if "a.txt" in self.files else f"COPY <<-'one' <<two {place}",
                 "\tCOPY $S /", "\tone", "ADD lib /x", "two"],
                [f'ADD <<"EOF" {place}', "FROM busybox", "EOF"],
            )
        )  # fmt: skip

    def _run(self) -> str:
        mounts = ["--mount=target=/m", "--mount=type=tmpfs,target=/t", "--mount=type=cache,target=/c"]
        folders = {path.rpartition("/")[0] for path in self.files} - {"", "$x"}
        mounts += [f"--mount=type=bind,source={folder},target=/m" for folder in sorted(folders)]
        mounts += [f"--mount=from={stage.name},target=/m" for stage in self.stages]
        chosen = self.chance.choice(("", *mounts))
        self.named |= {folder for folder in folders if f"source={folder}," in chosen}
        return _LOOK.replace("RUN", f"RUN {chosen}".rstrip())

    # --- words ------------------------------------------------------------------------------------------------------

    def _source(self) -> str:
        """Return a source as it is after expansion: a path or a pattern, spelled in one of many ways."""
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
            parts[at] = self._pattern(parts[at])
        else:
            parts = [_escaped(part) if chance.random() < 0.97 else part for part in parts]
        path = "/".join(parts)
        return chance.choice(("", "", "", "", "./", "/", "../", "src/../" if "src/a.txt" in self.files else "")) + path + chance.choice(
            ("", "", "", "/" if parts[-1] in {"src", "lib", "docs", "empty"} else "")
        )

    def _pattern(self, name: str) -> str:
        place = self.chance.randrange(len(name))
        character = name[place]
        if character in "[]$ ":
            return "*"
        return self.chance.choice(
            (
                "*",
                name[:place] + "*",
                "*" + name[place:],
                name[:place] + "?" + name[place + 1 :],
                f"{name[:place]}[{character}]{name[place + 1 :]}",
                f"{name[:place]}[!-~]{name[place + 1 :]}",
                f"{name[:place]}[^~]{name[place + 1 :]}",
                name[:place] + "*" + name[place + 1 :] + "*",
            )
        )

    def _place(self, stage: _Stage, *, several: bool) -> str:
        place = self.chance.choice((*_TOP, *stage.places))
        if several and not place.endswith("/") and self.chance.random() < 0.9:
            place += "/"
        stage.places.append(place)
        return place

    def _with(self, form: str, *texts: str) -> list[str]:
        """Return an instruction with these words in it, after the lines that define the variables it uses."""
        before: list[str] = []
        words = [self._spelled(text, before) for text in texts]
        return [*before, form.format(*words)]

    def _spelled(self, text: str, before: list[str]) -> str:
        chance = self.chance
        plain = self._literal(text, quoted=True)
        if chance.random() < 0.6 or any(each in text for each in "$ \\") or self.escape in text:
            return plain
        name = f"V{next(self.numbers)}"
        set_by = chance.choice(("ENV", "ENV", "ARG"))
        half = chance.randrange(len(text) + 1)
        start, end = text[:half], text[half:]
        forms: Sequence[Callable[[], tuple[str | None, str]]] = (
            lambda: (text, f"${name}"),
            lambda: (text, f"${{{name}}}"),
            lambda: (start, f"${{{name}}}{end}"),
            lambda: (end, f"{start}$" + name),
            lambda: (None, f"${{{name}:-{text}}}"),
            lambda: (None, f"${{{name}-{text}}}"),
            lambda: ("", f"${{{name}:-{text}}}"),
            lambda: ("", f"{text}${{{name}-no}}"),
            lambda: ("x", f"${{{name}:+{text}}}"),
            lambda: ("", f"${{{name}+{text}}}"),
            lambda: ("", f"{text}${{{name}:+no}}"),
            lambda: (text, f"${{{name}:?must}}"),
            lambda: (f"no-no-{text}", f"${{{name}##no-}}" if text.startswith("no-") else f"${{{name}#no-no-}}"),
            lambda: (f"x=1=,{text}", f"${{{name}#*,}}"),
            lambda: (f"{text},1,2", f"${{{name}%%,*}}"),
            lambda: (f"{text}.bak", f"${{{name}%.bak}}"),
            lambda: (f"{start}@@{end}", f"${{{name}/@@/}}"),
            lambda: (f"@{start}@{end}@", f"${{{name}//@/}}"),
            lambda: (start, f'"${{{name}}}{end}"'),
            lambda: (start, f"\"${{{name}}}\"'{end}'"),
            lambda: (None, f"${{{name}:-${{{name}:-{text}}}}}"),
            lambda: (text, f"${{NOTHING:-${name}}}"),
        )
        value, written = chance.choice(forms)()
        if value is None:
            return written
        if value == "":
            before.append(f"{set_by} {name}=")
        elif set_by == "ARG" and chance.random() < 0.4 and value:
            before.append(f"ARG {name}" if chance.random() < 0.5 else f"ARG {name}=other")
            if chance.random() < 0.5:
                self.args[name] = value
            else:
                self.arguments.append(f'ARG {name}="{value}"')
                before[-1] = f"ARG {name}"
        else:
            before.append(f"{set_by} {name}={chance.choice((chr(34), chr(39)))}{value}".rstrip("'\"") if False else f'{set_by} {name}="{value}"')
        return written

    def _literal(self, text: str, *, quoted: bool) -> str:
        """Return the text as a word that expands to it."""
        if not quoted:
            return text.replace("\\", "\\\\").replace("$", "\\\\$" if self.escape == "\\" else "`$")
        text = text.replace("\\", self.escape + "\\" if self.escape == "\\" else "\\")
        text = text.replace("$", f"{self.escape}$")
        return f'"{text}"' if " " in text else text

    def _global(self, value: str) -> str:
        name = f"G{next(self.numbers)}"
        if self.chance.random() < 0.5:
            self.arguments.append(f"ARG {name}={value}")
            return f"${{{name}}}"
        self.arguments.append(f"ARG {name}")
        return f"${{{name}:-{value}}}"

    # --- layout -----------------------------------------------------------------------------------------------------

    def _keyword(self, word: str) -> str:
        return word if self.chance.random() < 0.9 else self.chance.choice((word.lower(), word.capitalize()))

    def _cased(self, name: str) -> str:
        return self.chance.choice((name, name, name.upper(), name.lower()))

    def _laid_out(self, line: str) -> str:
        if self.chance.random() > 0.12 or line.startswith(("#", "FROM busybox", "COPY $S")) or "\n" in line or "<<" in line or "'" in line or '"' in line:
            return line
        spaces = [at for at, each in enumerate(line) if each == " " and line[:at].strip() and at]
        if not spaces:
            return line
        at = self.chance.choice(spaces)
        comment = self.chance.choice(("", "# COPY . /never", "   # ADD x\n\n", "\n"))
        middle = f" {self.escape}\n" + (f"{comment}\n" if comment else "")
        return f"{line[:at]}{middle} {line[at + 1 :]}"

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
            parts[at] = chance.choice((parts[at], parts[at], "*", "**", self._pattern(parts[at])))
            rule = chance.choice(("", "", "", "!", "!", "/", "**/", "# ", " ", "./")) + "/".join(parts)
            rules.append(rule + chance.choice(("", "", "", "/", "/**", " ", "/*")))
            if chance.random() < 0.3:
                rules.append("!" + path)
        end = chance.choice(("\n", "\n", "\r\n"))
        return chance.choice(("", "", "\ufeff")) + end.join(rules) + chance.choice(("", end))


def _archive(kind: str, name: str, content: bytes) -> bytes:
    held = io.BytesIO()
    stem = name.replace("/", "-")
    with tarfile.open(fileobj=held, mode=kind) as tar:
        for packed in (f"{stem}-packed", f"inner/{stem}-packed"):
            member = tarfile.TarInfo(packed)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return held.getvalue()


def _escaped(name: str) -> str:
    return name.replace("[", "[[]")


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
