"""Workloads as Kubernetes would show them, with their status: what `cluster.rollout` judges, and a word for tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from devloop.core.containers.controllers import Having, Workload
from devloop.core.manifest.pod_templates import pick, put
from devloop.model import Document

__all__ = ["live_document", "status_text"]


def live_document(wanted: Workload, having: Sequence[Having]) -> Document:
    """Return the workload with the status that a cluster would give it."""
    document: Any = wanted.document
    uid = f"{wanted.key.namespace}/{wanted.key.kind}/{wanted.key.name}"
    if wanted.key.kind == "Pod" and having:
        uid = having[0].identity.uid
    document = put(document, ("metadata", "uid"), uid)
    return {**document, "status": _status(wanted, having)}


def _status(wanted: Workload, having: Sequence[Having]) -> Mapping[str, Any]:
    new = [each for each in having if each.identity.revision == wanted.revision]
    ready = [each for each in having if each.pod.ready and not each.gone]
    ready_new = [each for each in new if each.pod.ready and not each.gone]
    match wanted.key.kind:
        case "Deployment" | "ReplicaSet" | "ReplicationController":
            return {
                "observedGeneration": pick(wanted.document, ("metadata", "generation"), 0),
                "replicas": len([each for each in having if not each.gone]),
                "updatedReplicas": len([each for each in new if not each.gone]),
                "availableReplicas": len(ready_new if wanted.key.kind == "Deployment" else ready),
                "readyReplicas": len(ready),
            }
        case "StatefulSet":
            updated = len(new) == len(having)
            return {
                "readyReplicas": len(ready),
                "updatedReplicas": len([each for each in new if not each.gone]),
                "updateRevision": wanted.revision,
                "currentRevision": wanted.revision if updated else "before",
            }
        case "DaemonSet":
            return {
                "desiredNumberScheduled": 1,
                "updatedNumberScheduled": len([each for each in new if not each.gone]),
                "numberAvailable": len(ready_new),
                "numberReady": len(ready),
            }
        case "Job":
            return _job_status(wanted, having)
        case _:
            phase = having[0].pod.phase if having else "Pending"
            return {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}


def _job_status(wanted: Workload, having: Sequence[Having]) -> Mapping[str, Any]:
    done = sum(each.pod.phase == "Succeeded" for each in having)
    failed = sum(each.pod.phase == "Failed" for each in having)
    conditions = []
    if done >= wanted.spec("completions", default=1):
        conditions.append({"type": "Complete", "status": "True"})
    elif failed > wanted.spec("backoffLimit", default=6):
        message = "Job has reached the specified backoff limit"
        conditions.append({"type": "Failed", "status": "True", "message": message})
    return {"succeeded": done, "failed": failed, "conditions": conditions}


def status_text(document: Document) -> str:
    """Return a workload's status in a word."""
    status = document.get("status") or {}
    match document.get("kind"):
        case "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController":
            return f"{status.get('readyReplicas', 0)}/{pick(document, ('spec', 'replicas'), 1)} ready"
        case "DaemonSet":
            return f"{status.get('numberReady', 0)}/1 ready"
        case "Job":
            return f"{status.get('succeeded', 0)}/{pick(document, ('spec', 'completions'), 1)} done"
        case _:
            return str(status.get("phase", ""))
