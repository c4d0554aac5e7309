"""Where services run, and why there."""

import pytest

from devloop.core.cluster.contexts import Contexts, merge
from devloop.core.cluster.targets import Target, TargetChoice, choose_target
from devloop.errors import InputError

NONE = merge([])
NOT_CHOSEN = merge([{"contexts": [{"name": "kind-dev", "context": {}}]}])
CHOSEN = merge([{"contexts": [{"name": "kind-dev", "context": {}}], "current-context": "kind-dev"}])


@pytest.mark.parametrize(
    ("asked", "contexts", "context", "target", "reason"),
    [
        (None, NONE, None, Target.DOCKER, "no Kubernetes context is known"),
        (None, NOT_CHOSEN, None, Target.DOCKER, "no Kubernetes context is chosen"),
        (None, NOT_CHOSEN, "kind-dev", Target.KUBERNETES, "the context is `kind-dev`"),
        (None, CHOSEN, None, Target.KUBERNETES, "the context is `kind-dev`"),
        ("docker", CHOSEN, None, Target.DOCKER, "`--target docker` says so"),
        ("kubernetes", NONE, None, Target.KUBERNETES, "`--target kubernetes` says so"),
    ],
)
def test_a_cluster_is_taken_where_one_is_chosen_and_the_engine_otherwise(
    asked: str | None, contexts: Contexts, context: str | None, target: Target, reason: str
) -> None:
    assert choose_target(asked, contexts, context=context) == TargetChoice(target=target, reason=reason)


def test_a_target_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(InputError, match="there is no target `podman`"):
        choose_target("podman", NONE)


def test_a_context_and_the_engine_do_not_go_together() -> None:
    with pytest.raises(InputError, match="the context `kind-dev` is a cluster's"):
        choose_target("docker", CHOSEN, context="kind-dev")
