"""Does for a session what a cluster's controllers do: makes and ends pods until they are what was applied."""

import logging
import math
import uuid
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Final

import anyio
from anyio.abc import TaskGroup

from devloop.adapters.docker.cluster.prober import Prober
from devloop.adapters.docker.cluster.records import Record, Records
from devloop.adapters.docker.cluster.relays import Relays
from devloop.adapters.docker.cluster.storage import Storage
from devloop.adapters.docker.cluster.things import Things
from devloop.adapters.docker.cluster.view import View
from devloop.adapters.docker.cluster.worker import Worker
from devloop.core.containers.controllers import Change, Having, Plan, Workload, changes, workload
from devloop.core.containers.environment import Surroundings
from devloop.core.containers.identity import Identity, network_name
from devloop.core.containers.services import aliases
from devloop.core.manifest import manifest_of
from devloop.core.manifest.pod_templates import pick
from devloop.errors import ToolError
from devloop.model import ObjectKey

__all__ = ["Controller"]

_LOG: Final = logging.getLogger(__name__)
_TRY_AGAIN: Final = 1.0


class Controller:
    """Controls the pods and relays of the services that this session deploys.

    Args:
        things: The engine.
        view: What runs.
        records: What was applied.
        storage: Volumes.
        prober: Probes.
        relays: Services.
        tasks: Where pods are worked.
    """

    def __init__(
        self,
        *,
        things: Things,
        view: View,
        records: Records,
        storage: Storage,
        prober: Prober,
        relays: Relays,
        tasks: TaskGroup,
    ) -> None:
        self._things = things
        self._view = view
        self._records = records
        self._storage = storage
        self._prober = prober
        self._relays = relays
        self._tasks = tasks
        self._controlled: set[str] = set()
        self._workers: dict[str, Worker] = {}
        self._networks: dict[str, str] = {}
        self._connecting = anyio.Lock()
        self._capacity: dict[str, Decimal] = {}
        prober.acts = lambda seen: seen.identity.service in self._controlled

    def take(self, service: str) -> None:
        """Control a service from now on."""
        self._controlled.add(service)
        self._view.signal.fire()

    def leave(self, services: Iterable[str]) -> None:
        """Control these services no more."""
        self._controlled.difference_update(services)

    def hurry(self) -> None:
        """Let what failed be tried again at once."""
        for worker in self._workers.values():
            worker.hurry()
        self._view.signal.fire()

    async def run(self) -> None:
        """Control, for ever."""
        await self._view.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._repeat, self._step, name="pods")
            tasks.start_soon(self._repeat, self._keep_relays, name="services")

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            count, limit = self._view.signal.count, math.inf
            try:
                await step()
            except ToolError as error:
                _LOG.debug("controlling: %r", error)
                limit = _TRY_AGAIN
            with anyio.move_on_after(limit):
                await self._view.signal.beyond(count)

    # --- pods ----------------------------------------------------------------------------------------------------

    async def _step(self) -> None:
        if not self._controlled:
            return
        # Pods that this session has not made are another's, who has written down before what they are for.
        strangers = any(
            identity.uid not in self._workers
            for identity, _ in self._view.snapshot()
            if identity.service in self._controlled
        )
        await self._records.all(anew=strangers)
        wanted = {each.key: each for each in self._workloads()}
        having: dict[ObjectKey, list[Having]] = {}
        for identity, pod in self._view.snapshot():
            if identity.service not in self._controlled and identity.owner not in wanted:
                continue
            having.setdefault(identity.owner, []).append(Having(identity=identity, pod=pod))
        for key in wanted.keys() | having.keys():
            there = having.get(key, [])
            if (owner := wanted.get(key)) is not None:
                self._carry_out(owner, changes(owner, there))
            else:
                self._carry_out(None, Change(end=tuple(each.identity.uid for each in there)))
        for identity, _ in self._view.snapshot():
            if identity.service in self._controlled or identity.owner in wanted:
                self._work(identity)

    def _workloads(self) -> list[Workload]:
        """Return the workloads of the services that are controlled."""
        found = []
        for record in self._records.known.values():
            if record.service in self._controlled:
                manifest = manifest_of(record.document, path="")
                made = workload(manifest.in_namespace(record.key.namespace), record.project, record.service)
                found += [made] if made else []
        return found

    def _carry_out(self, owner: Workload | None, change: Change) -> None:
        for uid in change.end:
            self._view.end(uid)
        for plan in change.make if owner else ():
            assert owner is not None
            self._view.plan(_identity(owner, plan))

    def _work(self, identity: Identity) -> None:
        if identity.uid in self._workers:
            return
        worker = self._workers[identity.uid] = Worker(
            identity,
            things=self._things,
            view=self._view,
            storage=self._storage,
            prober=self._prober,
            surround=self.surroundings,
            part=self.settled,
        )
        self._tasks.start_soon(self._run, worker, name=f"pod {identity.name}")

    async def _run(self, worker: Worker) -> None:
        uid = worker.identity.uid
        while True:
            failed = False
            try:
                await worker.run()
            except* ToolError as group:  # the engine was away, say
                _LOG.debug("working %s: %r", worker.identity.name, group.exceptions)
                failed = True
            if not failed:
                break
            await anyio.sleep(_TRY_AGAIN)
        self._workers.pop(uid, None)

    async def end_all(self, services: Iterable[str] | None) -> None:
        """End all pods of these services (None: all), and return when nothing is left of them."""
        await self._view.ready()
        wanted = None if services is None else set(services)
        going = [identity for identity, _ in self._view.snapshot() if wanted is None or identity.service in wanted]
        await self.end_pods(going)

    async def end_pods(self, going: Iterable[Identity]) -> None:
        """End these pods, and return when nothing is left of them."""
        uids = set()
        for identity in going:
            self._view.end(identity.uid)
            self._work(identity)
            uids.add(identity.uid)
        while uids & (self._view.pods().keys() | self._workers.keys()):
            with anyio.move_on_after(0.2):  # a worker that ends tells nobody
                await self._view.signal.beyond(self._view.signal.count)

    # --- Services ------------------------------------------------------------------------------------------------

    async def _keep_relays(self) -> None:
        await self._records.all()
        for namespace in {
            record.key.namespace for record in self._controlled_records() if record.key.kind == "Service"
        }:
            await self.network(namespace)
        await self._relays.keep(self._controlled_records)

    def _controlled_records(self) -> list[Record]:
        return [record for record in self._records.known.values() if record.service in self._controlled]

    async def settled(self) -> None:
        """Return when the relays know all that is known now."""
        await self._keep_relays()

    # --- what pods are surrounded by -----------------------------------------------------------------------------

    async def network(self, namespace: str) -> str:
        """Return the address of the host in a namespace's network, which is made if need be."""
        async with self._connecting:
            if namespace not in self._networks:
                name = network_name(self._things.project, namespace)
                network = await self._things.network(name, namespace)
                gateway = next(
                    (each["Gateway"] for each in pick(network, ("IPAM", "Config"), []) if each.get("Gateway")), ""
                )
                self._networks[namespace] = gateway
                await self._relays.join_all(name, namespace)
            return self._networks[namespace]

    def gateways(self) -> dict[str, str]:
        """Return the addresses of the host in the networks that are known."""
        return self._networks

    def forget_networks(self) -> None:
        """Look again whether networks are there."""
        self._networks.clear()

    async def surroundings(self, identity: Identity, address: str) -> tuple[Surroundings, tuple[str, ...]]:
        """Return what a pod can refer to, and its names in the network."""
        gateway = await self.network(identity.namespace)
        if not self._capacity:
            info = await self._things.engine.get("/info")
            self._capacity = {"cpu": Decimal(info.get("NCPU", 1)), "memory": Decimal(info.get("MemTotal", 0))}
        records = await self._records.all()
        objects = {(key.kind, key.namespace, key.name): record.document for key, record in records.items()}
        around = Surroundings(objects=objects, address=address, host_address=gateway, capacity=self._capacity)
        services = [(key.namespace, record.document) for key, record in records.items() if _is_service(record)]
        return around, aliases(identity, services)


def _identity(owner: Workload, plan: Plan) -> Identity:
    return Identity(
        project=owner.project,
        service=owner.service,
        namespace=owner.key.namespace,
        name=plan.name,
        uid=str(uuid.uuid4()),
        owner=owner.key,
        revision=owner.revision,
        ordinal=plan.ordinal,
        template=plan.template,
    )


def _is_service(record: Record) -> bool:
    return record.key.kind == "Service" and not record.key.group
