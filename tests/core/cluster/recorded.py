"""What a real cluster (Kubernetes 1.20) said while workloads came up, failed and were rolled out anew."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devloop.core.cluster import pods
from devloop.core.cluster.pods import Pod
from devloop.core.cluster.rollout import Rollout, rollout
from devloop.core.manifest import Manifest, manifest_of
from devloop.model import Document, ObjectKey

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One moment of the cluster."""

    live: dict[ObjectKey, Document]
    pods: tuple[Pod, ...]
    events: tuple[Document, ...]

    def state(self, *names: str) -> Rollout:
        """Return the rollout of the objects with these names."""
        return rollout([self.manifest(name) for name in names], self.live, self.pods, self.events)

    def manifest(self, name: str) -> Manifest:
        """Return what was applied, as far as a rollout looks at it."""
        return next(
            manifest_of(document, path="all.yaml")
            for key, document in self.live.items()
            if key.name == name and key.kind not in ("ReplicaSet", "ControllerRevision")
        )

    def without(self, *kinds: str) -> "Recorded":
        """Return the same moment, seen by somebody who does not watch these kinds."""
        live = {key: document for key, document in self.live.items() if key.kind not in kinds}
        return Recorded(live, self.pods, self.events)


def recorded(name: str) -> Recorded:
    """Return the moment with this name."""
    raw: dict[str, list[Any]] = json.loads((_DATA / f"{name}.json").read_text())

    def objects() -> Iterator[tuple[ObjectKey, Document]]:
        for document in (*raw["objects"], *raw["pods"]):
            yield manifest_of(document, path="all.yaml").key, document

    return Recorded(dict(objects()), tuple(pods.read(pod) for pod in raw["pods"]), tuple(raw["events"]))
