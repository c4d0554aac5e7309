"""In which order objects are applied and removed, by what their kinds need of one another."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from devloop.core.manifest.objects import Manifest
from devloop.model import ObjectKey

__all__ = ["removal_waves", "waves"]

T = TypeVar("T")

_WAVES: Final[Sequence[Sequence[tuple[str, str]]]] = (
    # Where everything is.
    (("", "Namespace"),),
    # What objects are, and the classes that they name.
    (
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("extensions", "PodSecurityPolicy"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("networking.k8s.io", "IngressClass"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodSecurityPolicy"),
        ("resource.k8s.io", "DeviceClass"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttributesClass"),
    ),
    # Whom tokens and bindings are for (the token of an account that is not there is deleted), limits, disks.
    (
        ("", "LimitRange"),
        ("", "PersistentVolume"),
        ("", "ResourceQuota"),
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "Role"),
    ),
    # What pods use.
    (
        ("", "ConfigMap"),
        ("", "Endpoints"),
        ("", "PersistentVolumeClaim"),
        ("", "Secret"),
        ("", "Service"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("policy", "PodDisruptionBudget"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("resource.k8s.io", "ResourceClaim"),
        ("resource.k8s.io", "ResourceClaimTemplate"),
    ),
    # Pods.
    (
        ("", "Pod"),
        ("", "ReplicationController"),
        *((group, kind) for group in ("apps", "extensions") for kind in ("DaemonSet", "Deployment", "ReplicaSet")),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
    ),
)
_REFERRING: Final = len(_WAVES)
_CUSTOM: Final = len(_WAVES) + 1
_WAVE_OF: Final = {kind: wave for wave, kinds in enumerate(_WAVES) for kind in kinds}
_BUILT_IN: Final = frozenset(
    {
        *("", "admissionregistration.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io"),
        *("authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io"),
        *("discovery.k8s.io", "events.k8s.io", "extensions", "flowcontrol.apiserver.k8s.io", "networking.k8s.io"),
        *("node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io"),
        *("storage.k8s.io", "storagemigration.k8s.io", "apiextensions.k8s.io", "internal.apiserver.k8s.io"),
    }
)


def waves(manifests: Iterable[Manifest]) -> tuple[tuple[Manifest, ...], ...]:
    """Return the manifests in the order to apply them; those of one wave do not need one another.

    Namespaces; definitions and classes; accounts and roles; what pods use (configuration, volumes, Services); pods and
    their controllers; what refers to those (autoscalers, ingresses, webhooks); custom resources, which webhooks judge.
    """
    return _grouped(manifests, lambda each: _wave(each.key.group, each.key.kind))


def removal_waves(items: Iterable[T], key: Callable[[T], ObjectKey]) -> tuple[tuple[T, ...], ...]:
    """Return the items in the order to remove their objects.

    Custom resources go while the controllers that clean up behind them live, then webhooks and the like, which must not
    outlive what answers them; then all others at once, but definitions and, last, namespaces.
    """

    def turn(item: T) -> int:
        found = key(item)
        wave = _wave(found.group, found.kind)
        held = {("", "Namespace"): 1, ("apiextensions.k8s.io", "CustomResourceDefinition"): 0}
        return -wave if wave >= _REFERRING else held.get((found.group, found.kind), -1)

    return _grouped(items, turn)


def _wave(group: str, kind: str) -> int:
    if group not in _BUILT_IN:
        return _CUSTOM
    return _WAVE_OF.get((group, kind), _REFERRING)


def _grouped(items: Iterable[T], turn: Callable[[T], int]) -> tuple[tuple[T, ...], ...]:
    groups: dict[int, list[T]] = {}
    for item in items:
        groups.setdefault(turn(item), []).append(item)
    return tuple(tuple(groups[each]) for each in sorted(groups))
