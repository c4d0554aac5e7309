"""Entries in the user's kubeconfig files: which file, whole or not at all, for its owner alone."""

from pathlib import Path

import pytest
import yaml

from devloop.adapters.kube.entries import add_entries, remove_entries, server_known
from devloop.core.cluster.kubeconfig import Entries
from devloop.errors import InputError, ToolError

OWN = Entries(name="devloop", cluster={"server": "https://127.0.0.1:40001"}, user={})
OTHER = (
    "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {server: https://a}  # mine\ncurrent-context: a\n"
)


def test_a_kubeconfig_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = add_entries(OWN, tmp_path / "new" / "config")
    assert path == tmp_path / "new" / "config"
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text())["current-context"] == "devloop"


def test_what_others_may_read_they_may_not_any_more(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(OTHER)
    (tmp_path / "config").chmod(0o644)
    add_entries(OWN, tmp_path / "config")
    assert (tmp_path / "config").stat().st_mode & 0o777 == 0o600
    assert "# mine" in (tmp_path / "config").read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(OTHER)
    (tmp_path / "config").symlink_to("real")
    add_entries(OWN, tmp_path / "config")
    assert (tmp_path / "config").is_symlink()
    assert "devloop" in (tmp_path / "real").read_text()


def test_of_several_files_the_first_that_is_there_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{tmp_path / 'one'}:{tmp_path / 'two'}")
    (tmp_path / "one").write_text("current-context: b\n")
    (tmp_path / "two").write_text("contexts: [{name: b, context: {}}]\n")
    assert add_entries(OWN) == tmp_path / "one"
    assert server_known("devloop") == ("https://127.0.0.1:40001", tmp_path / "one")
    assert remove_entries("devloop") == (tmp_path / "one",)
    assert yaml.safe_load((tmp_path / "one").read_text())["current-context"] == "b"
    assert server_known("devloop") is None


def test_a_file_that_is_no_kubeconfig_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("- a\n")
    with pytest.raises(InputError) as caught:
        add_entries(OWN, tmp_path / "config")
    assert caught.value.where is not None
    assert caught.value.where.path == str(tmp_path / "config")
    assert [each.name for each in tmp_path.iterdir()] == ["config"]
    assert (tmp_path / "config").read_text() == "- a\n"


def test_a_lock_that_stays_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devloop.adapters.kube.entries._PATIENCE", 0.1)
    (tmp_path / "config.lock").touch()
    with pytest.raises(ToolError, match="is locked") as caught:
        add_entries(OWN, tmp_path / "config")
    assert "config.lock" in (caught.value.hint or "")
    assert (tmp_path / "config.lock").exists()
