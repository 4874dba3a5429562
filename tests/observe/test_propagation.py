"""What a job carries of a trace: read with care, and written so that others can read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from am2z_trio.model.limits import MAX_TRACE_BYTES, MAX_TRACESTATE_BYTES
from am2z_trio.observe.otel.propagation import is_sampled, read, shortened, unsampled, write

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"

contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.just(True),
    st.integers(0, 255).map(TraceFlags),
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True),
        st.from_regex(r"[!-+\--<>-~]{1,60}", fullmatch=True),
        max_size=32,
    ).map(lambda entries: TraceState([*entries.items()])),
)


@given(contexts)
def test_what_is_written_is_read_again(context: SpanContext):
    text = write(context)
    found = read(text)
    assert found is not None
    assert (found.trace_id, found.span_id, found.trace_flags) == (
        context.trace_id,
        context.span_id,
        context.trace_flags,
    )
    assert is_sampled(found) == bool(context.trace_flags & 1)
    kept = [*found.trace_state.items()]
    assert kept == [*context.trace_state.items()][: len(kept)]
    assert len(text) <= MAX_TRACE_BYTES


@given(contexts)
def test_others_read_it_too(context: SpanContext):
    carrier: dict[str, str] = {}
    parent, _, state = write(context).partition("\n")
    carrier["traceparent"] = parent
    if state:
        carrier["tracestate"] = state
    from opentelemetry.trace import get_current_span

    found = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    assert (found.trace_id, found.span_id) == (context.trace_id, context.span_id)


@pytest.mark.parametrize(
    "trace",
    [
        "",
        None,
        7,
        b"x",
        [GOOD],
        {"traceparent": GOOD},
        GOOD[:-1],
        GOOD + "-more",
        GOOD + "\r",
        f" {GOOD}",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0x",
        "00-" + "٠" * 32 + f"-{SPAN}-01",
        "x" * 55,
        GOOD + "\n" + "x" * MAX_TRACE_BYTES,
    ],
)
def test_what_is_no_trace_is_none(trace: object):
    assert read(trace) is None


@pytest.mark.parametrize(
    "state", ["=", "a", "a=b" * 400, "é=1", "a=\x00", "a=b\nc=d", "\ud800=1", "A=b", ",,,", "a=1,a=2"]
)
def test_a_bad_state_spoils_no_parent(state: str):
    found = read(f"{GOOD}\n{state}")
    assert found is None or f"{found.trace_id:032x}" == TRACE
    if len(state) < 500:
        assert found is not None


def test_a_later_version_may_say_more():
    assert read(f"01-{TRACE}-{SPAN}-01-what-will-be") is not None


@given(st.text(max_size=MAX_TRACE_BYTES + 10))
def test_nothing_that_is_read_raises(text: str):
    read(text)
    read(f"{GOOD}\n{text}")


def test_a_long_state_loses_its_last_entries():
    state = ",".join(f"k{n}={'v' * 50}" for n in range(30))
    short = shortened(state)
    assert len(short) <= MAX_TRACESTATE_BYTES
    assert state.startswith(short + ",")


def test_what_is_not_sampled_is_a_trace_of_its_own():
    one, other = unsampled(), unsampled()
    assert one.is_valid
    assert one.trace_id != other.trace_id
    assert not is_sampled(one)
    assert write(one).endswith("-00")
