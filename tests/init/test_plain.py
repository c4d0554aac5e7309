"""Dockerfiles and manifests alone: which image is whose, which files belong together, what each is called."""

from typing import Any

import pytest

from devloop.core.draft import draft
from devloop.core.draft.tree import gitignore
from devloop.core.patterns import IgnoreRules
from tests.init.making import notes, tree, written

DOCKERFILE = "FROM busybox\n"


def deployment(name: str, image: str, more: str = "") -> str:
    """Return a Deployment on a few lines."""
    labels = f"{{app: {name}}}"
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n"
        f"spec:\n  selector: {{matchLabels: {labels}}}\n  template:\n    metadata: {{labels: {labels}}}\n"
        f"    spec: {{containers: [{{name: main, image: {image}{more}}}]}}\n"
    )


def service(name: str, *ports: int, selector: str | None = None) -> str:
    """Return a Service on a few lines."""
    listed = ", ".join(f"{{name: p{port}, port: {port}}}" for port in ports)
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{selector: {{app: {selector or name}}}, ports: [{listed}]}}\n"
    )


def images(text: str) -> dict[str, str]:
    """Return what the manifests call each image."""
    return {each.name: each.repository for each in draft(tree(text, "shop")).images}


def services(text: str) -> dict[str, Any]:
    """Return the files of each service."""
    return {each.name: each.manifests for each in draft(tree(text, "shop")).services}


# --- images and who names them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dockerfile", "reference", "name"),
    [
        ("api/Dockerfile", "api", "api"),
        ("api/Dockerfile", "ghcr.io/acme/api:v1", "api"),
        ("api/Dockerfile", "localhost:5000/shop-api", "api"),
        ("api/Dockerfile", "acme/api-shop", "api"),
        ("services/api/docker/Dockerfile", "acme/api", "api"),
        ("docker/Dockerfile.api", "acme/api", "api"),
        ("api.Dockerfile", "acme/api", "api"),
        ("api/Containerfile", "acme/api", "api"),
        ("Dockerfile", "acme/anything", "anything"),
        ("Dockerfile", "shop", "shop"),
    ],
)
def test_an_image_is_paired_with_the_manifest_that_names_it(dockerfile: str, reference: str, name: str) -> None:
    text = f"=== {dockerfile}\n{DOCKERFILE}=== k8s/api.yaml\n{deployment('web', reference)}"

    assert images(text) == {name: reference.removesuffix(":v1")}


def test_the_name_of_the_workload_tells_where_the_images_does_not() -> None:
    one = f"=== one/Dockerfile\n{DOCKERFILE}=== two/Dockerfile\n{DOCKERFILE}"
    text = f"{one}=== a.yaml\n{deployment('one', 'acme/x')}=== b.yaml\n{deployment('two', 'acme/y')}"

    assert images(text) == {"one": "acme/x", "two": "acme/y"}


def test_an_official_image_is_nobodys_own() -> None:
    text = f"=== cache/Dockerfile\n{DOCKERFILE}=== cache.yaml\n{deployment('cache', 'redis:7')}"

    assert images(text) == {"cache": "cache"}
    assert notes(text) == "no manifest names this image; if one calls it otherwise, say so: `ref=`"


def test_what_may_be_meant_for_several_is_left_to_the_user() -> None:
    text = f"=== api/Dockerfile\n{DOCKERFILE}"
    text += f"=== a.yaml\n{deployment('a', 'acme/my-api')}=== b.yaml\n{deployment('b', 'acme/api-v2')}"

    assert images(text) == {"api": "api"}
    assert "`api/Dockerfile` may be built for `acme/my-api`, `acme/api-v2`; if so, say `ref=`" in notes(text)


def test_a_context_is_the_folder_that_has_what_the_dockerfile_copies() -> None:
    text = "=== deploy/web/Dockerfile\nFROM busybox\nCOPY src /src\nCOPY web/*.html /www/\n"
    text += "=== src/a\nx\n=== web/index.html\nx\n"

    (image,) = draft(tree(text)).images

    assert (image.context, image.dockerfile) == (".", "deploy/web/Dockerfile")


def test_an_argument_for_the_base_is_given_the_base() -> None:
    text = "=== base/Dockerfile\nFROM busybox\n=== api/Dockerfile\nARG BASE_IMAGE\nFROM $BASE_IMAGE\n"

    assert 'def api_image(base_image: Image):\n    return {"BASE_IMAGE": base_image}\n' in written(text)


def test_a_dockerfile_that_cannot_be_read_is_left_out_with_its_place() -> None:
    text = f"=== api/Dockerfile\nFROM busybox\nCOPPY a b\n=== web/Dockerfile\n{DOCKERFILE}"

    assert images(text) == {"web": "web"}
    assert "`api/Dockerfile` is left out" in notes(text)
    assert "(api/Dockerfile:2)" in notes(text)


# --- manifests that belong together -----------------------------------------------------------------------------------

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
MOUNTS = ", envFrom: [{configMapRef: {name: settings}}]"


