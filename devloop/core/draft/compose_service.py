"""A Compose service → a workload with its Service, and the ports to forward."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from devloop.core.draft.compose_file import Compose, dotenv
from devloop.core.draft.compose_mounts import Mounts, memory
from devloop.core.draft.fields import Fields, plain
from devloop.core.draft.model import Note
from devloop.core.draft.naming import last_part, slug
from devloop.core.draft.objects import Port, Workload
from devloop.core.draft.tree import Tree, joined
from devloop.errors import InputError

__all__ = ["Known", "published_ports", "workload_of"]

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
_KNOWN_PORTS: Final[Mapping[str, tuple[int, ...]]] = {
    "cassandra": (9042,),
    "elasticsearch": (9200,),
    "httpd": (80,),
    "mailhog": (1025, 8025),
    "mailpit": (1025, 8025),
    "mariadb": (3306,),
    "memcached": (11211,),
    "minio": (9000, 9001),
    "mongo": (27017,),
    "mysql": (3306,),
    "nats": (4222,),
    "nginx": (80,),
    "postgres": (5432,),
    "postgis": (5432,),
    "rabbitmq": (5672, 15672),
    "redis": (6379,),
    "valkey": (6379,),
}
_ANNOTATION: Final = re.compile(r"(?:[a-z0-9.-]+/)?[A-Za-z0-9](?:[\w.-]{0,61}[A-Za-z0-9])?\Z")


# --- ports -----------------------------------------------------------------------------------------------------------


def published_ports(fields: Fields) -> tuple[list[Port], dict[int, int]]:
    """Return what a service listens on, and the local ports that lead there."""
    ports: dict[Port, None] = {}
    forwards: dict[int, int] = {}
    raw = fields.raw("ports")
    for number, item in enumerate(raw if isinstance(raw, list) else []):
        mark = fields.mark.at(("ports", number))
        own = Fields(
            item if isinstance(item, dict) else {}, mark, fields.path, fields.notes, f"{fields.name}.ports[{number}]"
        )
        for local, target, protocol in _published(own, item):
            ports.setdefault(Port(target, protocol))
            if protocol == "TCP" and local is not None:
                forwards.setdefault(local, target)
            elif protocol != "TCP":
                own.note(None, "is not forwarded: devloop forwards TCP")
    for text in fields.texts("expose"):
        for target in _range(text.partition("/")[0], fields, "expose"):
            ports.setdefault(Port(target, _protocol(text.partition("/")[2])))
    return list(ports), forwards


def _published(fields: Fields, item: Any) -> Iterator[tuple[int | None, int, str]]:
    if isinstance(item, dict):
        published, target = fields.text("published"), fields.text("target") or ""
        protocol, address = fields.text("protocol") or "tcp", fields.text("host_ip")
        fields.settled("mode", "name", "app_protocol")
        fields.rest()
    else:
        text, _, protocol = plain(item).partition("/")
        rest, _, target = text.rpartition(":")
        address, _, published = rest.rpartition(":")
    if address not in {None, "", "127.0.0.1", "0.0.0.0", "[::]", "[::1]", "::1", "localhost"}:  # noqa: S104 - read, not bound
        fields.note(None, f"is forwarded from this machine only, not from `{address}`")
    targets = list(_range(target, fields, None))
    locals_: list[int | None] = [*_range(published, fields, None)] if published else [*targets]
    for local, each in zip(locals_ if len(locals_) == len(targets) else [*targets], targets, strict=True):
        yield local, each, _protocol(protocol)


def _range(text: str, fields: Fields, key: str | None) -> Iterator[int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise InputError(f"`{text}` is not a port", where=fields.where(key))
    yield from range(int(first), int(last or first) + 1)


def _protocol(text: str) -> str:
    return text.upper() or "TCP"


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
    resources = _resources(fields, deploy)
    container: dict[str, Any] = {**_policy(fields, built=known.built), **_commands(fields)}
    if environment := _environment(compose, tree, service, fields):
        container["env"] = environment
    if resources:
        container["resources"] = resources
    if not known.once and (probe := _probe(fields)):
        container["readinessProbe"] = probe
    if known.once:
        fields.settled("healthcheck")
    for key, name in (("stdin_open", "stdin"), ("tty", "tty")):
        if fields.flag(key):
            container[name] = True
    context, pod_context = _security(fields)
    if context:
        container["securityContext"] = context
    if known.mounts.mounts:
        container["volumeMounts"] = known.mounts.mounts
    if "runAsUser" in context and known.mounts.claims:
        pod_context["fsGroup"] = context.get("runAsGroup", context["runAsUser"])
    pod = _pod(fields, pod_context)
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
        ports=[] if known.once else list(dict.fromkeys((*known.ports, *_known_ports(known.image)))),
        replicas=1 if replicas is None else replicas,
        recreate=bool(known.mounts.claims),
        container=container,
        pod=pod,
        annotations=annotations,
    )


def _known_ports(image: str) -> list[Port]:
    """Return what a well-known image listens on: in Compose its neighbours reach that without a word."""
    return [Port(number) for number in _KNOWN_PORTS.get(last_part(image), ())]


def _policy(fields: Fields, *, built: bool) -> dict[str, str]:
    policy = fields.text("pull_policy")
    fields.settled("pull_refresh_after")
    if built or policy is None:
        return {}
    known = {"always": "Always", "never": "Never", "missing": "IfNotPresent", "if_not_present": "IfNotPresent"}
    if policy not in known:
        fields.note("pull_policy", "not carried over: Kubernetes pulls always, never, or if there is none")
        return {}
    return {"imagePullPolicy": known[policy]}


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


def _resources(fields: Fields, deploy: Fields) -> dict[str, Any]:
    declared = deploy.mapping("resources")
    found: dict[str, Any] = {}
    for key, name in (("reservations", "requests"), ("limits", "limits")):
        part = declared.mapping(key)
        cpu, size = part.text("cpus"), part.text("memory")
        part.left_out("pids", "not carried over: the node decides it")
        part.left_out("devices", "not carried over: say it as a resource, as the cluster's plugin wants it")
        part.left_out("generic_resources", "not carried over: say it as a resource, as the cluster's plugin wants it")
        part.rest()
        if key == "limits":
            cpu, size = cpu or fields.text("cpus"), size or fields.text("mem_limit")
        else:
            size = size or fields.text("mem_reservation")
        values = {**({"cpu": cpu} if cpu else {}), **({"memory": memory(size)} if size else {})}
        if values:
            found[name] = values
    declared.rest()
    return found


def _probe(fields: Fields) -> dict[str, Any]:
    check = fields.mapping("healthcheck")
    raw = check.raw("test")
    interval, timeout = _seconds(check.text("interval")), _seconds(check.text("timeout"))
    retries = check.number("retries")
    check.settled("start_period", "start_interval")  # a pod is not ended for being unready
    disabled = check.flag("disable")
    check.rest()
    words = _test(raw)
    if disabled or not words:
        return {}
    timing = {"periodSeconds": interval, "timeoutSeconds": timeout, "failureThreshold": retries}
    return {"exec": {"command": words}, **{name: value for name, value in timing.items() if value}}


def _test(raw: Any) -> list[str]:
    match raw:
        case str():
            return ["sh", "-c", raw]
        case ["CMD-SHELL", *rest]:
            return ["sh", "-c", " ".join(plain(each) for each in rest)]
        case ["CMD", *rest]:
            return [plain(each) for each in rest]
        case _:
            return []


def _seconds(text: str | None) -> int | None:
    """Return a duration in whole seconds, one at the least."""
    if text is None:
        return None
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    total = sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(us|ms|s|m|h)", text))
    return max(round(total), 1)


def _security(fields: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    context: dict[str, Any] = {}
    pod: dict[str, Any] = {}
    if user := fields.text("user"):
        name, _, group = user.partition(":")
        if name.isdigit() and (group.isdigit() or not group):
            context["runAsUser"] = int(name)
            if group:
                context["runAsGroup"] = int(group)
        else:
            fields.note("user", "not carried over: Kubernetes takes numbers, for example `runAsUser: 1000`")
    for key, name in (("privileged", "privileged"), ("read_only", "readOnlyRootFilesystem")):
        if fields.flag(key):
            context[name] = True
    capabilities = {
        name: [each.removeprefix("CAP_") for each in texts]
        for key, name in (("cap_add", "add"), ("cap_drop", "drop"))
        if (texts := fields.texts(key))
    }
    if capabilities:
        context["capabilities"] = capabilities
    if sysctls := fields.pairs("sysctls"):
        pod["sysctls"] = [{"name": name, "value": value or ""} for name, value in sysctls.items()]
    if groups := [int(each) for each in fields.texts("group_add") if each.isdigit()]:
        pod["supplementalGroups"] = groups
    return context, pod


def _pod(fields: Fields, context: Mapping[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = {"enableServiceLinks": False}  # Compose sets no variables like `DB_PORT`
    if hostname := fields.text("hostname"):
        pod["hostname"] = slug(hostname)
    mode = fields.text("network_mode")
    if mode == "host":
        pod["hostNetwork"] = True
    elif mode not in {None, "bridge"}:
        fields.note("network_mode", "not carried over: each pod has its own network")
    if fields.text("pid") == "host":
        pod["hostPID"] = True
    if hosts := list(_hosts(fields)):
        pod["hostAliases"] = hosts
    config = {
        name: list(texts)
        for key, name in (("dns", "nameservers"), ("dns_search", "searches"))
        if (texts := fields.texts(key))
    }
    options = [dict(zip(("name", "value"), each.split(":", 1), strict=False)) for each in fields.texts("dns_opt")]
    if config or options:
        pod["dnsConfig"] = {**config, **({"options": options} if options else {})}
    if (grace := _seconds(fields.text("stop_grace_period"))) is not None:
        pod["terminationGracePeriodSeconds"] = grace
    if context:
        pod["securityContext"] = dict(context)
    return pod


def _hosts(fields: Fields) -> Iterator[dict[str, Any]]:
    raw = fields.raw("extra_hosts")
    items = raw.items() if isinstance(raw, dict) else [re.split("[=:]", str(each), maxsplit=1) for each in raw or []]
    for name, address in items:
        if address == "host-gateway":
            fields.note(
                "extra_hosts", f"`{name}` is left out: how a cluster reaches this machine depends on the cluster"
            )
        else:
            yield {"ip": str(address), "hostnames": [str(name)]}


def _annotations(fields: Fields) -> dict[str, str]:
    found = {name: value or "" for name, value in fields.pairs("annotations").items()}
    if wrong := [name for name in found if not _ANNOTATION.match(name)]:
        fields.note("annotations", f"{', '.join(f'`{name}`' for name in wrong)} cannot be annotations in Kubernetes")
    return {name: value for name, value in found.items() if name not in wrong}
