"""What outlives a session, as JSON in the user's state directory (in the project it would be a build input)."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from devloop.core.sync.pulling import Ledger
from devloop.core.trace import Inputs, Result, Trace
from devloop.errors import ToolError
from devloop.model import ContainerTarget, Digest, Kind, NodeId, RelPath
from devloop.runtime.ports import Saved

__all__ = ["FileStore", "exclusively", "state_directory"]

_VERSION: Final = 1


def state_directory(root: Path) -> Path:
    """Return where a project's state is kept: below `DEVLOOP_STATE_DIR`, or else in the user's state directory."""
    given = os.environ.get("DEVLOOP_STATE_DIR")
    if given:
        base = Path(given)
    else:
        import platformdirs

        base = Path(platformdirs.user_state_dir("devloop", appauthor=False))
    key = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return base / f"{root.name}-{key}"


class FileStore:
    """Two JSON files; implements `Store`. Images are the same for all namespaces of a cluster, all else is not.

    Args:
        folder: The state directory.
        cluster: The cluster that the images are for.
        namespace: The namespace that all else is about. State of other places is kept beside it.
    """

    def __init__(self, folder: Path, cluster: str, namespace: str) -> None:
        self._images = _File(folder / f"images-{_key(cluster)}.json")
        self._kept: Mapping[NodeId, Trace] | None = None  # they name all files of the images, and seldom change
        self._place = _File(folder / f"place-{_key(f'{cluster}/{namespace}')}.json")

    def load(self) -> Saved:
        """Return what was saved; nothing where it is missing, unreadable or of another version."""
        try:
            images, place = self._images.read(), self._place.read()
            traces = {**images.get("traces", {}), **place.get("traces", {})}
            return Saved(
                traces={_node(key): _trace(value) for key, value in traces.items()},
                held=_by_target(place.get("held", ())),
                ledger=Ledger(agreed=_files(place.get("agreed", {})), seen=_by_target(place.get("seen", ()))),
                decisions=place.get("decisions", {}),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return Saved()

    def save(self, saved: Saved) -> None:
        """Keep it; a reader sees the old state or the new, never half of one."""
        images = {node: trace for node, trace in saved.traces.items() if node.kind is Kind.IMAGE}
        if not _are_the_same(images, self._kept):
            self._images.write({"traces": {str(node): _plain(trace) for node, trace in images.items()}})
            self._kept = images
        others = {node: trace for node, trace in saved.traces.items() if node.kind is not Kind.IMAGE}
        self._place.write(
            {
                "traces": {str(node): _plain(trace) for node, trace in others.items()},
                "held": _plain_by_target(saved.held),
                "agreed": dict(saved.ledger.agreed),
                "seen": _plain_by_target(saved.ledger.seen),
                "decisions": saved.decisions,
            }
        )


class _File:
    """A JSON file that is replaced as a whole, and only when its content changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: str | None = None

    def read(self) -> dict[str, Any]:
        try:
            data = json.loads(self._path.read_text())
        except OSError:
            return {}
        return data if data["version"] == _VERSION else {}

    def write(self, data: Mapping[str, Any]) -> None:
        text = json.dumps({"version": _VERSION, **data})
        if text == self._written:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(text)
        temporary.replace(self._path)
        self._written = text


def _are_the_same(traces: Mapping[NodeId, Trace], kept: Mapping[NodeId, Trace] | None) -> bool:
    """Return whether these are the very same traces."""
    return kept is not None and traces.keys() == kept.keys() and all(kept[node] is traces[node] for node in traces)


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Hold the project for one loop at a time.

    Raises:
        ToolError: Another `devloop up` of the same project is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            message = f"this project's loop already runs, as process {holder}"
            raise ToolError(message, hint="end that one first, or use another folder") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.truncate(0)


def _plain(trace: Trace) -> dict[str, Any]:
    inputs = trace.inputs
    return {
        "recipe": dict(inputs.recipe),
        "files": dict(inputs.files),
        "results": {str(node): digest for node, digest in inputs.results.items()},
        "sources": {name: dict(files) for name, files in inputs.sources.items()},
        "digest": trace.result.digest,
        "ref": trace.result.ref,
    }


def _trace(data: Mapping[str, Any]) -> Trace:
    inputs = Inputs(
        recipe={name: Digest(digest) for name, digest in data["recipe"].items()},
        files=_files(data["files"]),
        results={_node(key): Digest(digest) for key, digest in data["results"].items()},
        sources={name: _files(files) for name, files in data.get("sources", {}).items()},
    )
    return Trace(inputs=inputs, result=Result(digest=Digest(data["digest"]), ref=data["ref"]))


def _files(data: Mapping[str, str]) -> dict[RelPath, Digest]:
    return {RelPath(path): Digest(digest) for path, digest in data.items()}


def _by_target(data: Iterable[Mapping[str, Any]]) -> dict[ContainerTarget, Mapping[RelPath, Digest]]:
    return {ContainerTarget(**each["target"]): _files(each["files"]) for each in data}


def _plain_by_target(found: Mapping[ContainerTarget, Mapping[RelPath, Digest]]) -> list[dict[str, Any]]:
    return [{"target": asdict(target), "files": dict(files)} for target, files in found.items()]


def _node(key: str) -> NodeId:
    kind, _, name = key.partition(":")
    return NodeId(Kind(kind), name)
