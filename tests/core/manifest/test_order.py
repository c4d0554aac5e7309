"""The order in which objects are applied and removed."""

from devloop.core.manifest import manifest_of, waves
from devloop.core.manifest.order import removal_waves
from devloop.model import ObjectKey

_KINDS = [
    ("example.io/v1", "Thing"),
    ("serving.knative.dev/v1", "Service"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apiregistration.k8s.io/v1", "APIService"),
    ("networking.k8s.io/v1", "Ingress"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apps/v1", "Deployment"),
    ("extensions/v1beta1", "Deployment"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "PersistentVolumeClaim"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("v1", "PersistentVolume"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("networking.k8s.io/v1", "IngressClass"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "Namespace"),
]


def test_what_others_need_is_applied_before_them() -> None:
    manifests = [manifest_of({"apiVersion": v, "kind": k, "metadata": {"name": "a"}}, path="x") for v, k in _KINDS]
    assert [[each.key.kind for each in wave] for wave in waves(manifests)] == [
        ["Namespace"],
        ["PriorityClass", "StorageClass", "IngressClass", "CustomResourceDefinition"],
        ["ServiceAccount", "Role", "ClusterRole", "PersistentVolume"],
        ["Service", "ConfigMap", "Secret", "PersistentVolumeClaim", "RoleBinding"],
        ["Deployment", "Deployment", "Job", "Pod"],
        ["ValidatingWebhookConfiguration", "APIService", "Ingress", "HorizontalPodAutoscaler"],
        ["Thing", "Service", "Gateway"],
    ]
    assert waves([]) == ()


def test_what_cleans_up_is_removed_behind_what_it_cleans_up() -> None:
    keys = [ObjectKey(group=version.rpartition("/")[0], kind=kind, namespace="", name="a") for version, kind in _KINDS]
    names = [[key.kind for key in wave] for wave in removal_waves(keys, lambda key: key)]
    assert names[0] == ["Thing", "Service", "Gateway"]
    assert names[1] == ["ValidatingWebhookConfiguration", "APIService", "Ingress", "HorizontalPodAutoscaler"]
    assert {"Deployment", "ServiceAccount", "Secret", "StorageClass"} <= set(names[2])
    assert names[3:] == [["CustomResourceDefinition"], ["Namespace"]]