def test_what_one_workload_uses_goes_to_its_service() -> None:
    text = (
        f"=== k/a.yaml\n{deployment('api', 'acme/api', MOUNTS)}=== k/b.yaml\n{service('api', 80)}=== k/c.yaml\n{CONFIG}"
    )

    assert services(text) == {"api": ("k/a.yaml", "k/b.yaml", "k/c.yaml")}


def test_what_several_workloads_use_is_a_service_of_its_own() -> None:
    text = f"=== a.yaml\n{deployment('a', 'acme/a', MOUNTS)}=== b.yaml\n{deployment('b', 'acme/b', MOUNTS)}"
    text += f"=== settings.yaml\n{CONFIG}"

    assert services(text) == {"settings": ("settings.yaml",), "a": ("a.yaml",), "b": ("b.yaml",)}


def test_an_ingress_goes_with_the_service_behind_it_and_a_scaler_with_what_it_scales() -> None:
    backend = "{service: {name: api, port: {number: 80}}}"
    ingress = f"kind: Ingress\nmetadata: {{name: all}}\nspec: {{defaultBackend: {backend}}}\n"
    scaler = (
        "kind: HorizontalPodAutoscaler\nmetadata: {name: all}\nspec: {scaleTargetRef: {kind: Deployment, name: api}}\n"
    )
    text = (
        f"=== a.yaml\n{deployment('api', 'acme/api')}---\n{service('api', 80)}=== z.yaml\n{deployment('z', 'acme/z')}"
    )
    text += f"=== i.yaml\napiVersion: networking.k8s.io/v1\n{ingress}=== s.yaml\napiVersion: autoscaling/v2\n{scaler}"

    assert services(text) == {"api": ("a.yaml", "i.yaml", "s.yaml"), "z": ("z.yaml",)}


def test_a_file_of_many_workloads_stays_one_service_named_by_file_or_project() -> None:
    both = f"{deployment('a', 'acme/a')}---\n{deployment('b', 'acme/b')}"

    assert services(f"=== k8s/backend.yaml\n{both}") == {"backend": ("k8s/backend.yaml",)}
    assert services(f"=== k8s/all.yaml\n{both}") == {"shop": ("k8s/all.yaml",)}


def test_of_variants_for_several_places_the_one_for_development_is_taken() -> None:
    text = "".join(f"=== k8s/{place}/api.yaml\n{deployment('api', 'acme/api')}" for place in ("dev", "prod", "staging"))

    assert services(text) == {"api": ("k8s/dev/api.yaml",)}
    assert "`k8s/prod/api.yaml` is left out: it declares objects that `k8s/dev/api.yaml` declares, too" in notes(text)


def test_yaml_that_is_no_manifest_is_passed_over() -> None:
    other = "=== ci.yaml\njobs: {test: {steps: []}}\n=== kind.yaml\napiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\n"

    assert services(f"=== a.yaml\n{deployment('a', 'acme/a')}{other}metadata: {{name: x}}\n") == {"a": ("a.yaml",)}


def test_manifests_that_are_templates_are_left_to_the_user_and_nothing_is_written_beside_them() -> None:
    text = f"=== api/Dockerfile\n{DOCKERFILE}=== k8s/api.yaml.j2\n{deployment('api', '{{ api_image }}')}"

    assert (services(text), draft(tree(text)).files) == ({}, {})
    assert "`k8s/api.yaml.j2` is a template: write a @service for it" in notes(text)


def test_local_ports_are_given_once() -> None:
    parts = [f"=== {name}.yaml\n{deployment(name, 'acme/x')}---\n{service(name, 80, 9090)}" for name in ("a", "b")]

    found = {each.name: each.ports for each in draft(tree("".join(parts))).services}

    assert found == {"a": {8080: 80, 9090: 9090}, "b": {8081: 80, 9091: 9090}}


def test_names_that_python_or_the_language_has_are_avoided() -> None:
    text = "".join(f"=== {name}.yaml\n{deployment(name, 'acme/x')}" for name in ("import", "sync", "list", "2fa"))

    found = written(text)

    for name in ("import_service", "sync_service", "list_service", "_2fa"):
        assert f"def {name}(): ..." in found


# --- what is not looked at --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "folder", "path", "ignored"),
    [
        ("build/", ".", "a/build/x", True),
        ("/build", ".", "a/build/x", False),
        ("/build", ".", "build/x", True),
        ("*.log", ".", "a/b.log", True),
        ("docs/*.md", ".", "docs/a.md", True),
        ("docs/*.md", ".", "a/docs/a.md", False),
        ("*.yaml\n!k8s.yaml", ".", "k8s.yaml", False),
        ("dist", "web", "web/a/dist/x", True),
        ("dist", "web", "dist/x", False),
        ("# comment\n\nx", ".", "x", True),
    ],
)
def test_gitignore_is_understood(rules: str, folder: str, path: str, ignored: bool) -> None:
    assert IgnoreRules.parse(gitignore(rules, folder)).excludes(path) == ignored
