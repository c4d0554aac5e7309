"""What becomes of a host's file that a container hands back."""

import pytest

from devloop.core.digests import ABSENT
from devloop.core.sync.pulling import Ledger, Looked, Outcome, outcome
from devloop.model import ContainerTarget, Digest, RelPath

A, B, C = Digest("a"), Digest("b"), Digest("c")
LOCK = RelPath("lock")
ONE = ContainerTarget(namespace="", pod="one", uid="1", container="app", id="1")
TWO = ContainerTarget(namespace="", pod="two", uid="2", container="app", id="2")


@pytest.mark.parametrize(
    ("host", "container", "agreed", "seen", "changed", "what"),
    [
        pytest.param(A, A, None, None, False, Outcome.ALIKE, id="the same"),
        pytest.param(A, B, A, A, True, Outcome.TAKE, id="changed there"),
        pytest.param(B, A, A, A, False, Outcome.STAY, id="changed here"),
        pytest.param(B, C, A, A, True, Outcome.CONFLICT, id="changed here and there"),
        pytest.param(None, A, None, None, True, Outcome.TAKE, id="new there"),
        pytest.param(None, A, None, None, False, Outcome.TAKE, id="in the image and never here"),
        pytest.param(A, None, A, None, False, Outcome.STAY, id="never there"),
        pytest.param(A, None, A, A, True, Outcome.DELETE, id="deleted there"),
        pytest.param(B, None, A, A, True, Outcome.CONFLICT, id="deleted there and changed here"),
        pytest.param(None, A, A, A, False, Outcome.STAY, id="deleted here"),
        pytest.param(None, B, A, A, True, Outcome.TAKE, id="deleted here and changed there"),
        pytest.param(None, A, A, None, True, Outcome.TAKE, id="deleted here and made anew there"),
        pytest.param(None, A, ABSENT, A, False, Outcome.STAY, id="deleted by another container"),
        pytest.param(None, A, ABSENT, None, False, Outcome.STAY, id="deleted, and still in the image"),
        pytest.param(None, None, A, A, True, Outcome.ALIKE, id="deleted here and there"),
        pytest.param(B, A, B, None, False, Outcome.STAY, id="an older one in the image"),
        pytest.param(A, B, A, None, True, Outcome.TAKE, id="made when the container started"),
        pytest.param(A, B, None, None, True, Outcome.CONFLICT, id="never alike"),
        pytest.param(A, B, None, None, False, Outcome.STAY, id="never alike, from the image"),
    ],
)
def test_what_was_last_alike_decides(
    host: Digest | None,
    container: Digest | None,
    agreed: Digest | None,
    seen: Digest | None,
    changed: bool,
    what: Outcome,
) -> None:
    assert outcome(host=host, container=container, agreed=agreed, seen=seen, changed=changed) is what


def test_the_ledger_remembers_what_each_container_had_and_what_all_agreed_on() -> None:
    ledger = Ledger().after(Looked(target=ONE, agreed={LOCK: A}, seen={LOCK: A}))
    ledger = ledger.after(Looked(target=TWO, agreed={LOCK: B}, seen={LOCK: B}))

    assert ledger == Ledger(agreed={LOCK: B}, seen={ONE: {LOCK: A}, TWO: {LOCK: B}})
    assert ledger.without(frozenset({ONE})) == Ledger(agreed={LOCK: B}, seen={TWO: {LOCK: B}})
