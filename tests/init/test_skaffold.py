"""Skaffold's configurations: what becomes of their fields, and that none is dropped in silence."""

import pytest

from devloop.core.draft import Draft, devfile, notes_of, skaffold_draft
from devloop.core.draft.model import DraftRule, DraftSync
from devloop.errors import InputError
from tests.init.making import tree

FILES = """=== app/Dockerfile
FROM python AS dev
ARG BASE
ARG MODE
WORKDIR /srv
COPY . .
FROM dev
=== app/src/main.py
x
=== app/static/css/a.css
x
=== app/main.py
x
=== k8s/app.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: main, image: app, ports: [{name: web, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{port: 80}]}
"""


def drafted(text: str, files: str = FILES, version: str = "v4beta11") -> Draft:
    """Return the draft of a configuration."""
    config = f"apiVersion: skaffold/{version}\nkind: Config\n{text}"
    return skaffold_draft(tree(f"=== skaffold.yaml\n{config}{files}"), "skaffold.yaml")


def artifact(text: str = "", files: str = FILES) -> Draft:
    """Return the draft of a configuration with one artifact that has these further lines."""
    lines = "".join(f"      {line}\n" for line in text.splitlines())
    return drafted(f"build:\n  artifacts:\n    - image: app\n      context: app\n{lines}", files)


# --- builds ----------------------------------------------------------------------------------------------------------


def test_a_docker_artifact_with_all_its_options() -> None:
    (image,) = artifact(
        "platforms: [linux/arm64]\ndocker:\n  target: dev\n  buildArgs: {MODE: a}\n  ssh: default\n"
        "  cacheFrom: [x, z]\n  secrets: [{id: a, src: a.txt}, {id: b, env: B}]\n"
        "  cliFlags: [--platform=linux/amd64, --squash]\n"
    ).images

    assert (image.name, image.context, image.dockerfile) == ("app", "app", "app/Dockerfile")
    assert image.options == {
        "platforms": "linux/amd64",
        "target": "dev",
        "args": {"MODE": "a"},
        "secrets": ("id=a,src=a.txt", "id=b,env=B"),
        "ssh": "default",
        "cache_from": ("x", "z"),
    }
    assert [each.text for each in image.notes] == [
        "`build.artifacts[0].docker.cliFlags`: `--squash` is not carried over: devloop's builds take no such option"
    ]


def test_arguments_from_the_environment_are_code() -> None:
    text = devfile(artifact("docker: {buildArgs: {MODE: '{{.MODE}}', BASE: 'a-{{.TAG}}'}}\n"))

    assert 'return {"MODE": environ.get("MODE", ""), "BASE": f"a-{environ.get(\'TAG\', \'\')}"}' in text
    assert text.index("from os import environ") < text.index("from devloop import")


def test_a_required_artifact_becomes_an_argument_where_the_dockerfile_takes_one() -> None:
    base = "=== base/Dockerfile\nFROM busybox\n"
    build = "build:\n  artifacts:\n    - {image: base, context: base}\n    - image: app\n      context: app\n"
    build += "      requires: [{image: base, %s}]\n"

    assert drafted(build % "alias: BASE", FILES + base).images[1].bases == {"BASE": "base"}
    assert drafted(build % "alias: OTHER", FILES + base).images[1].bases == {}


@pytest.mark.parametrize(
    ("builder", "expected"),
    [
        (
            "custom: {buildCommand: ./b.sh, dependencies: {paths: [src], ignore: ['*.md']}}",
            'inputs=["app/src", "!app/*.md"]',
        ),
        ("custom: {buildCommand: ./b.sh}", 'sh(\n        "./b.sh",\n        cwd="app"'),
        (
            "buildpacks: {builder: 'x/y:z', env: [A=1]}",
            'sh(f"pack build {ref} --path . --builder x/y:z --env A=1", cwd="app")',
        ),
        ("jib: {project: api}", 'sh(f"./mvnw -pl api compile jib:dockerBuild -Dimage={ref}", cwd="app")'),
        ("jib: {type: gradle}", 'sh(f"./gradlew jibDockerBuild --image={ref}", cwd="app")'),
        ("ko: {main: ./cmd}", 'sh(f"docker tag $(ko build --local --push=false ./cmd) {ref}", cwd="app")'),
    ],
)
def test_other_builders_are_custom_ones(builder: str, expected: str) -> None:
    assert expected in devfile(artifact(builder))


