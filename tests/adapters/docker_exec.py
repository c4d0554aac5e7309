"""Commands in containers of the local engine through the docker CLI: what the syncer needs of a cluster, for tests."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import Process

from devloop.model import ContainerTarget
from devloop.runtime.ports import ContainerLostError, ExecExit, ExecOutput


class DockerExecStream:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._send, self._receive = anyio.create_memory_object_stream[ExecOutput | ExecExit](100)

    async def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ContainerLostError("the connection is lost") from error

    async def receive(self) -> ExecOutput | ExecExit:
        try:
            return await self._receive.receive()
        except anyio.EndOfStream as error:
            raise ContainerLostError("the connection is lost") from error

    async def resize(self, columns: int, rows: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._send.close()
        self._receive.close()

    async def pump(self) -> None:
        async def read(*, stderr: bool) -> None:
            stream = self._process.stderr if stderr else self._process.stdout
            assert stream is not None
            async for data in stream:
                await self._send.send(ExecOutput(data=data, stderr=stderr))

        async with self._send:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: read(stderr=True))
                await read(stderr=False)
            code = await self._process.wait()
            if code >= 0:  # else the client was killed: a cut connection
                await self._send.send(ExecExit(code=code))


class DockerExec:
    """`exec` by `docker exec`; `cut` ends all connections as a broken network would."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.opened = 0

    def cut(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()

    @asynccontextmanager
    async def exec(
        self, target: ContainerTarget, command: Sequence[str], *, stdin: bool = False, tty: bool = False
    ) -> AsyncIterator[DockerExecStream]:
        look = await anyio.run_process(["docker", "inspect", "--format={{.State.Running}}", target.id], check=False)
        if look.stdout.strip() != b"true":
            raise ContainerLostError("there is no such container")
        self.opened += 1
        process = await anyio.open_process(["docker", "exec", "-i", target.id, *command])
        self.processes.append(process)
        stream = DockerExecStream(process)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stream.pump)
                yield stream
                tasks.cancel_scope.cancel()
        finally:
            self.processes.remove(process)
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()
            stream.close()
