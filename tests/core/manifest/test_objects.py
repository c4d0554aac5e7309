"""Manifests: read with places, labelled, digested, ordered, written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.manifest import Manifest, digest, manifest_of, parse, to_yaml, with_labels
from devloop.errors import InputError, InputErrors, Where
from devloop.model import ObjectKey

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
  labels: {tier: web}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - {name: api, image: api}
"""


def _errors(text: str, **more: Any) -> list[InputError]:
    with pytest.raises(InputErrors) as caught:
        parse(text, path="k8s/api.yaml", **more)
    return list(caught.value.errors)


def _messages(text: str) -> list[str]:
    return [f"{error.where}: {error.message}" for error in _errors(text)]


def test_each_document_is_an_object_with_its_place_and_key() -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
    deployment, other = parse(f"# both\n{_DEPLOYMENT}---\n{service}", path="k8s/api.yaml")
    assert deployment.key == ObjectKey(group="apps", kind="Deployment", namespace="", name="api")
    assert str(deployment.where) == "k8s/api.yaml:2:1"
    assert other.key == ObjectKey(group="", kind="Service", namespace="shop", name="api")
    assert str(other.where) == "k8s/api.yaml:15:1"


def test_lists_are_taken_apart() -> None:
    text = """\
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
  {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}]}
]}"""
    assert [(str(each.key), each.where.line) for each in parse(text, path="x.json")] == [
        ("configmap/a", 2),
        ("secret/b", 3),
    ]


def test_the_items_of_a_typed_list_need_not_repeat_its_kind() -> None:
    (one,) = parse("apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n", path="x.yaml")
    assert one.document == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("a: 1", ["k8s/api.yaml:1:1: not a Kubernetes object: `apiVersion` and `kind` are missing"]),
        ("- a", ["k8s/api.yaml:1:1: a manifest must be a mapping, not a list"]),
        ("just text", ["k8s/api.yaml:1:1: a manifest must be a mapping, not text"]),
        (
            "kind: Job\nmetadata: {}",
            [
                "k8s/api.yaml:1:1: an object without `apiVersion`",
                "k8s/api.yaml:2:11: a `Job` without `metadata.name`",
            ],
        ),
        ("apiVersion: v1\nkind: 1\nmetadata: {name: a}", ["k8s/api.yaml:2:7: `kind` must be text, not the number `1`"]),
        ("apiVersion: v1\nkind: Pod\nmetadata: x", ["k8s/api.yaml:3:11: `metadata` must be a mapping, not text"]),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 12\n  labels: {version: 1.5, debug: on}",
            [
                "k8s/api.yaml:4:9: `metadata.name` must be text, not the number `12`",
                "k8s/api.yaml:5:21: `version` in `metadata.labels` must be text, not the number `1.5`",
                "k8s/api.yaml:5:33: `debug` in `metadata.labels` must be text, not the truth value `true`",
            ],
        ),
        ("a: [", ["k8s/api.yaml:1:5: invalid YAML: did not find expected node content while parsing a flow node"]),
    ],
)
def test_all_mistakes_are_told_together_with_line_and_column(text: str, messages: list[str]) -> None:
    assert _messages(text) == messages


def test_a_generated_name_is_refused_because_the_object_could_not_be_found_again() -> None:
    (error,) = _errors("apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: a-\n")
    assert error.hint == "devloop finds its objects again by name: write `name` instead of `generateName`"


def test_an_object_that_is_declared_twice_names_both_places() -> None:
    (error,) = _errors(f"{_DEPLOYMENT}---\n{_DEPLOYMENT}")
    assert error.message == "the Deployment `api` is declared twice"
    assert (error.where and error.where.line, [where.line for where in error.chain]) == (14, [1])


def test_an_error_in_rendered_text_names_the_template_and_shows_the_rendered_line() -> None:
    origins = [Where(path="k8s/api.yaml.j2", line=3), Where(path="k8s/_labels.j2", line=1)]
    (error,) = _errors("a: 1\n  b: 2\n", rendered_from="k8s/api.yaml.j2", origins=origins)
    assert error.where == Where(path="k8s/_labels.j2", line=1, text="b: 2")
    assert error.message.endswith("in line 2 of what the template renders")


def test_a_namespace_is_the_objects_own_or_the_default_or_none() -> None:
    def settled(kind: str, version: str, namespace: str | None = None) -> str:
        metadata = {"name": "a"} | ({"namespace": namespace} if namespace else {})
        manifest = manifest_of({"apiVersion": version, "kind": kind, "metadata": metadata}, path="x")
        return manifest.in_namespace("dev", cluster_kinds=[("x.io", "Global")]).key.namespace

    assert settled("Service", "v1") == "dev"
    assert settled("Service", "v1", "shop") == "shop"
    assert settled("Namespace", "v1") == ""
    assert settled("ClusterRole", "rbac.authorization.k8s.io/v1", "shop") == ""
    assert settled("Global", "x.io/v1") == ""
    assert settled("Service", "serving.knative.dev/v1") == "dev"


def test_the_same_text_gives_equal_manifests() -> None:
    assert parse(_DEPLOYMENT, path="a.yaml") == parse(_DEPLOYMENT, path="a.yaml")


