"""What comes back from a container."""

import io
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devloop.core.sync.pulling import Ledger, Looked
from devloop.errors import ToolError
from devloop.model import ContainerTarget, Digest, RelPath
from devloop.runtime.pull import Pulled, bring_back

LOCK = RelPath("lock")


def archive(files: Mapping[str, str], *, at: float = 1_000, mode: int = 0o644) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(text), int(at), mode
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@dataclass
class Exchange:
    """A host and a container that was looked at before."""

    root: Path
    destination: RelPath = LOCK
    agreed: dict[RelPath, Digest] = field(default_factory=dict)
    seen: Mapping[RelPath, Digest] | None = None

    def pull(self, files: Mapping[str, str] | None, *, mode: int = 0o644, started: float = 0) -> Pulled:
        packed = None if files is None else archive(files, mode=mode)
        pulled = bring_back(packed, self.destination, self.root, agreed=self.agreed, seen=self.seen, started=started)
        self.agreed |= pulled.agreed
        self.seen = pulled.seen
        return pulled


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path)


def test_a_file_lands_where_the_rule_says_under_its_own_name_there(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, RelPath("api/my.lock"))

    assert exchange.pull({"poetry.lock": "locked"}).written == ("api/my.lock",)
    assert (tmp_path / "api/my.lock").read_text() == "locked"


def test_a_folder_lands_with_all_that_it_holds(tmp_path: Path) -> None:
    Exchange(tmp_path, RelPath("db")).pull({"migrations/1.sql": "a", "migrations/old/0.sql": "b"})

    assert (tmp_path / "db/1.sql").read_text() == "a"
    assert (tmp_path / "db/old/0.sql").read_text() == "b"


def test_a_file_that_is_the_same_is_not_written(tmp_path: Path, exchange: Exchange) -> None:
    (tmp_path / "lock").write_text("same")
    before = (tmp_path / "lock").stat()

    assert exchange.pull({"lock": "same"}).written == ()
    assert (tmp_path / "lock").stat().st_ino == before.st_ino


def test_what_the_container_changed_is_taken_though_the_hosts_is_younger(tmp_path: Path, exchange: Exchange) -> None:
    (tmp_path / "lock").write_text("one")
    exchange.pull({"lock": "one"})

    exchange.pull({"lock": "two"}, mode=0o755)

    assert (tmp_path / "lock").read_text() == "two"
    assert (tmp_path / "lock").stat().st_mode & 0o111


def test_what_was_changed_here_stays_and_is_told_of_once(tmp_path: Path, exchange: Exchange) -> None:
    (tmp_path / "lock").write_text("one")
    exchange.pull({"lock": "one"})
    (tmp_path / "lock").write_text("mine")

    assert exchange.pull({"lock": "one"}).kept == ()
    assert exchange.pull({"lock": "theirs"}).kept == (LOCK,)
    assert exchange.pull({"lock": "theirs"}).kept == ()
    assert (tmp_path / "lock").read_text() == "mine"


def test_the_containers_is_taken_when_the_hosts_was_deleted_after_a_conflict(
    tmp_path: Path, exchange: Exchange
) -> None:
    (tmp_path / "lock").write_text("one")
    exchange.pull({"lock": "one"})
    (tmp_path / "lock").write_text("mine")
    exchange.pull({"lock": "theirs"})
    (tmp_path / "lock").unlink()

    assert exchange.pull({"lock": "theirs"}).written == (LOCK,)


def test_a_file_that_the_container_deleted_goes_with_its_empty_folders(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, RelPath("gen"))
    exchange.pull({"gen/a/b/1": "x", "gen/2": "y"})

    assert exchange.pull({"gen/2": "y"}).deleted == ("gen/a/b/1",)
    assert sorted(each.name for each in (tmp_path / "gen").iterdir()) == ["2"]
    assert exchange.pull(None).deleted == ("gen/2",)


def test_an_older_file_of_the_image_does_not_replace_what_came_back_before(tmp_path: Path, exchange: Exchange) -> None:
    exchange.pull({"lock": "new"})
    exchange.seen = None

    assert exchange.pull({"lock": "old"}, started=2_000).written == ()
    assert (tmp_path / "lock").read_text() == "new"


def test_what_a_new_container_made_as_it_started_is_taken(tmp_path: Path, exchange: Exchange) -> None:
    exchange.pull({"lock": "one"})
    exchange.seen = None

    exchange.pull({"lock": "two"}, started=500)

    assert (tmp_path / "lock").read_text() == "two"


def test_a_link_to_the_file_stays_a_link(tmp_path: Path, exchange: Exchange) -> None:
    (tmp_path / "real").write_text("one")
    (tmp_path / "lock").symlink_to("real")
    exchange.pull({"lock": "one"})

    exchange.pull({"lock": "two"})

    assert (tmp_path / "lock").is_symlink()
    assert (tmp_path / "real").read_text() == "two"


