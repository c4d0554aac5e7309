"""What the Engine API is asked to create: a pod's containers, and the one that holds the network of several."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devloop.core.containers.environment import ConfigurationError, Surroundings, environment, expanded
from devloop.core.containers.identity import CONTAINER, POD, Identity, Role, container_name, labels, network_name
from devloop.core.containers.quantities import number
from devloop.core.containers.volumes import mounts, volumes
from devloop.core.manifest.pod_templates import pick
from devloop.model import Document

__all__ = ["Creation", "Network", "container", "grace", "needs_sandbox", "sandbox"]

_DEFAULT_GRACE: Final = 30
_LOGS: Final = {"Type": "json-file", "Config": {"max-size": "50m", "max-file": "2"}}
_PROPAGATED: Final = "no-new-privileges:true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A container to create: its name, and the request's body."""

    name: str
    body: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How a container is connected.

    Attributes:
        sandbox: The container whose network it shares; None when it has its own.
        aliases: The names by which others of the network find it.
    """

    sandbox: str | None = None
    aliases: tuple[str, ...] = field(default=())


def needs_sandbox(template: Document) -> bool:
    """Return whether a pod's network must be held by a container of its own.

    It must where several containers share it, and where its address must be known before they start. A lone container
    holds its network itself: that is one start less from save to served.
    """
    spec = template.get("spec") or {}
    running = [*(spec.get("containers") or ()), *(each for each in spec.get("initContainers") or () if _stays(each))]
    return len(running) > 1 or bool(spec.get("shareProcessNamespace")) or "status.podIP" in str(spec)


def grace(pod: Identity) -> int:
    """Return the seconds that the pod's containers have between SIGTERM and SIGKILL."""
    said = pick(pod.spec, ("terminationGracePeriodSeconds",), _DEFAULT_GRACE)
    return said if isinstance(said, int) else _DEFAULT_GRACE


def sandbox(pod: Identity, image: str, network: Network) -> Creation:
    """Return the container that holds the pod's network."""
    body = {
        "Image": image,
        "Hostname": _hostname(pod),
        "Labels": {
            **labels(pod.project, Role.SANDBOX, service=pod.service, namespace=pod.namespace),
            **_pod_label(pod),
        },
        "HostConfig": {**_host_network(pod, network), "Sysctls": _sysctls(pod), "LogConfig": _LOGS},
        **_endpoints(pod, network),
    }
    return Creation(name=container_name(pod, "network", 0), body=body)


def container(
    pod: Identity,
    said: Mapping[str, Any],
    attempt: int,
    network: Network,
    around: Surroundings,
    *,
    image_user: str = "",
) -> Creation:
    """Return a container of the pod.

    Args:
        pod: The pod.
        said: The container as the manifest has it.
        attempt: How often it was started before.
        network: How it is connected.
        around: What the pod can refer to.
        image_user: The user that the image names.

    Raises:
        ConfigurationError: It cannot be set up.
    """
    known = environment(pod, said, around)
    context = {**(pick(pod.spec, ("securityContext",), {})), **(said.get("securityContext") or {})}
    user = _user(context, image_user)
    body: dict[str, Any] = {
        "Image": str(said.get("image")),
        "Labels": {
            **labels(pod.project, Role.CONTAINER, service=pod.service, namespace=pod.namespace),
            **_pod_label(pod),
            CONTAINER: f"{said.get('name')}/{attempt}",
        },
        "Env": [f"{name}={value}" for name, value in known.items()],
        "OpenStdin": bool(said.get("stdin")),
        "StdinOnce": bool(said.get("stdinOnce")),
        "Tty": bool(said.get("tty")),
        "StopTimeout": grace(pod),
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host(pod, said, context, network, known),
        **({"User": user} if user else {}),
        **({"WorkingDir": said["workingDir"]} if said.get("workingDir") else {}),
    }
    if said.get("command"):
        body["Entrypoint"] = [expanded(str(word), known) for word in said["command"]]
        body["Cmd"] = []
    if said.get("args"):
        body["Cmd"] = [expanded(str(word), known) for word in said["args"]]
    body["Hostname"] = _hostname(pod)
    if network.sandbox is None:
        body |= _endpoints(pod, network)
    return Creation(name=container_name(pod, str(said.get("name")), attempt), body=body)


def _stays(init: Mapping[str, Any]) -> bool:
    return init.get("restartPolicy") == "Always"


def _pod_label(pod: Identity) -> dict[str, str]:
    return {POD: pod.encoded()}


