"""What objects need of one another, and the edges between services that follow from it."""

from devloop.core.graph import Graph, Node, ServiceDetail
from devloop.core.manifest import facts, manifest_of, parse
from devloop.core.needs import needs, with_object_edges
from devloop.declarations import Declaration
from devloop.errors import Where
from devloop.model import Kind, NodeId, ServiceSpec

_USER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  template:
    spec:
      serviceAccountName: runner
      priorityClassName: high
      imagePullSecrets: [{name: pull}]
      initContainers: [{name: i, envFrom: [{secretRef: {name: first}}, {configMapRef: {name: maybe, optional: true}}]}]
      containers:
      - name: api
        env:
        - {name: A, valueFrom: {configMapKeyRef: {name: settings, key: a}}}
        - {name: B, valueFrom: {secretKeyRef: {name: secrets, key: b, optional: true}}}
        - {name: C, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
      volumes:
      - {name: v, configMap: {name: files}}
      - {name: s, secret: {secretName: tls}}
      - {name: d, persistentVolumeClaim: {claimName: data}}
      - {name: p, projected: {sources: [{secret: {name: inner}}, {serviceAccountToken: {path: t}}]}}
      - {name: e, emptyDir: {}}
"""


def _needs(text: str) -> list[str]:
    return [f"{need.kind} {need.name}" for manifest in parse(text, path="x.yaml") for need in needs(manifest)]


def test_a_pod_needs_what_it_names() -> None:
    assert sorted(_needs(_USER)) == [
        "ConfigMap files",
        "ConfigMap settings",
        "Namespace shop",
        "PersistentVolumeClaim data",
        "PriorityClass high",
        "Secret first",
        "Secret inner",
        "Secret pull",
        "Secret tls",
        "ServiceAccount runner",
    ]


def test_other_kinds_need_classes_roles_and_accounts() -> None:
    assert _needs(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\n"
        "spec: {volumeClaimTemplates: [{spec: {storageClassName: fast}}]}\n---\n"
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\n"
        "spec: {storageClassName: '', volumeName: pv}\n---\n"
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\n"
        "roleRef: {kind: ClusterRole, name: view}\n---\n"
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {ingressClassName: nginx}\n---\n"
        "apiVersion: v1\nkind: Secret\nmetadata: {name: t, annotations: {kubernetes.io/service-account.name: acc}}\n"
    ) == ["StorageClass fast", "PersistentVolume pv", "ClusterRole view", "IngressClass nginx", "ServiceAccount acc"]


def test_half_written_objects_need_nothing_more() -> None:
    pod = {"containers": [1], "volumes": {"a": 1}, "imagePullSecrets": "x"}
    specs: list[object] = [None, [], {"template": 3}, {"template": {"spec": pod}}]
    for spec in specs:
        for version, kind in (("apps/v1", "StatefulSet"), ("v1", "Pod"), ("networking.k8s.io/v1", "Ingress")):
            document = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": spec}
            assert list(needs(manifest_of(document, path="x"))) == []


def _service(name: str, text: str) -> Node:
    node = NodeId(Kind.SERVICE, name)
    manifests = parse(text, path=f"k8s/{name}.yaml")
    declaration = Declaration(
        id=node,
        argument=name,
        spec=ServiceSpec(manifests=()),
        function=lambda: None,
        parameters=(),
        where=Where(path="devfile.py"),
        folder="",
    )
    detail = ServiceDetail(manifests=manifests, facts=facts(manifests, namespace="dev"), images=())
    return Node(id=node, declaration=declaration, detail=detail)


def _edges(**services: str) -> dict[str, list[str]]:
    nodes = with_object_edges([_service(name, text) for name, text in services.items()], "dev")
    assert Graph.of(nodes, {}).nodes.keys() == {node.id for node in nodes}
    return {node.id.name: [f"{edge.to.name}: {edge.reason} at {edge.where}" for edge in node.edges] for node in nodes}


_SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: credentials}\n"
_POD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
    "spec: {containers: [{name: c, envFrom: [{secretRef: {name: credentials}}]}]}\n"
)


def test_a_service_comes_after_those_whose_objects_it_needs() -> None:
    assert _edges(api=_POD, db=_SECRET) == {"api": ["db: secret/credentials at k8s/api.yaml:4:60"], "db": []}


def test_an_object_of_another_namespace_is_another() -> None:
    elsewhere = _SECRET.replace("{name:", "{namespace: other, name:")
    assert _edges(api=_POD, db=elsewhere) == {"api": [], "db": []}
    assert _edges(api=_POD, db=_SECRET.replace("{name:", "{namespace: dev, name:"))["api"] != []


def test_a_custom_resource_comes_after_its_definition_and_an_object_after_its_namespace() -> None:
    definition = (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.org}\n"
        "spec: {group: example.org, names: {kind: Gadget}}\n"
    )
    gadget = "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: g, namespace: tools}\n"
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: tools}\n"
    assert _edges(gadget=gadget, operator=definition, spaces=space)["gadget"] == [
        "operator: kind Gadget at k8s/gadget.yaml:2:7",
        "spaces: namespace/tools at k8s/gadget.yaml:3:32",
    ]


def test_what_needs_one_another_is_no_circle() -> None:
    config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    other = _POD.replace("secretRef: {name: credentials}", "configMapRef: {name: settings}").replace(
        "{name: p}", "{name: q}"
    )
    edges = _edges(api=_POD + config, db=_SECRET + "---\n" + other)
    assert edges == {"api": ["db: secret/credentials at k8s/api.yaml:4:60"], "db": []}
