"""Where a changed file belongs in an image's containers, and what follows."""

from collections.abc import Collection

import pytest

from devloop.core.sync.rules import Placement, Source, patterns
from devloop.model import CopyRule, IgnoreRule, Kind, NodeId, PullRule, RelPath, RestartRule, Rule, RunRule

CODE = NodeId(Kind.SYNC, "api-code")


def placement(*rules: Rule, dockerfile: dict[str, str] | None = None) -> Placement:
    """Return a placement by these rules; `dockerfile` says where its COPY puts files."""

    def destinations(path: RelPath, files: Collection[RelPath]) -> tuple[str, ...] | str:
        known = (dockerfile or {}).get(path)
        return (known,) if known else "the Dockerfile does not copy it"

    return Placement(node=CODE, destinations=destinations).with_rules(CODE, rules)


def place(placed: Placement, path: str) -> tuple[str, ...] | None:
    return placed.place(RelPath(path), {RelPath(path)})


@pytest.mark.parametrize(
    ("source", "destination", "path", "lands"),
    [
        ("src", "/app/src", "src/app.py", "/app/src/app.py"),
        ("src", "/app/src", "src/deep/er.py", "/app/src/deep/er.py"),
        ("src", "/app/src/", "src/app.py", "/app/src/app.py"),
        (".", "/app", "src/app.py", "/app/src/app.py"),
        ("conf.toml", "/etc/app.toml", "conf.toml", "/etc/app.toml"),
        ("conf.toml", "/etc/", "conf.toml", "/etc/conf.toml"),
        ("../shared", "/shared", "../shared/x", "/shared/x"),
    ],
)
def test_a_file_lands_below_the_destination(source: str, destination: str, path: str, lands: str) -> None:
    assert place(placement(CopyRule(source=source, destination=destination)), path) == (lands,)


@pytest.mark.parametrize("path", ["srcs/app.py", "other/src/app.py", "../src/app.py"])
def test_a_file_beside_the_source_needs_a_build(path: str) -> None:
    assert place(placement(CopyRule(source="src", destination="/app")), path) is None


def test_without_a_destination_the_dockerfile_says_it() -> None:
    placed = placement(CopyRule(source="src"), dockerfile={"src/a": "/srv/a"})

    assert place(placed, "src/a") == ("/srv/a",)
    assert place(placed, "src/b") is None


def test_without_a_source_every_file_that_the_dockerfile_copies_is_covered() -> None:
    assert place(placement(CopyRule(source=""), dockerfile={"x": "/x"}), "x") == ("/x",)


def test_the_first_rule_that_knows_a_place_decides() -> None:
    placed = placement(CopyRule(source="src"), CopyRule(source="src/generated", destination="/gen"))

    assert place(placed, "src/generated/a") == ("/gen/a",)


def test_an_ignored_file_goes_nowhere() -> None:
    placed = placement(CopyRule(source="src", destination="/app"), IgnoreRule(patterns=("src/**/*.md",)))

    assert place(placed, "src/deep/readme.md") == ()


def test_an_ignored_file_needs_no_build_though_no_rule_covers_it() -> None:
    assert place(placement(IgnoreRule(patterns=("docs",))), "docs/index.md") == ()


def test_a_file_that_only_a_run_rule_names_is_copied_where_the_dockerfile_puts_it() -> None:
    rule = RunRule(command="pip install -r requirements.txt", on=("requirements.txt",))

    assert place(placement(rule, dockerfile={"requirements.txt": "/app/requirements.txt"}), "requirements.txt") == (
        "/app/requirements.txt",
    )


def test_a_file_that_only_a_run_rule_names_and_no_dockerfile_copies_needs_a_build() -> None:
    assert place(placement(RunRule(command="true", on=("x",))), "x") is None


def test_why_a_file_needs_a_build_is_said() -> None:
    placed = placement(CopyRule(source="src"))

    assert placed.why_not(RelPath("lib/x"), ()) == "no sync covers it"
    assert placed.why_not(RelPath("src/x"), ()) == "the Dockerfile does not copy it"


def test_follow_ups_are_due_for_the_files_that_they_wait_for() -> None:
    compile_, restart = RunRule(command="make", on=("src/*.c",)), RestartRule()
    placed = placement(CopyRule(source="src", destination="/app"), compile_, restart)

    assert [each.rule for each in placed.due([RelPath("src/a.c")])] == [compile_, restart]
    assert [each.rule for each in placed.due([RelPath("src/a.h")])] == [restart]


def test_a_restart_on_certain_files_waits_for_those() -> None:
    placed = placement(RestartRule(on=("src/boot.py",)))

    assert placed.due([RelPath("src/app.py")]) == ()
    assert len(placed.due([RelPath("src/boot.py")])) == 1


def test_only_restart_rules_restart() -> None:
    assert placement(RestartRule()).restarts
    assert not placement(RunRule(command="true", on=("x",))).restarts


def test_follow_ups_of_two_loads_of_a_devfile_are_equal() -> None:
    rule = RunRule(command="make", on=("src",))

    assert placement(rule).follow_ups == placement(rule).follow_ups


def test_the_rules_of_several_syncs_are_taken_together() -> None:
    other, pull = NodeId(Kind.SYNC, "other"), PullRule(source="/app/lock", destination="lock")

    placed = placement(CopyRule(source="src", destination="/a")).with_rules(
        other, [CopyRule(source="lib", destination="/b"), pull]
    )

    assert placed.sources == (
        Source(node=CODE, path="src", destination="/a"),
        Source(node=other, path="lib", destination="/b"),
    )
    assert [each.rule for each in placed.pulls] == [pull]


def test_patterns_take_folders_and_exceptions() -> None:
    rules = patterns(["src/**/*.py", "!src/vendored/**", "docs"])

    assert rules.excludes("src/a/b.py")
    assert rules.excludes("docs/deep/page.md")
    assert not rules.excludes("src/vendored/c.py")
    assert not rules.excludes("src/a.txt")
