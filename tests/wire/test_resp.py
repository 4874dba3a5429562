"""Packing and parsing, and what error replies mean."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.model.errors import AuthenticationError, ResourceError, ServerReplyError
from am2z_trio.wire.resp import INCOMPLETE, NOT_APPLIED, code_of, error_from, new_parser, pack
from am2z_trio.wire.scripts import Script

from .peer import bulk, push

REPLIES: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b":-42\r\n", -42),
    (b"_\r\n", None),
    (b"$-1\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",2.5\r\n", 2.5),
    (b"$0\r\n\r\n", b""),
    (bulk(b"a\r\nb\0"), b"a\r\nb\0"),
    (bulk(b"x" * 300), b"x" * 300),
    (b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n_\r\n", [1, [b"a", []], None]),
    (b"%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n#f\r\n", {b"a": 1, b"b": {b"c": False}}),
    (push("message", "ch", b"pay\r\nload"), [b"message", b"ch", b"pay\r\nload"]),
    (b"-ERR no\r\n", "ERR no"),
    (b"*1\r\n-ERR inner\r\n", ["ERR inner"]),
]
STREAM = b"".join(data for data, _ in REPLIES)
EXPECTED = [reply for _, reply in REPLIES]


def readable(reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        return str(reply)
    return [readable(item) for item in reply] if isinstance(reply, list) else reply


def parse(chunks: list[bytes]) -> list[Any]:
    parser = new_parser()
    replies = []
    for chunk in chunks:
        parser.feed(chunk)
        while (reply := parser.gets()) is not INCOMPLETE:
            replies.append(readable(reply))
    return replies


def test_replies_are_the_same_at_every_chunk_boundary() -> None:
    for cut in range(len(STREAM) + 1):
        assert parse([STREAM[:cut], STREAM[cut:]]) == EXPECTED, cut


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_replies_are_the_same_in_small_pieces(size: int) -> None:
    assert parse([STREAM[i : i + size] for i in range(0, len(STREAM), size)]) == EXPECTED


def test_big_bulk_arrives_in_pieces() -> None:
    big = bytes(range(256)) * 8192
    data = bulk(big) + b"+OK\r\n"
    assert parse([data[i : i + 65536] for i in range(0, len(data), 65536)]) == [big, b"OK"]


@given(st.lists(st.binary(max_size=50) | st.text(max_size=20) | st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_a_packed_command_reads_back_as_its_arguments(args: list[bytes | str | int]) -> None:
    as_bytes = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    assert parse([pack(tuple(args))]) == [as_bytes]


@given(st.floats(allow_nan=False))
def test_a_packed_float_keeps_its_value(value: float) -> None:
    ((text,),) = parse([pack((value,))])
    assert float(text) == value


@given(
    st.recursive(
        st.binary(max_size=30) | st.integers(-(2**63), 2**63 - 1) | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=20,
    ),
    st.data(),
)
def test_any_reply_survives_any_cuts(reply: Any, data: st.DataObject) -> None:
    encoded = encode(reply) * 2
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=5)))
    edges = [0, *cuts, len(encoded)]
    chunks = [encoded[a:b] for a, b in pairwise(edges)]
    assert parse(chunks) == [reply, reply]


def encode(reply: Any) -> bytes:
    if reply is None:
        return b"_\r\n"
    if isinstance(reply, bool):
        return b"#t\r\n" if reply else b"#f\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return bulk(reply)
    return b"*%d\r\n" % len(reply) + b"".join(encode(item) for item in reply)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("LOADING Redis is loading the dataset in memory", "LOADING"),
        ("ERR the word LOADING means nothing here", "ERR"),
        (
            # Redis 6.2
            f"ERR Error running script (call to f_{'0a' * 20}): @user_script:1: @user_script: 1: "
            "-READONLY You can't write against a read only replica.",
            "READONLY",
        ),
        (
            f"ERR Error running script (call to f_{'0a' * 20}): @user_script:1: user_script:1: "
            "Script attempted to access nonexistent global variable 'foo'",
            "ERR",
        ),
        ("ERR Error running script: -READONLY in a user's own words", "ERR"),
    ],
)
def test_an_error_is_known_by_its_code(text: str, code: str) -> None:
    assert code_of(hiredis.ReplyError(text)) == code


def test_error_replies_become_our_errors() -> None:
    def mapped(text: str) -> Any:
        return error_from(hiredis.ReplyError(text))

    assert type(mapped("WRONGPASS invalid")) is AuthenticationError
    assert type(mapped("NOAUTH Authentication required.")) is AuthenticationError
    assert type(mapped("OOM command not allowed when used memory > 'maxmemory'.")) is ResourceError
    error = mapped("WRONGTYPE Operation against a key")
    assert type(error) is ServerReplyError
    assert error.context["reply"].startswith("WRONGTYPE")
    assert not error.retryable
    assert all(mapped(f"{code} text").retryable for code in NOT_APPLIED)


def test_a_script_turns_its_digest_into_its_source() -> None:
    script = Script("answer", "return {KEYS[1],\r\n ARGV[1]}")
    evalsha = pack(("EVALSHA", script.sha1, 1, "key\r\n", b"\0\r\n", 2.5))
    assert script.with_source(evalsha) == pack(("EVAL", script.source, 1, "key\r\n", b"\0\r\n", 2.5))
    assert repr(script) == "<script answer>"
