"""What Kubernetes's objects become on a real engine: seen from inside the containers, and from outside by `docker`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from devloop.adapters.docker import Engine
from devloop.adapters.docker.cluster.target import DockerCluster
from devloop.adapters.docker.endpoint import Endpoint, find_endpoint
from devloop.adapters.docker.version import EngineVersion
from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Failing, FailureReason
from devloop.core.manifest import parse
from devloop.errors import UnreachableError
from devloop.model import ContainerTarget
from devloop.runtime.ports import ExecExit, ExecOutput, RolloutError
from tests.engine import containers, remove_all, things
from tests.outside import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


class Place:
    """A session on the engine, and what a test does with it."""

    def __init__(self, cluster: DockerCluster, told: list[str]) -> None:
        self.cluster = cluster
        self.told = told

    async def apply(self, text: str, service: str = "web", *, patience: float = 20) -> None:
        manifests = parse(text, path="k8s/all.yaml")
        await self.cluster.apply(service, manifests)
        await self.cluster.wait(service, manifests, lambda _: None, patience=patience)

    async def pod(self, name: str, condition: Callable[[Pod], bool] = lambda pod: pod.ready) -> Pod:
        async with self.cluster.pods() as snapshots:
            async for pods in snapshots:
                for pod in pods:
                    if pod.name.startswith(name) and condition(pod) and not pod.deleting:
                        return pod
        raise AssertionError

    async def pods(self) -> list[Pod]:
        async with self.cluster.pods() as snapshots:
            return [pod for pod in await snapshots.receive() if not pod.deleting]

    async def run(self, pod: Pod, *command: str, container: str | None = None) -> str:
        found = next(each for each in pod.containers if each.name == container or (not container and not each.init))
        target = ContainerTarget(
            namespace=pod.namespace, pod=pod.name, uid=pod.uid, container=found.name, id=found.container_id
        )
        output = b""
        async with self.cluster.exec(target, command) as stream:
            while True:
                match await stream.receive():
                    case ExecOutput(data=data):
                        output += data
                    case ExecExit(code=code):
                        assert code == 0, output
                        return output.decode()

    async def sh(self, pod: Pod, script: str, *, container: str | None = None) -> str:
        return (await self.run(pod, "sh", "-c", script, container=container)).strip()

    async def log(self, pod: Pod, container: str, *, previous: bool = False, lines: int = 1) -> list[str]:
        """Return a log as soon as it has so many lines."""
        target = ContainerTarget(namespace=pod.namespace, pod=pod.name, uid=pod.uid, container=container, id="")
        found: list[str] = []
        with anyio.move_on_after(60):
            while len(found) < lines:
                async with self.cluster.logs(target, follow=False, previous=previous) as log:
                    found = [line.decode().partition(" ")[2] async for line in log]
        return found


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has a limit of time has it on a busy machine too, only a longer one."""
    monkeypatch.setattr("devloop.adapters.docker.cluster.target._FIRST_ANSWERS", 60.0)
    monkeypatch.setattr("devloop.adapters.docker.cluster.target._TAIL_SECONDS", 60.0)


@pytest.fixture
async def place(unique_name: str) -> AsyncIterator[Place]:
    async with opened(unique_name) as found:
        yield found
    remove_all(unique_name)


@asynccontextmanager
async def opened(namespace: str) -> AsyncIterator[Place]:
    told: list[str] = []
    async with (
        Engine() as engine,
        DockerCluster.open(engine, project="shop", namespace=namespace, tell=told.append) as cluster,
    ):
        yield Place(cluster, told)


def deployment(spec: str, *, name: str = "web", more: str = "", replicas: int = 1, metadata: str = "") -> str:
    """Return a Deployment whose pods' spec is `spec`, two spaces deep."""
    inner = "\n".join(f"    {line}" for line in spec.strip("\n").splitlines())
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
{more}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}{metadata}}}
    spec:
      terminationGracePeriodSeconds: 0
{inner}
"""


CAP_NET_BIND_SERVICE = 10  # capabilities(7)

IDLE = """
  containers:
    - {name: app, image: busybox, imagePullPolicy: Never, command: [sleep, "1000"]}
