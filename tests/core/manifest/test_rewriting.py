"""Changed manifests as text: the user's own text with the values exchanged, and what cannot be said in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.manifest import parse
from devloop.core.manifest.images import replace_images
from devloop.core.manifest.pod_templates import put
from devloop.core.manifest.rewriting import rewritten
from devloop.core.yaml.documents import dump

_HEAD = "apiVersion: example.io/v1\nkind: Thing\nmetadata: {name: a}\n"
_NEW = "localhost:5000/api:dev"


def _changed(body: str, new: str = _NEW, old: str = "api:1") -> str:
    """Return what becomes of the text below the head when an image is replaced; the objects are compared as well."""
    manifests = [replace_images(each, {old: new}) for each in parse(_HEAD + body, path="x.yaml")]
    text = rewritten(manifests)
    assert [each.document for each in parse(text, path="y.yaml")] == [each.document for each in manifests]
    return text.removeprefix(_HEAD)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("image: api:1  # c\n", f"image: {_NEW}  # c\n"),
        ("image: 'api:1'\n", f"image: '{_NEW}'\n"),
        ('image:   "api:1"\n', f'image:   "{_NEW}"\n'),
        ('image: "\\u0061pi:1"\n', f'image: "{_NEW}"\n'),
        ("image: !!str &api api:1\n", f"image: !!str &api {_NEW}\n"),
        ("spec: {image: api:1, other: api:1}\n", f"spec: {{image: {_NEW}, other: api:1}}\n"),
        ("image: |-\n  api:1\nb: 1\n", f"image: |-\n  {_NEW}\nb: 1\n"),
        ("image: >-\n    api:1\n\n# c\nb: 1\n", f"image: >-\n    {_NEW}\n\n# c\nb: 1\n"),
        ("image:\n  api:1\n", f"image:\n  {_NEW}\n"),
        ("? image\n: api:1\n", f"? image\n: {_NEW}\n"),
    ],
)
def test_a_value_is_exchanged_in_the_style_that_it_has(before: str, after: str) -> None:
    assert _changed(before) == after


def test_what_plain_text_cannot_say_is_put_in_quotes() -> None:
    assert _changed("image: api:1\n", "[::1]:5000/api:2") == 'image: "[::1]:5000/api:2"\n'
    assert _changed("image: {repository: api, tag: 1}\n", "api:1e3") == 'image: {repository: api, tag: "1e3"}\n'
    assert _changed("image: api:1\n", "123") == 'image: "123"\n'


def test_an_alias_that_is_no_image_keeps_its_value() -> None:
    body = "x: &img api:1\nimage: *img\nspec: {image: &two api:1, name: *two, sidecarImage: *two}\n"
    assert _changed(body) == (
        f"x: &img api:1\nimage: {_NEW}\nspec: {{image: &two {_NEW}, name: api:1, sidecarImage: *two}}\n"
    )


def test_a_part_that_was_not_there_is_inserted() -> None:
    assert _changed("image: {repository: api}  # c\n", old="api") == (
        "image: {tag: dev, repository: localhost:5000/api}  # c\n"
    )
    assert _changed("spec:\n  image: # c\n    # d\n    repository: api # e\n", old="api") == (
        "spec:\n  image: # c\n    # d\n    tag: dev\n    repository: localhost:5000/api # e\n"
    )
    assert _changed("spec:\n- image:\n    repository: api\n", old="api") == (
        "spec:\n- image:\n    tag: dev\n    repository: localhost:5000/api\n"
    )


def test_what_the_text_cannot_say_is_written_anew() -> None:
    body = "# c\nlabels: &all {image: api:1}\nspec: *all\n"
    assert _changed(body) == dump({"apiVersion": "example.io/v1", "kind": "Thing", "metadata": {"name": "a"}}) + (
        f"labels:\n  image: api:1\nspec:\n  image: {_NEW}\n"
    )


def _pod(name: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"


def test_files_become_one_stream() -> None:
    one, three, four = (
        f"# one\n{_pod('a')}spec: 1",
        f"\ufeff# three\n---\n{_pod('b')}---\n",
        f"%YAML 1.1\n---\n{_pod('c')}",
    )
    manifests = [each for text in (one, three, four) for each in parse(text, path="x.yaml")]
    assert rewritten(manifests) == f"{one}\n{three[1:]}...\n{four}"
    assert rewritten([]) == ""


def test_json_texts_are_a_stream_of_their_own() -> None:
    two = "".join(f'{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}"}}}}\n' for name in "ab")
    assert rewritten(parse(two, path="x.json")) == two
    manifests = [*parse(two, path="x.json"), *parse(_pod("c"), path="y.yaml")]
    stream = rewritten(manifests)
    assert [each.document for each in parse(stream, path="z")] == [each.document for each in manifests]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["api:1", "api", "x: y", "", "on", "é\n\nü", " "]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image", "a", "b c", "on", "1"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(_values, st.sampled_from(["api:1", "api"]), st.sampled_from([_NEW, "[::1]/a:1", "1", "on", "a"]))
def test_the_text_says_what_the_objects_say(value: Any, old: str, new: str) -> None:
    (manifest,) = parse(_HEAD + dump({"spec": value}), path="x.yaml")
    changed = replace_images(manifest, {old: new})
    assert parse(rewritten([changed]), path="y.yaml")[0].document == changed.document


@given(
    _values,
    st.sampled_from([_NEW, "a: b", "x # y", "'", "\n", "null", "", "{{ a }}", "é", "- a", "%"]) | st.text(max_size=8),
)
def test_any_text_can_take_the_place_of_any_text(value: Any, new: str) -> None:
    for body in (
        "spec: {at: old, rest: 1} # c\n",
        "spec:\n  at: 'old'\n  rest: 1\n",
        "spec:\n  at: |\n    old\n  rest: 1\n",
    ):
        (manifest,) = parse(_HEAD + body, path="x.yaml")
        changed = manifest.with_document(put(put(manifest.document, ("spec", "at"), new), ("more",), value))
        if any(0xD800 <= ord(each) <= 0xDFFF for each in new):
            continue
        assert parse(rewritten([changed]), path="y.yaml")[0].document == changed.document
