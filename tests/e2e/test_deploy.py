"""What is applied, replaced and removed in the cluster."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.project import Project, web
from tests.outside import eventually

DEVFILE = """\
from devloop import *

project(name="$IMAGE")


@service("k8s/all.yaml", ports={})
def all_of_it(): ...
"""

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {key: "VALUE"}
"""

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: job, image: busybox, imagePullPolicy: IfNotPresent, command: [echo, "WORD"]}]
"""

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: LABEL}}
  template:
    metadata: {labels: {app: LABEL}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: app, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}]
"""

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.devloop.test}
spec:
  group: devloop.test
  scope: Namespaced
  names: {plural: PLURAL, singular: SINGULAR, kind: KIND}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


def config(name: str, value: str = "1") -> str:
    return CONFIG.replace("NAME", name).replace("VALUE", value)


def manifests(project: Project, *documents: str) -> None:
    project.write("k8s/all.yaml", "---".join(documents))


@pytest.fixture
def plain(project: Project) -> Project:
    """A project of manifests alone."""
    project.write("devfile.py", DEVFILE)
    return project


def names(project: Project, kind: str) -> set[str]:
    """Return the names of the objects of a kind, less those that the cluster and devloop keep for themselves."""
    found = {each["metadata"]["name"] for each in project.cluster.get(kind)["items"]}
    return {name for name in found if name != "kube-root-ca.crt" and not name.startswith("devloop-")}


def test_an_object_that_vanished_from_the_manifests_is_removed(plain: Project) -> None:
    manifests(plain, config("stays"), config("goes"))
    loop = plain.up()
    mark = loop.settles()
    assert names(plain, "configmap") == {"stays", "goes"}
    manifests(plain, config("stays"))
    loop.settles(since=mark)
    assert names(plain, "configmap") == {"stays"}


def test_an_object_that_vanished_while_devloop_was_stopped_is_removed(plain: Project) -> None:
    manifests(plain, config("stays"), config("goes"))
    loop = plain.up()
    loop.settles()
    loop.stop()
    manifests(plain, config("stays"))
    plain.up().settles()
    assert names(plain, "configmap") == {"stays"}


def test_a_service_that_vanished_from_the_devfile_is_removed(project: Project) -> None:
    project.write("devfile.py", DEVFILE + '\n\n@service("k8s/more.yaml", ports={})\ndef more(): ...\n')
    manifests(project, config("stays"))
    project.write("k8s/more.yaml", config("goes"))
    loop = project.up()
    loop.settles()
    assert names(project, "configmap") == {"stays", "goes"}
    project.write("devfile.py", DEVFILE)
    eventually(lambda: names(project, "configmap") == {"stays"})


def test_only_objects_that_changed_are_applied(plain: Project) -> None:
    manifests(plain, config("one"), config("two"))
    loop = plain.up()
    mark = loop.settles()
    before = plain.versions()
    manifests(plain, config("one"), config("two", "2"))
    loop.settles(since=mark)
    after = plain.versions()
    assert {name for name in before if before[name] != after[name]} - {f"ConfigMap/devloop-{plain.image}"} == {
        "ConfigMap/two"
    }


def test_what_somebody_deleted_is_back_after_the_next_up(plain: Project) -> None:
    manifests(plain, config("one"), config("two"))
    loop = plain.up()
    loop.settles()
    loop.stop()
    plain.cluster.kubectl("delete", "configmap", "one")
    plain.up().settles()
    assert names(plain, "configmap") == {"one", "two"}


def test_what_somebody_changed_is_put_right_by_the_next_up(plain: Project) -> None:
    manifests(plain, config("one"), config("two"))
    loop = plain.up()
    loop.settles()
    loop.stop()
    before = [plain.cluster.get("configmap", name) for name in ("one", "two")]
    change = {"data": dict.fromkeys(before[0]["data"], "by hand")}
    plain.cluster.kubectl("patch", "configmap", "one", "--patch", json.dumps(change))
    plain.up().settles()
    after = [plain.cluster.get("configmap", name) for name in ("one", "two")]
    assert after[0]["data"] == before[0]["data"]
    assert after[1]["metadata"]["resourceVersion"] == before[1]["metadata"]["resourceVersion"]


def test_a_job_whose_template_changed_is_replaced(plain: Project) -> None:
    manifests(plain, JOB.replace("WORD", "one"))
    loop = plain.up()
    mark = loop.settles()
    before = plain.cluster.get("job", "job")["metadata"]["uid"]
    manifests(plain, JOB.replace("WORD", "two"))
    loop.settles(since=mark)
    after = plain.cluster.get("job", "job")
    assert after["metadata"]["uid"] != before
    assert after["status"]["succeeded"] == 1
    assert plain.cluster.kubectl("logs", "--selector=job-name=job").strip() == "two"


