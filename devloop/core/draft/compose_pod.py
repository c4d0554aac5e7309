"""Parts of a pod that a Compose service says in its own words: resources, probe, rights, network."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from devloop.core.draft.compose_mounts import memory
from devloop.core.draft.fields import Fields, plain
from devloop.core.draft.naming import slug

__all__ = ["pod_of", "probe_of", "resources_of", "security_of"]


def resources_of(fields: Fields, deploy: Fields) -> dict[str, Any]:
    """Return the container's `resources`, from `deploy.resources` and the older keys."""
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


def probe_of(fields: Fields) -> dict[str, Any]:
    """Return the readiness probe that is the service's `healthcheck`; empty where it has none."""
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


def security_of(fields: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the security contexts of the container and of the pod."""
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


def pod_of(fields: Fields, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return further fields of the pod's spec, its security context with them."""
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
    if not isinstance(raw, list | dict | None):
        raise fields.error("extra_hosts", "a list or a mapping")
    items = raw.items() if isinstance(raw, dict) else [re.split("[=:]", f"{each}", maxsplit=1) for each in raw or ()]
    for name, *rest in items:
        address = "".join(str(each) for each in rest)
        if not address:
            raise fields.error("extra_hosts", "made of names with addresses")
        if address == "host-gateway":
            fields.note(
                "extra_hosts", f"`{name}` is left out: how a cluster reaches this machine depends on the cluster"
            )
        else:
            yield {"ip": str(address), "hostnames": [str(name)]}
