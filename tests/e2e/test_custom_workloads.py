"""Workloads of custom resources, whose controllers make pods of `spec.template`: here the test is the controller."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.project import Project, web
from tests.e2e.test_deploy import DEFINITION
from tests.outside import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture
def rollout(project: Project) -> Iterator[str]:
    """A project whose web server is a custom resource; its plural name."""
    word = project.image.replace("-", "")
    definition = DEFINITION.replace("PLURAL", f"{word}s").replace("SINGULAR", word).replace("KIND", word.capitalize())
    project.cluster.kubectl("apply", "--filename=-", stdin=definition)
    project.cluster.kubectl("wait", "--for=condition=Established", f"crd/{word}s.devloop.test", "--timeout=55s")
    web(project)
    project.replace(
        "k8s/web.yaml.j2",
        "apiVersion: apps/v1\nkind: Deployment",
        f"apiVersion: devloop.test/v1\nkind: {word.capitalize()}",
    )
    yield f"{word}s.devloop.test"
    project.cluster.kubectl("delete", "customresourcedefinition", f"{word}s.devloop.test", "--wait=false")


def make_pod(project: Project, plural: str, name: str) -> None:
    """Do what a controller does: make a pod of the template."""
    owner: Any = eventually(lambda: project.cluster.get(plural, "web"), within=60)
    template = owner["spec"]["template"]
    reference = {key: owner["metadata"][key] for key in ("name", "uid")}
    reference |= {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
    metadata = {**template["metadata"], "name": name, "ownerReferences": [reference]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    project.cluster.kubectl("create", "--filename=-", stdin=json.dumps(pod))


def test_pods_of_a_custom_workload_are_forwarded_synced_and_read_like_others(project: Project, rollout: str) -> None:
    project.replace("web/Dockerfile", 'CMD ["httpd"', 'CMD ["sh", "-c", "echo up; exec \\"$@\\"", "sh", "httpd"')
    loop = project.up()
    make_pod(project, rollout, "web-1")
    project.shows(project.url, "one")
    eventually(lambda: "up" in loop.lines("service:web"))
    project.write("web/pages/index.html", "two\n")
    project.shows(project.url, "two")
    make_pod(project, rollout, "web-2")
    project.cluster.kubectl("delete", "pod", "web-1", "--wait=false")
    eventually(lambda: [each["metadata"]["name"] for each in project.ready_pods("web", count=1)] == ["web-2"])
    project.shows(project.inside("web"), "two")
    project.shows(project.url, "two")
    loop.stop()
    assert project.run("down", place=True).returncode == 0
    assert project.cluster.get(rollout)["items"] == []