"""


# --- environment and files ---------------------------------------------------------------------------------------


async def test_configuration_reaches_the_environment_and_the_files(place: Place) -> None:
    await place.apply(
        """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello, "app.conf": "a = 1\\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {token: c2VjcmV0}
stringData: {user: admin}
---"""
        + deployment(
            """
  volumes:
    - {name: conf, configMap: {name: settings, items: [{key: app.conf, path: deep/app.conf}]}}
    - {name: keys, secret: {secretName: keys, defaultMode: 0400}}
    - {name: pod, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, 'echo "$0"; sleep 1000', $(SAID)]
      resources: {limits: {memory: 64Mi, cpu: 500m}}
      envFrom: [{configMapRef: {name: settings}, prefix: S_}]
      env:
        - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
        - {name: SAID, value: "$(S_greeting) $$(S_greeting) $(NOBODY)"}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
        - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
        - {name: NONE, valueFrom: {configMapKeyRef: {name: nothing, key: none, optional: true}}}
      volumeMounts:
        - {name: conf, mountPath: /etc/conf}
        - {name: conf, mountPath: /etc/one.conf, subPath: deep/app.conf}
        - {name: keys, mountPath: /keys}
        - {name: pod, mountPath: /pod}
"""
        )
    )
    pod = await place.pod("web")
    said = await place.sh(pod, "echo $TOKEN/$POD/$APP/$LIMIT/${NONE-unset}/$S_greeting")
    assert said == f"secret/{pod.name}/web/64/unset/hello"
    assert await place.log(pod, "app") == ["hello $(S_greeting) $(NOBODY)"]
    assert await place.sh(pod, "cat /etc/conf/deep/app.conf /etc/one.conf /keys/user") == "a = 1\na = 1\nadmin"
    assert await place.sh(pod, "stat -c %a /keys/token; ls /etc/conf") == "400\ndeep"
    assert 'app="web"' in await place.sh(pod, "cat /pod/labels")
    assert await place.sh(pod, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>&-||:") == (
        str(64 * 1024 * 1024)
    )


async def test_parts_of_volumes_are_mounted_by_engines_that_know_whole_ones_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.docker.cluster.things._SUBPATHS_SINCE", (1000, 0))
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {word: one}\n---"
    await place.apply(
        config
        + deployment(
            """
  volumes: [{name: conf, configMap: {name: settings}}, {name: scratch, emptyDir: {}}]
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sleep, "1000"]
      volumeMounts:
        - {name: conf, mountPath: /etc/word, subPath: word}
        - {name: scratch, mountPath: /deep, subPath: a/b}
        - {name: scratch, mountPath: /all}
"""
        )
    )
    pod = await place.pod("web")
    assert await place.sh(pod, "cat /etc/word; echo two > /deep/file; cat /all/a/b/file") == "onetwo"


async def test_a_changed_config_map_reaches_the_files_of_the_running_pod(place: Place) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{word: {word}}}\n---"
    rest = deployment(
        """
  volumes: [{name: conf, configMap: {name: settings}}]
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sleep, "1000"]
      volumeMounts: [{name: conf, mountPath: /conf}]
"""
    )
    await place.apply(config.format(word="one") + rest)
    pod = await place.pod("web")
    await place.apply(config.format(word="two") + rest)
    assert await place.sh(pod, "cat /conf/word") == "two"


async def test_a_missing_config_map_is_told_and_comes_late_enough(place: Place) -> None:
    text = deployment(
        """
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sleep, "1000"]
      envFrom: [{configMapRef: {name: late}}]
"""
    )
    with pytest.raises(RolloutError, match='cannot be set up: configmap "late" not found'):
        await place.apply(text, patience=0)
    await place.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\ndata: {a: b}", service="config")
    await place.apply(text)


# --- pods of several containers ----------------------------------------------------------------------------------


async def test_containers_of_a_pod_share_network_and_volumes_after_its_init_containers(place: Place) -> None:
    await place.apply(
        deployment(
            """
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
    - name: first
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, "umask 0; echo one >> /shared/steps"]
      volumeMounts: [{name: shared, mountPath: /shared}]
    - name: second
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, "echo two >> /shared/steps"]
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      securityContext: {runAsUser: 1234, runAsGroup: 99}
      command: [sh, -c, "echo three >> /shared/steps; exec nc -ll -p 7000 -e cat /shared/steps"]
      env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
      volumeMounts: [{name: shared, mountPath: /shared}]
    - {name: beside, image: busybox, imagePullPolicy: Never, command: [sleep, "1000"]}
