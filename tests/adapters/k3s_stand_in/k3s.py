"""What `k3s server` shows from outside: a kubeconfig, an API server that knows its users, a node that becomes ready.

Like k3s it keeps its authority with its data, and refuses a node that comes with another password than before.
"""

import base64
import json
import os
import ssl
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATA, NODE, OUT = Path("/var/lib/rancher/k3s"), Path("/etc/rancher/node"), Path("/etc/rancher/k3s")
MODE = os.environ["MODE"]
LOOKS: list[None] = []
ARGUMENTS = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[2:])


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, cwd=DATA, capture_output=True)


def certify(name: str, more: str) -> None:
    """Make a certificate of the cluster's authority."""
    (DATA / "more").write_text(more)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "more", "-out", f"{name}.crt")  # fmt: skip


def prepare() -> bool:
    """Write what k3s writes; return whether the node may join."""
    (DATA / "arguments").write_text(" ".join(sys.argv[1:]))
    if not (DATA / "ca.crt").exists():
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=k3s-server-ca", "-addext", "keyUsage=critical,keyCertSign,digitalSignature",
                "-keyout", "ca.key", "-out", "ca.crt")  # fmt: skip
    certify("server", f"subjectAltName=IP:{ARGUMENTS['tls-san']}\n")
    certify("admin", "extendedKeyUsage=clientAuth\n")
    NODE.mkdir(parents=True, exist_ok=True)
    if not (NODE / "password").exists():
        (NODE / "password").write_text(os.urandom(16).hex())
    if not (DATA / "node-passwd").exists():
        (DATA / "node-passwd").write_text((NODE / "password").read_text())
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "k3s.yaml").write_text(
        KUBECONFIG.format(ca=encoded("ca.crt"), crt=encoded("admin.crt"), key=encoded("admin.key"))
    )
    return (DATA / "node-passwd").read_text() == (NODE / "password").read_text()


KUBECONFIG = """apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {ca}
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {{}}
users:
- name: default
  user:
    client-certificate-data: {crt}
    client-key-data: {key}
"""


def encoded(name: str) -> str:
    return base64.b64encode((DATA / name).read_bytes()).decode()


def node() -> dict[str, object]:
    """Return the node as the API gives it: ready when it is looked at again, if it may join."""
    LOOKS.append(None)
    ready = ACCEPTED and MODE != "unready" and len(LOOKS) > 1
    why = {} if ready else {"reason": "KubeletNotReady", "message": "cni plugin not initialized"}
    return {
        "metadata": {"name": ARGUMENTS["node-name"], "labels": {"node.kubernetes.io/instance-type": "k3s"}},
        "spec": {"providerID": f"k3s://{ARGUMENTS['node-name']}"},
        "status": {
            "nodeInfo": {"containerRuntimeVersion": "containerd://1.7.23-k3s2", "kubeletVersion": "v1.31.5+k3s1"},
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", **why}],
        },
    }


class Api(BaseHTTPRequestHandler):
    """The few paths that devloop asks for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        code, document = 404, {"kind": "Status", "message": f"there is no {path}", "code": 404}
        if path == "/api/v1/nodes":
            code, document = 200, {"kind": "NodeList", "items": [node()] if ACCEPTED else []}
        elif path == "/version":
            code, document = 200, {"gitVersion": "v1.31.5+k3s1"}
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


sys.stdout.write("Starting k3s v1.31.5+k3s1 (stand-in)\n")
if MODE == "dying":
    sys.exit('level=fatal msg="failed to find memory cgroup (v2)"')
ACCEPTED = prepare()
if not ACCEPTED:
    sys.stdout.write('level=error msg="Node password rejected, duplicate hostname"\n')
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(DATA / "server.crt", DATA / "server.key")
context.load_verify_locations(DATA / "ca.crt")
context.verify_mode = ssl.CERT_REQUIRED
server = ThreadingHTTPServer(("", 6443), Api)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
