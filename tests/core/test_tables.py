"""Tables of files, compared and joined."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from devloop.core.tables import Table, differing, joined, ordered, paths_of, revised
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


CHANGES = st.lists(
    st.dictionaries(
        st.sampled_from([RelPath(each) for each in ("a", "b", "f1", "f2", "f3")]),
        st.sampled_from([Digest("1"), Digest("2"), None]),
    ),
    max_size=6,
)


@given(CHANGES, CHANGES, st.booleans(), st.booleans(), st.booleans())
def test_revisions_are_what_they_would_be_if_made_at_once(
    changes: list[dict[RelPath, Digest | None]],
    others: list[dict[RelPath, Digest | None]],
    large: bool,
    related: bool,
    more: bool,
) -> None:
    start = MANY if large else {RelPath("f1"): Digest("1"), RelPath("f2"): Digest("1")}
    start = {**start, RelPath("z"): Digest("1")} if more else start
    tables: list[Table] = [start]
    plain = [dict(start)]
    for origin, revisions in ((start, changes), (start if related else {**start}, others)):
        table: Table = origin
        expected = dict(origin)
        for each in revisions:
            table = revised(table, each)
            expected = {path: digest for path, digest in {**expected, **each}.items() if digest is not None}
            tables.append(table)
            plain.append(expected)
    for new, new_plain in zip(tables, plain, strict=True):
        assert dict(new) == new_plain
        for old, old_plain in zip(tables, plain, strict=True):
            assert (new == old, new != old) == (new_plain == old_plain, new_plain != old_plain)
            found = {p for p in {*new_plain, *old_plain} if new_plain.get(p) != old_plain.get(p)}
            assert differing(new, old) == found
            assert ordered(new, old) == tuple(sorted(found))
            assert joined(new, old) == {**old_plain, **new_plain}
            assert paths_of(new, old) == {*new_plain, *old_plain}


def test_a_table_is_revised_without_a_trace_in_the_one_before() -> None:
    before = dict(MANY)
    after = revised(before, {RelPath("f1"): Digest("2"), RelPath("f2"): None, RelPath("new"): Digest("1")})
    assert before == MANY
    assert (after[RelPath("f1")], RelPath("f2") in after, after[RelPath("new")]) == ("2", False, "1")
    assert differing(after, before) == {"f1", "f2", "new"}
