"""How long a rollout may fail."""

from devloop.core.cluster.failures import Failing, FailureReason
from devloop.core.cluster.patience import Patience
from devloop.core.cluster.rollout import Progressing

CRASH = Failing(reason=FailureReason.CRASH, message="it crashes")
UNBOUND = Failing(reason=FailureReason.UNSCHEDULABLE, message="unbound", usual=30.0)


def test_a_failure_is_given_up_when_patience_ends() -> None:
    patience = Patience(5.0)
    assert patience.left(Progressing(message=""), 0.0) is None
    assert patience.left(CRASH, 1.0) == 5.0
    assert patience.left(CRASH, 6.0) == 0.0


def test_a_crash_loops_good_moments_do_not_start_it_anew() -> None:
    patience = Patience(5.0)
    patience.left(CRASH, 0.0)
    assert patience.left(Progressing(message=""), 1.0) is None
    assert patience.left(CRASH, 2.0) == 3.0
    patience.left(Progressing(message=""), 3.0)
    assert patience.left(CRASH, 9.0) == 5.0


def test_what_is_usual_for_a_while_is_given_that_while() -> None:
    assert Patience(0.0).left(UNBOUND, 0.0) == 30.0
    assert Patience(60.0).left(UNBOUND, 0.0) == 60.0
