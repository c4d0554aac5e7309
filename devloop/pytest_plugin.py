"""A pytest plugin: tests of the running system, by the loop that `devloop up` runs.

```python
# conftest.py
from devloop.pytest_plugin import service_fixture

api = service_fixture("api")

# test_api.py
def test_it_answers(api: Service) -> None:
    assert urlopen(f"{api.url}/healthz").status == 200
```

The session starts with the first test that asks for it, builds and deploys what is not up to date, and ends with the
test run; what it deployed stays, as after `devloop up`. `--devloop-file` names the devfile. pytest loads this module in
every run of an environment that devloop is installed in, so nothing of devloop is imported before it is used.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anyio.from_thread import BlockingPortal

    from devloop.app import Session
    from devloop.app.planning import Planned
    from devloop.dsl import Service

__all__ = ["LiveSession", "devloop_session", "live", "service_fixture"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("devloop")
    group.addoption("--devloop-file", metavar="PATH", help="the devfile for tests of the running system")


class LiveSession:
    """A running session for tests that are no coroutines; `devloop_session` gives it.

    Args:
        session: The session, entered.
        portal: Leads into the event loop that it runs in.
    """

    def __init__(self, session: Session, portal: BlockingPortal) -> None:
        self.session = session
        self._portal = portal

    def ready(self) -> None:
        """Return when nothing is left to do and all is well.

        Raises:
            ToolError: Something failed; the message names the nodes.
        """
        self._portal.call(self.session.ready)

    def service(self, name: str) -> Service:
        """Return a service: its `url` on this machine, its `host` in the cluster.

        Raises:
            InputError: There is no such service.
        """
        return self._portal.call(self.session.service, name)

    def plan(self, changed: Sequence[str] = ()) -> tuple[Planned, ...]:
        """Return what would run if these files changed, and why."""
        return self._portal.call(self.session.plan, changed)

    def trigger(self, name: str) -> None:
        """Run a node again though nothing changed.

        Raises:
            InputError: There is no such node.
        """
        self._portal.call(self.session.trigger, name)


@contextmanager
def live(devfile: str | Path | None = None) -> Iterator[LiveSession]:
    """Run a session in a thread of its own, and wait until all of it is ready.

    Args:
        devfile: The devfile or its folder; None for the nearest one, here or in a folder above.

    Raises:
        DevloopError: The project's files are wrong, or something of it failed.
    """
    from anyio.from_thread import start_blocking_portal

    from devloop import testing
    from devloop.app import session
    from devloop.app.options import find_devfile

    path = find_devfile(None if devfile is None else Path(devfile))
    testing.load(path, environment=os.environ)  # raises for mistakes; the session would wait until they are mended
    with start_blocking_portal(name="devloop") as portal:
        entered = portal.call(session, path)
        with portal.wrap_async_context_manager(entered):
            running = LiveSession(entered, portal)
            running.ready()
            yield running


@pytest.fixture(scope="session")
def devloop_session(pytestconfig: pytest.Config) -> Iterator[LiveSession]:
    """The project's running session, all of it ready: builds and deploys what is not up to date, and follows edits."""
    with live(pytestconfig.getoption("--devloop-file")) as running:
        yield running


def service_fixture(name: str) -> Any:
    """Return a fixture that gives a service of the running session, once it is ready.

    Args:
        name: The service's name, for example `api`.
    """

    @pytest.fixture
    def ready_service(devloop_session: LiveSession) -> Service:
        devloop_session.ready()
        return devloop_session.service(name)

    return ready_service
