"""Whatever comes into a node's inbox as a question or an answer: a refusal, or nothing; the node goes on."""

from __future__ import annotations

import json
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import QueueRuntime, ValidationError, processor
from am2z_trio.engine.node.control import _DECODERS
from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.records import Ask, Told
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.stack import JobStack
from am2z_trio.model.views.tree import TreePage
from am2z_trio.store.redis import keys, messages
from tests.support.servers import RedisProcess
from tests.support.waiting import until

NAMES = st.one_of(
    st.sampled_from(["", "a", "a/b", "{x}", "\r\n", "é" * 300, "\u202ertl", "x" * 20_000, "..", "node:*"]),
    st.text(max_size=20),
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), NAMES, st.binary(max_size=9)
)
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)


def exact(record: msgspec.Struct) -> bool:
    """Whether each field is of the one type that it should be."""
    return all(type(value) in (str, int, float, bool, type(None), msgspec.Raw) for value in vars_of(record))


def vars_of(record: msgspec.Struct) -> list[Any]:
    return [getattr(record, name) for name in record.__struct_fields__]


@given(st.sampled_from(["ask", "told"]), st.lists(ANYTHING, max_size=7), st.lists(ANYTHING, max_size=3))
def test_a_message_that_is_none_is_dropped_alone(tag, fields, others):
    good = Ask("1", "a", "tree")
    payload = msgspec.msgpack.encode([[tag, *fields], good, *others])
    found = messages.inbox(payload)
    assert good in found
    for message in found:
        assert isinstance(message, Ask | Told)
        assert exact(message)
        assert len(message.id) <= 64


@given(st.sampled_from(sorted(_DECODERS)), ANYTHING)
def test_arguments_are_exact_and_bounded_or_refused(verb, given_):
    try:
        asked = _DECODERS[verb](msgspec.msgpack.encode(given_))
    except ValidationError:
        return
    assert exact(asked)
    assert all(len(value) <= 20_000 for value in vars_of(asked) if isinstance(value, str))
    assert all(value >= 0 for value in vars_of(asked) if isinstance(value, int | float))


@given(st.sampled_from([TreePage, JobStack, NodeHealth]), ANYTHING)
def test_an_answer_that_is_none_is_one_kind_of_error(kind, given_):
    try:
        RecordDecoder[Any](kind)(msgspec.msgpack.encode(given_))
    except ValidationError:
        return


HOSTILE = [
    b"",
    b"\x90",
    b"\xc1",
    b"[]",
    json.dumps(["ask", "1", "x", "tree"]).encode(),
    msgspec.msgpack.encode([["ask"]]),
    msgspec.msgpack.encode([["ask", 1, 2, 3, 4]]),
    msgspec.msgpack.encode([["ask", "1", "no such node", "tree", [None]]]),
    msgspec.msgpack.encode([["ask", "1", "nobody", "tree", [None]]]),
    msgspec.msgpack.encode([["ask", "1", "*", "drain", []]]),
    msgspec.msgpack.encode([["ask", "1", "nobody", "drain", ["soon"]]]),
    msgspec.msgpack.encode([["ask", "1", "nobody", "__class__", None]]),
    msgspec.msgpack.encode([["ask", "1" * 100, "nobody", "drain", [None]]]),
    msgspec.msgpack.encode([["told", "1", "nobody", {"rows": [1] * 1000}, ""]]),
    msgspec.msgpack.encode([["told", "1", "nobody", None, "x" * 5000]]),
    b"\x91" * 5000,
    b"\xdd\xff\xff\xff\xff",
]


@pytest.mark.anyio
async def test_a_node_outlives_whatever_is_said_into_its_inbox(redis_server: RedisProcess, redis_url: str):
    @processor
    async def echo(n: int) -> int:
        return n

    async with QueueRuntime(redis_url) as runtime, QueueRuntime(redis_url, workers=False) as client:
        runtime.register(echo)
        inbox = keys.spell("am2z", "inbox", runtime.node_id)
        for said in HOSTILE:
            redis_server.call("PUBLISH", inbox, said)
        with anyio.fail_after(30):
            (found,) = (await client.control.tree(node=runtime.node_id)).nodes
            assert (found.silent, found.refusal) == (False, "")
            assert not runtime.node.control.draining.is_on
            assert (await client.execute("echo", 1)).unwrap() == 1
        for _ in range(100):
            redis_server.call(
                "PUBLISH", inbox, msgspec.msgpack.encode([["ask", "1", "flood", "tree", [None]]] * 50)
            )
        with anyio.fail_after(30):
            assert (await client.execute("echo", 2)).unwrap() == 2
            assert (await client.control.nodes())[0].status == "serving"
        await until(lambda: not runtime.node.control._line)
