"""What of a project's manifests has no meaning without Kubernetes: found by name, so that it can be said."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.manifest import Manifest
from devloop.core.manifest.pod_templates import built_in_template, pick
from devloop.model import ObjectKey

__all__ = ["NotCarried", "not_carried"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class NotCarried:
    """An object, or a field of one, that has no effect on an engine; `reason` says why."""

    object: ObjectKey
    field: str = ""
    reason: str

    @property
    def message(self) -> str:
        """Return one sentence for the user."""
        what = f"`{self.field}` of `{self.object}`" if self.field else f"`{self.object}`"
        return f"{what} has no effect here: {self.reason}"


_CARRIED: Final = frozenset(
    {
        ("", "ConfigMap"),
        ("", "Namespace"),
        ("", "PersistentVolumeClaim"),
        ("", "Pod"),
        ("", "ReplicationController"),
        ("", "Secret"),
        ("", "Service"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "Job"),
    }
)
_NO_API: Final = "there is no API server to ask or to be asked by"
_REASONS: Final[Mapping[str, str]] = {
    "CronJob": "nothing runs on a schedule without a cluster; a `@task` can run its command when it is asked for",
    "HorizontalPodAutoscaler": "nothing scales by load without a cluster; `replicas` says how many pods there are",
    "VerticalPodAutoscaler": "nothing scales by load without a cluster",
    "Ingress": "there is no ingress controller; the service's forwarded port leads to it",
    "IngressClass": "there is no ingress controller",
    "NetworkPolicy": "all pods of a namespace share one network",
    "PodDisruptionBudget": "nothing evicts pods without a cluster",
    "PersistentVolume": "claims become volumes of the engine",
    "StorageClass": "claims become volumes of the engine",
    "ServiceAccount": _NO_API,
    "Role": _NO_API,
    "RoleBinding": _NO_API,
    "ClusterRole": _NO_API,
    "ClusterRoleBinding": _NO_API,
    "CustomResourceDefinition": _NO_API,
    "MutatingWebhookConfiguration": _NO_API,
    "ValidatingWebhookConfiguration": _NO_API,
    "Endpoints": "a Service leads to pods only",
    "EndpointSlice": "a Service leads to pods only",
    "ResourceQuota": "nothing counts what a namespace uses",
    "LimitRange": "nothing sets limits that the manifests do not name",
    "PriorityClass": "there is one machine, and all pods run on it",
}
_ONE_MACHINE: Final = "there is one machine, and all pods run on it"
_POD_FIELDS: Final[Mapping[str, str]] = {
    "affinity": _ONE_MACHINE,
    "nodeName": _ONE_MACHINE,
    "nodeSelector": _ONE_MACHINE,
    "priorityClassName": _ONE_MACHINE,
    "runtimeClassName": "the engine's own runtime runs all containers",
    "schedulerName": _ONE_MACHINE,
    "topologySpreadConstraints": _ONE_MACHINE,
    "imagePullSecrets": "the engine pulls with the docker CLI's own logins",
    "activeDeadlineSeconds": "nothing ends pods for taking long",
    "readinessGates": "nothing sets conditions of pods",
    "resourceClaims": "there are no devices to claim",
    "ephemeralContainers": "they cannot be declared",
}
_VOLUMES: Final = frozenset(
    {"configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret"}
)


def not_carried(manifests: Iterable[Manifest]) -> tuple[NotCarried, ...]:
    """Return what has no effect on an engine, in the order of the manifests."""
    return tuple(found for manifest in manifests for found in _of_object(manifest))


def _of_object(manifest: Manifest) -> Iterator[NotCarried]:
    key = manifest.key
    if (key.group, key.kind) not in _CARRIED:
        reason = _REASONS.get(key.kind, "an engine knows nothing of its kind")
        yield NotCarried(object=key, reason=reason)
        return
    if key.kind == "Service":
        yield from _of_service(manifest)
    pointer = built_in_template(manifest.document)
    spec = pick(manifest.document, (*pointer, "spec")) if pointer is not None else None
    if isinstance(spec, Mapping):
        yield from _of_pod(key, spec)
    if key.kind == "Job":
        for field in ("activeDeadlineSeconds", "podFailurePolicy", "successPolicy", "ttlSecondsAfterFinished"):
            if pick(manifest.document, ("spec", field)) is not None:
                yield NotCarried(object=key, field=field, reason="a job here ends by its pods alone")


def _of_service(manifest: Manifest) -> Iterator[NotCarried]:
    key, spec = manifest.key, pick(manifest.document, ("spec",), {})
    if spec.get("type") == "ExternalName":
        yield NotCarried(object=key, reason="the engine's names lead to containers only")
    elif not spec.get("selector"):
        yield NotCarried(object=key, reason="a Service leads to pods only, and this one selects none")
    elif spec.get("type") in {"LoadBalancer", "NodePort"}:
        reason = "it is reached by its name inside, and by devloop's forwarded ports from outside"
        yield NotCarried(object=key, field=f"type: {spec['type']}", reason=reason)
    if spec.get("sessionAffinity") == "ClientIP":
        yield NotCarried(object=key, field="sessionAffinity", reason="connections take turns between the pods")


def _of_pod(key: ObjectKey, spec: Mapping[str, Any]) -> Iterator[NotCarried]:
    for field, reason in _POD_FIELDS.items():
        if spec.get(field) and not (field == "schedulerName" and spec[field] == "default-scheduler"):
            yield NotCarried(object=key, field=field, reason=reason)
    for volume in spec.get("volumes") or ():
        kind = next((each for each in volume if each != "name"), "emptyDir")
        if kind not in _VOLUMES:
            yield NotCarried(
                object=key, field=f"volumes: {kind}", reason=f"`{volume.get('name')}` is an empty directory instead"
            )
        elif any("serviceAccountToken" in each for each in pick(volume, ("projected", "sources"), [])):
            yield NotCarried(object=key, field="volumes: serviceAccountToken", reason=_NO_API)
    for part in ("initContainers", "containers"):
        for container in spec.get(part) or ():
            yield from _of_container(key, container)


def _of_container(key: ObjectKey, container: Mapping[str, Any]) -> Iterator[NotCarried]:
    name = container.get("name")
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        if pick(container, (probe, "grpc")):
            reason = "it is asked whether its port takes connections, not by gRPC"
            yield NotCarried(object=key, field=f"{probe}.grpc of {name}", reason=reason)
    resources = container.get("resources") or {}
    for kind in ("limits", "requests"):
        for resource in resources.get(kind) or ():
            if resource not in {"cpu", "memory", "ephemeral-storage"}:
                yield NotCarried(
                    object=key, field=f"{kind}: {resource} of {name}", reason="the engine has no such thing"
                )
    if container.get("volumeDevices"):
        yield NotCarried(object=key, field=f"volumeDevices of {name}", reason="claims become directories here")
