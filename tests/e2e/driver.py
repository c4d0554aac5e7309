"""The real `devloop` command as tests drive it: started as a process, its events used to wait and for nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

DEVLOOP = str(Path(sys.executable).with_name("devloop"))
Event = dict[str, Any]

_PATIENCE = 60.0


class Loop:
    """A devloop that runs, with `--output json`.

    Args:
        folder: The working directory.
        arguments: What follows `devloop`.
        env: Its environment.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.arguments = arguments
        self.events: list[Event] = []
        self.errors: list[str] = []
        self._arrived = threading.Condition()
        self.process = subprocess.Popen(
            [DEVLOOP, *arguments],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_events, args=[self.process.stdout], daemon=True),
            threading.Thread(target=self._read_errors, args=[self.process.stderr], daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    # --- waiting ---

    def mark(self) -> int:
        """Return a place in the event stream, to wait for what comes after it."""
        with self._arrived:
            return len(self.events)

    def wait(
        self,
        kind: str,
        *,
        since: int = 0,
        within: float = _PATIENCE,
        where: Callable[[Event], bool] = lambda _: True,
        **fields: object,
    ) -> Event:
        """Return the first event of this type, with these fields and this property, since a mark."""
        end = time.monotonic() + within
        seen = since
        with self._arrived:
            while True:
                while seen < len(self.events):
                    event = self.events[seen]
                    seen += 1
                    if event["type"] == kind and fields.items() <= event.items() and where(event):
                        return event
                ended = not any(reader.is_alive() for reader in self._readers)
                if ended or time.monotonic() > end:
                    wanted = " ".join([kind, *(f"{name}={value}" for name, value in fields.items())])
                    problem = "devloop ended" if ended else f"{within} s passed"
                    raise AssertionError(f"{problem} without the event: {wanted}\n{self.story(since)}")
                self._arrived.wait(timeout=0.2)

    def settles(self, *, since: int = 0, within: float = _PATIENCE, ok: bool = True) -> int:
        """Return a mark after the first `Settled` with this outcome since a mark."""
        self.wait("Settled", since=since, within=within, ok=ok)
        return self.mark()

    def comes_to_rest(self, *, seconds: float = 3, within: float = _PATIENCE) -> None:
        """Return as soon as nothing has been told for so many seconds: what goes round and round never gets there."""
        end = time.monotonic() + within
        seen = self.mark()
        while time.monotonic() < end:
            time.sleep(seconds)
            if self.mark() == seen:
                return
            seen = self.mark()
        message = f"no {seconds} s without an event within {within} s\n{self.story()}"
        raise AssertionError(message)

    def lines(self, service: str, *, since: int = 0) -> list[str]:
        """Return the lines that a service's containers printed, as devloop showed them."""
        with self._arrived:
            events = self.events[since:]
        return [event["line"] for event in events if event["type"] == "PodOutput" and event["node"] == service]

    def story(self, since: int = 0) -> str:
        """Return the events in short, for people."""
        with self._arrived:
            told = self.events[since:]
        events = [event for event in told if event["type"] != "PodOutput"][-60:]
        printed = Counter(f"{event['pod']}/{event['container']}" for event in told if event["type"] == "PodOutput")
        lines = [f"  {count} lines of {source}" for source, count in printed.items()]
        for event in events:
            fields = {name: value for name, value in event.items() if name not in {"type", "v", "seq", "at", "node"}}
            lines.append(f"  {event['at']:.3f} {event['type']} {event['node'] or ''} {json.dumps(fields)[:1500]}")
        return "\n".join([f"devloop {' '.join(self.arguments)}", *lines, *self.errors])

    # --- ending ---

    def children(self) -> list[psutil.Process]:
        """Return the processes below devloop."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def stop(self, number: int = signal.SIGINT, *, within: float = 30) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.ended(within=within)

    def ended(self, *, within: float = _PATIENCE) -> int:
        """Wait for the end, and return the exit code."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within} s\n{self.story()}") from None
        for reader in self._readers:
            reader.join(5)
        return code

    def close(self) -> None:
        """End it whatever it takes."""
        if self.process.poll() is None:
            below = self.children()
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                for each in below:
                    if each.is_running():
                        each.kill()
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    # --- reading ---

    def _read_events(self, stream: IO[str]) -> None:
        for line in stream:
            with self._arrived:
                self.events.append(json.loads(line))
                self._arrived.notify_all()

    def _read_errors(self, stream: IO[str]) -> None:
        for line in stream:
            with self._arrived:
                self.errors.append(line.rstrip("\n"))


def environment(**more: str) -> dict[str, str]:
    """Return an environment for devloop: this process's, and more."""
    return {**os.environ, **more}
