"""States survive the way to bytes and back, or are refused in words."""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import PayloadTooLargeError, ValidationError
from am2z_trio.model.codec import RecordDecoder, StateCodec, checksum, encode_state
from am2z_trio.model.records import JobSpec, plain_name, queue_name

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
ANY: StateCodec[Any] = StateCodec(Any)


@given(VALUES)
def test_what_is_encoded_comes_back(value: Any):
    assert ANY.decode(ANY.encode(value)) == value


@given(st.dictionaries(st.text(), VALUES, max_size=6))
def test_equal_states_have_equal_checksums(value: dict[str, Any]):
    backwards = dict(reversed(list(value.items())))
    assert checksum(encode_state(value)) == checksum(encode_state(backwards))


@given(VALUES, st.sampled_from([math.nan, -math.nan, 2**64, -(2**63) - 1, object()]))
def test_what_cannot_be_said_is_refused_wherever_it_is(value: Any, bad: Any):
    for state in (bad, [value, bad], {"a": value, "b": {"c": [bad]}}):
        with pytest.raises(ValidationError):
            encode_state(state)


def test_the_error_names_the_place():
    with pytest.raises(ValidationError, match=r"\$\['a'\]\[1\]"):
        encode_state({"a": [0.0, math.nan]})
    with pytest.raises(ValidationError, match=r"\$\['a'\]\[1\]"):
        encode_state({"a": [0, 2**70]})


def test_infinity_and_bytes_that_look_like_nan_are_fine():
    for value in (math.inf, -math.inf, b"\xcb\x7f\xf8\0\0\0\0\0\0"):
        assert ANY.decode(encode_state(value)) == value


def test_nesting_without_end_is_refused():
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValidationError, match="nested too deep"):
        encode_state(endless)


def test_the_limit_counts_before_decoding():
    codec: StateCodec[Any] = StateCodec(Any, max_bytes=100)
    assert codec.decode(codec.encode("x" * 90)) == "x" * 90
    with pytest.raises(PayloadTooLargeError, match="the limit is 100"):
        codec.encode("x" * 100)
    with pytest.raises(PayloadTooLargeError):
        codec.decode(encode_state("x" * 100))


@given(st.binary(max_size=200))
def test_no_bytes_crash_a_decoder(data: bytes):
    class Order(msgspec.Struct):
        at: dt.datetime
        items: list[str]

    decoders: list[Callable[[bytes], object]] = [StateCodec(Order).decode, RecordDecoder[JobSpec](JobSpec)]
    for decode in decoders:
        with contextlib.suppress(ValidationError):
            decode(data)


def test_a_bomb_of_brackets_is_an_error():
    with pytest.raises(ValidationError):
        ANY.decode(b"\x91" * 500_000)


@given(st.text(), st.text())
def test_names_are_plain_and_never_meet(one: str, other: str):
    for name in (plain_name(one), queue_name(one)):
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~")
        assert len(name) <= 200
    assert (plain_name(one) == plain_name(other)) == (one == other)


def test_keys_that_cannot_be_kept_are_named():
    with pytest.raises(ValidationError, match=r"the mapping at \$\['orders'\] has a key that cannot be kept"):
        encode_state({"orders": {7j: "seven"}})


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"
    GREEN = "g"


class Point(msgspec.Struct, frozen=True):
    x: int
    at: frozenset[Color] = frozenset()


@dataclass(frozen=True)
class Pair:
    one: Color
    other: dict[int, str] = field(default_factory=dict, hash=False)


class Board(msgspec.Struct, omit_defaults=True, rename="camel"):
    by_number: dict[int, dict[date, list[Point]]]
    seen_at: set[Color] = set()
    empty: set[int] = set()


