"""Shells beside a container, where the cluster has ephemeral containers that share another's processes.

Kubernetes has them since 1.23. An ephemeral container stays until its pod ends: each container gets one at most, which
all connections use.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import anyio

from devloop.adapters.kube.discovery import PODS
from devloop.adapters.kube.session import Answer, Session, refusal
from devloop.core.cluster.pods import Container, Running, Terminated, Waiting, read
from devloop.model import ContainerTarget
from devloop.runtime.ports import ContainerLostError, ExecStream, SyncRefusedError

__all__ = ["EphemeralContainers"]

_PATIENCE: Final = 60.0
"""Seconds that pulling the image and starting may take."""
_BETWEEN_LOOKS: Final = 0.2
_HOPELESS: Final = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)

Exec = Callable[[ContainerTarget, tuple[str, ...]], AbstractAsyncContextManager[ExecStream]]


class EphemeralContainers:
    """Runs shells in ephemeral containers.

    Args:
        session: The API server's session.
        execute: Runs a command in a container, with standard input.
        image: An image that has `sh` and the usual small tools.
    """

    root = "/proc/1/root"

    def __init__(self, session: Session, execute: Exec, image: str) -> None:
        self.name = f"an ephemeral container (`{image}`)"
        self._session = session
        self._execute = execute
        self._image = image
        self._served: bool | None = None
        self._adding = anyio.Lock()

    async def leads_to(self, target: ContainerTarget) -> bool:  # noqa: ARG002 - it depends on the cluster alone
        """Return whether the cluster has ephemeral containers (in their lasting form, of 1.23)."""
        if self._served is None:
            answer = await self._session.call("GET", "/api/v1")
            if not answer.good:
                return False
            kinds = answer.document().get("resources") or ()
            self._served = any(each["name"] == "pods/ephemeralcontainers" and each["kind"] == "Pod" for each in kinds)
        return self._served

    @asynccontextmanager
    async def shell(self, target: ContainerTarget, script: str) -> AsyncIterator[ExecStream]:
        """Run a script with `sh` beside the container.

        Raises:
            SyncRefusedError: That cannot be.
            ContainerLostError: The pod is gone.
            UnreachableError: The API server did not answer.
        """
        name = f"devloop-{hashlib.sha256(f'{target.container} {target.id}'.encode()).hexdigest()[:12]}"
        async with self._adding:
            await self._provide(target, name)
        beside = replace(target, container=name, id="")
        async with self._execute(beside, ("sh", "-c", script)) as stream:
            yield stream

    async def _provide(self, target: ContainerTarget, name: str) -> None:
        """Add the ephemeral container if it is not there, and return when it runs."""
        pod = await self._pod(target)
        if pod["spec"].get("shareProcessNamespace"):
            where = f"container `{target.container}` of pod `{target.pod}`"
            raise SyncRefusedError(f"nothing beside it can tell the processes of {where} from those of others")
        if not any(each.get("name") == name for each in pod["spec"].get("ephemeralContainers") or ()):
            await self._add(target, name)
        with anyio.move_on_after(_PATIENCE):
            while True:
                if _runs(read(await self._pod(target)).ephemeral, name):
                    return
                await anyio.sleep(_BETWEEN_LOOKS)
        raise SyncRefusedError(f"the ephemeral container did not start within {_PATIENCE:.0f} s")

    async def _add(self, target: ContainerTarget, name: str) -> None:
        container = {
            "name": name,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "2147483647"],
            "targetContainerName": target.container,
            "securityContext": {"runAsUser": 0, "runAsNonRoot": False, "capabilities": {"add": ["SYS_PTRACE"]}},
        }
        change = {"spec": {"ephemeralContainers": [container]}}
        answer = await self._session.call(
            "PATCH",
            f"{PODS.path(target.namespace, target.pod)}/ephemeralcontainers",
            content=json.dumps(change).encode(),
            content_type="application/strategic-merge-patch+json",
        )
        self._check(answer, target, "adding an ephemeral container")

    async def _pod(self, target: ContainerTarget) -> dict[str, Any]:
        """Return the target's pod, in which it runs."""
        answer = await self._session.call("GET", PODS.path(target.namespace, target.pod))
        self._check(answer, target, "reading a pod")
        found = answer.document()
        if target.uid and found["metadata"].get("uid") != target.uid:
            raise _gone(target)
        container = read(found).container(target.container)
        if container is None or container.container_id != target.id or not isinstance(container.state, Running):
            raise ContainerLostError(f"container `{target.container}` of pod `{target.pod}` does not run any more")
        return found

    def _check(self, answer: Answer, target: ContainerTarget, doing: str) -> None:
        if answer.code == 404:
            raise _gone(target)
        if not answer.good:
            raise SyncRefusedError(refusal(doing, answer.code, answer.content).message)


def _runs(containers: tuple[Container, ...], name: str) -> bool:
    state = next((each.state for each in containers if each.name == name), Waiting())
    match state:
        case Running():
            return True
        case Terminated(exit_code=code, reason=reason):
            why = f" ({reason})" if reason else ""
            raise SyncRefusedError(f"the ephemeral container ended with exit code {code}{why}")
        case Waiting(reason=reason, message=message) if reason in _HOPELESS:
            hint = 'another image with a shell will do as well: `project(helper="…")`'
            raise SyncRefusedError(f"the ephemeral container does not start: {message or reason}", hint=hint)
        case _:
            return False


def _gone(target: ContainerTarget) -> ContainerLostError:
    return ContainerLostError(f"pod `{target.pod}` is gone")