def test_a_folder_in_the_files_place_stays(tmp_path: Path, exchange: Exchange) -> None:
    (tmp_path / "lock").mkdir()

    assert exchange.pull({"lock": "x"}).kept == (LOCK,)
    assert (tmp_path / "lock").is_dir()


def test_paths_that_lead_out_are_left_out(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, RelPath("into"))

    assert exchange.pull({"into/../../evil": "x", "into/good": "y"}).written == ("into/good",)


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be written"):
        bring_back(b"nonsense" * 200, LOCK, tmp_path, agreed={}, seen=None)


# --- whatever happens, in whatever order -----------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "sub/c"])
TEXTS = st.sampled_from(["1", "2", "3", None])
PODS = st.sampled_from(["one", "two"])


class Exchanges(RuleBasedStateMachine):
    """A host and two containers, each of which anybody may change at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(mkdtemp())
        self.containers: dict[str, dict[str, tuple[str, float]]] = {"one": {}, "two": {}}
        self.targets: dict[str, ContainerTarget] = {}
        self.started: dict[str, float] = {"one": 0, "two": 0}
        self.ledger = Ledger()
        self.precious: dict[str, str | None] = {}
        self.alike: dict[str, str | None] = {}
        self.clock = 10
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    @initialize(image=st.dictionaries(NAMES, st.sampled_from(["1", "2"])))
    def start(self, image: dict[str, str]) -> None:
        self.image = image
        self.replace("one")
        self.replace("two")

    @rule(name=NAMES, text=TEXTS)
    def edit_here(self, name: str, text: str | None) -> None:
        if self.host().get(name) != text:
            place = self.root / "gen" / name
            if text is None:
                place.unlink()
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text)
            self.precious[name] = text
            if text == self.alike.get(name):
                del self.precious[name]  # taken back: it is nobody's edit any more

    @rule(pod=PODS, name=NAMES, text=TEXTS)
    def edit_there(self, pod: str, name: str, text: str | None) -> None:
        self.clock += 1
        if text is None:
            self.containers[pod].pop(name, None)
        else:
            self.containers[pod][name] = text, self.clock

    @rule(pod=PODS)
    def replace(self, pod: str) -> None:
        self.count += 1
        self.clock += 1
        self.started[pod] = self.clock
        self.containers[pod] = {name: (text, 1) for name, text in self.image.items()}
        self.ledger = self.ledger.without(frozenset({self.targets[pod]} if pod in self.targets else ()))
        self.targets[pod] = ContainerTarget(namespace="", pod=pod, uid="", container="", id=str(self.count))

    @rule(pod=PODS)
    def pull(self, pod: str) -> None:
        edits = {name: text for name, text in self.precious.items() if text is not None}
        self.look(pod)
        after = self.host()
        assert edits.items() <= after.items(), "an edit of the host was overwritten"
        self.look(pod)
        assert self.host() == after, "it does not come to rest"

    @precondition(lambda self: not self.precious)
    @rule(pod=PODS, name=NAMES, text=st.sampled_from(["4", "5"]))
    def make_and_pull(self, pod: str, name: str, text: str) -> None:
        self.look(pod)
        news = self.there(pod).get(name) != text
        self.edit_there(pod, name, text)
        self.look(pod)
        if news:
            assert self.host().get(name) == text or name in self.disputed(pod), "it did not come back"

    def disputed(self, pod: str) -> set[str]:
        seen = self.ledger.seen[self.targets[pod]]
        return {path.removeprefix("gen/") for path, digest in seen.items() if digest.startswith("disputed")}

    @invariant()
    def nothing_is_left_lying_about(self) -> None:
        assert not [path for path in self.root.rglob("*") if path.name.endswith(".devloop")]

    def look(self, pod: str) -> None:
        target = self.targets[pod]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, (text, at) in self.containers[pod].items():
                member = tarfile.TarInfo(f"gen/{name}")
                member.size, member.mtime = len(text), int(at)
                tar.addfile(member, io.BytesIO(text.encode()))
        pulled = bring_back(
            buffer.getvalue(),
            RelPath("gen"),
            self.root,
            agreed=self.ledger.agreed,
            seen=self.ledger.seen.get(target),
            started=self.started[pod],
        )
        known = {path.removeprefix("gen/") for path in self.ledger.seen.get(target, ())}
        for name in {*self.there(pod), *known}:
            if (found := self.host().get(name)) == self.there(pod).get(name):
                self.alike[name] = found
                self.precious.pop(name, None)
        self.ledger = self.ledger.after(Looked(target=target, agreed=pulled.agreed, seen=pulled.seen))

    def host(self) -> dict[str, str]:
        top = self.root / "gen"
        return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}

    def there(self, pod: str) -> dict[str, str]:
        return {name: text for name, (text, _) in self.containers[pod].items()}


TestExchanges = Exchanges.TestCase
TestExchanges.settings = settings(max_examples=40, stateful_step_count=30)