"""
        )
    )
    pod = await place.pod("web")
    ask = "until nc 127.0.0.1 7000 < /dev/null 2> /dev/null; do sleep 0.1; done"
    steps = await place.sh(pod, ask, container="beside")
    assert steps.split() == ["one", "two", "three"]
    assert await place.sh(pod, "id -u; id -g; echo $IP", container="app") == f"1234\n99\n{pod.ip}"
    assert await place.sh(pod, "hostname", container="beside") == pod.name


async def test_a_failing_init_container_holds_the_others_back_and_is_named(place: Place) -> None:
    spec = """
  initContainers: [{name: first, image: busybox, imagePullPolicy: Never, command: [sh, -c, "echo no; exit 3"]}]
""" + IDLE.removeprefix("\n")
    with pytest.raises(RolloutError, match=r"`first`.*exit code 3") as error:
        await place.apply(deployment(spec), patience=0)
    assert "no" in error.value.tail
    pod = (await place.pods())[0]
    assert pod.containers[1].container_id == ""


# --- Services ----------------------------------------------------------------------------------------------------


SERVER = """
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, "mkdir /w; hostname > /w/index.html; exec httpd -f -p 8080 -h /w"]
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1, timeoutSeconds: 30}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---"""


async def test_a_service_leads_its_own_port_to_all_ready_pods_by_all_its_names(place: Place) -> None:
    await place.apply(SERVICE + deployment(SERVER, replicas=2))
    await place.apply(deployment(IDLE, name="client"), service="client")
    client = await place.pod("client")
    namespace = place.cluster.namespace
    names = ["web", f"web.{namespace}", f"web.{namespace}.svc", f"web.{namespace}.svc.cluster.local"]
    found = {await place.sh(client, f"wget -q -O - http://{name}") for name in names}
    assert found == {pod.name for pod in await place.pods() if pod.name.startswith("web")}


async def test_a_service_that_goes_with_its_pods_leaves_no_relay_however_long_they_take(place: Place) -> None:
    slow = SERVER.replace("exec httpd -f", "trap : TERM; httpd -f").replace(
        '/w"]', '/w & while :; do sleep 0.1; done"]'
    )
    workload = deployment(slow).replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 3")
    await place.apply(SERVICE + workload)
    assert len(containers(place.cluster.namespace)) > 1
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {word: one}\n"
    await place.cluster.apply("web", parse(config, path="k8s/all.yaml"))
    await anyio.to_thread.run_sync(eventually, lambda: not things(place.cluster.namespace, "container"))


async def test_a_service_leads_to_no_pod_that_is_not_ready(place: Place) -> None:
    spec = SERVER.replace("httpGet: {path: /, port: http}", 'exec: {command: [test, "!", -e, /tmp/broken]}')
    await place.apply(SERVICE + deployment(spec))
    await place.apply(deployment(IDLE, name="client"), service="client")
    client, pod = await place.pod("client"), await place.pod("web")
    await place.sh(pod, "touch /tmp/broken")
    await place.pod("web", lambda pod: not pod.ready)
    ask = "wget -q -O - http://web 2>&1"
    await place.sh(client, f"for i in $(seq 100); do {ask} | grep -q refused && break; sleep 0.1; done")
    assert "refused" in await place.sh(client, "wget -q -O - http://web 2>&1 || true")
    await place.sh(pod, "rm /tmp/broken")
    await place.pod("web")
    until_it_answers = "for i in $(seq 100); do wget -q -O - http://web 2>/dev/null && break; sleep 0.1; done"
    assert await place.sh(client, until_it_answers) == pod.name


async def test_a_relay_is_told_by_a_command_beside_it_where_its_input_ends_with_the_first_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineVersion, "is_podman", True)
    await place.apply(SERVICE + deployment(SERVER))
    await place.apply(SERVICE + deployment(SERVER.replace("mkdir", "mkdir -p")))
    await place.apply(deployment(IDLE, name="client"), service="client")
    client, pod = await place.pod("client"), await place.pod("web")
    assert await place.sh(client, "wget -q -O - http://web") == pod.name


async def test_a_rollout_loses_no_request(place: Place) -> None:
    # Who asked just before the end gets an answer; whoever asks after SIGTERM is told that it is late.
    ending = "trap 'echo late > /w/index.html' TERM; httpd -f -p 8080 -h /w & while :; do wait; done"
    server = deployment(SERVER.replace("exec httpd -f -p 8080 -h /w", ending))
    server = server.replace("terminationGracePeriodSeconds: 0", "terminationGracePeriodSeconds: 3")
    await place.apply(SERVICE + server)
    await place.apply(deployment(IDLE, name="client"), service="client")
    client = await place.pod("client")
    ask = "until [ -e /tmp/stop ]; do wget -q -O - http://web >> /tmp/ok || echo >> /tmp/lost; done"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.sh, client, ask)
        await place.sh(client, "until [ -s /tmp/ok ]; do sleep 0.1; done")
        await place.apply(SERVICE + server.replace("mkdir", "mkdir -p"))
        new = await place.pod("web")
        await place.sh(client, f"until grep -q {new.name} /tmp/ok; do sleep 0.1; done; sleep 1; touch /tmp/stop")
    assert await place.sh(client, "ls /tmp") == "ok\nstop"
    assert int(await place.sh(client, "grep -c late /tmp/ok || :")) <= 1  # it was under way


async def test_a_headless_service_names_the_pods_of_a_stateful_set(place: Place) -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: app
          image: busybox
          imagePullPolicy: Never
          command: [sh, -c, "date >> /data/starts; exec httpd -f -p 8080 -h /data"]
          readinessProbe: {httpGet: {path: /starts, port: 8080}, periodSeconds: 1, timeoutSeconds: 30}
          env: [{name: VERSION, value: "1"}]
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
    await place.apply(text, service="db")
    first, second = await place.pod("db-0"), await place.pod("db-1")
    assert second.created_at > first.created_at
    assert await place.sh(second, "wget -q -O - http://db-0.db:8080/starts | wc -l") == "1"
    assert await place.sh(first, "nslookup db | grep -c '^Address: '") == "2"
    await place.apply(text.replace('"1"', '"2"'), service="db")
    assert await place.sh(await place.pod("db-1"), "wget -q -O - http://db-0.db:8080/starts | wc -l") == "2"
    await place.cluster.remove()
    assert place.told == ["the data of `data-db-0`, `data-db-1` stays; `devloop down --volumes` removes it"]
    await place.apply(text, service="db")
    assert await place.sh(await place.pod("db-0"), "wc -l < /data/starts") == "3"
    await place.cluster.remove_with_volumes()
    assert things(place.cluster.namespace, "volume") == []


# --- probes and restarts -----------------------------------------------------------------------------------------


async def test_a_long_line_and_one_that_is_written_in_pieces_are_lines_of_the_log(place: Place) -> None:
    script = (
        "head -c 40000 /dev/zero | tr '\\\\0' x; echo; printf one; sleep 0.2; echo two; touch /tmp/told; sleep 1000"
    )
    await place.apply(
        deployment(
            f"""
  containers:
    - {{name: app, image: busybox, imagePullPolicy: Never, command: [sh, -c, "{script}"]}}
