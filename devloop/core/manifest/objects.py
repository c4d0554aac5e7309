"""One Kubernetes object of the project as a value: its document, its identity, and where it stands.

`core.manifest` reads and changes them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from devloop.core.manifest.image_places import ImagePlace
from devloop.core.manifest.pod_templates import group_of
from devloop.core.yaml.documents import Mark, Pointer
from devloop.errors import InputError, Where
from devloop.model import Document, ObjectKey

__all__ = ["TEMPLATE", "Manifest", "Source", "is_cluster_scoped", "manifest_at", "manifest_of"]

TEMPLATE: Final = "the template"
"""What renders manifests, unless a tool outside of devloop does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a manifest's text comes from.

    Attributes:
        path: The file, relative to the project's root.
        lines: The text by lines, for messages.
        rendered: Whether the file is a template, and the text what it rendered.
        origins: For rendered text, the place in a template that made each of its lines, where known.
        by: What rendered it, for messages.
    """

    path: str
    lines: Sequence[str]
    rendered: bool = False
    origins: Sequence[Where | None] = ()
    by: str = TEMPLATE

    def where(self, line: int | None, column: int | None) -> Where:
        """Return the place for a message: in the template's own lines where the text was rendered."""
        if line is None:
            return Where(path=self.path)
        text = self.lines[line - 1].strip() if line <= len(self.lines) else None
        if not self.rendered:
            return Where(path=self.path, line=line, column=column, text=text)
        origin = self.origins[line - 1] if line <= len(self.origins) else None
        return replace(origin or Where(path=self.path), text=text)

    def error(self, message: str, mark: Mark | None, hint: str | None = None) -> InputError:
        """Return the error for what stands at `mark`."""
        line, column = (mark.line, mark.column) if mark else (None, None)
        return self.error_at(message, line, column, hint)

    def error_at(self, message: str, line: int | None, column: int | None, hint: str | None) -> InputError:
        """Return the error for a line and column of the text."""
        suffix = f", in line {line} of what {self.by} renders" if self.rendered and line else ""
        return InputError(message + suffix, where=self.where(line, column), hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One Kubernetes object that the project declares.

    Attributes:
        document: The object.
        where: Where it begins.
        key: Its identity; the namespace is empty where the object names none, until `in_namespace`.
        mark: Where its parts stand in `source`.
        source: The text it was read from.
        places: Where it may name images, as the user declares it.
    """

    document: Document
    where: Where
    key: ObjectKey
    mark: Mark = field(compare=False, repr=False)
    source: Source = field(compare=False, repr=False)
    places: tuple[ImagePlace, ...] = field(default=(), compare=False, repr=False)

    def in_namespace(self, default: str, *, cluster_kinds: Collection[tuple[str, str]] = ()) -> "Manifest":
        """Return this manifest with its key's namespace settled: its own, `default`, or none if cluster-scoped.

        The document is not changed: the namespace of a request is in its URL.

        Args:
            default: The namespace of objects that name none.
            cluster_kinds: Group and kind of custom resources that are known to be cluster-scoped.
        """
        if is_cluster_scoped(self.key) or (self.key.group, self.key.kind) in cluster_kinds:
            namespace = ""
        else:
            namespace = self.key.namespace or default
        return replace(self, key=replace(self.key, namespace=namespace))

    def where_of(self, pointer: Pointer) -> Where:
        """Return where the value at `pointer` stands."""
        mark = self.mark.at(pointer)
        return self.source.where(mark.line, mark.column)

    def with_document(self, document: Document) -> "Manifest":
        """Return this manifest with a changed document of the same identity."""
        return replace(self, document=document)


def manifest_of(document: Document, *, path: str) -> Manifest:
    """Return the manifest of an object that is a value already; it has apiVersion, kind and a name."""
    return manifest_at(document, Mark(1, 1, {}), Source(path=path, lines=()))


def manifest_at(value: Document, mark: Mark, source: Source) -> Manifest:
    """Return the manifest of an object that stands at `mark` of `source`; it has apiVersion, kind and a name."""
    metadata = value["metadata"]
    key = ObjectKey(
        group=group_of(value), kind=value["kind"], namespace=metadata.get("namespace") or "", name=metadata["name"]
    )
    if is_cluster_scoped(key):
        key = replace(key, namespace="")
    return Manifest(document=value, where=source.where(mark.line, mark.column), key=key, mark=mark, source=source)


# --- scope -------------------------------------------------------------------------------------------------

_CLUSTER_SCOPED = frozenset(
    {
        ("", "ComponentStatus"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("certificates.k8s.io", "CertificateSigningRequest"),
        ("certificates.k8s.io", "ClusterTrustBundle"),
        ("extensions", "PodSecurityPolicy"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("internal.apiserver.k8s.io", "StorageVersion"),
        ("networking.k8s.io", "IPAddress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("node.k8s.io", "RuntimeClass"),
        ("policy", "PodSecurityPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("resource.k8s.io", "DeviceClass"),
        ("resource.k8s.io", "ResourceSlice"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("storage.k8s.io", "CSINode"),
        ("storage.k8s.io", "StorageClass"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("storage.k8s.io", "VolumeAttributesClass"),
        ("storagemigration.k8s.io", "StorageVersionMigration"),
    }
)


def is_cluster_scoped(key: ObjectKey) -> bool:
    """Return whether objects of this built-in kind live outside namespaces; False for kinds that are not built in."""
    return (key.group, key.kind) in _CLUSTER_SCOPED
