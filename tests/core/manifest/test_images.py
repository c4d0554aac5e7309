"""Image references in manifests: found wherever resources put them, replaced and nothing else."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.manifest import Manifest, manifest_of, parse
from devloop.core.manifest.image_places import place
from devloop.core.manifest.images import image_uses, replace_images, without_forced_pulls
from devloop.core.manifest.pod_templates import pick, put
from devloop.errors import InputError
from devloop.model import ImagePath


def _one(text: str) -> Manifest:
    (manifest,) = parse(text, path="k8s/x.yaml")
    return manifest


def _texts(text: str, *paths: str | Mapping[str, str]) -> list[str]:
    head = "" if "apiVersion" in text else "apiVersion: example.io/v1\nkind: Thing\nmetadata: {name: a}\n"
    places = tuple(place(ImagePath(kind="Thing", path=path)) for path in paths)
    return [use.text for use in image_uses(replace(_one(head + text), places=places))]


@pytest.mark.parametrize(
    ("resource", "texts"),
    [
        (
            (
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {"
                "initContainers: [{image: 'init:1'}], containers: [{image: api}, {image: 'r:5000/b'}],"
                "ephemeralContainers: [{image: debug}]}}}"
            ),
            ["init:1", "api", "r:5000/b", "debug"],
        ),
        (
            (
                "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n"
                "spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: job}]}}}}}"
            ),
            ["job"],
        ),
        (
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {image: old}, annotations: {image: old}}\n"
                "spec: {containers: [{image: api}], volumes: [{image: {reference: data, pullPolicy: Always}}]}"
            ),
            ["api", "data"],
        ),
        (  # Knative
            (
                "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n"
                "spec: {template: {metadata: {labels: {image: old}}, spec: {containers: [{image: api}]}}}"
            ),
            ["api"],
        ),
        (  # Argo Workflows
            (
                "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: a}\n"
                "spec: {templates: [{container: {image: step}}, {script: {image: script}}, {sidecars: [{image: side}]},"
                " {container: {image: '{{inputs.parameters.image}}'}}]}"
            ),
            ["step", "script", "side"],
        ),
        (  # KEDA
            (
                "apiVersion: keda.sh/v1alpha1\nkind: ScaledJob\nmetadata: {name: a}\n"
                "spec: {jobTargetRef: {template: {spec: {containers: [{image: worker}]}}}}"
            ),
            ["worker"],
        ),
        (  # Tekton
            (
                "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: a}\n"
                "spec: {stepTemplate: {image: base}, steps: [{image: build}], sidecars: [{image: side}]}"
            ),
            ["base", "build", "side"],
        ),
        (
            "spec: {imageName: 'pg:15', sidecarImage: side, proxy_image: proxy, init-image: init}",
            ["pg:15", "side", "proxy", "init"],
        ),
        ("spec: {images: [a, 'b:1'], extraImages: [c]}", ["a", "b:1", "c"]),
        ("spec: {image: {repository: r.io/api, tag: 1.5}}", ["r.io/api:1.5"]),
        ("spec: {image: {registry: r.io, repository: api, tag: v1}}", ["r.io/api:v1"]),
        ("spec: {image: {name: api, pullPolicy: Always}, imagePullPolicy: always, imagePullSecrets: [{name: x}]}", []),
        ("spec: {image: Not A Reference}", []),
        ("spec: {image: [{image: inner}]}", ["inner"]),
        ("spec: {image: null}", []),
        ("status: {image: old}\nspec: {image: new}", ["new"]),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {image: api}", []),
        (
            (
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n"
                "spec: {versions: [{schema: {image: api}}]}"
            ),
            [],
        ),
    ],
)
def test_references_are_found_where_resources_put_them(resource: str, texts: list[str]) -> None:
    assert _texts(resource) == texts


def test_a_use_says_where_it_stands() -> None:
    manifest = _one(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: api\n    image: team/api:1\n"
    )
    (use,) = image_uses(manifest)
    assert use.pointer == ("spec", "containers", 0, "image")
    assert (str(use.where), use.where.text) == ("k8s/x.yaml:7:12", "image: team/api:1")


def test_a_rendered_use_names_the_template() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: api}]}\n"
    (manifest,) = parse(text, path="x.yaml", rendered_from="k8s/x.yaml.j2")
    assert str(image_uses(manifest)[0].where) == "k8s/x.yaml.j2"


def test_the_user_declares_places_of_unusual_resources() -> None:
    text = "spec: {steps: [{uses: a, with: {x: b}}, {uses: 'no image'}], image: c, deep: {any: {thing: d}}}"
    assert _texts(text, "spec.steps.*.uses") == ["c", "a"]
    assert _texts(text, "$.spec.steps[0].uses", "spec.steps.0.with.x") == ["c", "a", "b"]
    assert _texts(text, "spec.deep.*.thing", "spec.image", "spec.nothing.here") == ["c", "d"]


@pytest.mark.parametrize("path", ["", "spec..image", ".", "spec."])
def test_a_declared_place_must_be_a_path(path: str) -> None:
    with pytest.raises(InputError, match="is not a path to an image"):
        _texts("spec: {}", path)


def test_a_replaced_reference_keeps_the_form_it_had() -> None:
    manifest = _one(
        "apiVersion: x.io/v1\nkind: T\nmetadata: {name: a}\nspec:\n  one: {image: api}\n"
        "  two: {image: {repository: api, tag: latest, pullPolicy: Always}}\n"
        "  three: {image: {registry: docker.io, repository: api}}\n  images: [api, other]\n"
    )
    new = "localhost:5000/api:dev-1"
    replaced = replace_images(manifest, {"api": new, "api:latest": new, "docker.io/api": new}).document["spec"]
    assert replaced == {
        "one": {"image": new},
        "two": {"image": {"repository": "localhost:5000/api", "pullPolicy": "Always", "tag": "dev-1"}},
        "three": {"image": {"registry": "localhost:5000", "repository": "api", "tag": "dev-1"}},
        "images": [new, "other"],
    }


def test_a_digest_goes_where_the_mapping_has_a_place_for_it() -> None:
    hexadecimal = "ab" * 32
    new = f"r.io/api@sha256:{hexadecimal}"

    def replaced(image: dict[str, str], old: str) -> Any:
        manifest = manifest_of(
            {"apiVersion": "x.io/v1", "kind": "T", "metadata": {"name": "a"}, "image": image}, path="x"
        )
        return replace_images(manifest, {old: new}).document["image"]

    assert replaced({"repository": "api", "tag": "1"}, "api:1") == {
        "repository": "r.io/api",
        "tag": f"latest@sha256:{hexadecimal}",
    }
    old = f"api@sha256:{'cd' * 32}"
    assert replaced({"repository": "api", "digest": f"sha256:{'cd' * 32}"}, old) == {
        "repository": "r.io/api",
        "digest": f"sha256:{hexadecimal}",
    }


def test_built_images_are_not_pulled_though_the_manifest_says_always() -> None:
    manifest = _one(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n"
        "  - {image: 'api:dev-1', imagePullPolicy: Always}\n  - {image: 'api:dev-1', imagePullPolicy: Never}\n"
        "  - {image: 'api:dev-1'}\n  - {image: other, imagePullPolicy: Always}\n"
    )
    containers = without_forced_pulls(manifest, {"api:dev-1"}).document["spec"]["containers"]
    assert [container.get("imagePullPolicy") for container in containers] == ["IfNotPresent", "Never", None, "Always"]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["api", "api:1", "web", "x y", "", "r:5/api"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "image",
                    "images",
                    "sidecarImage",
                    "containers",
                    "spec",
                    "metadata",
                    "labels",
                    "repository",
                    "tag",
                    "name",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=16,
)


@given(st.dictionaries(st.sampled_from(["spec", "status", "data", "image", "items"]), _values, max_size=4))
def test_replacing_changes_the_named_references_and_nothing_else(content: dict[str, Any]) -> None:
    document = {"apiVersion": "x.io/v1", "kind": "T", "metadata": {"name": "a"}, **content}
    before = copy.deepcopy(document)
    manifest = manifest_of(document, path="x")
    replaced = replace_images(manifest, {"api": "r.io/new:2"})
    assert document == before
    restored = replaced.document
    for use in image_uses(manifest):
        if use.text == "api":
            restored = put(restored, use.pointer, pick(document, use.pointer))
    assert restored == document
    assert [use.text for use in image_uses(replaced)] == [
        "r.io/new:2" if use.text == "api" else use.text for use in image_uses(manifest)
    ]


@given(_values)
def test_replacing_nothing_gives_the_same_document(value: Any) -> None:
    manifest = manifest_of({"apiVersion": "v1", "kind": "T", "metadata": {"name": "a"}, "spec": value}, path="x")
    assert replace_images(manifest, {}).document == manifest.document
