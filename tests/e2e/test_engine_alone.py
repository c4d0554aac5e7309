"""Without a cluster the same commands and rules do the same: tests of other modules, run again on the engine alone."""

import pytest

from tests.e2e.test_commands import (  # noqa: F401 - pytest runs here what it finds here
    test_exec_passes_on_what_is_piped_in,
    test_exec_passes_the_exit_code_on,
    test_logs_prints_what_the_containers_printed,
    test_status_shows_what_runs_and_its_exit_code_whether_all_is_ready,
)
from tests.e2e.test_sync import (  # noqa: F401
    test_a_crashed_container_gets_everything_that_was_synced,
    test_a_failing_run_rule_shows_what_it_printed_and_is_mended_by_the_next_save,
    test_a_redeployed_pod_gets_everything_that_was_synced,
    test_a_restart_rule_starts_the_process_anew_in_the_same_container,
    test_a_run_rule_runs_in_the_container_after_the_copy,
    test_changed_new_renamed_and_deleted_files_reach_all_replicas,
    test_what_was_synced_files_do_while_devloop_is_stopped_is_caught_up_with,
)
from tests.outside import Cluster


@pytest.fixture
def cluster(engine_alone: Cluster) -> Cluster:
    """A namespace on the engine, in place of one in a cluster."""
    return engine_alone
