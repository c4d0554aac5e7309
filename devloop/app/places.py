"""Which lines of a project's files bring a file into a node: what `devloop graph --inputs` and `devloop why` name."""

from collections.abc import Iterator

from devloop.core.digests import ABSENT
from devloop.core.graph import Graph, ImageDetail, Node
from devloop.core.patterns import IgnoreRule, IgnoreRules
from devloop.core.sync.rules import Source
from devloop.errors import InputError, Where
from devloop.model import ImageSpec, RelPath
from devloop.runtime.observe import Observation
from devloop.runtime.ports import Files
from devloop.runtime.render import in_folder
from devloop.runtime.selection import below, inside

__all__ = ["Places"]


class Places:
    """The lines of a project's definition files.

    Args:
        observation: The project.
        files: Its files.
    """

    def __init__(self, observation: Observation, files: Files) -> None:
        self.graph: Graph = observation.graph
        self._observation = observation
        self._files = files
        self._texts: dict[str, list[str]] = {}

    def line(self, path: str, line: int) -> Where:
        """Return a place with the text of its line."""
        lines = self._lines(path)
        return Where(path=path, line=line, text=lines[line - 1].strip() if 0 < line <= len(lines) else None)

    def at(self, where: Where) -> Where:
        """Return the place with what stands there: in the file itself, not in what was rendered from it."""
        return where if where.line is None else self.line(where.path, where.line)

    def declared(self, node: Node) -> Where:
        """Return where a node's function stands."""
        return self.at(node.declaration.where)

    def text(self, path: str) -> str | None:
        """Return the text of a definition file, or None where there is none."""
        try:
            return self._files.read(RelPath(path))
        except InputError:
            return None

    def _lines(self, path: str) -> list[str]:
        if path not in self._texts:
            self._texts[path] = (self.text(path) or "").splitlines()
        return self._texts[path]

    # --- images

    def ignore_file(self, detail: ImageDetail) -> str | None:
        """Return the `.dockerignore` that holds for an image."""
        read = self._observation.project.read
        for path in (f"{detail.dockerfile}.dockerignore", in_folder(detail.context, ".dockerignore")):
            if read.get(RelPath(path), ABSENT) != ABSENT:
                return path
        return None

    def ignoring(self, detail: ImageDetail, rule: IgnoreRule) -> Where:
        """Return the line of the `.dockerignore` that a rule is."""
        return self.line(self.ignore_file(detail) or ".dockerignore", rule.line)

    def bringing(self, node: Node, path: str) -> tuple[Where, ...]:
        """Return the lines that bring a file into an image, a task or a custom builder; none when it is not read."""
        detail = node.detail
        if isinstance(detail, ImageDetail) and detail.facts is not None:
            return tuple(dict.fromkeys(self._instructions(node, detail, path)))
        patterns = detail.ignore if isinstance(detail, ImageDetail) else getattr(detail, "inputs", None)
        if isinstance(patterns, IgnoreRules) and (rule := patterns.deciding_rule(path)) and not rule.included:
            where = node.declaration.where
            return (Where(path=where.path, line=where.line, text=f'inputs: "{rule.pattern}"'),)
        return ()

    def _instructions(self, node: Node, detail: ImageDetail, path: str) -> Iterator[Where]:
        assert detail.facts is not None
        dockerfile = str(detail.dockerfile)
        if below(path, detail.context):
            inner = inside(path, detail.context)
            if not detail.ignore.excludes(inner):
                for source in detail.facts.selects(inner):
                    text = source.instruction.partition("\n")[0]
                    yield Where(path=dockerfile, line=source.line, text=text)
        spec = node.declaration.spec
        assert isinstance(spec, ImageSpec)
        for name, folder in spec.contexts.items():
            if "://" not in folder and below(path, in_folder(node.declaration.folder, folder)):
                for use in detail.facts.bases:
                    if use.reference.lower() == name.lower():
                        yield self.line(dockerfile, use.line)

    # --- syncs

    def copying(self, source: Source) -> Where:
        """Return where a sync's rule comes from, with what it copies."""
        node = self.graph.nodes[source.node]
        to = f" to {source.destination}" if source.destination else ", to where the Dockerfile copies it"
        what = source.path if source.path is not None else "every file that the final stage copies"
        return Where(
            path=node.declaration.where.path, line=node.declaration.where.line, text=f"{source.node}: {what}{to}"
        )
