"""A Compose service → a workload with its Service, and the ports to forward."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devloop.core import reference
from devloop.core.draft.compose_file import Compose, dotenv
from devloop.core.draft.compose_mounts import Mounts
from devloop.core.draft.compose_pod import pod_of, probe_of, resources_of, security_of
from devloop.core.draft.compose_ports import known_ports
from devloop.core.draft.fields import Fields, plain
from devloop.core.draft.model import Note
from devloop.core.draft.naming import slug
from devloop.core.draft.objects import Port, Workload
from devloop.core.draft.tree import Tree, joined
from devloop.errors import InputError

__all__ = ["Known", "workload_of"]

_SETTLED: Final = (
    "attach", "container_name", "depends_on", "develop", "extends", "image", "labels", "links", "logging", "networks",
    "profiles", "restart", "volumes_from",
)  # fmt: skip
_LEFT_OUT: Final[Mapping[str, str]] = {
    "blkio_config": "Kubernetes limits no block devices",
    "cgroup": "the cluster's runtime decides it",
    "cgroup_parent": "the cluster's runtime decides it",
    "cpu_count": "say `cpus`, which becomes a limit",
    "cpu_percent": "say `cpus`, which becomes a limit",
    "cpu_period": "say `cpus`, which becomes a limit",
    "cpu_quota": "say `cpus`, which becomes a limit",
    "cpu_rt_period": "Kubernetes has no real-time scheduling",
    "cpu_rt_runtime": "Kubernetes has no real-time scheduling",
    "cpu_shares": "say `cpus`, which becomes a limit",
    "cpuset": "the node's kubelet decides it",
    "credential_spec": "it is for Windows",
    "device_cgroup_rules": "devices need a plugin of the cluster",
    "devices": "devices need a plugin of the cluster",
    "domainname": "a pod's domain is its namespace's",
    "external_links": "there are no containers outside of the cluster to link",
    "gpus": "say it as a resource in the manifest, as the cluster's plugin wants it",
    "init": "the pod's own process is the first; `shareProcessNamespace: true` gives it an init",
    "ipc": "a pod's containers share it, others do not",
    "isolation": "it is for Windows",
    "label_file": "labels of containers mean nothing to a cluster",
    "mac_address": "the cluster gives addresses",
    "mem_swappiness": "the node decides it",
    "memswap_limit": "the node decides it",
    "models": "devloop runs no language models",
    "oom_kill_disable": "the node decides it",
    "oom_score_adj": "the node decides it",
    "pids_limit": "the node decides it",
    "post_start": "write it as `lifecycle.postStart` of the container",
    "pre_stop": "write it as `lifecycle.preStop` of the container",
    "provider": "what it provides is not run by Compose either",
    "runtime": "say it as `runtimeClassName`",
    "security_opt": "say it in the container's `securityContext`",
    "stop_signal": "the image's own signal is used",
    "storage_opt": "the node decides it",
    "ulimits": "the node decides it",
    "use_api_socket": "a cluster has no such socket",
    "userns_mode": "the node decides it",
    "uts": "a pod has its own",
}
_ANNOTATION: Final = re.compile(r"(?:[a-z0-9.-]+/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?\Z")


# --- ports -----------------------------------------------------------------------------------------------------------


# --- what runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a service before its workload.

    Attributes:
        image: What the manifest calls its image.
        built: Whether devloop builds it.
        ports: What it listens on.
        mounts: What it mounts.
        once: Whether others wait for its end, so that it is a Job.
    """

    image: str
    built: bool
    ports: list[Port]
    mounts: Mounts
    once: bool


