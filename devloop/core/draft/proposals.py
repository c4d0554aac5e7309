"""Syncs that are worth proposing: of files in an interpreted language whose place in the image is certain.

What a build makes of its sources, and what dependencies are installed from, is built anew: a wrong sync would be worse
than none.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from devloop.core.dockerfile import BuildFacts, Landing, land
from devloop.core.dockerfile.stages import Copy, Run
from devloop.core.draft.dockerfiles import facts_of
from devloop.core.draft.model import DraftImage, DraftRule, DraftSync
from devloop.core.draft.tree import Tree, joined
from devloop.core.patterns import NO_IGNORE, IgnoreRules
from devloop.errors import InputErrors

__all__ = ["Context", "propose"]

_CODE: Final[Mapping[str, tuple[str, ...]]] = {
    "python": (".py",),
    "ruby": (".rb", ".ru", ".rake"),
    "node": (".js", ".cjs", ".mjs", ".ts", ".tsx", ".jsx"),
    "perl": (".pl", ".pm"),
    "shell": (".sh",),
}
_READ_EACH_TIME: Final = (
    ".css", ".ejs", ".erb", ".haml", ".handlebars", ".hbs", ".htm", ".html", ".j2", ".jinja", ".jinja2", ".liquid",
    ".md", ".mustache", ".php", ".phtml", ".pug", ".scss", ".slim", ".svelte", ".svg", ".tmpl", ".twig", ".vue",
)  # fmt: skip
_DEPENDENCIES: Final = frozenset(
    {
        "Cargo.toml", "Gemfile", "Gemfile.lock", "Pipfile", "Pipfile.lock", "build.gradle", "composer.json",
        "composer.lock", "go.mod", "package-lock.json", "package.json", "pnpm-lock.yaml", "poetry.lock", "pom.xml",
        "pyproject.toml", "setup.cfg", "setup.py", "uv.lock", "yarn.lock",
    }
)  # fmt: skip
_COMPILED: Final = (
    ".c", ".cc", ".cpp", ".cs", ".ex", ".fs", ".go", ".hs", ".java", ".kt", ".rs", ".scala", ".swift", ".zig",
)  # fmt: skip
_BUILDS: Final = re.compile(
    r"\b(?:(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?build|tsc|webpack|rollup|esbuild|vite\s+build|next\s+build|ng\s+build|"
    r"go\s+(?:build|install)|cargo|mvnw?|gradlew?|dotnet|javac|make|cmake|gcc|g\+\+|collectstatic|assets:precompile|"
    r"(?:pip|uv\s+pip)\s+install\s+(?:\S+\s+)*?\.|poetry\s+install(?!\s+--no-root)|setup\.py|hugo|jekyll\s+build)(?:\s|$)"
)
_RELOADS: Final = re.compile(
    r"--reload|--watch|--hot\b|\bnodemon\b|\bnext\s+dev\b|\bvite\b(?!\s+(?:build|preview))|\bwebpack\s+serve|"
    r"react-scripts\s+start|\bng\s+serve|\brunserver\b|\bflask\b.*--debug|ts-node-dev|\btsx\s+watch|\brails\s+s|"
    r"\bwatchmedo\b|\bfastapi\s+dev|\bstreamlit\b|php-fpm|apache2?-foreground|\bhttpd\b|\bnginx\b|\bcaddy\b"
)
_MOST: Final = 6


class Context:
    """What is in an image's build context, and where it goes.

    Args:
        tree: The project's files.
        image: The image.
        facts: What its Dockerfile says.
    """

    def __init__(self, tree: Tree, image: DraftImage, facts: BuildFacts) -> None:
        self.folder = image.context
        ignored = _ignored(tree, image)
        prefix = "" if self.folder == "." else f"{self.folder}/"
        inside = [path.removeprefix(prefix) for path in tree.below(self.folder)]
        self.files = tuple(path for path in inside if not ignored.excludes(path))
        self.landing: Landing = land(facts, self.files)

    def lands(self, path: str) -> bool:
        """Return whether the place of a file (relative to the context) is certain."""
        found = self.landing.of(path)
        return bool(found.paths) and not found.unknown

    def below(self, folder: str) -> list[str]:
        """Return the files in a folder of the context."""
        return [path for path in self.files if not folder or path.startswith(f"{folder}/")]


def _ignored(tree: Tree, image: DraftImage) -> IgnoreRules:
    for path in (f"{image.dockerfile}.dockerignore", joined(image.context, ".dockerignore")):
        if (text := tree.read(path)) is not None:
            try:
                return IgnoreRules.parse(text, path=path)
            except InputErrors:
                return NO_IGNORE
    return NO_IGNORE


def propose(tree: Tree, image: DraftImage, commands: Sequence[str] = ()) -> list[DraftSync]:
    """Return the sync of an image whose sources can be copied into running containers; none for others.

    Args:
        tree: The project's files.
        image: The image.
        commands: What its containers run where a manifest says so.
    """
    facts, problem = facts_of(tree, image)
    if facts is None or problem is not None or image.context.startswith(".."):
        return []
    context = Context(tree, image, facts)
    sources = [each for each in _sources(tree, image, facts, context) if _is_worth_it(each, context)]
    sources = _outermost(sources)[:_MOST]
    if not sources:
        return []
    here = [joined(image.context, each) for each in sources]
    rules = _restarts(tree, image, facts, context, sources, commands)
    if len(here) == 1:
        return [DraftSync(image=image.name, source=here[0], rules=rules)]
    return [DraftSync(image=image.name, rules=(*(DraftRule(name="copy", arguments=(each,)) for each in here), *rules))]


# --- what may be copied ----------------------------------------------------------------------------------------------


def _sources(tree: Tree, image: DraftImage, facts: BuildFacts, context: Context) -> Iterator[str]:
    """Yield the files and folders of the context that the final stage copies and no later `RUN` makes something of."""
    text = (tree.read(image.dockerfile or "") or "").splitlines()
    for index in _final_chain(facts):
        operations = facts.stages[index].operations
        built = max(
            (each.line for each in operations if isinstance(each, Run) and _is_build(text, each.line)), default=0
        )
        for operation in operations:
            if not isinstance(operation, Copy) or not operation.from_context or operation.line < built:
                continue
            for source in operation.sources:
                if source is not None and source.below is None:
                    yield from _parts(posixpath.normpath(source.pattern or "."), context)


def _final_chain(facts: BuildFacts) -> list[int]:
    chain = [facts.final.index]
    while (base := facts.stages[chain[-1]].base) is not None:
        chain.append(base)
    return chain


def _is_build(lines: Sequence[str], line: int) -> bool:
    command = lines[line - 1] if line <= len(lines) else ""
    while command.endswith("\\") and line < len(lines):
        command = command[:-1] + lines[line]
        line += 1
    return _BUILDS.search(command) is not None


def _parts(pattern: str, context: Context) -> Iterator[str]:
    """Yield a source as a whole, or its parts where it holds what dependencies are installed from."""
    if any(mark in pattern for mark in "*?["):
        rules = IgnoreRules.parse(pattern)
        yield from (path for path in context.files if rules.excludes(path) and "/" not in path)
        return
    folder = "" if pattern == "." else pattern
    if folder in context.files:
        yield folder
        return
    below = context.below(folder)
    prefix = f"{folder}/" if folder else ""
    direct = [path for path in below if "/" not in path.removeprefix(prefix)]
    if folder and not any(_is_dependency(path) for path in direct):
        yield folder
        return
    yield from dict.fromkeys(prefix + path.removeprefix(prefix).partition("/")[0] for path in below)


def _is_dependency(path: str) -> bool:
    name = posixpath.basename(path)
    return name in _DEPENDENCIES or bool(re.match(r"requirements.*\.(?:txt|in)\Z", name))


def _is_worth_it(source: str, context: Context) -> bool:
    files = [source] if source in context.files else context.below(source)
    if _is_dependency(source) or any(part.startswith(".") for part in source.split("/")):
        return False
    suffixes = [posixpath.splitext(path)[1] for path in files]
    compiled = sum(suffix in _COMPILED for suffix in suffixes)
    interpreted = sum(suffix in _INTERPRETED for suffix in suffixes)
    if source in context.files and suffixes == [".md"]:
        return False
    return interpreted > 0 and not compiled and all(context.lands(path) for path in files)


_INTERPRETED: Final = frozenset([*_READ_EACH_TIME, *(suffix for suffixes in _CODE.values() for suffix in suffixes)])


def _outermost(sources: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(sources))
    return [each for each in found if not any(other != each and each.startswith(f"{other}/") for other in found)]


# --- whether the program has to start again --------------------------------------------------------------------------


def _restarts(
    tree: Tree,
    image: DraftImage,
    facts: BuildFacts,
    context: Context,
    sources: Sequence[str],
    commands: Sequence[str],
) -> tuple[DraftRule, ...]:
    own = [" ".join((*(facts.entrypoint or ()), *(facts.command or ())))]
    texts = [each for each in (commands or own) if each]
    texts += [script for each in texts for script in _scripts(tree, image.context, each)]
    if any(_RELOADS.search(each) for each in texts):
        return ()
    files = [path for source in sources for path in ([source] if source in context.files else context.below(source))]
    suffixes = {posixpath.splitext(path)[1] for path in files}
    languages = [name for name, own_suffixes in _CODE.items() if suffixes & set(own_suffixes)]
    if "node" in languages and not _runs_node(texts, facts):
        languages.remove("node")  # scripts for browsers
    if "shell" in languages and len(languages) > 1:
        languages.remove("shell")
    wanted = [suffix for name in languages for suffix in _CODE[name] if suffix in suffixes]
    if not wanted:
        return ()
    on: list[str] = []
    for source in sources:
        here = joined(image.context, source)
        if source in context.files:
            on += [here] if posixpath.splitext(source)[1] in wanted else []
            continue
        below = {posixpath.splitext(path)[1] for path in context.below(source)}
        on += [f"{here}/**/*{suffix}" for suffix in wanted if suffix in below]
    return (DraftRule(name="restart", on=tuple(on)),)


def _scripts(tree: Tree, context: str, command: str) -> Iterator[str]:
    """Yield what a command of a package manager runs, by `package.json`."""
    found = re.search(r"\b(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?([\w:.-]+)", command)
    text = tree.read(joined(context, "package.json"))
    if not found or text is None:
        return
    try:
        scripts = json.loads(text).get("scripts", {})
    except (ValueError, AttributeError):
        return
    script = scripts.get(found[1]) if isinstance(scripts, dict) else None
    if isinstance(script, str):
        yield script


def _runs_node(texts: Sequence[str], facts: BuildFacts) -> bool:
    bases = " ".join(use.reference for use in facts.bases)
    return bool(re.search(r"\b(?:node|npm|pnpm|yarn|bun|deno|tsx|ts-node)\b", " ".join([*texts, bases])))
