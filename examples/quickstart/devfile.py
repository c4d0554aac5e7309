"""One web service: `devloop up` builds it, deploys it, and keeps the running pod like the files here.

Edit web/src/*             and the page is new at once: the file is copied into the running container.
Edit web/requirements.txt  (or the Dockerfile, or serve.py) and there is a new image and a new pod.
Edit k8s/web.yaml.j2       and it is deployed anew, without a build.
"""

from devloop import Image, image, service, sync


@image("web")  # web/Dockerfile; its COPY lines say which files belong to the image
def web_image() -> None: ...


@service("k8s/web.yaml.j2", ports={8000: 80})  # http://localhost:8000 is port 80 of the Service
def web(web_image: Image, greeting: str = "Hello", replicas: int = 1) -> None:  # try: --set greeting=Moin
    """The web page."""


@sync("web/src", "/app/src")
def web_code(web_image: Image) -> None: ...
