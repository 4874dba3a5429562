"""A cursor is what an earlier page has named, or one clear error."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin import cursors
from am2z_trio.admin.cursors import MOST, Cursor
from am2z_trio.model.errors import AM2ZError, ConfigurationError, ValidationError

OF = cursors.digest_of("status:failed")
COUNTS = st.integers(0, MOST)
CURSORS = st.builds(
    Cursor,
    st.just(cursors.VERSION),
    st.just(OF),
    st.integers(0, 1_000_000),
    COUNTS,
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=50),
    COUNTS,
    COUNTS,
    st.text("0123456789abcdef", max_size=16),
)


@given(CURSORS)
def test_what_is_written_is_read(cursor: Cursor):
    text = cursors.written(cursor)
    assert text.replace("-", "").replace("_", "").isalnum()
    assert cursors.read(text, OF) == cursor


@given(
    st.one_of(st.text(max_size=60), st.binary(max_size=60).map(lambda data: urlsafe_b64encode(data).decode()))
)
def test_any_other_text_is_refused(text: str):
    with pytest.raises(ValidationError, match="cursor is none that an earlier page has named"):
        cursors.read(text, OF)


@given(CURSORS, st.integers(0, 200), st.characters(max_codepoint=127))
def test_what_was_changed_is_refused_or_another_one(cursor: Cursor, place: int, character: str):
    text = cursors.written(cursor)
    changed = text[: place % len(text)] + character + text[place % len(text) + 1 :]
    try:
        read = cursors.read(changed, OF)
    except AM2ZError:
        return
    assert cursors.written(read) == changed


@pytest.mark.parametrize(
    "fields",
    [
        [2, OF, 0, 0],
        [1, OF, -1, 0],
        [1, OF, 0, -1],
        [1, OF, 0, 2**60],
        [1, OF, 0, 0, "x" * 5_000],
        [1, OF, 0, 0, "", 0, 0, "x" * 17],
        [1, OF, 0, 0, "", 0, 0, "", "more"],
        [1, OF, "0", 0],
        {"version": 1},
    ],
)
def test_what_is_out_of_bounds_is_refused(fields: Any):
    text = urlsafe_b64encode(msgspec.msgpack.encode(fields)).decode().rstrip("=")
    with pytest.raises(ValidationError):
        cursors.read(text, OF)


def test_a_cursor_goes_with_its_query():
    text = cursors.written(Cursor(cursors.VERSION, OF, 0, 5))
    with pytest.raises(ValidationError, match="another list"):
        cursors.read(text, cursors.digest_of("status:waiting"))
    assert cursors.digest_of("a", "b") != cursors.digest_of("a\0b", "c")


@pytest.mark.parametrize("text", [5, None, b"abc"])
def test_only_a_text_is_a_cursor(text: Any):
    with pytest.raises(ConfigurationError, match="cursor"):
        cursors.read(text, OF)


def test_the_longest_id_fits():
    cursor = Cursor(cursors.VERSION, OF, 5, MOST, "x" * 4_096, MOST, MOST)
    assert cursors.read(cursors.written(cursor), OF) == cursor


def test_one_may_begin_earlier():
    text = cursors.written(Cursor(cursors.VERSION, OF, 3, 500, "x"))
    assert cursors.read(cursors.back(text, 200), OF).position == 300
    assert cursors.read(cursors.back(text, 900), OF).position == 0
