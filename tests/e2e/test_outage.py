"""API server and engine go away and come back: what was saved meanwhile is deployed, without another save."""

import time
from collections.abc import Callable

import pytest

from tests.e2e.driver import Event
from tests.e2e.project import Project, web
from tests.e2e.wire import Wire
from tests.outside import eventually


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
    loop.wait("RunSucceeded", since=mark, node="service:web")
    assert project.pod()["spec"]["containers"][0]["env"] == [{"name": "GREETING", "value": "hi"}]
    assert project.identity() != before


def test_a_file_is_synced_by_the_engine_while_the_api_server_is_away(project: Project, wire: Wire) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    before = project.identity()
    wire.cut()
    mark = loop.mark()
    project.write("web/pages/index.html", "two\n")
    loop.wait("RunSucceeded", since=mark, node="sync:web-pages")
    project.shows(project.inside("web"), "two")
    assert project.identity() == before


def test_a_file_saved_during_an_outage_is_synced_after_it(project: Project, wire: Wire, engine_wire: Wire) -> None:
    web(project)
    loop = project.up()
    mark = loop.settles()
    before = project.identity()
    project.write("web/pages/index.html", "two\n")
    loop.settles(since=mark)
    project.shows(project.url, "two")
    wire.cut()
    engine_wire.cut()
    mark = loop.mark()
    project.write("web/pages/index.html", "three\n")
    loop.wait("FilesChanged", since=mark)
    with pytest.raises(AssertionError):
        loop.wait("RunSucceeded", since=mark, within=3)
    engine_wire.mend()
    wire.mend()
    project.shows(project.inside("web"), "three")
    assert project.identity() == before


def test_logs_and_forwards_go_on_after_an_outage(project: Project, wire: Wire) -> None:
    web(project, dockerfile='FROM busybox\nCOPY pages /www\nCMD ["httpd", "-f", "-v", "-p", "8000", "-h", "/www"]\n')
    loop = project.up()
    loop.settles()
    project.shows(project.url, "one")
    wire.cut()
    old = project.identity()
    project.cluster.kubectl("delete", "pod", "--selector=app=web", "--wait=false")
    eventually(lambda: project.identity() != old, within=60)
    mark = loop.mark()
    wire.mend()
    name = project.pod()["metadata"]["name"]

    def the_new_pod_logs_a_request() -> bool:
        project.shows(project.url, "one")  # until the news are there, it is the old pod that answers
        return any(event["type"] == "PodOutput" and event["pod"] == name for event in loop.events[mark:])

    eventually(the_new_pod_logs_a_request, within=60, every=0.2)


def says(ending: str) -> Callable[[Event], bool]:
    return lambda event: "does not answer" in event["message"] and event["message"].endswith(ending)


def test_an_outage_at_the_start_is_told_and_outlasted(project: Project, wire: Wire) -> None:
    web(project)
    project.count_builds()
    wire.cut()
    loop = project.up()
    loop.wait("RunProgressed", where=says("; trying again"))
    time.sleep(3)
    wire.mend()
    project.shows(project.url, "one")
    assert project.builds() == 1


def test_an_outage_at_the_start_of_what_ran_before_is_told_and_outlasted(project: Project, wire: Wire) -> None:
    web(project)
    loop = project.up()
    loop.settles()
    assert loop.stop() == 130
    before = project.identity()
    wire.cut()
    loop = project.up()
    loop.wait("Noted", where=says("; waiting for it"))
    wire.mend()
    loop.settles()
    assert project.identity() == before
    project.shows(project.url, "one")
    assert not [event for event in loop.events if event["type"] == "RunStarted" and event["action"] == "build"]