DAYS = [date(2026, 3, n) for n in (29, 1, 15)]
IN_ORDER: dict[str, tuple[Any, Any]] = {
    "int keys": (dict[int, str], {300: "a", -2: "b", 7: "c"}),
    "enum keys": (dict[Color, int], dict.fromkeys(Color, 1)),
    "date keys": (dict[date, int], dict.fromkeys(DAYS, 1)),
    "uuid keys": (dict[UUID, int], {UUID(int=n): n for n in (9, 1, 300)}),
    "tuple keys": (dict[tuple[int, str], int], {(2, "a"): 1, (1, "b"): 2, (1, "a"): 3}),
    "keys within": (dict[str, list[dict[int, int]]], {"b": [{2: 1, 1: 2}], "a": []}),
    "mixed keys": (dict[int | str, int], {1: 1, "a": 2, "1": 3}),
    "enums": (set[Color], set(Color)),
    "frozen records": (frozenset[Point], frozenset({Point(2), Point(1), Point(1, frozenset(Color))})),
    "frozen dataclasses": (set[Pair], {Pair(Color.RED, {2: "b", 1: "a"}), Pair(Color.BLUE)}),
    "mixed members": (set[int | str | None], {1, "a", None}),
    "records": (Board, Board({2: {DAYS[1]: [Point(1)], DAYS[0]: []}, 1: {}}, set(Color))),
}


def turned(value: Any) -> Any:
    """Equal to the value, and made the other way round."""
    if isinstance(value, dict):
        return {key: turned(item) for key, item in reversed(value.items())}
    if isinstance(value, set | frozenset):
        return type(value)(reversed(list(value)))
    if isinstance(value, Board):
        return Board(turned(value.by_number), turned(value.seen_at))
    return value


@pytest.mark.parametrize(("kind", "state"), IN_ORDER.values(), ids=IN_ORDER)
def test_keys_and_members_of_any_kind_are_kept_in_one_order(kind: Any, state: Any):
    codec = StateCodec[Any](kind)
    data = codec.encode_exactly(state)
    assert codec.decode(data) == state
    assert codec.encode_exactly(turned(state)) == data == codec.encode(state)
    assert codec.digest(turned(state)) == codec.digest(state)


def test_a_record_and_a_mapping_that_say_the_same_have_one_digest_whatever_their_keys():
    codec: StateCodec[Pair] = StateCodec(Pair)
    said = {"other": {2: "b", 1: "a"}, "one": "r"}
    assert codec.digest(said) == codec.digest(Pair(Color.RED, {1: "a", 2: "b"}))


def test_what_is_put_in_order_is_left_as_it_was():
    state = Board({2: {}, 1: {}}, set(Color))
    StateCodec(Board).encode_exactly(state)
    assert list(state.by_number) == [2, 1]
    assert type(state.seen_at) is set


def test_a_state_of_odd_keys_that_contains_itself_is_refused():
    state: dict[Any, Any] = {1: []}
    state[1].append(state)
    with pytest.raises(ValidationError, match="nested too deep, or contains itself"):
        encode_state(state)


def test_two_keys_that_would_be_one_are_refused():
    with pytest.raises(ValidationError, match="would be read back"):
        StateCodec[Any](dict[Any, int]).encode_exactly({Color.RED: 1, "r": 2})


BERLIN = ZoneInfo("Europe/Berlin")
CHANGES = {
    "the hour that comes twice, first": datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN),
    "the hour that comes twice, again": datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
    "the hour that never comes": datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),
    "the hour that never comes, after": datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN, fold=1),
    "any other": datetime(2026, 7, 1, 2, 30, tzinfo=BERLIN),
}


class Meeting(msgspec.Struct):
    at: datetime
    others: dict[datetime, set[datetime]] = {}
    slots: list[tuple[datetime, ...]] = []


@pytest.mark.parametrize("at", CHANGES.values(), ids=CHANGES)
def test_a_time_of_a_zone_is_kept_as_the_moment_it_is(at: datetime):
    codec: StateCodec[Meeting] = StateCodec(Meeting)
    back = codec.decode(codec.encode_exactly(Meeting(at, {at: {at}}, [(at, at)])))
    moment = at.astimezone(UTC)
    assert back == Meeting(moment, {moment: {moment}}, [(moment, moment)])


def test_another_moment_is_another_state():
    first, again = list(CHANGES.values())[:2]
    codec: StateCodec[datetime] = StateCodec(datetime)
    assert codec.encode_exactly(first) != codec.encode_exactly(again)