"""
        )
    )
    pod = await place.pod("web")
    await place.sh(pod, "until [ -e /tmp/told ]; do sleep 0.05; done")
    assert await place.log(pod, "app", lines=2) == ["x" * 40000, "onetwo"]


async def test_a_container_that_ends_starts_again_with_pauses_and_keeps_the_log_before(place: Place) -> None:
    spec = """
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, "echo run; sleep 0.2; exit 4"]
      readinessProbe: {exec: {command: ["false"]}}
"""
    manifests = parse(deployment(spec), path="k8s/all.yaml")
    await place.cluster.apply("web", manifests)
    pod = await place.pod("web", lambda pod: pod.containers[0].restarts >= 2)
    assert pod.containers[0].last is not None
    assert pod.containers[0].last.exit_code == 4
    assert await place.log(pod, "app", previous=True) == ["run"]
    with pytest.raises(RolloutError, match="`app` ends with exit code 4") as error:
        await place.cluster.wait("web", manifests, lambda _: None, patience=0)
    assert error.value.failing.reason is FailureReason.CRASH
    assert error.value.tail == ("run",)


async def test_a_container_that_is_not_alive_is_started_again(place: Place) -> None:
    spec = """
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sleep, "1000"]
      livenessProbe:
        exec: {command: [test, "!", -e, /tmp/dead]}
        periodSeconds: 1
        timeoutSeconds: 30
        failureThreshold: 1
