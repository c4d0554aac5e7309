"""`.helmignore`, by Helm's rules; `tests/adapters/test_rendering_tools.py` asks Helm itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devloop.core.charts.helmignore import parse


@pytest.mark.parametrize(
    ("rule", "path", "ignored"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "files/a.txt", True),
        ("files/*.txt", "files/a.txt", True),
        ("files/*.txt", "files/deep/a.txt", False),
        ("/a.txt", "a.txt", True),
        ("/a.txt", "files/a.txt", False),
        ("files/", "files/a.txt", True),
        ("files", "files/deep/a.txt", True),
        ("a.txt/", "a.txt", False),
        ("# a.txt", "a.txt", False),
        ("[ab].txt", "b.txt", True),
        ("[^ab].txt", "b.txt", False),
        ("?.txt", "a.txt", True),
        (r"\*.txt", "a.txt", False),
        ("!a.txt", "b.txt", True),
        ("!a.txt", "a.txt", False),
        ("", "templates/.hidden", True),
        ("", "templates/shown.yaml", False),
    ],
)
def test_a_rule_says_whether_a_file_is_ignored(rule: str, path: str, *, ignored: bool) -> None:
    assert parse(rule).excludes(path) is ignored


@given(st.text(), st.text(min_size=1))
def test_no_text_makes_it_fail(text: str, path: str) -> None:
    parse(text).excludes(path)