def test_a_workload_whose_selector_changed_is_replaced(plain: Project) -> None:
    manifests(plain, WORKLOAD.replace("LABEL", "one"))
    loop = plain.up()
    mark = loop.settles()
    manifests(plain, WORKLOAD.replace("LABEL", "two"))
    loop.settles(since=mark)
    assert len(plain.ready_pods("two", count=1)) == 1
    eventually(lambda: plain.cluster.pods("app=one") == [], within=60)


@pytest.fixture
def kind(plain: Project) -> Iterator[tuple[str, str]]:
    """Names of a custom resource of the test's own: plural and kind."""
    word = plain.image.replace("-", "")
    yield f"{word}s", word.capitalize()
    plain.cluster.kubectl("delete", "customresourcedefinition", f"{word}s.devloop.test", "--ignore-not-found")


def test_a_custom_resource_and_its_definition_may_be_in_one_manifest(plain: Project, kind: tuple[str, str]) -> None:
    plural, singular = kind
    definition = DEFINITION.replace("PLURAL", plural).replace("SINGULAR", singular.lower()).replace("KIND", singular)
    resource = f"\napiVersion: devloop.test/v1\nkind: {singular}\nmetadata: {{name: mine}}\nspec: {{size: 1}}\n"
    manifests(plain, resource, definition)
    loop = plain.up()
    mark = loop.settles()
    assert plain.cluster.get(f"{plural}.devloop.test", "mine")["spec"] == {"size": 1}
    manifests(plain, resource.replace("size: 1", "size: 2"), definition)
    loop.settles(since=mark)
    assert plain.cluster.get(f"{plural}.devloop.test", "mine")["spec"] == {"size": 2}


def test_a_namespace_in_the_manifests_is_made_before_what_is_in_it(plain: Project) -> None:
    other = f"{plain.image}-b"
    inside = config("inside").replace("{name: inside}", f"{{name: inside, namespace: {other}}}")
    manifests(plain, inside, f"\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {other}}}\n")
    loop = plain.up("--down")
    try:
        loop.settles()
        found = plain.cluster.get("configmap", "inside", f"--namespace={other}")
        assert found["data"] == {"key": "1"}
        assert loop.stop(within=90) == 130
        left = plain.cluster.get("namespaces")["items"]
        assert other not in {each["metadata"]["name"] for each in left if "deletionTimestamp" not in each["metadata"]}
    finally:
        plain.cluster.kubectl("delete", "namespace", other, "--ignore-not-found", "--wait=false")


def test_the_namespace_of_the_project_is_made_when_there_is_none(plain: Project) -> None:
    own = f"{plain.image}-c"
    manifests(plain, config("inside"))
    loop = plain.start("up", "--namespace", own)
    try:
        loop.settles()
        assert plain.cluster.get("configmap", "inside", f"--namespace={own}")["data"] == {"key": "1"}
    finally:
        plain.cluster.kubectl("delete", "namespace", own, "--ignore-not-found", "--wait=false")


def test_dependencies_are_ready_before_what_needs_them_is_deployed(project: Project) -> None:
    project.write(
        "devfile.py",
        DEVFILE.replace("all_of_it", "first")
        + '\n\n@service("k8s/second.yaml", ports={})\ndef second(first: Service): ...\n',
    )
    probe = "{exec: {command: [cat, /tmp/ready]}, periodSeconds: 1}"
    manifests(
        project,
        WORKLOAD.replace("LABEL", "first").replace("name: app, image", f"name: app, readinessProbe: {probe}, image"),
    )
    project.write("k8s/second.yaml", config("second"))
    loop = project.up()
    pods = eventually(
        lambda: [pod for pod in project.cluster.pods("app=first") if pod["status"]["phase"] == "Running"], within=60
    )
    assert names(project, "configmap") == set()
    project.cluster.kubectl("exec", pods[0]["metadata"]["name"], "--", "touch", "/tmp/ready")
    loop.settles()
    assert names(project, "configmap") == {"second"}


def test_what_was_deployed_carries_devloops_labels_and_field_manager(project: Project) -> None:
    web(project)
    project.up().settles()
    found = project.cluster.get("deployment", "web")["metadata"]
    assert found["labels"]["app.kubernetes.io/managed-by"] == "devloop"
    assert found["labels"]["devloop.dev/service"] == "web"
    managers = {(each["manager"], each["operation"]) for each in found["managedFields"]}
    assert ("devloop", "Apply") in managers
