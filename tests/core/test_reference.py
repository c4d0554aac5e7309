"""Image references: parsed, written out in full, compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core import reference
from devloop.errors import InputError
from devloop.model import Digest, ImageRef

_HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api", ImageRef(path="api")),
        ("team/api", ImageRef(path="team/api")),
        ("api:1.2", ImageRef(path="api", tag="1.2")),
        ("docker.io/library/api", ImageRef(domain="docker.io", path="library/api")),
        ("localhost/api", ImageRef(domain="localhost", path="api")),
        ("localhost:5000/api:dev", ImageRef(domain="localhost:5000", path="api", tag="dev")),
        ("registry:5000/team/api", ImageRef(domain="registry:5000", path="team/api")),
        ("[::1]:5000/api", ImageRef(domain="[::1]:5000", path="api")),
        ("Registry/api", ImageRef(domain="Registry", path="api")),
        ("a__b/c-d.e---f", ImageRef(path="a__b/c-d.e---f")),
        (f"api@sha256:{_HEX}", ImageRef(path="api", digest=Digest(f"sha256:{_HEX}"))),
        (f"r.io/api:1@sha256:{_HEX}", ImageRef(domain="r.io", path="api", tag="1", digest=Digest(f"sha256:{_HEX}"))),
    ],
)
def test_a_reference_is_split_into_its_parts(text: str, expected: ImageRef) -> None:
    assert reference.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("API", "a repository's name must be lower case"),
        ("r.io/API", "a repository's name must be lower case"),
        ("api:", "the tag is empty"),
        ("api:-x", "`-x` is not a valid tag"),
        (f"api:{'x' * 129}", "not a valid tag"),
        ("api@", "the digest is empty"),
        ("api@sha256:abc", "a sha256 digest has 64 hexadecimal digits, not 3"),
        (f"api@md5:{_HEX}", "not a valid digest"),
        (f"api@sha256:{_HEX.upper()}", "not a valid digest"),
        ("a//b", "not a valid repository name"),
        ("a/", "not a valid repository name"),
        ("/a", "not a valid repository name"),
        ("a_-b", "not a valid repository name"),
        (" api", "not a valid repository name"),
        ("-r.io/api", "not a valid registry host"),
        ("r.io", None),
        ("r.io/", "the repository's name is missing"),
        ("r.io:x/api", "not a valid registry host"),
        (":x", "the repository's name is missing"),
        (_HEX, "an image is not named by its bare ID"),
        ("a/" * 128 + "b", "longer than 255 characters"),
        ("api:1:2", "not a valid tag"),
        ("{{ image }}", "not a valid repository name"),
    ],
)
def test_what_is_no_reference_is_refused_with_a_reason(text: str, reason: str | None) -> None:
    if reason is None:
        assert reference.parse(text).path == text
        return
    with pytest.raises(InputError) as caught:
        reference.parse(text)
    assert reason in caught.value.message
    assert f"`{text}`" in caught.value.message


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("api", "docker.io/library/api:latest"),
        ("api:1", "docker.io/library/api:1"),
        ("team/api", "docker.io/team/api:latest"),
        ("docker.io/api", "docker.io/library/api:latest"),
        ("index.docker.io/api", "docker.io/library/api:latest"),
        ("localhost:5000/api", "localhost:5000/api:latest"),
        (f"api@sha256:{_HEX}", f"docker.io/library/api@sha256:{_HEX}"),
    ],
)
def test_the_full_form_says_what_docker_would_pull(text: str, full: str) -> None:
    assert str(reference.normalise(reference.parse(text))) == full


def test_a_repository_is_the_same_whatever_its_tag_and_default_parts() -> None:
    api = reference.parse("api")
    assert reference.same_repository(api, reference.parse("docker.io/library/api:1"))
    assert not reference.same_repository(api, reference.parse("team/api"))
    assert not reference.same_repository(api, reference.parse("localhost:5000/api"))


@given(st.text(alphabet="aA0._-:/@[]~ \n", max_size=30) | st.text(max_size=20))
def test_any_text_is_a_reference_or_an_input_error(text: str) -> None:
    try:
        ref = reference.parse(text)
    except InputError:
        return
    assert str(ref) == text
    full = reference.normalise(ref)
    assert reference.normalise(full) == full
    assert reference.parse(str(full)) == full
