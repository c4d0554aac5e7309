"""A team at scale: 500 developers, 300 services, shared builders. What devloop's own parts cost, and how builds queue.

    python -m benchmarks.scale [--developers 500] [--services 300] [--runs 3]

Needs neither engine nor cluster. Three parts: reading and planning the project (measured), requests to the API server
(counted against an API server in small), and the queue at shared builders (simulated, always with the same numbers).
"""

import argparse
import os
import random
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapreplace
from pathlib import Path

import anyio
import yaml

from benchmarks.inference import nodes
from benchmarks.outside import LINE, percentile
from devloop.adapters.kube.cluster import KubeCluster
from devloop.core.manifest import parse
from tests.fakes.api_server import ApiServer, api_server

_SERVICE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME-one}
data: {image: "api:IMAGE"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME-two}
data: {port: "80"}
"""
"""Two objects, of which an image's change changes one; their kind is no matter for the number of requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--developers", type=int, default=500)
    parser.add_argument("--services", type=int, default=300)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="devloop-scale-") as place:
        os.environ["DEVLOOP_STATE_DIR"] = f"{place}/state"
        print(f"== one developer: a project of {options.services} services ({options.services * 4} nodes)")
        print(LINE.format(name="", median="median", p95="p95", goal="goal", note=""))
        nodes(Path(place) / "nodes", options.services * 4, options.runs)
        print("== the API server")
        anyio.run(requests, Path(place), options.developers)
    print("== shared builders")
    builders(options.developers, options.services)


# --- the API server -----------------------------------------------------------------------------------------------


async def requests(folder: Path, developers: int) -> None:
    """Print how many requests the parts of a session are, and what a team of that size makes of them."""
    async with api_server() as server:
        server.put("/api/v1/namespaces/default")
        server.put("/api/v1/namespaces/default/serviceaccounts/default")
        config = folder / "kubeconfig"
        config.write_text(yaml.safe_dump(_kubeconfig(server.url)))
        async with KubeCluster.open(project="shop", kubeconfig=config) as cluster:
            await cluster.apply("warm", parse(_named("warm", 0), path="warm.yaml"))
            counted: dict[str, int] = {}
            for what, image in (("first", 0), ("again", 0), ("changed", 1)):
                before = len(server.requests)
                await cluster.apply("api", parse(_named("api", image), path="api.yaml"))
                counted[what] = len(server.requests) - before
                _show_verbs(what, server, before)
    deploys = 30
    calls = deploys * counted["changed"]
    print(f"a developer who deploys {deploys} times an hour: {calls} requests an hour; syncs make none")
    print(f"{developers} developers: {developers * calls / 3600:.1f} requests a second")


def _show_verbs(what: str, server: ApiServer, before: int) -> None:
    verbs = Counter(asked.method for asked in server.requests[before:])
    said = ", ".join(f"{count} {verb}" for verb, count in sorted(verbs.items())) or "none"
    print(f"apply of a service of two objects, {what}: {said}")


def _named(name: str, image: int) -> str:
    return _SERVICE.replace("NAME", name).replace("IMAGE", str(image))


def _kubeconfig(server: str) -> dict[str, object]:
    return {
        "clusters": [{"name": "kind-x", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
        "contexts": [{"name": "kind-x", "context": {"cluster": "kind-x", "user": "me"}}],
        "current-context": "kind-x",
    }


# --- builders -----------------------------------------------------------------------------------------------------

_BUILDS_AN_HOUR = 6.0
"""Of one developer: edits that no sync takes. Sync takes most."""
_IMAGES_OF_ONE = 3
"""How many services one developer works on in a day."""
_SLOTS = 4
"""Builds that one pod does at a time (four cores)."""
_KEPT = 60
"""Contexts whose layers one pod's cache holds (200 GB)."""
_SECONDS = {"warm": 6.0, "imported": 20.0, "cold": 120.0}
"""What a build takes: with the pod's own cache, with layers from the cache in the registry, from nothing."""
_SPREAD = 0.5
_HOURS = 10
_WARM_UP = 2


@dataclass(slots=True)
class _Pod:
    """A replica of the builder: its slots, and the contexts that its cache holds, the longest unused first."""

    free_at: list[float] = field(default_factory=lambda: [0.0] * _SLOTS)
    cache: OrderedDict[tuple[int, int], None] = field(default_factory=OrderedDict)

    def holds(self, context: tuple[int, int]) -> bool:
        """Return whether the context was built here, and remember that it is now."""
        held = context in self.cache
        self.cache[context] = None
        self.cache.move_to_end(context)
        if len(self.cache) > _KEPT:
            self.cache.popitem(last=False)
        return held


def builders(developers: int, services: int) -> None:
    """Print how builds wait and what the caches give, for numbers of replicas and ways to choose one."""
    line = "{:>8} {:>8} {:>9} {:>6} {:>9} {:>9} {:>10} {:>10} {:>6}"
    print(line.format("replicas", "chosen", "shared", "busy", "wait p50", "wait p95", "total p50", "total p95", "warm"))
    for replicas in (4, 8, 16, 24, 32):
        for sticky, shared in ((True, True), (False, True), (True, False)):
            found = simulate(developers, services, replicas, sticky=sticky, shared=shared)
            print(
                line.format(
                    replicas,
                    "sticky" if sticky else "random",
                    "cache" if shared else "no cache",
                    f"{found.busy:.0%}",
                    *(f"{percentile(found.waits, each):.1f} s" for each in (50, 95)),
                    *(f"{percentile(found.totals, each):.1f} s" for each in (50, 95)),
                    f"{found.warm:.0%}",
                )
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a simulated day gave."""

    waits: Sequence[float]
    totals: Sequence[float]
    busy: float
    warm: float


def simulate(developers: int, services: int, replicas: int, *, sticky: bool, shared: bool) -> Found:
    """Return how builds went in a working day; each call with the same arguments gives the same.

    Args:
        developers: How many there are.
        services: Of how many each chooses a few.
        replicas: Pods that build.
        sticky: Whether builds of one folder go to one pod, as devloop asks buildx to do it; else to any.
        shared: Whether the project says a cache (`project(cache=…)`) that all builds leave their layers in.
    """
    chance = random.Random(17)
    pods = [_Pod() for _ in range(replicas)]
    work = [chance.sample(range(services), _IMAGES_OF_ONE) for _ in range(developers)]
    exported: set[int] = set()
    waits, totals, worked, warm, now = [], [], 0.0, 0, 0.0
    while now < _HOURS * 3600:
        now += chance.expovariate(developers * _BUILDS_AN_HOUR / 3600)
        who = chance.randrange(developers)
        image = chance.choice(work[who])
        anywhere = chance.randrange(replicas)
        pod = pods[hash((who, image)) % replicas if sticky else anywhere]
        kind = "warm" if pod.holds((who, image)) else "imported" if shared and image in exported else "cold"
        exported.add(image)
        takes = _SECONDS[kind] * chance.lognormvariate(-(_SPREAD**2) / 2, _SPREAD)
        starts = max(now, pod.free_at[0])
        heapreplace(pod.free_at, starts + takes)
        if now > _WARM_UP * 3600:
            waits.append(starts - now)
            totals.append(starts + takes - now)
            worked += takes
            warm += kind == "warm"
    seconds = (_HOURS - _WARM_UP) * 3600
    return Found(
        waits=waits, totals=totals, busy=worked / (seconds * replicas * _SLOTS), warm=warm / max(1, len(waits))
    )


if __name__ == "__main__":
    main()
