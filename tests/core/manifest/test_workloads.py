"""What manifests declare: workloads, ports, and the containers that a Service leads to."""

from devloop.core.manifest import facts, parse
from devloop.core.manifest.workloads import ContainerPort, DeclaredPort, Reach, ServiceFacts
from devloop.model import ObjectKey

_SHOP = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: 3
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, tier: web}}
    spec:
      initContainers:
      - {name: migrate, image: api, command: [migrate]}
      - {name: proxy, image: proxy, restartPolicy: Always, ports: [{name: admin, containerPort: 9901}]}
      containers:
      - name: api
        image: api
        args: [serve, 8]
        ports: [{name: http, containerPort: 8000}, {containerPort: 9000, protocol: UDP}]
        readinessProbe: {httpGet: {port: http}}
        livenessProbe: {httpGet: {port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: api-public}
spec:
  selector: {app: api}
  ports:
  - {name: web, port: 80, targetPort: http}
  - {name: admin, port: 81, targetPort: admin}
  - {name: dns, port: 9000, protocol: UDP}
  - {name: nowhere, port: 82, targetPort: missing}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: example.com}
"""


def _facts(text: str, namespace: str = "") -> ServiceFacts:
    return facts(parse(text, path="x.yaml"), namespace=namespace)


def test_a_workload_says_what_its_pods_are() -> None:
    (workload,) = _facts(_SHOP, "dev").workloads
    assert workload.key == ObjectKey(group="apps", kind="Deployment", namespace="dev", name="api")
    assert (workload.replicas, workload.restart_policy) == (3, "Always")
    assert workload.selector == {"app": "api"}
    assert workload.pod_labels == {"app": "api", "tier": "web"}
    migrate, proxy, api = workload.containers
    assert (migrate.init, migrate.sidecar, migrate.command) == (True, False, ("migrate",))
    assert (proxy.init, proxy.sidecar) == (True, True)
    assert (api.init, api.image, api.args, api.command) == (False, "api", ("serve", "8"), None)
    assert api.probes == {"readiness", "liveness"}
    assert api.ports == (ContainerPort(number=8000, name="http"), ContainerPort(number=9000, protocol="UDP"))


def test_a_service_port_leads_to_the_container_that_has_the_target() -> None:
    found = _facts(_SHOP, "dev")
    public, outside = found.services
    (api,) = public.workloads
    assert {port.name: port.reaches for port in public.ports} == {
        "web": (Reach(workload=api, container="api", number=8000),),
        "admin": (Reach(workload=api, container="proxy", number=9901),),
        "dns": (Reach(workload=api, container="api", number=9000),),
        "nowhere": (),
    }
    assert (outside.workloads, outside.ports) == ((), ())


def test_a_numeric_target_leads_to_the_only_container_though_it_declares_no_port() -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {app: p}}\n"
        "spec: {containers: [{name: c, image: x}]}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"
        "spec: {selector: {app: p}, clusterIP: None, ports: [{port: 80}]}\n"
    )
    (service,) = _facts(text).services
    assert service.headless
    assert [(reach.container, reach.number) for reach in service.ports[0].reaches] == [("c", 80)]


def test_a_service_selects_in_its_own_namespace_only() -> None:
    text = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: a, labels: {app: p}}\n"
        "spec: {containers: [{name: c, image: x}]}\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: b}\n"
        "spec: {selector: {app: p}, ports: [{port: 80}]}\n"
    )
    assert _facts(text).services[0].workloads == ()


def test_the_first_service_gives_the_host_and_tcp_ports_can_be_forwarded() -> None:
    found = _facts(_SHOP, "dev")
    key = ObjectKey(group="", kind="Service", namespace="dev", name="api-public")
    assert found.host == "api-public"
    assert found.ports == (
        DeclaredPort(number=80, name="web", service=key),
        DeclaredPort(number=81, name="admin", service=key),
        DeclaredPort(number=82, name="nowhere", service=key),
    )
    elsewhere = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: other}\nspec: {}\n"
    assert _facts(elsewhere, "dev").host == "s.other"
    assert _facts("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\n").host is None


def test_a_job_has_no_replicas_and_no_selector_of_its_own() -> None:
    text = (
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\n"
        "spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}\n"
    )
    (job,) = _facts(text).workloads
    assert (job.replicas, job.selector, job.restart_policy) == (None, {}, "Never")


def test_half_written_manifests_have_facts_too() -> None:
    for spec in (
        "null",
        "{}",
        "{template: null}",
        "{template: {spec: {containers: [1, {name: 3, ports: [{}, 4]}]}}}",
        "[]",
    ):
        _facts(f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {spec}\n")
        _facts(f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {spec}\n")
    _facts("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: x}, 3], selector: [a]}\n")
