"""`devloop sync`: files into pods that somebody else deployed, with images that devloop did not build."""

from functools import partial
from typing import Any

from tests.e2e.driver import Loop
from tests.e2e.project import Project
from tests.outside import eventually

DEVFILE = """\
from devloop import *

project(name="$IMAGE")


@sync("site", "/www", selector="app=front")
def pages():
    yield run("cp /www/index.html /tmp/seen.html", on="site/index.html")
"""

POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  replicas: 2
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: web, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}
"""


def deployed_by_others(project: Project) -> list[Any]:
    project.write("devfile.py", DEVFILE)
    project.write("site/index.html", "one\n")
    for number in range(50):
        project.write(f"site/more/{number}.html", f"{number}\n")
    project.cluster.kubectl("apply", "--filename=-", stdin=POD)
    return project.ready_pods("front", count=2)


def sync(project: Project, *arguments: str) -> Loop:
    return project.start("sync", "--namespace", project.cluster.namespace, *arguments)


def holds(project: Project, pod: Any, path: str, text: str) -> bool:
    return project.read_in(pod, path) == text


def count(project: Project, pod: Any) -> int:
    return len(project.inside_of(pod, "find /www -type f").splitlines())


def has(project: Project, pod: Any, files: int) -> bool:
    return count(project, pod) == files


def test_pods_of_others_get_the_whole_tree_and_then_each_change(project: Project) -> None:
    pods = deployed_by_others(project)
    loop = sync(project)
    mark = loop.settles()
    for pod in pods:
        assert count(project, pod) == 51
        assert holds(project, pod, "/tmp/seen.html", "one\n")
    project.write("site/index.html", "two\n")
    loop.settles(since=mark)
    for pod in pods:
        eventually(partial(holds, project, pod, "/www/index.html", "two\n"))
        eventually(partial(holds, project, pod, "/tmp/seen.html", "two\n"))
    project.cluster.kubectl("scale", "deployment/front", "--replicas=3")
    for pod in project.ready_pods("front", count=3):
        eventually(partial(holds, project, pod, "/www/index.html", "two\n"))
        eventually(partial(has, project, pod, 51))
    assert {event["action"] for event in loop.events if event["type"] == "RunStarted"} == {"sync", "follow-up"}
    assert loop.stop() == 130


def test_once_copies_ends_and_copies_nothing_again(project: Project) -> None:
    pods = deployed_by_others(project)
    first = sync(project, "--once")
    assert first.ended() == 0
    assert [count(project, pod) for pod in pods] == [51, 51]
    again = sync(project, "pages", "--once")
    assert again.ended() == 0
    assert not [event for event in again.events if event["type"] == "RunStarted"]


def test_once_fails_when_nothing_runs(project: Project) -> None:
    project.write("devfile.py", DEVFILE)
    project.write("site/index.html", "one\n")
    ended = sync(project, "--once")
    assert ended.ended() == 1
    ended.wait("Held", node="sync:pages", reason="no container runs that it could copy into")
