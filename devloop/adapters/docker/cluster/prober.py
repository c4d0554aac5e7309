"""Asks running containers whether they are started, ready and alive, and tells the view."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, assert_never

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, TaskGroup
from anyio.streams.tls import TLSStream

from devloop.adapters.docker.cluster.commands import run_command
from devloop.adapters.docker.cluster.view import View
from devloop.adapters.docker.engine import Engine
from devloop.core.containers.creation import grace
from devloop.core.containers.observed import Run, Seen, main_containers
from devloop.core.containers.probes import Check, ExecCheck, HttpCheck, Probe, TcpCheck, Verdict, probe_of
from devloop.errors import ToolError

__all__ = ["Prober"]

_KEEN: Final = 0.05
"""Seconds between questions until a probe passes for the first time: nobody should wait for a whole period."""
_KEEN_COMMANDS: Final = 0.25
_GOOD: Final = range(200, 400)

Connect = Callable[[Seen, int], Awaitable[ByteStream]]


class Prober:
    """Probes the containers that run.

    Args:
        engine: The engine.
        view: What runs, and who is told.
        tasks: Where probes run.
        dial: Opens a connection to a pod's port.
    """

    def __init__(self, engine: Engine, view: View, tasks: TaskGroup, dial: Connect) -> None:
        self._engine = engine
        self._view = view
        self._tasks = tasks
        self._dial = dial
        self._attended: dict[str, anyio.CancelScope] = {}
        self._first: dict[str, anyio.Event] = {}
        self.acts: Callable[[Seen], bool] = lambda _: False
        """Says whether a container that fails is ended by this session."""

    async def run(self) -> None:
        """Attend to all containers that run, for ever."""
        await self._view.ready()
        while True:
            count = self._view.signal.count
            running = {}
            for seen in self._view.pods().values():
                for said in main_containers(seen.identity):
                    run = seen.current(str(said.get("name")))
                    if run is not None and run.running:
                        running[run.id] = (seen, said, run)
            for gone in self._attended.keys() - running.keys():
                self._attended.pop(gone).cancel("the container has ended")
            for found in running.keys() - self._attended.keys():
                scope = self._attended[found] = anyio.CancelScope()
                self._tasks.start_soon(self._attend, scope, *running[found], name=f"probe {found[:12]}")
            await self._view.signal.beyond(count)

    async def heard(self, within: float) -> None:
        """Return when each container that runs has been asked once."""
        with anyio.move_on_after(within):
            await self._view.ready()
            await anyio.lowlevel.checkpoint()
            for event in tuple(self._first.values()):
                await event.wait()

    async def _attend(self, scope: anyio.CancelScope, seen: Seen, said: Mapping[str, Any], run: Run) -> None:
        first = self._first[run.id] = anyio.Event()
        uid, name = seen.identity.uid, str(said.get("name"))
        try:
            with scope:
                startup, readiness, liveness = (probe_of(said, kind) for kind in ("startup", "readiness", "liveness"))
                if startup is not None and not await self._started(seen, name, run, startup):
                    await self._end(seen, name, run)
                    return
                self._view.tell(uid, run.id, started=True)
                async with anyio.create_task_group() as tasks:
                    if readiness is None:
                        self._view.tell(uid, run.id, ready=True)
                        first.set()
                    else:
                        tasks.start_soon(self._readiness, seen, name, run, readiness)
                    if liveness is not None and self.acts(seen):
                        tasks.start_soon(self._liveness, seen, name, run, liveness)
        finally:
            first.set()
            self._first.pop(run.id, None)

    async def _started(self, seen: Seen, name: str, run: Run, probe: Probe) -> bool:
        await anyio.sleep(probe.delay)
        end = anyio.current_time() + probe.period * probe.failures
        told = 0.0
        while True:
            problem = await self._ask(seen, run, probe)
            self._first[run.id].set()
            if problem is None:
                return True
            now = anyio.current_time()
            if now >= end:
                return False
            if now - told >= probe.period:
                told = now
                self._unhealthy(seen, name, probe, problem)
            await anyio.sleep(_keen(probe))

    async def _readiness(self, seen: Seen, name: str, run: Run, probe: Probe) -> None:
        uid = seen.identity.uid
        await anyio.sleep(probe.delay)
        verdict = Verdict()
        told = anyio.current_time()
        keen = True
        while True:
            problem = await self._ask(seen, run, probe)
            keen = keen and problem is not None
            verdict = verdict.after(problem is None, probe)
            if verdict.good is not None:
                self._view.tell(uid, run.id, ready=verdict.good)
            self._first[run.id].set()
            if problem and anyio.current_time() - told >= probe.period:
                told = anyio.current_time()
                self._unhealthy(seen, name, probe, problem)
            await anyio.sleep(_keen(probe) if keen else probe.period)

    async def _liveness(self, seen: Seen, name: str, run: Run, probe: Probe) -> None:
        await anyio.sleep(probe.delay)
        verdict = Verdict()
        while verdict.good is not False:
            problem = await self._ask(seen, run, probe)
            if problem:
                self._unhealthy(seen, name, probe, problem)
            verdict = verdict.after(problem is None, probe)
            if verdict.good is not False:
                await anyio.sleep(probe.period)
        await self._end(seen, name, run)

    def _unhealthy(self, seen: Seen, name: str, probe: Probe, problem: str) -> None:
        message = f"{probe.kind.capitalize()} probe failed: {problem}"
        self._view.event(seen.identity.uid, name, "Unhealthy", message)

    async def _end(self, seen: Seen, name: str, run: Run) -> None:
        """End a container that failed a probe; that it starts again is its pod's worker's business."""
        if not self.acts(seen):
            return
        self._view.event(seen.identity.uid, name, "Killing", f"Container {name} failed its probe, will be restarted")
        with suppress(ToolError):  # it has just ended by itself, or the engine is away: then it is asked again
            await self._engine.post(f"/containers/{run.id}/stop", t=str(grace(seen.identity)))

    # --- one question --------------------------------------------------------------------------------------------

    async def _ask(self, seen: Seen, run: Run, probe: Probe) -> str | None:
        """Return what is wrong, or None."""
        with anyio.move_on_after(probe.timeout):
            return await self.ask(seen, run, probe.check)
        return f"no answer within {probe.timeout:g} s"

    async def ask(self, seen: Seen, run: Run, check: Check) -> str | None:
        """Do what a probe or hook says once, and return what is wrong, or None."""
        try:
            return await self._do(seen, run, check)
        except ToolError as error:
            return error.message
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            return str(error) or "the connection broke"

    async def _do(self, seen: Seen, run: Run, check: Check) -> str | None:
        match check:
            case ExecCheck(command=command):
                code, output = await run_command(self._engine, run.id, command)
                return None if code == 0 else output[-200:] or f"exit code {code}"
            case TcpCheck(port=port):
                await (await self._dial(self._view.find(seen.identity.uid) or seen, port)).aclose()
                return None
            case HttpCheck():
                return await self._get(self._view.find(seen.identity.uid) or seen, check)
            case _:
                assert_never(check)

    async def _get(self, seen: Seen, check: HttpCheck) -> str | None:
        stream = await self._dial(seen, check.port)
        try:
            if check.secure:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                stream = await TLSStream.wrap(stream, ssl_context=context, standard_compatible=False)
            headers = {"Host": check.host or seen.address, "User-Agent": "devloop-probe", "Connection": "close"}
            headers |= dict(check.headers)
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            await stream.send(f"GET {check.path} HTTP/1.1\r\n{head}\r\n".encode())
            answer = b""
            while b"\r\n" not in answer and len(answer) < 4096:
                answer += await stream.receive()
            code = answer.split(b" ", 2)[1:2]
            status = int(code[0][:3]) if code and code[0][:3].isdigit() else 0
            return None if status in _GOOD else f"HTTP probe failed with statuscode: {status}"
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)


def _keen(probe: Probe) -> float:
    fastest = _KEEN_COMMANDS if isinstance(probe.check, ExecCheck) else _KEEN
    return min(fastest, probe.period)
