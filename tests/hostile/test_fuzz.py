"""Anything at all, for whatever reads what others have made: options, errors, states, events, rows, replies.

What comes out is what was asked for, in exact types, or the one kind of error that says no.
"""

# Nothing here is of the type it should be, which is what it is about.
# mypy: ignore-errors
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportGeneralTypeIssues=false, reportPrivateUsage=false, reportAssignmentType=false

from __future__ import annotations

import enum
from decimal import Decimal
from math import inf
from typing import Any

import hiredis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import (
    AM2ZError,
    Backoff,
    CircuitBreaker,
    ConfigurationError,
    JobOptions,
    QueueOptions,
    RateLimit,
    RedisOptions,
    ResourceLimits,
    Retention,
    RetryPolicy,
    ValidationError,
)
from am2z_trio.model.codec import RecordDecoder, StateCodec, encode_record
from am2z_trio.model.error_records import ErrorRecord, error_of, record_of
from am2z_trio.model.events import Event
from am2z_trio.model.limits import KIB, MAX_ERROR_BYTES, MAX_PARTIAL_BYTES
from am2z_trio.model.records import JobSpec, Settled, Wake
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.store.redis import messages, rows
from am2z_trio.store.redis.arguments import of_events
from am2z_trio.wire.resp import INCOMPLETE, error_from, new_parser

TEXTS = st.text(st.characters(), max_size=20)  # surrogates included
PLAIN = (bool, int, float, str, type(None))


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise SystemExit


class Whole(int):
    pass


class Real(float):
    pass


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 70


