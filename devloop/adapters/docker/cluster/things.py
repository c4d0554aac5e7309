"""The calls to the engine that pods, Services and volumes are made of."""

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Final

import anyio

from devloop.adapters.docker.cluster.unbroken import unbroken
from devloop.adapters.docker.engine import Engine
from devloop.core.containers.creation import Creation
from devloop.core.containers.identity import HOME, PROJECT, ROLE, Role, labels, short_hash
from devloop.core.containers.volumes import File, as_bind, below_of
from devloop.errors import ToolError, UnreachableError
from devloop.model import Document

__all__ = ["Things"]

_CONFLICT: Final = 409
_FAREWELL: Final = 1.0
_SUBPATHS_SINCE: Final = (1, 45)
_HELPER: Final = "localhost/devloop-helper"  # with its registry's name, as Podman looks for others at docker.io
_FILES: Final = "files"
_PROCESSORS: Final = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}


class Things:
    """Makes, shows and removes what a project has in an engine.

    Args:
        engine: The engine.
        project: The project's name.
        home: The namespace that it is deployed to: in another one it is another project.
    """

    def __init__(self, engine: Engine, project: str, home: str) -> None:
        self.engine = engine
        self.project = project
        self.home = home
        self._helper: str | None = None
        self._preparing = anyio.Lock()

    @property
    def marks(self) -> tuple[str, str]:
        """The labels by which the engine selects what is the project's."""
        return (f"{PROJECT}={self.project}", f"{HOME}={self.home}")

    # --- containers --------------------------------------------------------------------------------------------

    async def containers(self, role: Role | None = None) -> list[Document]:
        """Return the project's containers as `docker ps` lists them."""
        found: list[Document] = await self.engine.get("/containers/json", all="1", filters=self._filter(role)) or []
        return self._chosen(found, role)

    async def inspect(self, container: str) -> Document | None:
        """Return what `docker inspect` shows of a container, or None when it is gone."""
        found: Document | None = await self.engine.get(f"/containers/{container}/json")
        return found

    async def create(self, creation: Creation) -> str:
        """Create a container and return its ID; one of ours that has the name but does not run makes room.

        Raises:
            ToolError: The engine refused, or another session has just made the same.
        """
        body = await self._as_spoken({**creation.body, "Labels": {**creation.body["Labels"], HOME: self.home}})
        try:
            made = await self.engine.post("/containers/create", body, name=creation.name)
        except ToolError as error:
            old = await self.inspect(creation.name) if error.exit_code == _CONFLICT else None
            ours = old is not None and old["Config"]["Labels"].get(PROJECT) == self.project
            if old is None or not ours or old["State"]["Running"]:
                raise
            await self.remove(old["Id"])
            made = await self.engine.post("/containers/create", body, name=creation.name)
        return str(made["Id"])

    async def _as_spoken(self, body: Document) -> Document:
        """Return a container's body as this engine takes it."""
        host = body["HostConfig"]
        if any(map(below_of, host.get("Mounts") or ())) and (await self.engine.version()).api < _SUBPATHS_SINCE:
            body = {**body, "HostConfig": {**host, "Mounts": [await self._bound(mount) for mount in host["Mounts"]]}}
        joins = str(host.get("NetworkMode")).startswith("container:")
        if (
            joins and not (await self.engine.version()).is_podman
        ):  # Docker gives it the other container's name, and refuses another
            body = {name: value for name, value in body.items() if name != "Hostname"}
        return body

    async def _bound(self, mount: Document) -> Document:
        """Return a mount of a part of a volume as a bind of where the engine keeps it."""
        volume = await self.volume(mount["Source"]) if below_of(mount) else None
        return as_bind(mount, volume["Mountpoint"]) if volume else mount

    async def start(self, container: str) -> None:
        """Start a container.

        Raises:
            ToolError: The engine refused.
        """
        await self.engine.post(f"/containers/{container}/start")

    async def stop(self, container: str, seconds: float) -> None:
        """End a container: its stop signal, and SIGKILL after a while."""
        with suppress(UnreachableError, ToolError):
            await self.engine.post(f"/containers/{container}/stop", t=str(int(seconds)))

    async def remove(self, container: str) -> None:
        """Remove a container, whether it runs or not."""
        while not await self.engine.delete(f"/containers/{container}", force="1", v="1"):
            if await self.inspect(container) is None:
                return
            await anyio.sleep(0.05)  # somebody else is removing it; the engine tells of no end of that

    # --- volumes -----------------------------------------------------------------------------------------------

    async def volumes(self, role: Role) -> list[Document]:
        """Return the project's volumes of a role."""
        found = await self.engine.get("/volumes", filters=self._filter(role))
        return self._chosen((found or {}).get("Volumes") or (), role)

    async def volume(self, name: str) -> Document | None:
        """Return a volume, or None."""
        found: Document | None = await self.engine.get(f"/volumes/{name}")
        return found

    async def create_volume(self, name: str, marks: Mapping[str, str], options: Mapping[str, str]) -> None:
        """Make a volume."""
        body = {"Name": name, "Labels": {**marks, HOME: self.home}, "DriverOpts": dict(options)}
        await self.engine.post("/volumes/create", body)

    async def remove_volume(self, name: str) -> bool:
        """Remove a volume, and return whether that could be: not while a container has it."""
        return await self.engine.delete(f"/volumes/{name}")

    async def fill(self, volume: str, content: Iterable[File], *, group: int, folders: Iterable[str] = ()) -> None:
        """Put files into a volume, through a container that is never started.

        Args:
            volume: The volume's name.
            content: The files.
            group: The group that all belong to.
            folders: Further folders, which everybody may write to.
        """
        body = {
            "Image": await self.helper(),
            "Labels": labels(self.project, Role.FILES),
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [
                    {"Type": "volume", "Source": volume, "Target": f"/{_FILES}", "VolumeOptions": {"NoCopy": True}}
                ],
            },
        }
        async with unbroken(_FAREWELL):  # else one that is made meanwhile would hold the volume for good
            made = await self.engine.post("/containers/create", body)
        try:
            archive = _archive(content, group, folders)
            await self.engine.upload("PUT", f"/containers/{made['Id']}/archive", archive, path=f"/{_FILES}")
        finally:
            async with unbroken(_FAREWELL):
                with suppress(ToolError):
                    await self.engine.delete(f"/containers/{made['Id']}", force="1")

    # --- networks ----------------------------------------------------------------------------------------------

    async def networks(self) -> list[Document]:
        """Return the project's networks."""
        found: list[Document] = await self.engine.get("/networks", filters=self._filter(Role.NETWORK)) or []
        return self._chosen(found, Role.NETWORK)

    async def network(self, name: str, namespace: str) -> Document:
        """Return a network of the project, made if need be."""
        found: Document | None = await self.engine.get(f"/networks/{name}")
        if found is None:
            marks = {**labels(self.project, Role.NETWORK, namespace=namespace), HOME: self.home}
            body = {"Name": name, "Driver": "bridge", "CheckDuplicate": True, "Labels": marks}
            try:
                await self.engine.post("/networks/create", body)
            except ToolError as error:
                if error.exit_code != _CONFLICT:  # another session has just made it
                    raise
            found = await self.engine.get(f"/networks/{name}")
        return found or {}

    async def remove_network(self, name: str) -> bool:
        """Remove a network, and return whether that could be."""
        try:
            return await self.engine.delete(f"/networks/{name}")
        except ToolError as error:
            if error.exit_code == 403:  # it has endpoints
                return False
            raise

    # --- the helper image --------------------------------------------------------------------------------------

    async def helper(self) -> str:
        """Return the image of devloop's own program, imported if need be."""
        async with self._preparing:
            if self._helper is None:
                self._helper = await self._import()
            return self._helper

    async def _import(self) -> str:
        machine = (await self.engine.version()).processor
        processor = _PROCESSORS.get(machine)
        if processor is None:
            raise ToolError(f"devloop has no helper program for `{machine}`, the processor of this engine")
        program = files(__package__).joinpath("helper", f"helper-{processor}").read_bytes()
        tag = short_hash(program.hex())
        name = f"{_HELPER}:{tag}"  # passed as one: Podman 4 takes no notice of `tag=`
        if await self.engine.image(name) is None:
            changes = 'ENTRYPOINT ["/helper"]'
            archive = _program(program)
            await self.engine.upload("POST", "/images/create", archive, fromSrc="-", repo=name, changes=changes)
        return name

    async def pull(self, ref: str) -> None:
        """Pull an image as the docker CLI does, with its logins."""
        from devloop.runtime.processes import capture

        command = ("docker", "pull", "--quiet", ref)
        answer = await capture(command, env=dict(self.engine.endpoint.environment))
        if answer.exit_code:
            lines = answer.stderr.strip().splitlines() or [f"`docker pull {ref}` failed"]
            raise ToolError(lines[-1].removeprefix("Error response from daemon: "), command=command)

    async def image(self, ref: str) -> Document | None:
        """Return what the engine knows of an image, or None."""
        return await self.engine.image(ref)

    def _filter(self, role: Role | None) -> str:
        wanted = [*self.marks, *([f"{ROLE}={role}"] if role else [])]
        return json.dumps({"label": wanted})

    def _chosen(self, found: Iterable[Document], role: Role | None) -> list[Document]:
        """Return those that have all the labels: Podman lists what has one of them."""
        wanted = {PROJECT: self.project, HOME: self.home, **({ROLE: role} if role else {})}
        return [each for each in found if wanted.items() <= (each.get("Labels") or {}).items()]


def _archive(content: Iterable[File], group: int, folders: Iterable[str]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        known = {""}
        _add(archive, ".", 0o777, group, None)
        for folder in folders:
            _add_parents(archive, f"{folder}/", 0o777, group, known)
        for file in content:
            _add_parents(archive, file.path, 0o755, group, known)
            _add(archive, file.path, file.mode | (0o040 if group else 0), group, file.content)
    return made.getvalue()


def _add_parents(archive: tarfile.TarFile, path: str, mode: int, group: int, known: set[str]) -> None:
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        if folder not in known:
            known.add(folder)
            _add(archive, folder, mode, group, None)


def _add(archive: tarfile.TarFile, path: str, mode: int, group: int, content: bytes | None) -> None:
    info = tarfile.TarInfo(path)
    info.mode, info.gid = mode, group
    if content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    else:
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


def _program(program: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo("helper")
        info.mode, info.size = 0o755, len(program)
        archive.addfile(info, io.BytesIO(program))
        folder = tarfile.TarInfo(_FILES)
        folder.mode, folder.type = 0o755, tarfile.DIRTYPE
        archive.addfile(folder)
    return made.getvalue()
