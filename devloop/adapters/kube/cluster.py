"""The `Cluster` port on Kubernetes: puts the parts of this package together for one project in one context."""

import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, ObjectReceiveStream, TaskGroup

from devloop.adapters.kube import about
from devloop.adapters.kube.apply import Applier
from devloop.adapters.kube.config import read_contexts
from devloop.adapters.kube.connect import Nodes, connect
from devloop.adapters.kube.discovery import Discovery
from devloop.adapters.kube.ephemeral import EphemeralContainers
from devloop.adapters.kube.exec import open_exec
from devloop.adapters.kube.inventory import Inventory
from devloop.adapters.kube.live import Live
from devloop.adapters.kube.login import Credentials, log_in
from devloop.adapters.kube.logs import open_log
from devloop.adapters.kube.marks import PROJECT
from devloop.adapters.kube.namespaces import Namespaces
from devloop.adapters.kube.podview import PodView
from devloop.adapters.kube.removal import Remover
from devloop.adapters.kube.rollouts import Rollouts
from devloop.adapters.kube.session import Session
from devloop.adapters.kube.status import live_objects
from devloop.adapters.kube.watch import Caches
from devloop.core.cluster.contexts import Context, choose
from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Failing, Progressing, Rollout
from devloop.core.manifest import Manifest
from devloop.model import Document, ObjectKey
from devloop.runtime.ports import Access, Applied, ContainerLostError, ContainerTarget, ExecStream, LiveObject

__all__ = ["KubeCluster"]


