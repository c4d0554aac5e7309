"""Stand-ins for docker and the tools of local clusters: they keep images in folders and write down their calls.

`install` puts them into a folder that goes first on the PATH. Each node is a folder below `nodes`, with the images and
the blobs that it holds; an import fails as containerd's does when a layer is neither there nor in the archive.
"""

import sys
from pathlib import Path

__all__ = ["brought", "install"]

_NAMES = ("docker", "podman", "kind", "k3d", "minikube", "k3s", "microk8s", "nerdctl", "colima", "sudo")

_PROGRAM = """#!{python} -SE
import fcntl, hashlib, io, json, os, sys, tarfile

here = os.environ["STANDINS"]
name, *words = os.path.basename(sys.argv[0]), *sys.argv[1:]
open(here + "/calls", "a").write(" ".join([name, *words]) + "\\n")
if os.path.exists(here + "/broken"):
    sys.exit(sys.stderr.write("cannot " + words[0] + " this\\n") and 4)


def full(ref):
    return ref if "/" in ref else "docker.io/library/" + ref


def file_of(node, what):
    os.makedirs(here + "/nodes/" + node, exist_ok=True)
    return here + "/nodes/" + node + "/" + what


def held(node, what):
    path = file_of(node, what)
    return open(path).read().split() if os.path.exists(path) else []


def add(node, what, *values):
    with open(file_of(node, what), "a") as file:
        file.write("".join(value + "\\n" for value in values))


def save(ref, target):
    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        files["blobs/sha256/" + digest] = data
        return "sha256:" + digest

    files = {{}}
    layers = [blob(b"base" * 1000), blob(ref.encode())]
    manifest = blob(json.dumps({{"layers": [{{"digest": each}} for each in layers]}}).encode())
    annotations = {{"io.containerd.image.name": full(ref)}}
    index = {{"manifests": [{{"digest": manifest, "annotations": annotations}}]}}
    files["index.json"], files["oci-layout"] = json.dumps(index).encode(), b"{{}}"
    with tarfile.open(target, "w") as tar:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def take(*nodes):
    data = sys.stdin.buffer.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        read = lambda path: json.loads(tar.extractfile(path).read())
        (entry,) = read("index.json")["manifests"]
        layers = [each["digest"] for each in read("blobs/sha256/" + entry["digest"][7:])["layers"]]
        brought = ["sha256:" + path[13:] for path in tar.getnames() if path.startswith("blobs/")]
    for node in nodes:
        if missing := set(layers) - set(brought) - set(held(node, "blobs")):
            sys.exit("content digest " + missing.pop() + ": not found")
        add(node, "blobs", *brought)
        add(node, "images", entry["annotations"]["io.containerd.image.name"])
        add(node, "sizes", str(len(brought)))
    print("took", entry["annotations"]["io.containerd.image.name"])


def all_nodes():
    return sorted(os.listdir(here + "/nodes"))


def ctr(node, words):
    match words:
        case ["--namespace=k8s.io", "images", "import", *_, "-"]:
            take(node)
        case ["--namespace=k8s.io", "images", "list", "--quiet"]:
            print("\\n".join(held(node, "images")))
        case ["--namespace=k8s.io", "content", "list", "--quiet"]:
            print("\\n".join(held(node, "blobs")))
        case _:
            sys.exit("unexpected: ctr " + " ".join(words))


def run(name, words):
    match [name, *words]:
        case ["docker", "save", "--output", target, ref]:
            save(ref, target)
        case ["docker", "push", ref]:
            add("registry", "images", ref)
            print("took", ref)
        case ["docker", "buildx", "imagetools", "inspect", "--raw", ref]:
            sys.exit(ref not in held("registry", "images"))
        case ["docker" | "podman", "exec", "--interactive", node, "ctr", *rest]:
            ctr(node, rest)
        case ["docker", "exec", "--interactive", node, "docker", "image", "list", _]:
            print("\\n".join(each.replace("docker.io/library/", "") for each in held(node, "images")))
        case ["docker", "exec", "--interactive", node, "docker", "load"]:
            take(node)
        case ["docker", "exec", "--interactive", node, "sh", "-c", _]:
            print(" ".join(held(node, "blobs")))
        case ["docker", "container", "inspect", _, *nodes]:
            for node in nodes:
                print("dev" if os.path.exists(here + "/containers") else sys.exit("no such container: " + node))
        case ["k3s", "ctr", *rest]:
            ctr("node-a", rest)
        case ["microk8s", "ctr", *rest]:
            ctr("node-a", rest)
        case ["microk8s", "images", "import"]:
            take(*all_nodes())
        case ["sudo", "--non-interactive", name, *rest]:
            run(name, rest)
        case ["colima", "nerdctl", "--profile", _, "--", *rest]:
            run("nerdctl", rest)
        case ["nerdctl", "--namespace=k8s.io", "load"]:
            take("node-a")
        case ["nerdctl", "--namespace=k8s.io", "image", "inspect", _, ref]:
            sys.exit(ref not in held("node-a", "images"))
        case ["kind", "load", "docker-image", ref, *_] | ["k3d", "image", "import", ref, *_] | [
            "minikube", "image", "load", "--daemon", ref, *_
        ]:
            for node in all_nodes():
                add(node, "images", full(ref))
            print("took", ref)
        case ["minikube", "ssh", "--profile", _, "--node", node, "--", "sudo", "crictl", "images", "--output=json"]:
            print(json.dumps({{"images": [{{"repoTags": held(node, "images")}}]}}, indent=2))
        case _:
            sys.exit("unexpected: " + " ".join([name, *words]))


with open(here + "/lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    run(name, words)
"""


def install(folder: Path, *nodes: str) -> None:
    """Write the stand-ins, and make the nodes."""
    for name in _NAMES:
        (folder / name).write_text(_PROGRAM.format(python=sys.executable))
        (folder / name).chmod(0o755)
    for node in nodes:
        (folder / "nodes" / node).mkdir(parents=True)


def brought(folder: Path, node: str) -> list[int]:
    """Return how many blobs each archive held that a node was given."""
    return [int(line) for line in (folder / "nodes" / node / "sizes").read_text().splitlines()]
