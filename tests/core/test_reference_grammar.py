"""References against the grammar of github.com/distribution/reference: what it accepts, how it splits, what it refuses.

The cases are those that its own tests name (of parsing, normalising and its expressions), in devloop's form.
`tests/adapters/test_reference_engine.py` asks a real engine about more of them.
"""

import pytest

from devloop.core import reference
from devloop.errors import InputError

_F64 = f"sha256:{'f' * 64}"
_F128 = f"sha512:{'f' * 128}"
_B64 = "sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912"
_ID = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a"
_DEEP = "a/" * 127 + "a"

# text, repository as written, tag, digest
_SPLIT = [
    ("test_com", "test_com", None, None),
    ("test.com:tag", "test.com", "tag", None),
    ("test.com:5000", "test.com", "5000", None),
    ("test.com/repo:tag", "test.com/repo", "tag", None),
    ("test:5000/repo", "test:5000/repo", None, None),
    ("test:5000/repo:tag", "test:5000/repo", "tag", None),
    (f"test:5000/repo@{_F64}", "test:5000/repo", None, _F64),
    (f"test:5000/repo:tag@{_F64}", "test:5000/repo", "tag", _F64),
    ("lowercase:Uppercase", "lowercase", "Uppercase", None),
    (f"{_DEEP}:tag-puts-this-over-max", _DEEP, "tag-puts-this-over-max", None),
    ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com/bar/baz/quux", None, None),
    ("sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com/bar/baz/quux", "some-long-tag", None),
    ("b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io/test.example.com/my-app", "test.example.com", None),
    ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage", "xn--n3h.com", None),
    (f"xn--7o8h.com/myimage:xn--7o8h.com@{_F128}", "xn--7o8h.com/myimage", "xn--7o8h.com", _F128),
    ("foo_bar.com:8080", "foo_bar.com", "8080", None),
    ("foo/foo_bar.com:8080", "foo/foo_bar.com", "8080", None),
    ("192.168.1.1", "192.168.1.1", None, None),
    ("192.168.1.1:tag", "192.168.1.1", "tag", None),
    ("192.168.1.1:5000", "192.168.1.1", "5000", None),
    ("192.168.1.1/repo", "192.168.1.1/repo", None, None),
    ("192.168.1.1:5000/repo", "192.168.1.1:5000/repo", None, None),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo", "5050", None),
    ("[2001:db8::1]/repo", "[2001:db8::1]/repo", None, None),
    ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]/repo", "tag", None),
    ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo", None, None),
    ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo", "tag", None),
    (f"[2001:db8::1]:5000/repo@{_F64}", "[2001:db8::1]:5000/repo", None, _F64),
    (f"[2001:db8::1]:5000/repo:tag@{_F64}", "[2001:db8::1]:5000/repo", "tag", _F64),
    ("[2001:db8::]:5000/repo", "[2001:db8::]:5000/repo", None, None),
    ("[::1]:5000/repo", "[::1]:5000/repo", None, None),
    ("example.com:8000/named:tagged", "example.com:8000/named", "tagged", None),
    ("test.com:8000/foo:TAG5", "test.com:8000/foo", "TAG5", None),
    ("registry.com:8080/myapp:tag", "registry.com:8080/myapp", "tag", None),
    (f"registry.com:8080/myapp:tag2@{_B64}", "registry.com:8080/myapp", "tag2", _B64),
    (f"localhost:8080@{_B64}", "localhost", "8080", _B64),
    (f"localhost:8080/name@{_B64}", "localhost:8080/name", None, _B64),
    (f"localhost@{_B64}", "localhost", None, _B64),
    ("a/a/a/a", "a/a/a/a", None, None),
    ("foo.com:8080/bar", "foo.com:8080/bar", None, None),
    ("aa-a/a", "aa-a/a", None, None),
    ("do__cker/docker", "do__cker/docker", None, None),
    ("docker---rules/docker", "docker---rules/docker", None, None),
    ("example.com/some_separator__underscore/myimage", "example.com/some_separator__underscore/myimage", None, None),
    ("registry.io/foo/project--id.module--name.ver---sion--name",) * 2 + (None, None),
    ("Asdf.com/foo/bar", "Asdf.com/foo/bar", None, None),
    ("d/docker", "d/docker", None, None),
    ("jess/t", "jess/t", None, None),
    ("thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev",) * 2 + (None, None),
    ("[fc00:1:2:3:4:5:6:7]:5000/library/debian",) * 2 + (None, None),
    ("192.168.0.1:750050/debian", "192.168.0.1:750050/debian", None, None),
    ("[fd00123123123]:75050/x", "[fd00123123123]:75050/x", None, None),
]

