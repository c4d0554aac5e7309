"""The namespace that a session deploys to, where the project asks for one of each developer's own."""

from pathlib import Path

import pytest

from devloop.app.options import Options
from devloop.app.workspace import place_of
from devloop.declarations import ProjectSpec
from devloop.errors import InputError

SPEC = ProjectSpec(namespace="dev-{user}")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(kubeconfig=str(tmp_path / "none"))


def test_the_environment_says_who_the_developer_is(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVLOOP_USER", "Ada.Lovelace")
    assert place_of(options, SPEC).namespace == "dev-ada-lovelace"


def test_otherwise_the_system_says_it(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVLOOP_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert place_of(options, SPEC).namespace == "dev-grace"


def test_a_user_without_a_name_is_asked_for_one(options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    monkeypatch.delenv("DEVLOOP_USER", raising=False)
    monkeypatch.setattr("getpass.getuser", nobody)
    with pytest.raises(InputError) as caught:
        place_of(options, SPEC)
    assert "DEVLOOP_USER" in (caught.value.hint or "")


def test_the_command_lines_namespace_goes_before_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVLOOP_USER", "ada")
    options = Options(kubeconfig=str(tmp_path / "none"), namespace="try-{user}")
    assert place_of(options, SPEC).namespace == "try-ada"
