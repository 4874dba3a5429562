"""States survive the way to bytes and back, or are refused in words."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from collections.abc import Callable
from typing import Any

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
    for name in (plain_name(one), queue_name(one), queue_name(one, other)):
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~@")
        assert len(name) <= 200
    assert (plain_name(one) == plain_name(other)) == (one == other)
    assert queue_name("a_b", "c") != queue_name("a", "b_c")


def test_keys_that_are_not_text_are_named():
    with pytest.raises(ValidationError, match=r"the mapping at \$\['orders'\] has a key that is not text"):
        encode_state({"orders": {7: "seven"}})
