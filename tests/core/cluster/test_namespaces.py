"""A namespace for each developer, from one line of the devfile."""

import pytest

from devloop.core.cluster.namespaces import namespace_for
from devloop.errors import InputError


@pytest.mark.parametrize(
    ("text", "user", "namespace"),
    [
        ("shop", "ada", "shop"),
        ("dev-{user}", "ada", "dev-ada"),
        ("dev-{user}", "Ada.Lovelace", "dev-ada-lovelace"),
        ("dev-{user}", "CORP\\ada", "dev-ada"),
        ("dev-{user}", "ada@example.com", "dev-ada"),
        ("dev-{user}", "_ada_", "dev-ada"),
        ("{user}", "4ada", "4ada"),
        ("{user}-shop", "ada", "ada-shop"),
    ],
)
def test_the_users_name_is_made_fit_for_a_namespace(text: str, user: str, namespace: str) -> None:
    assert namespace_for(text, user) == namespace


def test_of_a_long_name_so_much_stays_as_fits() -> None:
    assert namespace_for("dev-{user}-shop", "x" * 80) == f"dev-{'x' * 54}-shop"
    assert namespace_for("dev-{user}", "x" * 58 + "." + "y" * 20) == f"dev-{'x' * 58}"


def test_a_name_without_a_letter_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(InputError, match="the user's name `___` has nothing") as caught:
        namespace_for("dev-{user}", "___")
    assert "DEVLOOP_USER" in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["Shop", "dev_{user}", "dev-{name}", "-shop", "x" * 64])
def test_what_is_no_namespace_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="is no namespace"):
        namespace_for(text, "ada")
