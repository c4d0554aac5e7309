"""Orders that a cluster insists on: accounts before their tokens, webhooks before what they judge, controllers last."""

import base64
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.streams.tls import TLSListener

from devloop.adapters.kube.cluster import KubeCluster
from devloop.core.manifest import Manifest, parse
from tests.outside import Cluster as Namespace

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

_DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: gadgets.{group}}}
spec:
  group: {group}
  names: {{kind: Gadget, plural: gadgets, singular: gadget}}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"""
_GADGET = """
---
apiVersion: {group}/v1
kind: Gadget
metadata: {{name: one, finalizers: [{group}/clean]}}
spec: {{size: 1}}
"""
_OPERATOR = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator}
spec:
  replicas: 0
  selector: {matchLabels: {app: operator}}
  template:
    metadata: {labels: {app: operator}}
    spec: {containers: [{name: operator, image: busybox}]}
"""


def _manifests(text: str) -> list[Manifest]:
    return list(parse(text, path="k8s/all.yaml"))


@pytest.fixture
async def kube(cluster: Namespace) -> AsyncIterator[KubeCluster]:
    async with KubeCluster.open(
        project="order", context=cluster.context, kubeconfig=cluster.kubeconfig, namespace=cluster.namespace
    ) as kube:
        yield kube


async def _asked(cluster: Namespace, *arguments: str) -> Any:
    found = await to_thread.run_sync(lambda: cluster.kubectl(*arguments, "-o", "json", "--ignore-not-found"))
    return json.loads(found) if found else None


async def _until(probe: Callable[[], Any]) -> Any:
    with anyio.fail_after(60):
        while True:
            if found := await probe():
                return found
            await anyio.sleep(0.05)


async def test_the_token_of_an_account_that_comes_with_it_lives(kube: KubeCluster, cluster: Namespace) -> None:
    pairs = "\n---\n".join(
        f"apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n"
        f"metadata: {{name: token-{each}, annotations: {{kubernetes.io/service-account.name: account-{each}}}}}\n---\n"
        f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: account-{each}}}\n"
        for each in range(8)
    )
    await kube.apply("tokens", _manifests(pairs))

    async def filled() -> bool:
        secrets = (await _asked(cluster, "get", "secrets"))["items"]
        own = [each for each in secrets if each["metadata"]["name"].startswith("token-")]
        return len(own) == 8 and all("token" in (each.get("data") or {}) for each in own)

    await _until(filled)


async def _release(cluster: Namespace, group: str) -> None:
    command = ["patch", f"gadgets.{group}", "one", "--type=merge", "-p", '{"metadata": {"finalizers": null}}']
    await to_thread.run_sync(lambda: cluster.kubectl(*command))


@asynccontextmanager
async def _controller(cluster: Namespace, group: str) -> AsyncIterator[None]:
    """Clean up behind gadgets, as long as the operator's Deployment is there."""

    async def clean() -> None:
        while True:
            gadget = await _asked(cluster, "get", f"gadgets.{group}", "one")
            operator = await _asked(cluster, "get", "deployment", "operator")
            live = operator is not None and "deletionTimestamp" not in operator["metadata"]
            if gadget and "deletionTimestamp" in gadget["metadata"] and live:
                await _release(cluster, group)
                return
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clean)
        yield
        tasks.cancel_scope.cancel()


async def test_custom_resources_are_gone_before_the_controller_that_cleans_up_behind_them(
    kube: KubeCluster, cluster: Namespace
) -> None:
    group = f"{cluster.namespace}.example.org"
    text = _DEFINITION.format(group=group) + _GADGET.format(group=group) + _OPERATOR
    await kube.apply("operator", _manifests(text))
    async with _controller(cluster, group):
        with anyio.fail_after(60):
            removed = await kube.remove({"operator"})
    assert {key.kind for key in removed} == {"CustomResourceDefinition", "Deployment", "Gadget"}
    assert await _asked(cluster, "get", "crd", f"gadgets.{group}") is None


async def test_what_vanishes_from_the_manifests_goes_in_the_same_order(kube: KubeCluster, cluster: Namespace) -> None:
    group = f"{cluster.namespace}.example.org"
    text = _DEFINITION.format(group=group) + _GADGET.format(group=group) + _OPERATOR
    await kube.apply("operator", _manifests(text))
    async with _controller(cluster, group):
        with anyio.fail_after(60):
            applied = await kube.apply("operator", [])
    assert [key.kind for key in applied.removed] == ["Gadget", "Deployment", "CustomResourceDefinition"]


def _certificate(folder: Path) -> tuple[Path, Path]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


async def _answer_reviews(port: int, tls: ssl.SSLContext, reviewed: list[str]) -> None:
    """Answer as a webhook that allows everything."""

    async def answer(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await stream.receive()
            head, _, body = data.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            while len(body) < length:
                body += await stream.receive()
            review = json.loads(body)
            reviewed.append(review["request"]["name"])
            response = {"uid": review["request"]["uid"], "allowed": True}
            said = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            await stream.send(
                f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n"
                f"Connection: close\r\n\r\n{said}".encode()
            )

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with TLSListener(plain, tls, standard_compatible=False) as listener:
        await listener.serve(answer)


async def test_custom_resources_wait_for_the_webhook_that_judges_them(
    kube: KubeCluster, cluster: Namespace, tmp_path: Path
) -> None:
    key, certificate = _certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as free:
        port = free.extra(anyio.abc.SocketAttribute.local_port)
    group = f"{cluster.namespace}.example.org"
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": group},
        "webhooks": [
            {
                "name": f"gadgets.{group}",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/",
                    "caBundle": base64.b64encode(certificate.read_bytes()).decode(),
                },
                "rules": [
                    {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["gadgets"]}
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    gadget = _GADGET.format(group=group).replace(f"finalizers: [{group}/clean]", "labels: {a: b}")
    text = f"{_DEFINITION.format(group=group)}{gadget}---\n{json.dumps(webhook)}\n"
    reviewed: list[str] = []
    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kube.apply, "judged", _manifests(text))

                async def webhook_is_there() -> Any:
                    return await _asked(cluster, "get", "validatingwebhookconfiguration", group)

                await _until(webhook_is_there)
                await anyio.sleep(1)  # in which the gadget is refused: nobody answers yet
                assert await _asked(cluster, "get", f"gadgets.{group}", "one") is None
                async with anyio.create_task_group() as serving:
                    serving.start_soon(_answer_reviews, port, tls, reviewed)

                    async def gadget_is_there() -> Any:
                        return await _asked(cluster, "get", f"gadgets.{group}", "one")

                    await _until(gadget_is_there)
                    serving.cancel_scope.cancel()
        assert set(reviewed) == {"one"}
    finally:
        with anyio.move_on_after(30, shield=True):
            await kube.remove({"judged"})