"""
    await place.apply(deployment(spec))
    with anyio.fail_after(30):  # that it is alive need not be known for that
        pod = await place.pod("web")
    await place.sh(pod, "touch /tmp/dead")
    again = await place.pod("web", lambda pod: pod.containers[0].restarts == 1 and pod.ready)
    assert again.uid == pod.uid
    assert again.containers[0].container_id != pod.containers[0].container_id


async def test_a_startup_probe_holds_the_others_back_and_ends_what_does_not_start(place: Place) -> None:
    spec = """
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sh, -c, "sleep 1; touch /tmp/up; sleep 1000"]
      startupProbe: {exec: {command: [cat, /tmp/up]}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 60}
      livenessProbe: {exec: {command: [cat, /tmp/up]}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}
"""
    await place.apply(deployment(spec))
    assert (await place.pod("web")).containers[0].restarts == 0
    never = spec.replace("touch /tmp/up; ", "").replace("failureThreshold: 60", "failureThreshold: 1")
    with pytest.raises(RolloutError, match="its startup probe fails"):
        await place.apply(deployment(never), patience=0.5)


async def test_a_pod_that_never_gets_ready_says_what_its_probe_says(place: Place) -> None:
    spec = SERVER.replace("path: /,", "path: /nothing,")
    with pytest.raises(RolloutError, match=r"does not get ready: its readiness probe fails .*statuscode: 404"):
        await place.apply(deployment(spec), patience=0)


async def test_an_image_that_nobody_has_is_told(place: Place) -> None:
    spec = "\n  containers: [{name: app, image: devloop-nobody-has-this, imagePullPolicy: Never}]\n"
    with pytest.raises(RolloutError) as error:
        await place.apply(deployment(spec), patience=0)
    assert error.value.failing.reason is FailureReason.IMAGE_PULL


async def test_a_program_that_is_not_there_is_told(place: Place) -> None:
    spec = "\n  containers: [{name: app, image: busybox, imagePullPolicy: Never, command: [nothing]}]\n"
    with pytest.raises(RolloutError, match="nothing") as error:
        await place.apply(deployment(spec), patience=0)
    assert isinstance(error.value.failing, Failing)
    assert error.value.failing.reason is FailureReason.START


# --- jobs --------------------------------------------------------------------------------------------------------


async def test_a_job_runs_to_its_end_once_and_not_again(place: Place) -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  completions: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: busybox, imagePullPolicy: Never, command: [echo, done]}]
"""
    await place.apply(text)
    before = {pod.uid for pod in await place.pods()}
    await place.apply(text)
    assert {pod.uid: pod.phase for pod in await place.pods()} == dict.fromkeys(before, "Succeeded")
    assert await place.log(await place.pod("migrate-0", lambda _: True), "app") == ["done"]


