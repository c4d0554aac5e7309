"""Ephemeral containers on a cluster of before 1.23, which the test cluster is: there they had an early form."""

import json

from devloop.adapters.kube.session import Answer, Parameters, Session

__all__ = ["EarlySession"]

_RESOURCE = "pods/ephemeralcontainers"
_EARLY_KIND = "EphemeralContainers"


class EarlySession(Session):
    """A session in which the lasting form is said in the early one, if the cluster has only that.

    In the early form they are an object of their own, and have no security context.
    """

    _early = False

    async def call(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters = (),
        content: bytes | None = None,
        content_type: str = "application/json",
        accept: str | None = None,
    ) -> Answer:
        """See `Session.call`."""
        if self._early and content is not None and path.endswith("/ephemeralcontainers"):
            content = _early(content)
        answer = await super().call(
            method, path, parameters=parameters, content=content, content_type=content_type, accept=accept
        )
        return self._as_lasting(answer) if path == "/api/v1" else answer

    def _as_lasting(self, served: Answer) -> Answer:
        document = served.document()
        for each in document["resources"]:
            if (each["name"], each["kind"]) == (_RESOURCE, _EARLY_KIND):
                self._early = True
                each["kind"] = "Pod"
        return Answer(code=served.code, content=json.dumps(document).encode())


def _early(change: bytes) -> bytes:
    added = json.loads(change)["spec"]["ephemeralContainers"]
    for each in added:
        del each["securityContext"]
    return json.dumps({"ephemeralContainers": added}).encode()
