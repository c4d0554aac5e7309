"""Skaffold's manifests, deployers and port-forwards → services."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase as fnmatch
from typing import Any, Final

from devloop.core.draft.fields import Fields
from devloop.core.draft.layouts import closure
from devloop.core.draft.manifests import ManifestFile, manifest_files, ports_of, services_of
from devloop.core.draft.model import DraftService, DraftTask, Handle, Manifests, Note, Value
from devloop.core.draft.naming import slug, unique
from devloop.core.draft.skaffold_build import environment_of, tasks_of_hooks
from devloop.core.draft.skaffold_file import Module
from devloop.core.draft.tree import Tree, joined
from devloop.core.manifest import facts
from devloop.errors import Where

__all__ = ["Deployment", "deployment_of", "services_from", "with_ports"]

_DEFAULT: Final = "k8s/*.yaml"
_IMAGE: Final = re.compile(
    r"\{\{\s*\.IMAGE_(?P<part>FULLY_QUALIFIED|REPO|TAG|DIGEST|NAME|DOMAIN)(?:_(?P<name>\w+))?\s*\}\}"
)
_UNPRIVILEGED: Final = 1024
_RAISED_BY: Final = 8000


@dataclass(slots=True)
class Deployment:
    """What modules deploy.

    Attributes:
        files: Plain manifests.
        services: What kustomize and Helm render.
        forwards: The port-forwards: the object, local and remote port, and the place.
        namespaces: The namespaces that are named.
        inside: The manifests of kustomizations, by service.
        hooks: Hooks around the deployment, with the folder that they run in.
    """

    files: list[ManifestFile] = field(default_factory=list)
    services: list[DraftService] = field(default_factory=list)
    forwards: list[tuple[str, str, int, int | str, Fields]] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    inside: dict[str, list[ManifestFile]] = field(default_factory=dict)
    hooks: list[tuple[Fields, str, str]] = field(default_factory=list)

    def tasks(self, services: Sequence[DraftService]) -> list[DraftTask]:
        """Return the hooks as tasks."""
        names = tuple(each.name for each in services)
        found: list[DraftTask] = []
        for hooks, name, folder in self.hooks:
            made = tasks_of_hooks(
                hooks, name, folder, "deploy", services=names, owner=lambda pod, own: self._owner(services, pod, own)
            )
            found += [replace(each, name=unique(each.name, (other.name for other in found))) for each in made]
        return found

    def _owner(self, services: Sequence[DraftService], pod: str, container: str) -> str | None:
        """Return the service whose pods are called so (`leeroy-web*`) and have such a container."""
        found = []
        for service in services:
            files = self.inside.get(service.name) or [each for each in self.files if each.path in service.manifests]
            workloads = facts([each for file in files for each in file.manifests]).workloads
            found += [
                service.name
                for each in workloads
                if (not pod or fnmatch(f"{each.key.name}-0", pod))
                and (not container or container in {own.name for own in each.containers})
            ]
        return found[0] if len(set(found)) == 1 else None


def deployment_of(
    tree: Tree, module: Module, fields: Fields, found: Deployment, names: Mapping[str, str], notes: list[Note]
) -> None:
    """Add what a module deploys.

    Args:
        tree: The project's files.
        module: The module.
        fields: What it says, with a profile applied.
        found: Takes it.
        names: The names of the images by the artifacts' own.
        notes: Takes the notes.
    """
    deploy = fields.mapping("deploy")
    manifests = fields.mapping("render" if "render" in fields else "manifests")
    manifests = manifests.mapping("generate") if "generate" in manifests else manifests
    kubectl = deploy.mapping("kubectl")
    raw = (*manifests.texts("rawYaml"), *(kubectl.texts("manifests") if module.is_old else ()))
    releases = [*manifests.mapping("helm").mappings("releases"), *deploy.mapping("helm").mappings("releases")]
    kustomized = [*_kustomized(manifests, "kustomize"), *_kustomized(deploy, "kustomize")]
    if not raw and not releases and not kustomized and (_says_nothing(deploy, manifests) or "kubectl" in deploy):
        raw = (_DEFAULT,) if tree.matching(joined(module.folder, _DEFAULT)) else ()
    _plain(tree, module, raw, found, notes, manifests)
    for path, arguments in kustomized:
        _kustomization(tree, module, path, arguments, found)
    for release in releases:
        _release(module, release, found, names)
    for each in fields.mappings("portForward"):
        _forward(each, found)
    name = module.name or tree.name
    for part, inner in ((kubectl, "hooks"), (manifests, "hooks"), (deploy.mapping("helm"), "hooks")):
        if inner in part:
            found.hooks.append((part.mapping(inner), slug(name), module.folder))
    _leave_out(deploy, manifests, kubectl, found)


def _says_nothing(deploy: Fields, manifests: Fields) -> bool:
    return not any(key in deploy for key in ("helm", "kustomize", "kpt", "docker", "cloudrun")) and not manifests.value


def _kustomized(fields: Fields, key: str) -> list[tuple[str, tuple[str, ...]]]:
    if key not in fields:
        return []
    own = fields.mapping(key)
    paths, arguments = own.texts("paths") or (".",), own.texts("buildArgs")
    own.settled("flags", "defaultNamespace", "hooks")
    own.rest()
    return [(path, arguments) for path in paths]


def _leave_out(deploy: Fields, manifests: Fields, kubectl: Fields, found: Deployment) -> None:
    if namespace := kubectl.text("defaultNamespace"):
        found.namespaces.append(namespace)
    kubectl.left_out("remoteManifests", "not carried over: devloop deploys what is on disk; fetch them into a file")
    kubectl.left_out("flags", "not carried over: devloop applies objects by itself")
    kubectl.settled("hooks", "manifests")
    kubectl.rest()
    for helm in (deploy.mapping("helm"), manifests.mapping("helm")):
        helm.left_out("flags", "not carried over: devloop renders charts by `helm template`")
        helm.settled("releases", "hooks")
        helm.rest()
    deploy.settled("logs", "statusCheck", "statusCheckDeadlineSeconds", "tolerateFailuresUntilDeadline")
    deploy.left_out("kubeContext", "not carried over: allow a context that is not local by `project(contexts=[…])`")
    deploy.left_out("kpt", "not carried over: devloop takes what `kpt fn render` leaves in a folder as plain manifests")
    deploy.left_out("docker", "not carried over: `devloop up --target docker` runs the manifests on the engine")
    deploy.left_out("cloudrun", "not carried over: devloop deploys to Kubernetes and to the Docker engine")
    deploy.settled("kubectl", "kustomize", "helm")
    deploy.rest()
    manifests.left_out(
        "kpt", "not carried over: devloop takes what `kpt fn render` leaves in a folder as plain manifests"
    )
    manifests.left_out("transform", "not carried over: devloop runs no kpt functions")
    manifests.left_out("validate", "not carried over: devloop runs no kpt functions")
    manifests.settled("rawYaml", "kustomize", "helm", "hooks", "output")
    manifests.rest()


def _plain(
    tree: Tree, module: Module, raw: Iterable[str], found: Deployment, notes: list[Note], fields: Fields
) -> None:
    for pattern in raw:
        if "://" in pattern:
            text = f"`{pattern}` is left out: devloop deploys what is on disk; fetch it into a file"
            notes.append(Note(text=text, where=fields.where("rawYaml")))
            continue
        paths = tree.matching(joined(module.folder, pattern))
        if not paths:
            notes.append(Note(text=f"`{pattern}` names no manifests", where=fields.where("rawYaml")))
        known = {each.path for each in found.files}
        files, unread = manifest_files(tree, [path for path in paths if path not in known], sure=True)
        found.files += files
        notes += unread


def _kustomization(tree: Tree, module: Module, path: str, arguments: tuple[str, ...], found: Deployment) -> None:
    folder = joined(module.folder, path)
    parts = [part for part in folder.split("/") if part not in {".", ""}]
    own = next((part for part in reversed(parts) if slug(part) not in _PLACES), module.name or tree.name)
    name = unique(slug(own), [each.name for each in found.services])
    options: dict[str, Value] = {"arguments": arguments} if arguments else {}
    found.services.append(
        DraftService(name=name, manifests=(Manifests(tool="kustomize", path=folder, options=options),))
    )
    files, _ = manifest_files(tree, sorted(closure(tree, folder)[1]))
    found.inside[name] = files


_PLACES: Final = frozenset(
    {
        "base", "deploy", "dev", "development", "k8s", "kubernetes", "kustomize", "local", "manifests", "overlay",
        "overlays", "prod", "production", "staging",
    }
)  # fmt: skip


# --- charts ----------------------------------------------------------------------------------------------------------


def _release(module: Module, fields: Fields, found: Deployment, names: Mapping[str, str]) -> None:
    release = fields.text("name") or "release"
    name = unique(slug(release), [each.name for each in found.services])
    options: dict[str, Value] = {}
    chart = fields.text("remoteChart")
    if chart is not None:
        for key, option in (("repo", "repository"), ("version", "version")):
            if text := fields.text(key):
                options[option] = text
    else:
        chart = joined(module.folder, fields.text("chartPath") or ".")
        fields.settled("version")
    if values := tuple(joined(module.folder, each) for each in fields.texts("valuesFiles")):
        options["values"] = values[0] if len(values) == 1 else values
    if files := {key: joined(module.folder, value or "") for key, value in fields.pairs("setFiles").items()}:
        options["files"] = files
    if release != name:
        options["release"] = release
    images: list[str] = []
    returned = _values(fields, names, images)
    if namespace := fields.text("namespace"):
        found.namespaces.append(namespace)
    fields.settled(
        "createNamespace", "wait", "recreatePods", "skipBuildDependencies", "upgradeOnInstall", "packaged", "skipTests",
    )  # fmt: skip
    fields.left_out("useHelmSecrets", "not carried over: decrypt the values into a file that git ignores")
    notes: list[Note] = []
    fields.notes, outer = notes, fields.notes
    fields.rest()
    fields.notes = outer
    found.services.append(
        DraftService(
            name=name,
            manifests=(Manifests(tool="helm", path=chart, options=options),),
            images=tuple(dict.fromkeys(images)),
            returned=returned,
            notes=tuple(notes),
        )
    )


def _values(fields: Fields, names: Mapping[str, str], images: list[str]) -> dict[str, Value]:
    sanitized = {re.sub(r"[^A-Za-z0-9]", "_", key): name for key, name in names.items()}
    found: dict[str, Any] = {}
    overrides = fields.raw("overrides")
    if isinstance(overrides, dict):
        found = _as_value(overrides)
    for key, value in fields.pairs("setValues").items():
        _put(found, key, value or "")
    for key, value in fields.pairs("setValueTemplates").items():
        _put(found, key, _template(value or "", sanitized, images))
    helm = fields.mapping("imageStrategy")
    for key, artifact in fields.pairs("artifactOverrides").items():
        name = names.get(artifact or "")
        if name is None:
            _put(found, key, artifact or "")
            continue
        images.append(name)
        if "helm" in helm:
            _put(found, f"{key}.repository", Handle(name, ".repository"))
            _put(found, f"{key}.tag", Handle(name, ".tag"))
        else:
            _put(found, key, Handle(name))
    helm.settled("fqn", "helm")
    return found


def _template(value: str, sanitized: Mapping[str, str], images: list[str]) -> Value:
    """Return what a template of Skaffold's gives: an image's reference or part of it, or an environment variable."""
    match = _IMAGE.match(value)
    name = None
    if match:
        name = sanitized.get(match["name"] or "") or (next(iter(sanitized.values())) if len(sanitized) == 1 else None)
    if not match or name is None:
        return environment_of(value) if "{{" in value else value
    images.append(name)
    attribute = {"REPO": ".repository", "NAME": ".repository", "TAG": ".tag"}.get(match["part"], "")
    return Handle(name, attribute)


def _as_value(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _as_value(each) for key, each in value.items()}
        case list():
            return tuple(_as_value(each) for each in value)
        case bool() | int() | str():
            return value
        case _:
            return "" if value is None else str(value)


def _put(found: dict[str, Any], key: str, value: Value) -> None:
    *above, last = key.replace("\\.", "\0").split(".")
    for step in above:
        inner = found.get(step.replace("\0", "."))
        if not isinstance(inner, dict):
            inner = found[step.replace("\0", ".")] = {}
        found = inner
    found[last.replace("\0", ".")] = value


# --- ports -----------------------------------------------------------------------------------------------------------


def _forward(fields: Fields, found: Deployment) -> None:
    kind, name = (fields.text("resourceType") or "service").lower(), fields.text("resourceName") or ""
    raw = fields.raw("port")
    local = fields.number("localPort")
    fields.settled("namespace")
    address = fields.text("address")
    if address not in {None, "127.0.0.1", "localhost"}:
        fields.note("address", "not carried over: devloop listens on this machine's own addresses only")
    fields.rest()
    remote: int | str = int(raw) if str(raw).isdigit() else str(raw)
    if local is None:
        local = remote if isinstance(remote, int) else 8080
    if local < _UNPRIVILEGED:
        fields.note(None, f"is forwarded at {local + _RAISED_BY}: ports below {_UNPRIVILEGED} are for administrators")
        local += _RAISED_BY
    found.forwards.append((kind, name, local, remote, fields))


def with_ports(found: Deployment, services: Sequence[DraftService], notes: list[Note]) -> list[DraftService]:
    """Return the services with the ports that are forwarded, instead of those that would be proposed."""
    asked: dict[str, dict[int, int | str]] = {}
    places: dict[str, Where] = {}
    files = [*found.files, *(file for each in found.inside.values() for file in each)]
    for kind, name, local, remote, fields in found.forwards:
        owner = _owner(kind, name, found, services)
        if owner is None:
            fields.note(None, f"not carried over: no manifest declares the {kind} `{name}`")
            continue
        asked.setdefault(owner, {})[local] = remote
        places.setdefault(owner, fields.where())
    result = []
    for service in services:
        if service.name not in asked:
            result.append(service)
            continue
        if service.name in found.inside or any(isinstance(each, Manifests) for each in service.manifests):
            result.append(replace(service, ports=asked[service.name]))
            continue
        changed, more = ports_of(replace(service, ports=None), asked[service.name], files, places[service.name])
        notes += more
        result.append(changed)
    return result


def _owner(kind: str, name: str, found: Deployment, services: Sequence[DraftService]) -> str | None:
    def declares(files: Iterable[ManifestFile]) -> bool:
        return any(each.key.kind.lower() == kind and each.key.name == name for file in files for each in file.manifests)

    for service in services:
        own = found.inside.get(service.name) or [file for file in found.files if file.path in service.manifests]
        if declares(own):
            return service.name
    charts = [
        each.name for each in services if any(isinstance(m, Manifests) and m.tool == "helm" for m in each.manifests)
    ]
    return next((each for each in charts if each in name), charts[0] if len(charts) == 1 else None)


def services_from(found: Deployment, project: str) -> tuple[list[DraftService], list[Note]]:
    """Return all services: those of plain manifests behind those that tools render."""
    plain, notes = services_of(found.files, project=project, taken=[each.name for each in found.services])
    return [*found.services, *plain], notes
