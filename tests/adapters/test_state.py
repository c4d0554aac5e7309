"""What outlives a session, and who may hold a project."""

import subprocess
import sys
from pathlib import Path

import pytest

from devloop.adapters.state import FileStore, exclusively, state_directory
from devloop.core.sync.pulling import Ledger
from devloop.core.trace import Inputs, Result, Trace
from devloop.errors import ToolError
from devloop.model import ContainerTarget, Digest, Kind, NodeId, RelPath
from devloop.runtime.ports import Saved

IMAGE, SERVICE = NodeId(Kind.IMAGE, "api"), NodeId(Kind.SERVICE, "api")
TARGET = ContainerTarget(namespace="dev", pod="api-1", uid="u", container="api", id="docker://1")


def trace(ref: str) -> Trace:
    inputs = Inputs(
        recipe={"api/Dockerfile": Digest("sha256:1")},
        files={RelPath("api/a"): Digest("sha256:2")},
        results={NodeId(Kind.IMAGE, "base"): Digest("sha256:3")},
    )
    return Trace(inputs=inputs, result=Result(digest=Digest("sha256:4"), ref=ref))


SAVED = Saved(
    traces={IMAGE: trace("api:1"), SERVICE: trace("")},
    held={TARGET: {RelPath("api/a"): Digest("sha256:5")}},
    ledger=Ledger(
        agreed={RelPath("api/lock"): Digest("sha256:6")}, seen={TARGET: {RelPath("api/lock"): Digest("sha256:7")}}
    ),
    decisions={"image:api": {"at": 1.0, "action": "build", "reasons": ["new"], "outcome": "", "seconds": None}},
)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    FileStore(tmp_path, "kind", "dev").save(SAVED)

    assert FileStore(tmp_path, "kind", "dev").load() == SAVED


def test_images_are_the_same_in_all_namespaces_of_a_cluster_and_nothing_else_is(tmp_path: Path) -> None:
    FileStore(tmp_path, "kind", "dev").save(SAVED)

    assert FileStore(tmp_path, "kind", "other").load() == Saved(traces={IMAGE: trace("api:1")})
    assert FileStore(tmp_path, "minikube", "dev").load() == Saved()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 0}', '{"version": 1, "traces": {"image:api": {}}}'])
def test_what_cannot_be_understood_counts_as_nothing(tmp_path: Path, text: str) -> None:
    FileStore(tmp_path, "kind", "dev").save(SAVED)
    for path in tmp_path.iterdir():
        path.write_text(text)

    assert FileStore(tmp_path, "kind", "dev").load() == Saved()


def test_projects_of_one_name_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVLOOP_STATE_DIR", str(tmp_path))

    assert state_directory(Path("/a/shop")) != state_directory(Path("/b/shop"))
    assert state_directory(Path("/a/shop")).parent == tmp_path


def test_a_second_loop_of_a_project_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from devloop.adapters.state import exclusively\n"
        "with exclusively(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ToolError, match=f"as process {other.pid}"), exclusively(tmp_path):
            pass
        other.communicate("")

    with exclusively(tmp_path):
        pass