_REFUSED = [
    "",
    ":justtag",
    f"@{_F64}",
    f"repo@sha256:{'f' * 34}",
    f"validname@invaliddigest:{'f' * 64}",
    "Uppercase:tag",
    "test:5000/Uppercase/lowercase:tag",
    "a/" * 128 + "a:tag",
    "aa/asdf$$^/aa",
    "asdf$$^/aa",
    "a^a",
    "[2001:db8::1]",
    "[2001:db8::1]:5000",
    "[2001:db8::1]:tag",
    "[fe80::1%eth0]:5000/repo",
    "[fe80::1%@invalidzone]:5000/repo",
    "https://github.com/docker/docker",
    "docker/Docker",
    "-docker",
    "-docker/docker",
    "-docker.io/docker/docker",
    "docker///docker",
    "docker.io/docker/Docker",
    "docker.io/docker///docker",
    "fc00::1:5000/debian",
    "[2001:db8:3:4::192.0.2.33]:5000/debian",
    _ID,
    "docker-/docker",
    "-docker-/docker",
    "____/____",
    "_docker/_docker",
    "docker_/docker_",
    "dock..er/docker",
    "dock_.er/docker",
    "dock-.er/docker",
    "docker/",
    f"{'this_is_not_a_valid_namespace_because_its_lenth_is_greater_than_255_' * 4}x/docker",
    "-foo",
    "busybox:-foo",
    "busybox@foo",
    "test.com:http/x",
    "-ab.com/x",
    "ab-.com/x",
    "ab.-com/x",
    "ab.com-/x",
    "[fd00:1:2::3]75050/x",
    "[fd00:1:2::3]::75050/x",
    "a/a/a/a/",
    "foo.com/",
    "foo.com:http/bar",
    "a-/a/a/a",
    "foo/bar-",
    "foo-/bar",
    "foo/-bar",
    "foo_bar.com:8080/app",
    "example.com/__underscore/myimage",
    "example.com/..dots/myimage",
    "example.com/.dots/myimage",
    "example.com/nodouble..dots/myimage",
    "docker./docker",
    ".docker/docker",
    "do__cker:8080/docker",
    "Foo/FarB",
    "registry.com:8080/myapp@sha256:badbadbadbad",
    "registry.com:8080/myapp:invalid~tag",
    "registry.com:8080/myapp@bad",
    "registry.com:8080/myapp@2bad",
    _F64,
]

# text, registry and path when written out in full
_FULL = [
    ("test.com/foo", "test.com", "foo"),
    ("test_com/foo", "docker.io", "test_com/foo"),
    ("docker/migrator", "docker.io", "docker/migrator"),
    ("test-com:8080/foo", "test-com:8080", "foo"),
    ("foo", "docker.io", "library/foo"),
    ("xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo"),
    ("docker.io/foo", "docker.io", "library/foo"),
    ("docker.io/library/foo", "docker.io", "library/foo"),
    ("docker.io/library/foo/bar", "docker.io", "library/foo/bar"),
    ("library/foo/bar", "docker.io", "library/foo/bar"),
    ("index.docker.io/fooo/bar", "docker.io", "fooo/bar"),
    ("index.docker.io/library/ubuntu-12.04-base", "docker.io", "library/ubuntu-12.04-base"),
    ("index.docker.io/debian", "docker.io", "library/debian"),
    ("other/library", "docker.io", "other/library"),
    ("127.0.0.1:8000/private/moonbase", "127.0.0.1:8000", "private/moonbase"),
    ("127.0.0.1:8000/privatebase", "127.0.0.1:8000", "privatebase"),
    ("store/foo/bar", "docker.io", "store/foo/bar"),
    ("Foo/bar", "Foo", "bar"),
    ("FOO/bar", "FOO", "bar"),
    (f"docker.io/{_ID}", "docker.io", f"library/{_ID}"),
    ("dbcc1", "docker.io", "library/dbcc1"),
    (_ID[:-1], "docker.io", f"library/{_ID[:-1]}"),
    ("192.168.0.1:80", "docker.io", "library/192.168.0.1"),
    ("localhost/a", "localhost", "a"),
]


@pytest.mark.parametrize(("text", "repository", "tag", "digest"), _SPLIT)
def test_what_the_grammar_accepts_is_split_as_it_says(
    text: str, repository: str, tag: str | None, digest: str | None
) -> None:
    ref = reference.parse(text)
    assert (ref.repository, ref.tag, ref.digest, str(ref)) == (repository, tag, digest, text)


@pytest.mark.parametrize("text", _REFUSED)
def test_what_the_grammar_refuses_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not an image reference"):
        reference.parse(text)


@pytest.mark.parametrize(("text", "domain", "path"), _FULL)
def test_registry_and_library_are_filled_in_as_the_grammar_says(text: str, domain: str, path: str) -> None:
    full = reference.normalise(reference.parse(text))
    assert (full.domain, full.path) == (domain, path)


def test_the_repositorys_name_has_255_characters_at_the_most_whatever_the_registrys() -> None:
    assert reference.parse(f"registry.example.com/{'a' * 255}").path == "a" * 255
    for text in (f"registry.example.com/{'a' * 256}", "a" * (256 - len("library/"))):
        with pytest.raises(InputError, match="longer than 255 characters"):
            reference.parse(text)


def test_a_tag_beside_a_digest_stays_and_none_is_added_to_a_digest() -> None:
    text = f"busybox:latest@{_B64}"
    assert str(reference.normalise(reference.parse(text))) == f"docker.io/library/{text}"
    assert reference.normalise(reference.parse(f"busybox@{_B64}")).tag is None
    assert reference.normalise(reference.parse("busybox")).tag == "latest"
