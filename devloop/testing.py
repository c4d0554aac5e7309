"""Projects in tests: what a devfile declares, what would run after a change, what would be applied. No engine is asked.

```python
from devloop import testing

def test_a_change_of_the_source_is_synced_and_builds_nothing() -> None:
    project = testing.load("devfile.py")
    assert [step.action for step in project.plan(changed=["api/src/app.py"]) if step.action] == ["sync"]
```

Neither Docker nor a cluster nor a kubeconfig is looked at, and of the environment only what the test gives: the same
devfile gives the same answers on every machine. Tests of the running system use `devloop.pytest_plugin`.
"""

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from devloop.adapters.devfile import PythonDevfile
from devloop.adapters.files import DiskFiles
from devloop.adapters.rendering import ToolRenderer
from devloop.adapters.watch import FileWatcher
from devloop.app.options import UP, find_devfile
from devloop.app.planning import Planned, planned
from devloop.core import digests
from devloop.core.engine import situation
from devloop.core.engine.state import Observed, State
from devloop.core.graph import Graph, ImageDetail
from devloop.core.plan import Due, Mode, assume, plan
from devloop.core.trace import Result
from devloop.errors import InputErrors
from devloop.model import Kind, NodeId
from devloop.runtime.definitions import Definitions
from devloop.runtime.discover import Project, discover
from devloop.runtime.observe import Observation, Observer
from devloop.runtime.render import manifests_of, with_images
from devloop.runtime.renderings import Renderings
from devloop.runtime.tools import handles, references

__all__ = ["LoadedProject", "Planned", "load"]

_TAG: Final = "dev"
_NAMESPACE: Final = "default"


def load(
    path: str | os.PathLike[str] = ".",
    *,
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> "LoadedProject":
    """Return a project as its files declare it.

    Args:
        path: The devfile, or its folder.
        settings: Values of settings, as `--set` gives them.
        environment: Environment variables, such as `DEVLOOP_SET_REPLICAS`.

    Raises:
        InputError: There is no devfile.
        InputErrors: All mistakes of the project's files, found together.
    """
    given = {name: str(value) for name, value in (settings or {}).items()}
    devfile = PythonDevfile(find_devfile(Path(path)), given=given, environment=environment)
    files = DiskFiles(devfile.root, Path(os.devnull))  # which cannot be written to: nothing is remembered between tests

    renderings = Renderings(ToolRenderer(devfile.root, None), root=str(devfile.root), namespace=_NAMESPACE)

    def read() -> Project:
        return discover(
            devfile,
            files,
            renderings,
            given=given,
            environment=environment or {},
        )

    observation = Observer(read, files, FileWatcher(devfile.root), renderings).look_now()
    if observation.mistakes:
        raise InputErrors(observation.mistakes)
    return LoadedProject(devfile.root, observation, files, renderings)


class LoadedProject:
    """A project without mistakes, as it was on disk when it was loaded; `load` makes it.

    Attributes:
        root: The project's root.
        project: All that its files declare: `settings`, `forwards`, what `project(…)` said.
        graph: The nodes, in order of dependency.
    """

    def __init__(self, root: Path, observation: Observation, files: DiskFiles, renderings: Renderings) -> None:
        self.root = root
        self.project = observation.project
        self.graph: Graph = observation.graph
        self._observation = observation
        self._files = files
        self._renderings = renderings

    @property
    def settings(self) -> dict[str, object]:
        """All settings with their values, by `node.setting`; those of the whole project by their names."""
        return {str(each): each.value for each in self.project.settings}

    def plan(self, changed: Iterable[str] = (), *, mode: Mode = UP) -> tuple[Planned, ...]:
        """Return what would run and why: at the first start, or when files change once all has been built and deployed.

        Args:
            changed: Files (or folders) relative to the project's root; none for the first start.
            mode: What is done at all; the modes of the commands are in `devloop.app.options`.
        """
        paths = tuple(changed)
        state = State(mode=mode)
        return planned(self._all_done(state) if paths else state, self._observation, paths)

    def inputs(self, name: str) -> tuple[str, ...]:
        """Return the files that a node reads, its Dockerfile or manifests included; sorted, relative to the root.

        Args:
            name: `api` or `image:api`; a bare name means the image first, since services read few files.

        Raises:
            InputError: There is no such node.
        """
        image = NodeId(Kind.IMAGE, name)
        node = self.graph.nodes[image if image in self.graph.nodes else self.graph.find(name)]
        definitions = self.project.read.keys() & node.recipe.keys()
        return tuple(sorted({*self._observation.files.get(node.id, {}), *definitions}))

    def render(self, name: str, *, images: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the objects that would be applied for a service.

        Args:
            name: `api` or `service:api`.
            images: References to put in place of built images, by the image's name; `<repository>:dev` for others.

        Raises:
            InputError: There is no such service.
            InputErrors: The manifests cannot be rendered with these images.
        """
        node = self.graph.nodes[self.graph.find(name if ":" in name else f"{Kind.SERVICE}:{name}")]
        results = {
            each.id: Result(digest=digests.of_text(ref), ref=ref)
            for each in self.graph.of_kind(Kind.IMAGE)
            for ref in [(images or {}).get(each.id.name) or _reference(each.detail)]
        }
        arguments = handles(node, self.graph, results)
        rendered = self._renderings.complete(
            lambda: manifests_of(node, arguments, read=Definitions(self._files), renderings=self._renderings)
        )
        final = with_images(rendered, references(self.graph, results))
        return [copy.deepcopy(dict(manifest.document)) for manifest in final]

    def _all_done(self, state: State) -> State:
        """Return the state as if all that the session runs had run well."""
        state = replace(state, observed=Observed(graph=self.graph, files=self._observation.files))
        now = situation(state)
        steps = plan(now)
        while any(isinstance(step, Due) for step in steps.values()):
            now = assume(now, steps)
            steps = plan(now)
        return replace(state, traces=now.traces, verified=now.verified)


def _reference(detail: object) -> str:
    return f"{detail.repository}:{_TAG}" if isinstance(detail, ImageDetail) else ""