class KubeCluster:
    """A project's place in a Kubernetes cluster; `KubeCluster.open` makes one.

    Attributes:
        context: The context's name.
        namespace: The namespace of objects that name none.
    """

    def __init__(self, session: Session, tasks: TaskGroup, *, context: str, namespace: str, project: str) -> None:
        self.context = context
        self.namespace = namespace
        self._session = session
        self._nodes = Nodes()
        self._here = self._nodes.is_here(urlsplit(session.server).hostname or "")
        selector = self._selector = f"{PROJECT}={project}"
        caches = Caches(session, tasks, selector)
        live = Live(session, tasks, caches, selector)
        discovery = Discovery(session)
        self._inventory = Inventory(session, project, namespace)
        self._pods = PodView(caches)
        self._all_pods = PodView(Caches(session, tasks, ""))
        self._rollouts = Rollouts(session, caches, self._pods)
        self._namespaces = Namespaces(session, project, namespace)
        self._applier = Applier(
            session,
            project,
            namespace,
            discovery=discovery,
            inventory=self._inventory,
            live=live,
            caches=caches,
            namespaces=self._namespaces,
        )
        self._remover = Remover(session, project, namespace, discovery=discovery, inventory=self._inventory, live=live)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        project: str,
        context: Context | str | None = None,
        kubeconfig: str | os.PathLike[str] | None = None,
        namespace: str | None = None,
        allowed: Sequence[str] = (),
    ) -> AsyncIterator["KubeCluster"]:
        """Log in and keep the session until the end. Nothing is asked of the cluster yet.

        Args:
            project: The project's name, as its label has it.
            context: A context that was chosen, or one named by the user; None for the current one if it is local.
            kubeconfig: The kubeconfig file; None for the user's own.
            namespace: The namespace; None for the context's own, else `default`.
            allowed: Contexts that the project allows besides local ones.

        Raises:
            InputError: There is no such context, or nothing may be deployed to it.
            ToolError: Logging in failed.
        """
        if not isinstance(context, Context):
            context = choose(read_contexts(kubeconfig), named=context, allowed=allowed)
        chosen = context

        async def renew() -> Credentials:
            return await log_in(chosen, kubeconfig)

        failure: Exception | None = None
        async with Session(await renew(), renew) as session, anyio.create_task_group() as tasks:
            place = namespace or context.namespace or "default"
            try:
                yield cls(session, tasks, context=context.name, namespace=place, project=project)
            except Exception as error:  # noqa: BLE001 - raised again below, where no group wraps it
                failure = error
            tasks.cancel_scope.cancel("the cluster is closed")
        if failure is not None:
            raise failure

    # --- what should be there --------------------------------------------------------------------------------

    async def apply(self, service: str, manifests: Sequence[Manifest]) -> Applied:
        """See `ports.Cluster.apply`."""
        self._rollouts.prepare(await self._applier.settle(manifests))
        return await self._applier.apply(service, manifests)

    async def wait(
        self,
        service: str,
        manifests: Sequence[Manifest],
        report: Callable[[Progressing | Failing], None],
        *,
        patience: float,
    ) -> None:
        """See `ports.Cluster.wait`."""
        await self._rollouts.wait(service, await self._applier.settle(manifests), report, patience)

    async def state(self, service: str, manifests: Sequence[Manifest]) -> Rollout:
        """See `ports.Cluster.state`."""
        return await self._rollouts.state(service, await self._applier.settle(manifests))

    async def remove(self, services: Collection[str] | None = None) -> tuple[ObjectKey, ...]:
        """See `ports.Cluster.remove`."""
        self._namespaces.doubt()
        self._applier.forget(services)
        return await self._remover.remove(services)

    async def objects(self) -> tuple[LiveObject, ...]:
        """See `ports.Cluster.objects`."""
        return await live_objects(self._session, await self._inventory.wider(), self._selector)

    async def version(self) -> str:
        """Return the API server's version; see `about.version`."""
        return await about.version(self._session)

    async def may(self, verb: str, group: str, resource: str) -> bool:
        """Return whether this user may do something in the namespace; see `about.may`."""
        return await about.may(self._session, verb, group, resource, self.namespace)

    async def nodes(self) -> tuple[Document, ...]:
        """Return the cluster's nodes; nothing where they may not be listed."""
        return await about.nodes(self._session)

    async def pull_secrets(self, namespace: str, account: str) -> tuple[str, ...]:
        """Return the names of the pull secrets that a service account gives its pods."""
        return await about.pull_secrets(self._session, namespace, account)

    async def has_secret(self, namespace: str, name: str) -> bool:
        """Return whether there is such a secret; true where this user may not look."""
        return await about.has_secret(self._session, namespace, name)

    async def local_registry(self) -> str | None:
        """Return what the cluster announces about a local registry, or None."""
        return await about.local_registry(self._session)

    # --- what runs -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def pods(self) -> AsyncIterator[ObjectReceiveStream[tuple[Pod, ...]]]:
        """See `ports.Cluster.pods`."""
        self._pods.need({self.namespace, *await self._inventory.namespaces()})
        async with self._pods.subscribe() as snapshots:
            yield snapshots

    @asynccontextmanager
    async def all_pods(self) -> AsyncIterator[ObjectReceiveStream[tuple[Pod, ...]]]:
        """See `ports.Cluster.all_pods`."""
        self._all_pods.need({self.namespace})
        async with self._all_pods.subscribe() as snapshots:
            yield snapshots

    @asynccontextmanager
    async def exec(
        self, target: ContainerTarget, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> AsyncIterator[ExecStream]:
        """See `ports.Cluster.exec`; what is known of the pod already saves the asking."""
        pod = self._pods.find(target.namespace, target.pod)
        container = pod.container(target.container) if pod else None
        if pod and target.id and (pod.uid != target.uid or (container and container.container_id != target.id)):
            raise ContainerLostError(f"container `{target.container}` of pod `{target.pod}` is not the one it was")
        async with open_exec(self._session, target, command, stdin=stdin, tty=tty) as stream:
            yield stream

    def beside(self, image: str) -> Access:
        """Return the way to containers' files by ephemeral containers of this image."""
        return EphemeralContainers(self._session, partial(self.exec, stdin=True), image)

    def logs(
        self, target: ContainerTarget, *, follow: bool = True, since: str | None = None, previous: bool = False
    ) -> AbstractAsyncContextManager[ObjectReceiveStream[bytes]]:
        """See `ports.Cluster.logs`."""
        return open_log(self._session, target, follow=follow, since=since, previous=previous)

    def connect(self, pod: Pod, port: int) -> AbstractAsyncContextManager[ByteStream]:
        """See `ports.Cluster.connect`."""
        return connect(self._session, self._nodes, pod, port, self.address(pod, port))

    def address(self, pod: Pod, port: int) -> tuple[str, int] | None:
        """See `ports.Cluster.address`: the pod's own, where its node and the API server are this machine."""
        if pod.ip and pod.host_ip and self._here and self._nodes.is_here(pod.host_ip):
            return pod.ip, port
        return None
