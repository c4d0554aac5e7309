"""Compose files: what becomes of their fields, and that none is dropped in silence."""

from typing import Any

import pytest
import yaml

from devloop.core.draft import Draft, compose_draft, devfile, notes_of
from devloop.core.draft.compose_file import Variables, dotenv
from devloop.core.draft.model import DraftRule, DraftSync
from devloop.errors import InputError
from tests.init.making import tree

WEB = """=== web/Dockerfile
FROM python
WORKDIR /app
COPY src src
COPY conf.json .
=== web/src/app.py
x
=== web/conf.json
{}
"""


def drafted(services: str, rest: str = "", files: str = WEB) -> Draft:
    """Return the draft of a Compose file with these services."""
    inner = "".join(f"  {line}\n" for line in services.splitlines())
    return compose_draft(tree(f"=== compose.yaml\nservices:\n{inner}{rest}{files}"), "compose.yaml")


def objects(draft: Draft, name: str) -> dict[str, Any]:
    """Return the manifests of a service, by kind; those of templates without what they include."""
    text = next(text for path, text in draft.files.items() if path.startswith(f"k8s/{name}.yaml"))
    return {each["kind"]: each for each in yaml.safe_load_all(text.replace("{%", "#"))}


def pod(services: str, rest: str = "", files: str = WEB) -> dict[str, Any]:
    """Return the pod of the first service."""
    (first, *_) = services.partition(":")
    made = objects(drafted(services, rest, files), first)
    workload = made.get("Deployment") or made.get("Job") or made["DaemonSet"]
    found: dict[str, Any] = workload["spec"]["template"]["spec"]
    return found


def container(services: str, rest: str = "", files: str = WEB) -> dict[str, Any]:
    """Return the container of the first service, without its name and image."""
    (found,) = pod(services, rest, files)["containers"]
    return {key: value for key, value in found.items() if key not in {"name", "image"}}


