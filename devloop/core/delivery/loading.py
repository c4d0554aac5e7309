"""The commands that put an image into the nodes of a local cluster, and those that ask whether it is there. Pure.

Where the nodes' containerd can be reached, it is given the archive of `docker save` directly: without the product's own
tool, to each node only what that node lacks, and of the image only the layers that are new there.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from devloop.core.delivery.plans import Loader, LoadImages
from devloop.core.reference import normalise
from devloop.model import ImageRef

__all__ = ["Store", "containers_of", "stores"]

_NAMESPACE: Final = "--namespace=k8s.io"
_PROFILE: Final = "name.minikube.sigs.k8s.io"
"""The label of the containers of minikube's nodes that has their cluster's name."""

_LAYERS: Final = "docker image list --quiet | xargs -r docker image inspect --format '{{join .RootFS.Layers \" \"}}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A place that keeps images: a node, or several that one command fills.

    Attributes:
        name: What it is called in messages.
        takes: The command that puts the image there.
        archive: Whether that command reads the archive of `docker save`; else it knows itself where the engine is.
        asks: Commands that all end well where the store holds the image; none where only `held` tells it.
        named: Whether they list all images, and the answer must name this one. Asked once, that tells it of many.
        image: The name by which they list it.
        held: Whether the store itself has reported the image, without being asked.
        blobs: The command that lists the digests of what the store holds, where it is able to take new layers only.
        takes_all: What to try with the whole archive when `takes` failed.
    """

    name: str
    takes: tuple[str, ...]
    archive: bool = True
    asks: tuple[tuple[str, ...], ...] = ()
    named: bool = False
    image: str = ""
    held: bool = False
    blobs: tuple[str, ...] | None = None
    takes_all: tuple[str, ...] | None = None


def containers_of(plan: LoadImages) -> tuple[str, ...] | None:
    """Return what prints the cluster's name for each node that is a container of the engine; None if it is no question.

    minikube's nodes may be containers or machines. Into containers there is a shorter way than its own.
    """
    if plan.loader is not Loader.MINIKUBE or plan.runtime not in {"containerd", "docker"}:
        return None
    return ("docker", "container", "inspect", f'--format={{{{index .Config.Labels "{_PROFILE}"}}}}', *plan.nodes)


def stores(
    plan: LoadImages, ref: ImageRef, *, containers: str = "docker", privileged: bool = True, inside: bool = False
) -> tuple[Store, ...]:
    """Return where an image must be put so that every node has it.

    Args:
        plan: The cluster.
        ref: The image; a name that is never given to another image.
        containers: The program that runs the nodes where these are containers.
        privileged: Whether this user is root, whom alone the containerd of k3s obeys.
        inside: Whether minikube's nodes are known to be containers of the engine.
    """
    name = str(normalise(ref))
    match plan.loader:
        case Loader.DEVLOOP | Loader.KIND | Loader.K3D:
            nodes = plan.nodes or ((plan.cluster,) if plan.loader is Loader.DEVLOOP else ())
            if nodes:
                return tuple(_node((containers, "exec", "--interactive", node, "ctr"), node, name) for node in nodes)
            return (_tool(plan, ref),)
        case Loader.K3S:
            program = ("k3s", "ctr") if privileged else ("sudo", "--non-interactive", "k3s", "ctr")
            return (_node(program, plan.cluster, name),)
        case Loader.MICROK8S if len(plan.nodes) > 1:
            everywhere = ("microk8s", "images", "import")
            return (Store(name="all nodes of microk8s", takes=everywhere, held=name in plan.reported),)
        case Loader.MICROK8S:
            return (_node(("microk8s", "ctr"), "microk8s", name),)
        case Loader.MINIKUBE if inside and plan.runtime == "containerd":
            return tuple(_node((containers, "exec", "--interactive", node, "ctr"), node, name) for node in plan.nodes)
        case Loader.MINIKUBE if inside:
            return tuple(
                _engine((containers, "exec", "--interactive", node, "docker"), node, name) for node in plan.nodes
            )
        case Loader.MINIKUBE:
            return (_minikube(plan, ref, name),)
        case Loader.RANCHER_DESKTOP:
            return (_nerdctl(("nerdctl",), "Rancher Desktop", name),)
        case Loader.COLIMA:
            return (_nerdctl(("colima", "nerdctl", "--profile", plan.cluster, "--"), f"colima `{plan.cluster}`", name),)
        case _:
            assert_never(plan.loader)


def _node(program: tuple[str, ...], node: str, image: str) -> Store:
    """Return a node whose `ctr` can be run."""
    ctr = (*program, _NAMESPACE)
    return Store(
        name=f"node `{node}`",
        takes=(*ctr, "images", "import", "-"),
        takes_all=(*ctr, "images", "import", "--all-platforms", "-"),
        asks=((*ctr, "images", "list", "--quiet"),),
        named=True,
        image=image,
        blobs=(*ctr, "content", "list", "--quiet"),
    )


def _engine(docker: tuple[str, ...], node: str, image: str) -> Store:
    """Return a node with an engine of its own, which needs no layer that it holds upon the same ones below."""
    return Store(
        name=f"node `{node}`",
        takes=(*docker, "load"),
        takes_all=(*docker, "load"),
        asks=((*docker, "image", "list", "--format={{.Repository}}:{{.Tag}}"),),
        named=True,
        image=image.removeprefix("docker.io/library/").removeprefix("docker.io/"),
        blobs=(*docker[:-1], "sh", "-c", _LAYERS),
    )


def _tool(plan: LoadImages, ref: ImageRef) -> Store:
    """Return the cluster whose nodes may not be listed: its own tool knows them."""
    if plan.loader is Loader.KIND:
        takes = ("kind", "load", "docker-image", str(ref), "--name", plan.cluster)
    else:
        takes = ("k3d", "image", "import", str(ref), "--cluster", plan.cluster)
    return Store(name=f"the {plan.loader.value} cluster `{plan.cluster}`", takes=takes, archive=False)


def _minikube(plan: LoadImages, ref: ImageRef, image: str) -> Store:
    """Return the cluster whose nodes may be containers or machines, with any runtime: `minikube image load` fills all.

    `minikube image ls` shows what some node holds; only in the nodes it can be seen whether all do.
    """
    profile = ("--profile", plan.cluster)
    listing = ("sudo", "crictl", "images", "--output=json")
    nodes = tuple(("minikube", "ssh", *profile, "--node", node, "--", *listing) for node in plan.nodes)
    return Store(
        name=f"the minikube cluster `{plan.cluster}`",
        takes=("minikube", "image", "load", "--daemon", str(ref), *profile),
        archive=False,
        asks=nodes or (("minikube", "image", "ls", *profile),),
        named=True,
        image=image,
    )


def _nerdctl(program: tuple[str, ...], where: str, image: str) -> Store:
    return Store(
        name=where,
        takes=(*program, _NAMESPACE, "load"),
        asks=((*program, _NAMESPACE, "image", "inspect", "--format={{.Id}}", image),),
    )