def test_kaniko_builds_the_same_dockerfile() -> None:
    (image,) = artifact("kaniko: {dockerfile: Dockerfile}").images

    assert (image.dockerfile, image.notes[0].text) == (
        "app/Dockerfile",
        "`build.artifacts[0].kaniko`: is built on this machine's engine, by the same Dockerfile",
    )


@pytest.mark.parametrize(
    ("sync", "expected"),
    [
        ("manual: [{src: 'src/**', dest: .}]", [("app/src", "/srv/src")]),
        ("manual: [{src: 'src/**/*.py', dest: /x, strip: src/}]", [("app/src", "/x")]),
        ("manual: [{src: 'static/css/*.css', dest: /x, strip: static}]", [("app/static/css", "/x/css")]),
        ("manual: [{src: '*.py', dest: /x}]", [("app/main.py", "/x/main.py")]),
        ("manual: [{src: main.py, dest: /x}]", [("app/main.py", "/x/main.py")]),
        ("infer: ['src/**']", [("app/src", None)]),
    ],
)
def test_sync_rules(sync: str, expected: list[tuple[str, str | None]]) -> None:
    assert [(each.source, each.destination) for each in artifact(f"sync:\n  {sync}\n").syncs] == expected


def test_sync_of_all_that_is_inferred_names_what_is_there() -> None:
    (sync,) = artifact("sync: {infer: ['**/*.py']}\n").syncs

    assert sync == DraftSync(
        image="app",
        rules=(DraftRule(name="copy", arguments=("app/main.py",)), DraftRule(name="copy", arguments=("app/src",))),
    )


def test_commands_after_a_sync_run_in_the_container_or_are_tasks() -> None:
    hooks = "  hooks:\n    after:\n      - container: {command: [touch, /x]}\n      - host: {command: [echo, done]}\n"
    draft = artifact(f"sync:\n  manual: [{{src: src, dest: /x}}]\n{hooks}")

    assert draft.syncs[0].rules == (DraftRule(name="run", arguments=("touch /x",), on=("app/src",)),)
    assert [(each.name, each.commands[0].text) for each in draft.tasks] == [("app-after-sync", "echo done")]


# --- deploys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("v4beta11", "manifests: {rawYaml: ['k8s/*.yaml']}\n"),
        ("v4beta11", "manifests: {rawYaml: [k8s/app.yaml]}\n"),
        ("v4beta11", "deploy: {kubectl: {}}\n"),
        ("v4beta11", ""),
        ("v3", "manifests: {rawYaml: ['**/app.yaml']}\n"),
        ("v2beta29", "deploy: {kubectl: {manifests: ['k8s/**']}}\n"),
        ("v2beta29", "deploy: {kubectl: {}}\n"),
    ],
)
def test_manifests_of_all_versions(version: str, text: str) -> None:
    assert [each.manifests for each in drafted(text, version=version).services] == [("k8s/app.yaml",)]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        ("{resourceType: service, resourceName: app, port: 80, localPort: 9000}", {9000: 80}),
        ("{resourceType: deployment, resourceName: app, port: 8080}", {8080: 8080}),
        ("{resourceType: Deployment, resourceName: app, port: web, localPort: 1234}", {1234: "web"}),
        ("{resourceType: service, resourceName: app, port: 80}", {8080: 80}),
        ("{resourceType: service, resourceName: app, port: 81}", None),
    ],
)
def test_port_forwards(forward: str, expected: dict[int, int | str] | None) -> None:
    draft = drafted(f"portForward:\n  - {forward}\n")

    assert draft.services[0].ports == expected
    if expected is None:
        assert "the port-forward of 8081 is left out" in "\n".join(notes_of(draft)) or "left out" in str(
            notes_of(draft)
        )


