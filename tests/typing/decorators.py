"""What type checkers know of a devfile; checked by mypy, never run. An `ignore` that is not needed is an error."""

from typing import assert_type

from devloop import Image, Service, Sync, check, copy, helm, image, kustomize, restart, run, service, sync, task
from devloop.dsl import DeclaredImage, DeclaredService
from devloop.model import HelmSource, KustomizeSource, Rule


@image
def bare() -> None: ...


@image("api", target="release")
def api_image(base: Image, version: str = "1") -> dict[str, str]:
    return {"BASE": str(base), "VERSION": version}


@service("k8s/api.yaml.j2", ports={8000: 80})
def api(api_image: Image, postgres: Service, replicas: int = 1) -> dict[str, str]:
    return {"dsn": postgres.host}


# What a decorator returns is callable with the function's own signature ...
assert_type(api_image(Image("base"), version="2"), dict[str, str])
assert_type(api(Image("api"), postgres=Service("postgres"), replicas=3), dict[str, str])
api_image(Image("base"), version=2)  # type: ignore[arg-type]
api(Image("api"))  # type: ignore[call-arg]

# ... and at once what other functions take as a default.
an_image: Image = api_image
a_service: Service = api
no_image: Image = api  # type: ignore[assignment]
assert isinstance(api_image, DeclaredImage)
assert isinstance(api, DeclaredService)


# Manifests may be files, and what tools render.
@service(kustomize("k8s/dev"), helm("charts/api", values=["a.yaml"], files={"config": "b.conf"}), "k8s/extra.yaml")
def mixed(api_image: Image) -> dict[str, object]:
    return {"image": {"tag": api_image.tag}}


assert_type(helm("charts/api"), HelmSource)
assert_type(kustomize("k8s/dev", arguments="--enable-helm"), KustomizeSource)
service(3)  # type: ignore[arg-type]
helm("charts/api", values=3)  # type: ignore[arg-type]


@service("k8s/worker.yaml")
def worker(img: Image = api_image, after: Service = api) -> None: ...


@service("k8s/worker.yaml")
def wrong_kind(img: Image = api) -> None: ...  # type: ignore[assignment]


@image("x")  # type: ignore[type-var]
def wrong_return() -> int:
    return 1


@sync("api/src", "/app/src")
def code(api_image: Image) -> list[Rule]:
    return [copy("a", "/a"), run("make", on="*.c"), restart(on=["*.py"])]


@sync
def everything(api_image: Image) -> None: ...


a_sync: Sync = code


@task(inputs="schema/*.sql")
def generate() -> None: ...


@check
def smoke(api: Service) -> None:
    assert_type(api.url, str)
