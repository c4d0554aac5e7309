"""Manifests as the world writes them: rewriting exchanges exactly the image strings, in the objects and in the text.

What is to be exchanged is marked in the files themselves: every image whose repository begins with `swap.example` or
`bare.example` (written without a tag) is built by the project and used there, with the tag `old-tag`. Images at
`keep.example` are built by the project, too, but what names them there is no image; and so they stay. `Always` in a
line that says `# local` is the pull policy of a built image.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from devloop.core import reference
from devloop.core.manifest import Manifest, facts, parse, waves
from devloop.core.manifest.images import image_uses, replace_images
from devloop.core.manifest.rewriting import rewritten
from devloop.errors import InputErrors
from devloop.model import ImagePath, ImageRef, Kind, NodeId
from devloop.runtime.render import image_places, with_images

_FOLDER = Path(__file__).parent / "corpus"
_FILES = sorted(_FOLDER.iterdir())
_NEW, _TAG = "new.example:5000", "dev-0123456789ab"


def _text(path: Path) -> str:
    return path.read_bytes().decode()


def _expected(text: str) -> str:
    text = re.sub(r"Always(?=[^\n]*# local)", "IfNotPresent", text)
    text = re.sub(r"bare\.example/([\w/-]+)", rf"{_NEW}/\1:{_TAG}", text)
    return text.replace("swap.example", _NEW).replace("old-tag", _TAG)


def _manifests(path: Path, text: str) -> tuple[Manifest, ...]:
    declared = re.match(r"# places: (.*)", text)
    paths = [
        ImagePath(kind=kind, path=each)
        for kind, paths in json.loads(declared[1] if declared else "{}").items()
        for each in (paths if isinstance(paths, list) else [paths])
    ]
    return tuple(replace(each, places=image_places(paths, None)) for each in parse(text, path=path.name))


def _rewritten(manifests: tuple[Manifest, ...], text: str) -> tuple[Manifest, ...]:
    images: dict[NodeId, tuple[ImageRef, str]] = {}
    named = {use.text for manifest in manifests for use in image_uses(manifest)}
    bare = {re.sub(r"(:[\w.-]+)?(@.*)?$", "", each) for each in named}
    for repository in bare | set(re.findall(r"keep\.example[\w/-]*[\w-]", text)):
        host, _, name = repository.partition("/")
        if host in ("swap.example", "bare.example", "keep.example") and name:
            node = NodeId(Kind.IMAGE, repository)
            images[node] = (reference.parse(repository), f"{_NEW}/{name}:{_TAG}")
    return with_images(manifests, images)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_exactly_the_image_strings_are_exchanged_in_the_objects(path: Path) -> None:
    text = _text(path)
    manifests = _manifests(path, text)
    found = [each.document for each in _rewritten(manifests, text)]
    assert found == [each.document for each in parse(_expected(text), path=path.name)]
    assert found != [each.document for each in manifests]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_every_other_character_of_the_text_stays(path: Path) -> None:
    text = _text(path)
    expected = _expected(text)
    assert rewritten(_rewritten(_manifests(path, text), text)) == (
        expected if expected.endswith("\n") else f"{expected}\n"
    )


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_rewriting_nothing_gives_the_files_own_text(path: Path) -> None:
    text = _text(path)
    assert rewritten(_manifests(path, text)).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_another_reader_finds_the_same_in_the_rewritten_text(path: Path) -> None:
    text = _text(path)
    new = rewritten(_rewritten(_manifests(path, text), text))
    read = json.loads if path.suffix == ".json" else lambda each: list(yaml.load_all(each, yaml.CBaseLoader))
    assert read(new) == read(_expected(text))


# --- the corpus, damaged ------------------------------------------------------------------------------------

_SHORT = [text for text in map(_text, _FILES) if len(text) < 10_000]
_SNIPPETS = (
    "",
    " ",
    "\n",
    "\t",
    ": ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    "|\n",
    "#",
    "---\n",
    "null",
    "1e3",
    "é",
)


@settings(max_examples=300)
@given(
    st.sampled_from(_SHORT),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(_SNIPPETS)), min_size=1, max_size=4),
)
def test_damaged_manifests_are_read_or_refused_with_line_and_column(
    text: str, damages: list[tuple[float, int, str]]
) -> None:
    for where, length, put in damages:
        at = int(where * len(text))
        text = text[:at] + put + text[at + length :]
    try:
        manifests = parse(text, path="x.yaml")
    except InputErrors as refused:
        for error in refused.errors:
            assert error.where is not None
            assert 1 <= (error.where.line or 0) <= text.count("\n") + 1
            assert 1 <= (error.where.column or 0) <= len(text.split("\n")[(error.where.line or 1) - 1]) + 1
        return
    facts(manifests)
    assert sum(map(len, waves(manifests))) == len(manifests)
    mapping = {use.text: "new.example/x:1" for manifest in manifests for use in image_uses(manifest)}
    changed = [replace_images(manifest, mapping) for manifest in manifests]
    assert [each.document for each in parse(rewritten(changed), path="y.yaml")] == [each.document for each in changed]
