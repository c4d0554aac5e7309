"""The API server goes away and comes back: what was saved meanwhile is deployed, without another save."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.driver import Event
from tests.e2e.project import Project, web
from tests.outside import eventually


class Wire:
    """A TCP proxy to the API server that can be cut: connections end, and new ones are refused."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server = self._listen(0)
        self.port = self._server.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._accept()

    def _listen(self, port: int) -> socket.socket:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen(128)
        return server

    def cut(self) -> None:
        """End all connections and take no new ones."""
        _reset(self._server)
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                _reset(end)

    def mend(self) -> None:
        """Take connections again."""
        self._server = self._listen(self.port)
        self._accept()

    def close(self) -> None:
        """End everything, for good."""
        self.cut()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=[self._server], daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, upstream))
            threading.Thread(target=_pump, args=[client, upstream], daemon=True).start()


def _pump(client: socket.socket, upstream: socket.socket) -> None:
    other = {client: upstream, upstream: client}
    try:
        while True:
            for end in select.select([client, upstream], [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                other[end].sendall(data)
    except (OSError, ValueError):
        return
    finally:
        _reset(client)
        _reset(upstream)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def wire(project: Project) -> Iterator[Wire]:
    """The wire between devloop and the API server; tests themselves go around it."""
    config = yaml.safe_load(Path(project.cluster.kubeconfig).read_text())
    context = next(each["context"] for each in config["contexts"] if each["name"] == config["current-context"])
    entry = next(each["cluster"] for each in config["clusters"] if each["name"] == context["cluster"])
    server = urlsplit(entry["server"])
    assert server.hostname is not None
    wire = Wire(server.hostname, server.port or 443)
    entry["server"] = f"{server.scheme}://127.0.0.1:{wire.port}"
    entry["tls-server-name"] = server.hostname
    copy = project.folder.parent / "kubeconfig"
    copy.write_text(yaml.safe_dump(config))
    project.env["KUBECONFIG"] = str(copy)
    yield wire
    wire.close()


def test_a_manifest_saved_during_an_outage_is_deployed_after_it(project: Project, wire: Wire) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    wire.cut()
    project.replace("k8s/web.yaml.j2", 'default("hello")', 'replace("hello", "hi")')
    loop.wait("RunStarted", since=mark, node="service:web")
    with pytest.raises(AssertionError):
        loop.wait("RunSucceeded", since=mark, within=5)
    assert project.identity() == before
    wire.mend()
    loop.wait("RunSucceeded", since=mark, node="service:web", within=30)
    assert project.pod()["spec"]["containers"][0]["env"] == [{"name": "GREETING", "value": "hi"}]
    assert project.identity() != before


def test_a_file_saved_during_an_outage_is_synced_after_it(project: Project, wire: Wire) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    before = project.identity()
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    wire.cut()
    mark = loop.mark()
    project.write("web/pages/index.html", "three\n")
    loop.wait("FilesChanged", since=mark)
    with pytest.raises(AssertionError):
        loop.wait("RunSucceeded", since=mark, within=3)
    wire.mend()
    project.shows(project.inside("web"), "three", within=30)
    assert project.identity() == before


def test_logs_and_forwards_go_on_after_an_outage(project: Project, wire: Wire) -> None:
    web(project, dockerfile='FROM busybox\nCOPY pages /www\nCMD ["httpd", "-f", "-v", "-p", "8000", "-h", "/www"]\n')
    loop = project.up()
    loop.settles()
    project.shows(project.url, "one")
    wire.cut()
    old = project.identity()
    project.cluster.kubectl("delete", "pod", "--selector=app=web", "--wait=false")
    eventually(lambda: project.identity() != old)
    mark = loop.mark()
    wire.mend()
    name = project.pod()["metadata"]["name"]

    def the_new_pod_logs_a_request() -> bool:
        project.shows(project.url, "one")  # until the news are there, it is the old pod that answers
        return any(event["type"] == "PodOutput" and event["pod"] == name for event in loop.events[mark:])

    eventually(the_new_pod_logs_a_request, every=0.2)


def says(ending: str) -> Callable[[Event], bool]:
    return lambda event: "does not answer" in event["message"] and event["message"].endswith(ending)


def test_an_outage_at_the_start_is_told_and_outlasted(project: Project, wire: Wire) -> None:
    web(project)
    wire.cut()
    loop = project.up()
    loop.wait("RunProgressed", within=30, node="service:web", where=says("; trying again"))
    wire.mend()
    project.shows(project.url, "one")


def test_an_outage_at_the_start_of_what_ran_before_is_told_and_outlasted(project: Project, wire: Wire) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    assert loop.stop() == 130
    before = project.identity()
    wire.cut()
    loop = project.up()
    loop.wait("Noted", within=30, where=says("; waiting for it"))
    wire.mend()
    loop.settles()
    assert project.identity() == before
    project.shows(project.url, "one")
    assert not [event for event in loop.events if event["type"] == "RunStarted" and event["action"] == "build"]