# --- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("command: run --fast 'a b'", {"args": ["run", "--fast", "a b"]}),
        ("command: [run, 1]", {"args": ["run", "1"]}),
        ("entrypoint: /start.sh", {"command": ["/start.sh"]}),
        ("working_dir: /srv", {"workingDir": "/srv"}),
        ("environment: {A: true, B: ''}", {"env": [{"name": "A", "value": "true"}, {"name": "B", "value": ""}]}),
        ("environment: [A=1, B=x=y]", {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}]}),
        ("tty: true\nstdin_open: true", {"stdin": True, "tty": True}),
        ("mem_limit: 512m\ncpus: 0.5", {"resources": {"limits": {"cpu": "0.5", "memory": "512Mi"}}}),
        ("user: '10:20'", {"securityContext": {"runAsUser": 10, "runAsGroup": 20}}),
        (
            "privileged: true\nread_only: true",
            {"securityContext": {"privileged": True, "readOnlyRootFilesystem": True}},
        ),
        ("cap_add: [NET_ADMIN]", {"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}),
        ("pull_policy: always", {"imagePullPolicy": "Always"}),
        ("restart: always", {}),
        ("expose: ['8000-8002']", {"ports": [{"containerPort": port} for port in (8000, 8001, 8002)]}),
        ("ports: ['53:53/udp']", {"ports": [{"containerPort": 53, "protocol": "UDP"}]}),
        (
            "healthcheck: {test: curl localhost, interval: 1m30s, timeout: 500ms, retries: 4}",
            {
                "readinessProbe": {
                    "exec": {"command": ["sh", "-c", "curl localhost"]},
                    "periodSeconds": 90,
                    "timeoutSeconds": 1,
                    "failureThreshold": 4,
                }
            },
        ),
        ("healthcheck: {test: [CMD, a, b], disable: true}", {}),
        ("healthcheck: {test: [NONE]}", {}),
    ],
)
def test_a_field_becomes_one_of_the_container(field: str, expected: dict[str, Any]) -> None:
    found = container("app:\n  image: acme/app:1\n" + "".join(f"  {line}\n" for line in field.splitlines()))

    assert found == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("hostname: box", {"hostname": "box"}),
        ("network_mode: host", {"hostNetwork": True}),
        ("stop_grace_period: 20s", {"terminationGracePeriodSeconds": 20}),
        ("dns: 1.1.1.1", {"dnsConfig": {"nameservers": ["1.1.1.1"]}}),
        ("extra_hosts: ['a:1.2.3.4']", {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a"]}]}),
        ("extra_hosts: {a: 1.2.3.4}", {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a"]}]}),
        (
            "sysctls: {net.core.somaxconn: 1024}",
            {"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}},
        ),
        ("group_add: [33]", {"securityContext": {"supplementalGroups": [33]}}),
    ],
)
def test_a_field_becomes_one_of_the_pod(field: str, expected: dict[str, Any]) -> None:
    found = pod(f"app:\n  image: acme/app\n  {field}\n")

    assert {key: value for key, value in found.items() if key not in {"containers", "enableServiceLinks"}} == expected


@pytest.mark.parametrize(
    "field",
    [
        "ulimits: {nofile: 1}",
        "devices: [/dev/x]",
        "gpus: all",
        "init: true",
        "pull_policy: daily",
        "brand_new: 1",
        "user: app",
    ],
)
def test_a_field_that_means_nothing_to_kubernetes_is_a_comment_with_its_place(field: str) -> None:
    (note,) = notes_of(drafted(f"app:\n  image: acme/app\n  {field}\n"))

    assert note.startswith(f"`services.app.{field.partition(':')[0]}`: not carried over")
    assert note.endswith("(compose.yaml:4)")


def test_fields_of_ones_own_are_passed_over() -> None:
    assert notes_of(drafted("app:\n  image: acme/app\n  x-mine: 1\n", "x-top: {a: 1}\nversion: '3.8'\n")) == ()


def test_an_image_without_a_tag_is_pulled_when_it_is_missing_as_compose_does() -> None:
    assert container("app:\n  image: acme/app\n") == {"imagePullPolicy": "IfNotPresent"}
    assert container("app:\n  image: acme/app:latest\n") == {"imagePullPolicy": "IfNotPresent"}
    assert container("app:\n  build: web\n") == {}


# --- what runs -------------------------------------------------------------------------------------------------------


def test_replicas_and_modes() -> None:
    text = "a:\n  image: x\n  deploy: {replicas: 3}\nb:\n  image: x\n  scale: 2\n"
    draft = drafted(f"{text}c:\n  image: x\n  deploy: {{mode: global}}\n")

    assert objects(draft, "a")["Deployment"]["spec"]["replicas"] == 3
    assert objects(draft, "b")["Deployment"]["spec"]["replicas"] == 2
    assert "DaemonSet" in objects(draft, "c")


def test_what_others_wait_for_until_it_ends_is_a_job() -> None:
    draft = drafted(
        "app:\n  image: x\n  depends_on:\n    init: {condition: service_completed_successfully}\ninit:\n  image: y\n"
    )

    assert set(objects(draft, "init")) == {"Job"}
    assert {each.name: each.services for each in draft.services} == {"app": ("init",), "init": ()}


def test_a_service_without_ports_has_a_name_all_the_same() -> None:
    spec = objects(drafted("app:\n  image: acme/app\n"), "app")["Service"]["spec"]

    assert spec == {"clusterIP": "None", "selector": {"app": "app"}}


def test_the_ports_of_well_known_images_and_of_expose_are_there() -> None:
    draft = drafted(
        "db:\n  image: postgres:16\nweb:\n  build: web\n", files=WEB.replace("COPY src", "EXPOSE 7000\nCOPY src")
    )

    assert objects(draft, "db")["Service"]["spec"]["ports"] == [{"port": 5432}]
    assert objects(draft, "web")["Service"]["spec"]["ports"] == [{"port": 7000}]


def test_published_ports_are_forwarded_and_others_are_not() -> None:
    ports = "['8080:80', '127.0.0.1:9000:90', '7000-7001:70-71', '3000', {target: 1, published: '2'}]"
    draft = drafted(f"a:\n  image: x\n  ports: {ports}\nb:\n  image: y\n")

    assert {each.name: each.ports for each in draft.services} == {
        "a": {8080: 80, 9000: 90, 7000: 70, 7001: 71, 3000: 3000, 2: 1},
        "b": {},
    }


# --- what is mounted -------------------------------------------------------------------------------------------------


def test_a_named_volume_is_a_claim_and_one_of_several_services_is_a_service_of_its_own() -> None:
    draft = drafted(
        "a:\n  image: x\n  volumes: ['own:/own', 'both:/both:ro']\nb:\n  image: y\n  volumes: ['both:/both']\n",
        "volumes: {own: , both: }\n",
    )

    assert objects(draft, "a")["PersistentVolumeClaim"]["metadata"]["name"] == "own"
    assert draft.files["k8s/volumes.yaml"].count("kind: PersistentVolumeClaim") == 1
    assert draft.services[0].name == "volumes"


def test_files_become_config_maps_that_follow_them() -> None:
    draft = drafted("a:\n  image: x\n  volumes: ['./a.conf:/etc/a.conf:ro']\n", files="=== a.conf\nx = 1\n")

    assert '{% include "/a.conf" %}' in draft.files["k8s/a.yaml.j2"]
    assert draft.services[0].manifests == ("k8s/a.yaml.j2",)


def test_files_that_look_like_templates_are_copied() -> None:
    draft = drafted("a:\n  image: x\n  volumes: ['./a.conf:/etc/a.conf:ro']\n", files="=== a.conf\nx = {{ y }}\n")

    assert objects(draft, "a")["ConfigMap"]["data"] == {"a.conf": "x = {{ y }}\n"}


def test_sources_that_are_mounted_into_a_built_image_are_synced() -> None:
    (sync,) = drafted("a:\n  build: web\n  volumes: ['./web/src:/app/src', '/app/node_modules']\n").syncs

    assert sync == DraftSync(image="a", source="web/src", destination="/app/src")


@pytest.mark.parametrize("volume", ["/var/run/docker.sock:/x", "~/.aws:/root/.aws", "./missing:/x"])
def test_what_a_cluster_cannot_mount_is_a_comment(volume: str) -> None:
    (note,) = notes_of(drafted(f"a:\n  image: x\n  volumes: ['{volume}']\n"))

    assert f"the mount of `{volume.partition(':')[0]}` is left out" in note


def test_secrets_and_configs_are_mounted_as_files() -> None:
    files = "=== pw\nhidden\n"
    rest = "secrets: {pw: {file: ./pw}}\nconfigs: {c: {content: 'a: 1'}}\n"
    text = "a:\n  image: x\n  secrets: [pw]\n  configs: [{source: c, target: /etc/c.yaml}]\n"

    found = container(text, rest, files)

    assert [(each["mountPath"], each["subPath"]) for each in found["volumeMounts"]] == [
        ("/run/secrets/pw", "pw"),
        ("/etc/c.yaml", "c.yaml"),
    ]


# --- builds ----------------------------------------------------------------------------------------------------------


def test_a_build_with_all_its_options() -> None:
    text = (
        "app:\n  image: acme/app:dev\n  platform: linux/arm64\n  build:\n    context: web\n    target: dev\n"
        "    args: {A: 1, B: }\n    additional_contexts: {lib: ./lib, base: 'docker-image://x'}\n"
        "    ssh: [default]\n    cache_from: [type=gha]\n    network: host\n"
    )
    (image,) = drafted(text, files=WEB.replace("FROM python", "FROM python AS dev")).images

    assert (image.repository, image.context, image.dockerfile) == ("acme/app", "web", "web/Dockerfile")
    assert image.options == {
        "target": "dev",
        "args": {"A": "1"},
        "contexts": {"lib": "lib", "base": "docker-image://x"},
        "ssh": "default",
        "cache_from": "type=gha",
        "platforms": "linux/arm64",
    }
    assert [note.text.partition(":")[0] for note in image.notes] == ["`services.app.build.network`"]
    assert list(image.returned) == ["B"]


def test_services_that_build_the_same_share_an_image() -> None:
    draft = drafted("a:\n  build: web\nb:\n  build: {context: web}\n  image: acme/b\nc:\n  build: web\n")

    assert [each.repository for each in draft.images] == ["acme/b"]
    assert {name: _image(draft, name) for name in "abc"} == dict.fromkeys("abc", "acme/b")


def _image(draft: Draft, name: str) -> str:
    return str(objects(draft, name)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"])


def test_a_dockerfile_inside_the_compose_file_is_written() -> None:
    draft = drafted("a:\n  build:\n    context: web\n    dockerfile_inline: |\n      FROM busybox\n")

    assert draft.files["web/a.Dockerfile"] == "FROM busybox\n"
    assert '@image("web/a.Dockerfile")' in devfile(draft)


def test_a_service_that_can_neither_be_built_nor_pulled_is_a_comment() -> None:
    draft = drafted("a:\n  build: nowhere\nb:\n  image: x\n  depends_on: [a]\n")

    assert [(each.name, each.services) for each in draft.services] == [("b", ())]
    assert [note.partition(":")[0] for note in notes_of(draft)] == ["`a` is not built", "`a` is left out"]


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        (
            "{action: sync, path: web/src, target: /app/src}",
            DraftSync(image="a", source="web/src", destination="/app/src"),
        ),
        (
            "{action: sync, path: ./web/src, target: /app/src, ignore: [tmp]}",
            DraftSync(
                image="a",
                source="web/src",
                destination="/app/src",
                rules=(DraftRule(name="ignore", arguments=("web/src/tmp",)),),
            ),
        ),
        (
            "{action: sync+restart, path: web/conf.json, target: /app/}",
            DraftSync(
                image="a",
                source="web/conf.json",
                destination="/app/conf.json",
                rules=(DraftRule(name="restart", on=("web/conf.json",)),),
            ),
        ),
        (
            "{action: sync+exec, path: web/src, target: /app/src, exec: {command: [kill, -HUP, '1']}}",
            DraftSync(
                image="a",
                source="web/src",
                destination="/app/src",
                rules=(DraftRule(name="run", arguments=("kill -HUP 1",), on=("web/src",)),),
            ),
        ),
        (
            "{action: restart, path: web/src}",
            DraftSync(image="a", source="web/src", rules=(DraftRule(name="restart", on=("web/src",)),)),
        ),
        ("{action: rebuild, path: web/package.json}", None),
    ],
)
def test_a_watch_rule_becomes_a_sync(watch: str, expected: DraftSync | None) -> None:
    syncs = drafted(f"a:\n  build: web\n  develop: {{watch: [{watch}]}}\n").syncs

    if expected is not None:
        assert syncs == (expected,)


# --- one of several files --------------------------------------------------------------------------------------------


def test_an_override_is_taken_over_the_file() -> None:
    override = "=== compose.override.yaml\nservices:\n  a:\n    environment: [B=3]\n    ports: ['2:2']\n"
    draft = drafted("a:\n  image: x\n  environment: {A: 1, B: 2}\n  ports: ['1:1']\n", files=override)

    env = objects(draft, "a")["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {each["name"]: each["value"] for each in env} == {"A": "1", "B": "3"}
    assert draft.services[0].ports == {1: 1, 2: 2}


def test_other_files_are_included_and_extended() -> None:
    files = (
        "=== sub/compose.yaml\nservices:\n  sub: {build: .}\n=== sub/Dockerfile\nFROM busybox\n"
        "=== common.yaml\nservices:\n  common: {image: x, environment: {A: 1}, depends_on: [nothing]}\n"
    )
    draft = drafted(
        "a:\n  extends: {file: common.yaml, service: common}\n  environment: {B: 2}\n",
        "include: [sub/compose.yaml]\n",
        files,
    )

    assert [each.context for each in draft.images] == ["sub"]
    env = objects(draft, "a")["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [each["name"] for each in env] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A ${A}", "1 1"),
        ("${B:-x} ${EMPTY:-x} ${EMPTY-x}", "x x "),
        ("${A:+yes}${B:+no}", "yes"),
        ("$$A ${B:-${A}}", "$A 1"),
        ("${B:?say it}", ""),
    ],
)
def test_variables_are_filled_in(text: str, expected: str) -> None:
    assert Variables({"A": "1", "EMPTY": ""}).filled(text) == expected


def test_env_files_are_read() -> None:
    assert dotenv("A=1\n# B=2\nexport C='x y'\nD=a # b\nE=\nF\n") == {"A": "1", "C": "x y", "D": "a", "E": ""}


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ("a:\n  image: x\n  depends_on: [b]\n", "`a` depends on `b`, which is not there"),
        ("a:\n  image: x\n  secrets: [b]\n", "there is no `b` among the secrets"),
        ("a:\n  extends: b\n", "`a` extends `b`, which is not there"),
        ("a:\n  extends: a\n", "`services.a.extends` must be the name of another service"),
        (
            "a:\n  build: web\n  develop: {watch: [{action: fly, path: x}]}\n",
            "`services.a.develop.watch[0].action` must be",
        ),
    ],
)
def test_a_mistake_has_its_place(services: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        drafted(services)

    assert str(caught.value).startswith(message)
    assert caught.value.where is not None
    assert caught.value.where.line is not None
