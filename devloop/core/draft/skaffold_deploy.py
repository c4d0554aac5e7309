"""Skaffold's manifests, deployers and port-forwards → services."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase as fnmatch
from typing import Final

from devloop.core.draft.fields import Fields
from devloop.core.draft.grouping import services_of
from devloop.core.draft.layouts import closure
from devloop.core.draft.manifests import ManifestFile, manifest_files
from devloop.core.draft.model import DraftService, DraftTask, Manifests, Note, Value
from devloop.core.draft.naming import slug, unique
from devloop.core.draft.skaffold_charts import release_service
from devloop.core.draft.skaffold_file import Module
from devloop.core.draft.skaffold_forwards import Forward, forward_of, with_ports
from devloop.core.draft.skaffold_hooks import tasks_of_hooks
from devloop.core.draft.tree import Tree, joined
from devloop.core.manifest import facts

__all__ = ["Deployment", "deployment_of", "services_from"]

_DEFAULT: Final = "k8s/*.yaml"


@dataclass(slots=True)
class Deployment:
    """What modules deploy.

    Attributes:
        files: Plain manifests.
        services: What kustomize and Helm render.
        forwards: The port-forwards.
        namespaces: The namespaces that are named.
        inside: The manifests of kustomizations, by service.
        hooks: Hooks around the deployment, with the folder that they run in.
    """

    files: list[ManifestFile] = field(default_factory=list)
    services: list[DraftService] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
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

    def files_of(self, service: DraftService) -> list[ManifestFile]:
        """Return the manifests of a service, as far as they are files."""
        return self.inside.get(service.name) or [each for each in self.files if each.path in service.manifests]

    def _owner(self, services: Sequence[DraftService], pod: str, container: str) -> str | None:
        """Return the service whose pods are called so (`leeroy-web*`) and have such a container."""
        found = []
        for service in services:
            workloads = facts([each for file in self.files_of(service) for each in file.manifests]).workloads
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
        service, namespace = release_service(module, release, names, [each.name for each in found.services])
        found.services.append(service)
        found.namespaces += [namespace] if namespace else []
    found.forwards += [forward_of(each) for each in fields.mappings("portForward")]
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


def services_from(found: Deployment, project: str, notes: list[Note]) -> list[DraftService]:
    """Return all services with the ports that are forwarded; those of plain manifests come last."""
    plain, doubts = services_of(found.files, project=project, taken=[each.name for each in found.services])
    notes += doubts
    return with_ports([*found.services, *plain], found.forwards, found.files_of, notes)