def workload_of(compose: Compose, tree: Tree, service: str, fields: Fields, known: Known) -> Workload:
    """Return the workload of a service.

    Args:
        compose: The whole.
        tree: The project's files.
        service: The service's name.
        fields: What it says.
        known: What is known of it.
    """
    deploy = fields.mapping("deploy")
    resources = resources_of(fields, deploy)
    container: dict[str, Any] = {**_policy(fields, known.image, built=known.built), **_commands(fields)}
    if environment := _environment(compose, tree, service, fields):
        container["env"] = environment
    if resources:
        container["resources"] = resources
    if not known.once and (probe := probe_of(fields)):
        container["readinessProbe"] = probe
    if known.once:
        fields.settled("healthcheck")
    for key, name in (("stdin_open", "stdin"), ("tty", "tty")):
        if fields.flag(key):
            container[name] = True
    context, pod_context = security_of(fields)
    if context:
        container["securityContext"] = context
    if known.mounts.mounts:
        container["volumeMounts"] = known.mounts.mounts
    if "runAsUser" in context and known.mounts.claims:
        pod_context["fsGroup"] = context.get("runAsGroup", context["runAsUser"])
    pod = pod_of(fields, pod_context)
    if known.mounts.volumes:
        pod["volumes"] = known.mounts.volumes
    mode = deploy.text("mode") or "replicated"
    replicas = deploy.number("replicas")
    replicas = replicas if replicas is not None else fields.number("scale")
    deploy.settled("labels", "endpoint_mode", "restart_policy", "update_config", "rollback_config")
    deploy.left_out("placement", "not carried over: say it as `nodeSelector` or `affinity` in the manifest")
    deploy.rest()
    fields.settled(*_SETTLED, "scale", "platform")
    for key, why in _LEFT_OUT.items():
        fields.left_out(key, f"not carried over: {why}")
    annotations = _annotations(fields)
    fields.rest()
    return Workload(
        name=slug(service),
        image=known.image,
        kind="Job" if known.once else "DaemonSet" if mode == "global" else "Deployment",
        ports=[] if known.once else list(dict.fromkeys((*known.ports, *known_ports(known.image)))),
        replicas=1 if replicas is None else replicas,
        recreate=bool(known.mounts.claims),
        container=container,
        pod=pod,
        annotations=annotations,
    )


def _policy(fields: Fields, image: str, *, built: bool) -> dict[str, str]:
    policy = fields.text("pull_policy")
    fields.settled("pull_refresh_after")
    if built:
        return {}
    if policy is None:  # Kubernetes would always pull what has no tag; Compose pulls what is not there
        return {} if _is_fixed(image) else {"imagePullPolicy": "IfNotPresent"}
    known = {"always": "Always", "never": "Never", "missing": "IfNotPresent", "if_not_present": "IfNotPresent"}
    if policy not in known:
        fields.note("pull_policy", "not carried over: Kubernetes pulls always, never, or if there is none")
        return {}
    return {"imagePullPolicy": known[policy]}


def _is_fixed(image: str) -> bool:
    """Return whether a reference has a tag other than `latest`, or a digest."""
    try:
        ref = reference.parse(image)
    except InputError:
        return True
    return ref.digest is not None or ref.tag not in {None, "latest"}


def _commands(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in (("entrypoint", "command"), ("command", "args")):
        value = fields.raw(key)
        if value is None:
            continue
        if isinstance(value, dict):
            raise fields.error(key, "text or a list")
        words = [plain(item) for item in value] if isinstance(value, list) else shlex.split(str(value))
        if words:
            found[name] = words
    if working := fields.text("working_dir"):
        found["workingDir"] = working
    return found


def _environment(compose: Compose, tree: Tree, service: str, fields: Fields) -> list[dict[str, str]]:
    values: dict[str, str] = {}
    for path, required in _env_files(fields):
        file = joined(compose.folders.get(service, "."), path)
        text = tree.read(file)
        if text is None:
            if required:
                note = f"`{service}`: the variables of `{file}` are left out: there is no such file"
                fields.notes.append(Note(text=note, where=fields.where("env_file")))
            continue
        values |= dotenv(text)
    missing = []
    for name, value in fields.pairs("environment").items():
        if value is None:
            missing.append(name)
        else:
            values[name] = value
    if missing:
        listed = ", ".join(f"`{name}`" for name in missing)
        fields.note("environment", f"{listed} took the shell's value; write one into the manifest")
    return [{"name": name, "value": value} for name, value in values.items()]


def _env_files(fields: Fields) -> Iterator[tuple[str, bool]]:
    raw = fields.raw("env_file")
    for item in raw if isinstance(raw, list) else [] if raw is None else [raw]:
        if isinstance(item, dict):
            yield plain(item.get("path")), item.get("required") is not False
        else:
            yield plain(item), True


def _annotations(fields: Fields) -> dict[str, str]:
    found = {name: value or "" for name, value in fields.pairs("annotations").items()}
    if wrong := [name for name in found if not _ANNOTATION.match(name)]:
        fields.note("annotations", f"{', '.join(f'`{name}`' for name in wrong)} cannot be annotations in Kubernetes")
    return {name: value for name, value in found.items() if name not in wrong}