async def test_a_job_that_fails_again_and_again_has_failed(place: Place) -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: app, image: busybox, imagePullPolicy: Never, command: [sh, -c, "echo no; exit 1"]}]
"""
    with pytest.raises(RolloutError, match=r"exit code 1|has failed"):
        await place.apply(text, patience=3)
    assert len(await place.pods()) == 2


# --- over sessions -----------------------------------------------------------------------------------------------


async def test_a_later_session_finds_all_and_changes_nothing(unique_name: str) -> None:
    text = SERVICE + deployment(SERVER)
    try:
        async with opened(unique_name) as first:
            await first.apply(text)
        before = {each["Id"] for each in containers(unique_name)}
        async with opened(unique_name) as second:
            assert (await second.pods())[0].ready
            await second.apply(text)
            assert {each["Id"] for each in containers(unique_name)} == before
            objects = {str(each.key): each.status for each in await second.cluster.objects()}
            assert objects == {"service/web": "", "deployment/web": "1/1 ready"}
            await second.cluster.remove()
        assert [things(unique_name, what) for what in ("container", "volume", "network")] == [[], [], []]
    finally:
        remove_all(unique_name)


class Proxy:
    """A way to the engine that can be cut."""

    def __init__(self, path: Path) -> None:
        self.endpoint = Endpoint(host=f"unix://{path}", origin="the test")
        self._path = path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        engine = await asyncio.open_unix_connection(find_endpoint().socket)
        self._writers |= {writer, engine[1]}
        await asyncio.gather(self._pass_on(reader, engine[1]), self._pass_on(engine[0], writer))

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()


async def test_an_engine_that_goes_away_and_comes_back_is_gone_on_with(unique_name: str, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "engine.sock")
    await proxy.serve()
    try:
        async with (
            Engine(proxy.endpoint) as engine,
            DockerCluster.open(engine, project="shop", namespace=unique_name) as cluster,
        ):
            place = Place(cluster, [])
            await place.apply(SERVICE + deployment(SERVER))
            before = await place.pod("web")
            proxy.cut()
            with pytest.raises(UnreachableError):
                await cluster.objects()
            assert [pod.uid for pod in await place.pods()] == [before.uid]
            await proxy.serve()
            await place.apply(SERVICE + deployment(SERVER.replace("mkdir", "mkdir -p")))
            await place.pod("web", lambda pod: pod.ready and pod.uid != before.uid)
    finally:
        proxy.cut()
        remove_all(unique_name)


async def test_two_sessions_at_once_agree_on_what_was_applied_last(place: Place) -> None:
    await place.apply(deployment(SERVER))
    changed = deployment(SERVER.replace("mkdir", "mkdir -p"))
    async with opened(place.cluster.namespace) as other:
        await other.apply(changed)
        manifests = parse(changed, path="k8s/all.yaml")
        with anyio.fail_after(60):
            await place.cluster.wait("web", manifests, lambda _: None, patience=20)
            while len(here := await uids(place)) != 1 or here != await uids(other):  # noqa: ASYNC110 - two views
                await anyio.sleep(0.05)


async def uids(place: Place) -> list[str]:
    return [pod.uid for pod in await place.pods()]


async def test_what_has_no_effect_is_said_once_by_name(place: Place) -> None:
    text = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec: {podSelector: {}}
---""" + deployment("  nodeSelector: {disk: fast}\n" + IDLE.removeprefix("\n"))
    await place.apply(text)
    await place.apply(text)
    assert place.told == [
        "`networkpolicy/closed` has no effect here: all pods of a namespace share one network",
        "`nodeSelector` of `deployment/web` has no effect here: there is one machine, and all pods run on it",
    ]


async def test_a_pods_port_is_reached_from_inside_where_its_address_is_not_here(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devloop.adapters.docker.cluster.target.is_here", lambda _: False)
    await place.apply(deployment(SERVER))
    pod = await place.pod("web")
    assert place.cluster.address(pod, 8080) is None
    async with place.cluster.connect(pod, 8080) as stream:
        await stream.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join([piece async for piece in stream])
    assert pod.name.encode() in answer


async def test_limits_and_rights_are_the_engines(place: Place) -> None:
    spec = """
  hostAliases: [{ip: 10.1.2.3, hostnames: [elsewhere]}]
  containers:
    - name: app
      image: busybox
      imagePullPolicy: Never
      command: [sleep, "1000"]
      workingDir: /tmp
      resources: {limits: {cpu: 250m, memory: 32Mi}}
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
"""
    await place.apply(deployment(spec))
    pod = await place.pod("web")
    assert await place.sh(pod, "pwd; grep elsewhere /etc/hosts | cut -f1") == "/tmp\n10.1.2.3"
    host: Any = next(each["HostConfig"] for each in containers(place.cluster.namespace))
    assert (host["NanoCpus"], host["Memory"], host["ReadonlyRootfs"]) == (250_000_000, 32 * 1024 * 1024, True)
    rights = await place.sh(pod, "grep -E 'CapPrm|NoNewPrivs' /proc/self/status | cut -f2")
    assert [int(each, 16) for each in rights.split()] == [1 << CAP_NET_BIND_SERVICE, 1]