# --- labels ------------------------------------------------------------------------------------------------


def _workload(kind: str, version: str, spec: Any) -> Manifest:
    return manifest_of({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}, path="x")


def test_labels_reach_the_object_and_its_pods_but_no_selector() -> None:
    (deployment,) = parse(_DEPLOYMENT, path="x")
    labelled = with_labels(deployment, {"by": "devloop"}, {"digest": "1"}).document
    assert labelled["metadata"] == {
        "name": "api",
        "labels": {"tier": "web", "by": "devloop"},
        "annotations": {"digest": "1"},
    }
    assert labelled["spec"]["template"]["metadata"] == {"labels": {"app": "api", "by": "devloop"}}
    assert labelled["spec"]["selector"] == {"matchLabels": {"app": "api"}}


@pytest.mark.parametrize(
    ("kind", "version"),
    [("StatefulSet", "apps/v1"), ("DaemonSet", "apps/v1"), ("ReplicaSet", "apps/v1"), ("Job", "batch/v1")],
)
def test_pod_templates_without_metadata_get_it(kind: str, version: str) -> None:
    manifest = _workload(
        kind, version, {"template": {"spec": {}}, "volumeClaimTemplates": [{"metadata": {"name": "d"}}]}
    )
    spec = with_labels(manifest, {"a": "b"}, {}).document["spec"]
    assert spec["template"]["metadata"]["labels"] == {"a": "b"}
    assert spec["volumeClaimTemplates"] == [{"metadata": {"name": "d"}}]


def test_the_pods_of_a_cron_job_are_labelled() -> None:
    manifest = _workload("CronJob", "batch/v1", {"jobTemplate": {"spec": {"template": {"spec": {}}}}})
    spec = with_labels(manifest, {"a": "b"}, {}).document["spec"]
    assert spec["jobTemplate"]["spec"]["template"]["metadata"]["labels"] == {"a": "b"}


def test_a_bare_pod_and_other_kinds_get_labels_on_the_object_alone() -> None:
    for kind, version in (("Pod", "v1"), ("Rollout", "argoproj.io/v1alpha1"), ("Service", "v1")):
        document = with_labels(_workload(kind, version, {"template": {"spec": {}}}), {"a": "b"}, {}).document
        assert document["metadata"]["labels"] == {"a": "b"}
        assert document["spec"] == {"template": {"spec": {}}}


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Rollout", "argoproj.io/v1alpha1"),
        ("Service", "serving.knative.dev/v1"),
        ("CloneSet", "apps.kruise.io/v1alpha1"),
    ],
)
def test_the_pods_of_a_custom_workload_are_labelled(kind: str, version: str) -> None:
    manifest = _workload(kind, version, {"template": {"spec": {"containers": [{"name": "a", "image": "web"}]}}})
    spec = with_labels(manifest, {"a": "b"}, {}).document["spec"]
    assert spec["template"]["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize("template", [{"spec": {"containers": []}}, {"spec": {"containers": [{"name": "a"}]}}, "text"])
def test_what_only_looks_like_a_custom_workload_is_left_alone(template: object) -> None:
    manifest = _workload("Thing", "example.org/v1", {"template": template})
    assert with_labels(manifest, {"a": "b"}, {}).document["spec"] == {"template": template}


def test_labelling_leaves_the_original_alone() -> None:
    (deployment,) = parse(_DEPLOYMENT, path="x")
    before = json.dumps(deployment.document)
    with_labels(deployment, {"a": "b"}, {"c": "d"})
    assert json.dumps(deployment.document) == before


# --- digest, text -----------------------------------------------------------------------------------


def test_a_digest_is_of_the_content_whatever_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert digest({"a": 1}).startswith("sha256:")


def test_what_is_written_reads_as_the_same_manifests() -> None:
    data = "data: {a: 'on', b: \"x\\ny\\n\"}"
    text = f"{_DEPLOYMENT}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\n{data}\n"
    manifests = parse(text, path="x")
    written = to_yaml(manifests)
    assert [each.document for each in parse(written, path="x")] == [each.document for each in manifests]
    assert written.endswith("data:\n  a: 'on'\n  b: |\n    x\n    y\n")
    assert to_yaml(parse(written, path="x")) == written


_pieces = st.sampled_from(
    [
        "apiVersion: v1\n",
        "kind: Pod\n",
        "kind: List\n",
        "items:\n",
        "items: [{}]\n",
        "metadata:\n",
        "  name: a\n",
        "  name: 1\n",
        "  labels: [1]\n",
        "metadata: 3\n",
        "---\n",
        "- apiVersion: v1\n",
        "  kind: Pod\n",
        "  metadata: {name: b}\n",
        "\t",
        "spec: {}\n",
        "a: *x\n",
    ]
)


@given(st.lists(_pieces, max_size=14).map("".join) | st.text(max_size=40))
def test_any_text_is_manifests_or_input_errors(text: str) -> None:
    mistakes: tuple[InputError, ...] = ()
    try:
        manifests = parse(text, path="x.yaml", rendered_from="x.j2", origins=())
    except InputErrors as errors:
        manifests, mistakes = (), errors.errors
    assert all(mistake.where is not None for mistake in mistakes)
    assert all(isinstance(each.key.name, str) for each in manifests)