def test_releases_of_helm_with_values_of_all_kinds() -> None:
    release = (
        "manifests:\n  helm:\n    releases:\n      - name: web\n        chartPath: charts/web\n        namespace: dev\n"
        "        valuesFiles: [a.yaml, b.yaml]\n        setValues: {replicas: 2, ingress.enabled: false}\n"
        "        setValueTemplates: {image.repository: '{{.IMAGE_REPO_app}}', image.tag: '{{.IMAGE_TAG_app}}'}\n"
        "        overrides: {env: [{name: A}]}\n        useHelmSecrets: true\n"
        "      - {name: redis, remoteChart: redis, repo: 'https://example.com/charts', version: 1.2.3}\n"
    )
    text = devfile(drafted(f"build: {{artifacts: [{{image: app, context: app}}]}}\n{release}"))

    assert 'helm("charts/web", values=["a.yaml", "b.yaml"])' in text
    assert 'helm("redis", repository="https://example.com/charts", version="1.2.3")' in text
    assert '"env": [{"name": "A"}],' in text
    assert '"replicas": 2,' in text
    assert '"ingress": {"enabled": False},' in text
    assert '"image": {"repository": app_image.repository, "tag": app_image.tag},' in text
    assert 'project(namespace="dev")' in text
    assert "useHelmSecrets`: not carried over" in text


@pytest.mark.parametrize(
    "text",
    [
        "deploy: {cloudrun: {region: x}}\n",
        "deploy: {docker: {images: [app]}}\n",
        "deploy: {kubeContext: x}\n",
        "deploy: {kubectl: {remoteManifests: [{manifest: x}]}}\n",
        "manifests: {kpt: [x]}\n",
        "resourceSelector: {allow: []}\n",
        "verify: [{name: x}]\n",
        "somethingNew: 1\n",
        "build: {googleCloudBuild: {projectId: x}}\n",
    ],
)
def test_what_has_no_counterpart_is_a_comment_with_its_place(text: str) -> None:
    (note,) = notes_of(drafted(text))

    assert ": not carried over: " in note
    assert note.endswith("(skaffold.yaml:3)")


# --- profiles --------------------------------------------------------------------------------------------------------


def test_profiles_that_differ_in_one_option_share_a_function() -> None:
    text = devfile(
        drafted(
            "build:\n  artifacts:\n    - {image: app, context: app}\nprofiles:\n"
            "  - name: dev\n    build: {artifacts: [{image: app, context: app, docker: {target: dev}}]}\n"
            "  - name: ci\n    build: {artifacts: [{image: app, context: app, docker: {buildArgs: {MODE: ci}}}]}\n"
        )
    )

    assert 'target="dev" if dev else None' in text
    assert 'args={"MODE": "ci"} if ci else None' in text
    assert text.count("def app_image(): ...") == 1


def test_a_profile_with_more_nodes_has_them_below_its_switch() -> None:
    other = "=== db.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: db}\n"
    text = devfile(
        drafted("profiles:\n  - name: db\n    manifests: {rawYaml: ['k8s/*.yaml', db.yaml]}\n", FILES + other)
    )

    assert 'if db:\n\n    @service("db.yaml")\n    def db_service(): ...\n' in text


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ("{op: replace, path: /build/artifacts/0/docker/target, value: dev}", "dev"),
        ("{path: /build/artifacts/0/docker/target, value: dev}", "dev"),
        ("{op: remove, path: /build/artifacts/0/docker/target}", None),
        ("{op: add, path: /build/artifacts/-, value: {image: b, context: app}}", "x"),
    ],
)
def test_patches(patch: str, expected: str | None) -> None:
    files = FILES.replace("AS dev", "AS dev\nFROM dev AS x")
    build = "build: {artifacts: [{image: app, context: app, docker: {target: x}}]}\n"

    draft = drafted(f"{build}profiles: [{{name: p, patches: [{patch}]}}]\n", files)

    assert draft.images[0].options.get("target") == "x"
    assert draft.profiles["p"].images[0].options.get("target") == expected


def test_a_patch_that_leads_nowhere_is_a_mistake_with_its_place() -> None:
    with pytest.raises(InputError, match="the patch of `/build/artifacts/7/image` leads nowhere") as caught:
        drafted(
            "profiles:\n  - name: p\n    patches:\n      - {op: replace, path: /build/artifacts/7/image, value: x}\n"
        )

    assert str(caught.value.where) == "skaffold.yaml:6:29"
