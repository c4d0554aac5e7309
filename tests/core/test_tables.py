"""Tables of files, compared and joined."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from devloop.core.sync.tables import Table, differing, joined, paths_of
from devloop.model import Digest, RelPath

FEW = st.dictionaries(
    st.sampled_from([RelPath(each) for each in "abcdef"]), st.sampled_from([Digest("1"), Digest("2")])
)
MANY = {RelPath(f"f{number}"): Digest("1") for number in range(2000)}


@given(FEW, FEW, st.booleans())
def test_they_are_compared_and_joined_file_by_file(new: Table, old: Table, large: bool) -> None:
    if large:
        new, old = {**MANY, **new}, {**MANY, **old}
    for _ in range(2):
        assert differing(new, old) == {path for path in {*new, *old} if new.get(path) != old.get(path)}
        assert joined(new, old) == {**old, **new}
        assert paths_of(new, old) == {*new, *old}


def test_what_was_asked_of_large_tables_is_not_worked_out_again() -> None:
    new = {**MANY, RelPath("x"): Digest("1")}

    assert differing(new, MANY) is differing(new, MANY)
    assert joined(new, MANY) is new


@pytest.mark.parametrize("count", [3, 2000])
def test_another_table_of_the_same_content_is_another_question(count: int) -> None:
    one = dict(list(MANY.items())[:count])
    other = {**one, RelPath("f1"): Digest("2")}

    assert differing(one, dict(one)) == frozenset()
    assert differing(one, other) == {"f1"}