def _hostname(pod: Identity) -> str:
    return str(pod.spec.get("hostname") or pod.name)[:63]


# --- network -----------------------------------------------------------------------------------------------------


def _host_network(pod: Identity, network: Network) -> Document:
    if network.sandbox is not None:
        return {"NetworkMode": f"container:{network.sandbox}"}
    if pod.spec.get("hostNetwork"):
        return {"NetworkMode": "host"}
    return {
        "NetworkMode": network_name(pod.project, pod.namespace),
        "ExtraHosts": list(_extra_hosts(pod)),
        **_dns(pick(pod.spec, ("dnsConfig",), {})),
    }


def _extra_hosts(pod: Identity) -> Iterator[str]:
    for alias in pod.spec.get("hostAliases") or ():
        yield from (f"{name}:{alias.get('ip')}" for name in alias.get("hostnames") or ())


def _dns(said: Mapping[str, Any]) -> Document:
    options = [
        f"{option.get('name')}:{option['value']}" if option.get("value") else str(option.get("name"))
        for option in said.get("options") or ()
    ]
    found = {"Dns": said.get("nameservers"), "DnsSearch": said.get("searches"), "DnsOptions": options}
    return {name: value for name, value in found.items() if value}


def _endpoints(pod: Identity, network: Network) -> Document:
    if pod.spec.get("hostNetwork"):
        return {}
    name = network_name(pod.project, pod.namespace)
    return {"NetworkingConfig": {"EndpointsConfig": {name: {"Aliases": [pod.name, *network.aliases]}}}}


# --- what the host gives -----------------------------------------------------------------------------------------


def _host(
    pod: Identity,
    said: Mapping[str, Any],
    context: Mapping[str, Any],
    network: Network,
    known: Mapping[str, str],
) -> Document:
    capabilities = context.get("capabilities") or {}
    groups = [context.get("fsGroup"), *(context.get("supplementalGroups") or ())]
    host: dict[str, Any] = {
        **_host_network(pod, network),
        "Mounts": list(mounts(said, volumes(pod), known)),
        "LogConfig": _LOGS,
        "ReadonlyRootfs": bool(context.get("readOnlyRootFilesystem")),
        "Privileged": bool(context.get("privileged")),
        "CapAdd": [str(each) for each in capabilities.get("add") or ()],
        "CapDrop": [str(each) for each in capabilities.get("drop") or ()],
        "GroupAdd": [str(group) for group in groups if group is not None],
        "SecurityOpt": list(_security(context)),
        **_resources(said),
    }
    if network.sandbox is None:
        host["Sysctls"] = _sysctls(pod)
    if pod.spec.get("shareProcessNamespace") and network.sandbox:
        host["PidMode"] = f"container:{network.sandbox}"
    if pod.spec.get("hostPID"):
        host["PidMode"] = "host"
    if pod.spec.get("hostIPC"):
        host["IpcMode"] = "host"
    return host


def _security(context: Mapping[str, Any]) -> Iterator[str]:
    if context.get("allowPrivilegeEscalation") is False:
        yield _PROPAGATED
    if pick(context, ("seccompProfile", "type")) == "Unconfined":
        yield "seccomp=unconfined"


def _sysctls(pod: Identity) -> dict[str, str]:
    said: Sequence[Mapping[str, Any]] = pick(pod.spec, ("securityContext", "sysctls"), [])
    return {str(each.get("name")): str(each.get("value")) for each in said}


def _user(context: Mapping[str, Any], image_user: str) -> str:
    user, group = context.get("runAsUser"), context.get("runAsGroup")
    if context.get("runAsNonRoot"):
        effective = str(user) if user is not None else image_user.partition(":")[0] or "0"
        if effective in {"0", "root"}:
            raise ConfigurationError("it must not run as root (`runAsNonRoot`), and its image does")
    if user is None and group is None:
        return ""
    name = str(user) if user is not None else image_user.partition(":")[0] or "0"
    return name if group is None else f"{name}:{group}"


def _resources(said: Mapping[str, Any]) -> Document:
    found: dict[str, int] = {}
    if (cores := number(pick(said, ("resources", "limits", "cpu"), ""))) is not None:
        found["NanoCpus"] = int(cores * 10**9)
    if (memory := number(pick(said, ("resources", "limits", "memory"), ""))) is not None:
        found["Memory"] = found["MemorySwap"] = int(memory)
    if (shares := number(pick(said, ("resources", "requests", "cpu"), ""))) is not None:
        found["CpuShares"] = max(2, int(shares * 1024))
    return found