class Odd:
    """Answers every question but what it is with an exception."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return Odd
        raise OSError(name)

    def __bool__(self) -> bool:
        raise SystemExit

    __eq__ = __hash__ = __str__ = __repr__ = __index__ = __float__ = __len__ = __iter__ = __bool__


NUMBERS = st.one_of(
    st.integers(),
    st.integers(0, 20),
    st.floats(),
    st.sampled_from([0, 1, 0.5, 3600.0, 2**21 - 1, 2**53, 2**63, 10**400]),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXTS,
    st.binary(max_size=20),
    st.decimals(),
    st.sampled_from(Level),
    NUMBERS.filter(lambda n: isinstance(n, int)).map(Whole),
    st.floats().map(Real),
    TEXTS.map(Text),
    st.just("<odd>"),
    st.builds(object),
    st.sampled_from([Odd, ValueError("x"), len, "x" * 100_000, "fixed", 1j]),
)
HASHABLE = st.one_of(
    st.none(), NUMBERS, TEXTS, st.binary(max_size=5), TEXTS.map(Text), st.decimals(allow_nan=False)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.tuples(inner, inner),
        st.frozensets(HASHABLE, max_size=3),
        st.sampled_from([RateLimit(max=1, duration=1), Retention(age=1), Backoff(delay=1), JobOptions()]),
    ),
    max_leaves=8,
)


def real(value: Any) -> Any:
    """With what Hypothesis itself could not print or compare in its place."""
    if isinstance(value, list):
        return [real(one) for one in value]
    if isinstance(value, dict):
        return {key: real(one) for key, one in value.items()}
    return Odd() if type(value) is str and value == "<odd>" else value


KINDS = [
    RetryPolicy,
    CircuitBreaker,
    Retention,
    Backoff,
    JobOptions,
    RateLimit,
    QueueOptions,
    ResourceLimits,
    RuntimeOptions,
    RedisOptions,
]


def is_short(error: AM2ZError, most: int) -> None:
    assert len(error.message) < most
    assert len(encode_record(record_of(error))) < 64 * KIB


def is_exact(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(is_exact, value))
    return type(value) in PLAIN or isinstance(value, msgspec.Struct) or callable(value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_options(kind: Any, data: st.DataObject):
    chosen = data.draw(st.lists(st.sampled_from(kind.__struct_fields__), unique=True, min_size=1, max_size=3))
    values = st.one_of(SCALARS, NUMBERS, ANYTHING)
    given_values = {name: real(data.draw(values)) for name in chosen}
    required = {"delay": 1.0, "max": 1, "duration": 1.0}
    needed = [name for name in required if kind in (Backoff, RateLimit) and name in kind.__struct_fields__]
    try:
        made = kind(**{name: required[name] for name in needed} | given_values)
    except ConfigurationError as error:
        is_short(error, KIB)
        return
    except BaseException as error:
        # Without what was given, which a report could not show.
        said = f"{kind.__name__}({', '.join(chosen)}) raised {type(error).__name__}"
        pytest.fail(said, pytrace=False)
    for name in kind.__struct_fields__:
        assert is_exact(getattr(made, name)), name
    if kind is QueueOptions:
        assert RecordDecoder[QueueOptions](QueueOptions)(encode_record(made)) == made


ATTRIBUTES = ("message", "context", "causes", "retryable", "partial_state", "remote_traceback", "__notes__")
_decode_error = RecordDecoder[ErrorRecord](ErrorRecord)


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), ANYTHING), ANYTHING, st.lists(ANYTHING, max_size=3))
def test_errors(attributes: dict[str, Any], message: Any, causes: list[Any]):
    error = AM2ZError(real(message))
    error.causes = [AM2ZError(real(cause)) for cause in causes]
    for name, value in attributes.items():
        setattr(error, name, real(value))
    encoded = encode_record(record_of(error))
    assert len(encoded) < MAX_ERROR_BYTES + MAX_PARTIAL_BYTES + 16 * KIB
    arrived = error_of(_decode_error(encoded))
    assert type(arrived.message) is str
    assert type(arrived.retryable) is bool
    assert all(type(key) is type(value) is str for key, value in arrived.context.items())
    repr(arrived)


TYPES = [Any, int, str, list[int], dict[str, float], set[Any], Decimal, JobSpec, tuple[int, str], int | str]


@given(st.sampled_from(TYPES), ANYTHING)
def test_states_that_are_written(kind: Any, state: Any):
    codec = StateCodec(kind)
    try:
        encoded = codec.encode_exactly(real(state))
    except ValidationError as error:
        is_short(error, 10 * KIB)
        return
    assert codec.encode_exactly(codec.decode(encoded)) == encoded


def spoilt(record: bytes) -> st.SearchStrategy[bytes]:
    """A record with some of its bytes changed, left out or put in."""

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = record
        for at, length, new in edits:
            place = at % (len(changed) + 1)
            changed = changed[:place] + new + changed[place + length :]
        return changed

    edit = st.tuples(st.integers(0, 1000), st.integers(0, 4), st.binary(max_size=4))
    return st.lists(edit, min_size=1, max_size=3).map(change)


SPEC = encode_record(JobSpec(1, "job", "echo", "s", msgspec.Raw(b"\x01"), "node", 1.0, 3, 0.5, 1, "parent"))
SETTLED = encode_record([Settled("job", "completed", "", msgspec.Raw(b"\xc0")), Wake("queue")])
SAID = [told for told, _ in of_events([Event("said", 1, "node", data={"a": [1]}), Event("said", 2)])]
EVENTS = encode_record([msgspec.Raw(one) for one in SAID])
OPTIONS = encode_record(QueueOptions(limiter=RateLimit(max=1, duration=1)))
BYTES = st.binary(max_size=40)
FIELDS = st.one_of(BYTES, st.integers(-5, 10).map(lambda n: b"%d" % n))


@given(st.sampled_from(TYPES), st.one_of(BYTES, spoilt(SPEC), spoilt(EVENTS)))
def test_states_that_are_read(kind: Any, data: bytes):
    try:
        StateCodec(kind).decode(data)
    except ValidationError as error:
        is_short(error, 10 * KIB)


@given(st.one_of(TEXTS, ANYTHING), ANYTHING)
def test_events(name: Any, data: Any):
    try:
        event = Event.emitted(real(name), real(data), node="node")
    except (ConfigurationError, ValidationError) as error:
        is_short(error, 10 * KIB)
        return
    assert type(event.name) is str
    payload = encode_record([msgspec.Raw(told) for told, _ in of_events([event])])
    assert len([*messages.events(payload)]) == 1


@given(st.one_of(spoilt(SPEC), BYTES), BYTES, st.integers(), BYTES)
def test_rows_of_jobs(spec: bytes, id: bytes, number: int, errors: bytes):
    for name in (id, b"job"):
        try:
            grant = rows.grant(name, b"1:a", spec, number, number, number, b"", errors, 0)
        except ValidationError:
            assert rows.version_of(spec) >= 0
        else:
            assert grant.spec.id == "job" or grant.spec.id.encode() == id
    letter = rows.dead_job("job", [spec, id, id, id, id, errors, id, id])
    assert letter.spec is None or isinstance(letter.spec, JobSpec)


def test_what_may_be_infinite_is_asked_for_that_with_care():
    with pytest.raises(ConfigurationError, match="session_idle"):
        RuntimeOptions(session_idle=Odd())  # type: ignore[arg-type]
    assert RuntimeOptions(session_idle=Real(inf)).session_idle == inf


@given(st.lists(FIELDS, min_size=10, max_size=10), st.one_of(spoilt(OPTIONS), BYTES))
def test_rows_of_views_and_queues(fields: list[bytes], options: bytes):
    view = rows.job_view("job", fields)
    assert type(view.attempt) is type(view.stalls) is int
    assert type(view.progress) is float
    info = rows.queue_info(fields[0], fields[1], options, 1, 1)
    assert info is None or isinstance(info.options, QueueOptions)


@given(st.one_of(spoilt(SETTLED), spoilt(EVENTS), BYTES))
def test_messages(payload: bytes):
    messages.inbox(payload)
    assert len([*messages.events(payload)]) >= 0


REPLIES = (
    b"+OK\r\n:5\r\n*2\r\n$1\r\na\r\n_\r\n%1\r\n+a\r\n#t\r\n"
    b">3\r\n+message\r\n$2\r\nch\r\n$0\r\n\r\n-ERR no\r\n,1.5\r\n"
)


@given(st.one_of(spoilt(REPLIES), st.binary(max_size=200)), st.integers(1, 7))
def test_replies(stream: bytes, size: int):
    """Whatever a server sends, at whatever chunk boundary, is replies or the end of the connection."""
    parser = new_parser()
    for at in range(0, len(stream), size):
        parser.feed(stream[at : at + size])
        try:
            while (reply := parser.gets()) is not INCOMPLETE:
                if isinstance(reply, hiredis.ReplyError):
                    assert error_from(reply).message
        except (hiredis.ProtocolError, TypeError):
            # As a connection takes them: a map whose key is a list is a TypeError of the parser's.
            return
