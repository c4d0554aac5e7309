"""Projects as people have them, run with the devfile that `devloop init` writes: nobody touches it in between."""

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.project import Project
from tests.outside import eventually

PAGE = "<h1>first</h1>\n"
DOCKERFILE = """\
FROM busybox
WORKDIR /srv
COPY www /www
EXPOSE 8080
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""
WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: $IMAGE-web, ports: [{name: http, containerPort: 8080}]}]
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: $PORT, targetPort: http}]}
"""
SKAFFOLD = """\
apiVersion: skaffold/v4beta11
kind: Config
metadata: {name: e2e}
build:
  artifacts:
    - {image: $IMAGE-base, context: base}
    - image: $IMAGE-web
      context: web
      requires: [{image: $IMAGE-base, alias: BASE}]
      docker: {buildArgs: {GREETING: plain}}
      sync: {manual: [{src: 'www/**', dest: /www, strip: www/}]}
manifests: {rawYaml: ['k8s/*.yaml']}
portForward: [{resourceType: deployment, resourceName: web, port: http, localPort: $PORT}]
profiles:
  - name: loud
    patches: [{op: replace, path: /build/artifacts/1/docker/buildArgs/GREETING, value: loud}]
"""
COMPOSE = """\
services:
  web:
    build: ./web
    image: $IMAGE-web
    ports: ["$PORT:8080"]
    environment: {GREETING: "${GREETING:-hello}"}
    volumes: ["./web/site.conf:/etc/site.conf:ro", "data:/data"]
    depends_on:
      store: {condition: service_healthy}
      init: {condition: service_completed_successfully}
    stop_grace_period: 1s
    healthcheck: {test: "wget -q -O- localhost:8080/index.html", interval: 1s}
    develop:
      watch: [{action: sync, path: ./web/www, target: /www}]
  init:
    image: busybox
    command: ["true"]
  store:
    image: busybox
    command: sh -c "mkdir /www; echo kept >/www/value; exec httpd -f -p 8000 -h /www"
    expose: [8000]
    healthcheck: {test: [CMD, wget, -q, -O-, "localhost:8000/value"], interval: 1s}
    configs: [{source: rules, target: /etc/rules}]
    stop_grace_period: 1s
volumes: {data: }
configs: {rules: {content: "allow all"}}
"""


VOLUME = """\
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAMESPACE-data}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: /tmp/NAMESPACE-data, type: DirectoryOrCreate}
  claimRef: {namespace: NAMESPACE, name: data}
"""


@pytest.fixture
def volume(project: Project) -> Iterator[None]:
    """A volume for the claim `data`: the test cluster makes none by itself."""
    made = VOLUME.replace("NAMESPACE", project.cluster.namespace)
    project.cluster.kubectl("apply", "--filename=-", stdin=made)
    yield
    project.cluster.kubectl("delete", "--wait=false", "--filename=-", stdin=made)
    shutil.rmtree(f"/tmp/{project.cluster.namespace}-data", ignore_errors=True)


def begin(project: Project) -> str:
    """Let devloop write the devfile; return it."""
    done = project.run("init")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return (project.folder / "devfile.py").read_text()


def web(project: Project, dockerfile: str = DOCKERFILE) -> None:
    project.write("web/Dockerfile", dockerfile)
    project.write("web/www/index.html", PAGE)


def edited(project: Project) -> None:
    """Change the page: it is in the running pod at once, which stays the same."""
    project.shows(f"{project.url}/index.html", "first")
    before = project.identity()
    project.replace("web/www/index.html", "first", "second")
    project.shows(f"{project.url}/index.html", "second")
    assert project.identity() == before


def test_dockerfile_and_manifests_alone(project: Project) -> None:
    web(project)
    project.write("k8s/web-deployment.yaml", WORKLOAD)
    project.write("k8s/web-service.yaml", SERVICE)
    assert '@sync("web/www")' in begin(project)
    mark = (loop := project.up()).settles()
    edited(project)
    project.replace("web/Dockerfile", "WORKDIR /srv", "WORKDIR /")
    loop.settles(since=mark)
    project.shows(f"{project.url}/index.html", "second")


def test_a_dockerfile_without_any_manifest(project: Project) -> None:
    web(project)
    begin(project)
    own = {
        "devfile.py": ('"web"', f'"web", ref="{project.image}-web"'),
        "k8s/web.yaml": ("image: web", f"image: {project.image}-web"),
    }
    for path, (old, new) in own.items():  # names of its own, as all tests have here
        project.replace(path, old, new)
    project.replace("devfile.py", '"k8s/web.yaml"', f'"k8s/web.yaml", ports={{{project.port}: 8080}}')
    project.up().settles()
    edited(project)


def test_skaffold(project: Project) -> None:
    project.write("skaffold.yaml", SKAFFOLD)
    project.write("base/Dockerfile", "FROM busybox\n")
    web(project, DOCKERFILE.replace("FROM busybox", "ARG BASE\nFROM ${BASE}\nARG GREETING\nENV GREETING=$GREETING"))
    project.write("k8s/web.yaml", WORKLOAD)
    assert 'loud = setting("loud", default=False)' in begin(project)
    loop = project.up()
    loop.settles()
    edited(project)
    assert project.inside_of(project.pod(), "echo $GREETING") == "plain\n"
    loop.stop()
    project.up("--set", "loud=true").settles()
    assert project.inside_of(project.pod(), "echo $GREETING") == "loud\n"


@pytest.mark.usefixtures("volume")
def test_compose(project: Project) -> None:
    project.write("compose.yaml", COMPOSE)
    project.write("web/site.conf", "mode = one\n")
    project.write(".env", "GREETING=moin\n")
    web(project)
    devfile = begin(project)
    assert re.search(r"def web\(store: Service, init: Service\): \.\.\.", devfile)
    project.up().settles()
    edited(project)
    pod = project.pod()
    assert project.read_in(pod, "/etc/site.conf") == "mode = one\n"
    script = "echo $GREETING; touch /data/x && ls /data; wget -q -O- store:8000/value"
    assert project.inside_of(pod, script).split() == ["moin", "x", "kept"]
    assert project.read_in(project.pod("store"), "/etc/rules") == "allow all"
    project.replace("web/site.conf", "one", "two")
    config = {"site.conf": "mode = two\n"}
    eventually(lambda: project.cluster.get("configmap", "web-site-conf")["data"] == config, within=60)
    project.shows(f"{project.url}/index.html", "second")


@pytest.mark.parametrize("overlay", ["dev", "local"])
def test_kustomize(project: Project, overlay: str) -> None:
    web(project)
    project.write("k8s/base/kustomization.yaml", "resources: [web.yaml]\n")
    project.write("k8s/base/web.yaml", f"{WORKLOAD}---\n{SERVICE}")
    project.write(f"k8s/overlays/{overlay}/kustomization.yaml", "resources: [../../base]\ncommonLabels: {stage: x}\n")
    project.write("k8s/overlays/prod/kustomization.yaml", "resources: [../../base]\nnamePrefix: prod-\n")
    assert f'kustomize("k8s/overlays/{overlay}")' in begin(project)
    project.up().settles()
    edited(project)
    assert project.pod()["metadata"]["labels"]["stage"] == "x"
