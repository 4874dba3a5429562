"""Everything a user can size has a limit in bytes: text is cut with a mark, data refused with the figures."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import (
    AM2ZError,
    ConfigurationError,
    Context,
    JobCancelledError,
    JobOptions,
    ParallelError,
    PayloadTooLargeError,
    Processor,
    ResourceError,
    RetryPolicy,
    StepFailedError,
    parallel,
    processor,
)
from am2z_trio.engine.events.buffer import BATCH_BYTES, Buffer
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.codec import encode_record
from am2z_trio.model.error_records import error_of, record_of
from am2z_trio.model.events import Event
from am2z_trio.model.limits import (
    KIB,
    MAX_BUFFER_BYTES,
    MAX_ERROR_BYTES,
    MAX_EVENT_BYTES,
    MAX_HISTORY_BYTES,
    MAX_KEY_BYTES,
    MAX_PARTIAL_BYTES,
    MAX_REASON_BYTES,
    MAX_SESSION_BYTES,
    MAX_TEXT_BYTES,
)
from am2z_trio.store.ports import BATCH

from .conftest import LiveNode, the_error

pytestmark = pytest.mark.anyio

HUGE = 12_000_000
LARGE = 500_000


async def stored_bytes(runtime: Runtime, job: str) -> int:
    (view,) = await runtime.node.store.view([job])
    assert view is not None
    assert view.settled is not None
    return len(view.settled.result)


async def test_an_error_is_as_large_as_it_may_be_and_so_are_those_before_it(live_node: LiveNode):
    @processor(retry=RetryPolicy(max_attempts=23, backoff=0))
    async def fails(n: int) -> int:
        error = ParallelError("x" * LARGE, context={"x" * LARGE: "x" * LARGE, "n": n}, retryable=True)
        error.causes = [AM2ZError("y" * LARGE, cause=OSError("z" * LARGE)) for _ in range(3)]
        raise error

    async with live_node(fails) as runtime:
        result = await runtime.execute(fails, 1, job_id="large")
        the_error(result)
        assert "[cut: it has 500,000 characters]" in the_error(result).message
        assert await stored_bytes(runtime, "large") < MAX_ERROR_BYTES + MAX_HISTORY_BYTES + 16 * KIB
        assert len(result.metadata.earlier_errors) == 20
        (letter,) = await runtime.dead_letters.list(fails)
        assert letter.error.message == the_error(result).message


def test_what_many_causes_say_is_shared_out_among_them():
    error = ParallelError("all of them")
    error.causes = [AM2ZError(f"{n} " + "y" * 20_000, context={"n": n}) for n in range(60)]
    record = record_of(error)
    assert len(encode_record(record)) < MAX_ERROR_BYTES + KIB
    assert [cause.message.split()[0] for cause in record.causes] == [str(n) for n in range(60)]
    error.causes = [AM2ZError("y" * 20_000)] * 5000
    record = record_of(error)
    assert len(encode_record(record)) < MAX_ERROR_BYTES + 16 * KIB
    assert "more causes are left out" in record.causes[-1].message


def test_a_partial_state_that_is_too_large_is_left_out_and_that_is_said():
    error = StepFailedError("a step")
    error.partial_state = "x" * (MAX_PARTIAL_BYTES - 5)
    assert error_of(record_of(error)).partial_state == error.partial_state
    error.partial_state = "x" * MAX_PARTIAL_BYTES
    arrived = error_of(record_of(error))
    assert arrived.partial_state is None
    assert arrived.context["partial_state"] == "left out: 1,048,581 bytes, the limit is 1,048,576"
    outer = StepFailedError("outer")
    inner = StepFailedError("inner")
    inner.partial_state = outer.partial_state = "x" * (MAX_PARTIAL_BYTES // 2)
    outer.causes = [inner]
    assert len(encode_record(record_of(outer))) < MAX_PARTIAL_BYTES + 8 * KIB


def test_a_traceback_keeps_its_end():
    def go(n: int) -> None:
        if n:
            return go(n - 1)
        raise ValueError("the end")

    with pytest.raises(ValueError, match="the end") as raised:
        go(900)
    record = record_of(AM2ZError("x", cause=raised.value))
    assert record.traceback.rstrip().endswith("ValueError: the end")
    assert len(record.traceback) < 16 * KIB


async def test_an_events_data_is_refused_with_the_figures(live_node: LiveNode):
    fits = "x" * (MAX_EVENT_BYTES - 3)

    @processor
    async def tells(n: int, ctx: Context) -> int:
        ctx.emit("said", fits + "x" * n)
        return n

    async with live_node(tells) as runtime, runtime.events("said") as stream:
        assert (await runtime.execute(tells, 0)).success
        assert (await stream.next()).data == fits
        error = the_error(await runtime.execute(tells, 1000))
        assert isinstance(error, PayloadTooLargeError)
        assert "66,538 bytes when encoded, the limit is 65,536" in error.message
        with pytest.raises(PayloadTooLargeError):
            runtime.emit("said", fits + "x")


async def test_unread_events_are_bounded_in_bytes(live_node: LiveNode):
    """So are those that wait to be sent."""
    data = "x" * 60_000
    most = MAX_BUFFER_BYTES // 60_000
    async with live_node() as runtime, runtime.events("said") as stream:
        for _ in range(most + 50):
            runtime.emit("said", data)
        assert runtime._bus._outgoing.dropped >= 50
        for _ in range(100):
            runtime.emit("last", 1)
        async with runtime.events("last") as last:
            await last.next()
            for n in range(60):
                runtime.emit("said", [n, data])
            runtime.emit("last", 2)
            while (await last.next()).data != 2:
                pass
        assert stream.dropped > 0
        source: Any = stream._source
        held = [await stream.next() for _ in range(len(source._buffer))]
        assert len(held) <= most
        assert held[-1].data == [59, data]


def test_a_batch_of_events_is_bounded_in_bytes():
    buffer = Buffer()
    for _ in range(200):
        buffer.push(Event("said", 0, data="x"), 60_000)
    sizes = []
    while len(buffer):
        sizes.append(len(buffer.take(BATCH)))
    assert max(sizes) <= BATCH_BYTES // 60_000
    buffer.push(Event("said", 0), 10 * BATCH_BYTES)
    assert len(buffer.take(BATCH)) == 1


async def test_why_a_job_was_cancelled_is_cut(live_node: LiveNode):
    begun = anyio.Event()

    @processor
    async def waits(n: int) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    async with live_node(waits) as runtime:
        for delay in (None, 1000):
            job = await runtime.submit(waits, 1, options=JobOptions(delay=delay))
            if delay is None:
                await begun.wait()
            await job.cancel("é" * HUGE)
            error = the_error(await job.result())
            assert isinstance(error, JobCancelledError)
            assert error.message.endswith("[cut: it has 12,000,000 characters]")
            assert len(error.message.encode()) <= MAX_REASON_BYTES


async def test_ids_and_keys_may_be_as_long_as_it_says(live_node: LiveNode):
    @processor
    async def echo(n: int) -> int:
        return n

    async with live_node(echo) as runtime:
        options = JobOptions(debounce="é" * (MAX_KEY_BYTES // 2))
        session = "é" * (MAX_SESSION_BYTES // 2)
        result = await runtime.execute(echo, 1, session=session, job_id="\U0001f600" * 200, options=options)
        assert result.unwrap() == 1
        assert (await runtime.state.get(session, int)) is not None
        for wrong in (session + "x", "x" * HUGE):
            error = the_error(await runtime.execute(echo, 1, session=wrong))
            assert isinstance(error, ConfigurationError)
            assert f"has {len(wrong.encode()):,}" in error.message
        await runtime.stop_session(session)


async def test_calls_within_calls_have_ids_of_bounded_length(live_node: LiveNode):
    ids: list[str] = []

    @processor
    async def down(n: int, ctx: Context) -> int:
        ids.append(ctx.execution_id)
        return (
            n if not n else await ctx.call("down", n - 1, key="é" * (MAX_KEY_BYTES // 2), inline=n % 3 == 0)
        )

    async with live_node(down) as runtime:
        assert (await runtime.execute(down, 9)).unwrap() == 0
    assert len(set(ids)) == 10
    assert max(map(len, ids)) < 4 * KIB


async def test_a_composition_of_which_much_fails_says_so_in_short(live_node: LiveNode):
    @processor
    async def fails(n: int) -> int:
        raise AM2ZError(f"{n} " + "x" * LARGE)

    all_of_them = parallel("all of them", [fails] * 30, collect=True, inline=True)
    async with live_node(fails, all_of_them) as runtime:
        error = the_error(await runtime.execute(all_of_them, 1))
        assert isinstance(error, ParallelError)
        assert "30 of 30 parts" in error.message
        assert len(error.causes) == 30


async def test_a_job_may_call_so_many_and_no_more(live_node: LiveNode, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("am2z_trio.engine.execution.calls.MAX_CALLS", 5)

    @processor
    async def called(n: int) -> int:
        return n

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0, should_retry=lambda error, attempt: True))
    async def calls(n: int, ctx: Context) -> int:
        for k in range(n):
            await ctx.call(called, k, inline=k % 2 == 0)
        return n

    async with live_node(called, calls) as runtime:
        assert (await runtime.execute(calls, 5)).unwrap() == 5
        result = await runtime.execute(calls, 6)
        assert isinstance(result.error, ResourceError)
        assert "has called 5 jobs" in result.error.message
        assert result.metadata.attempt == 2


@pytest.mark.parametrize("make", ["name", "key"])
async def test_a_long_text_in_an_error_of_ours_is_short(live_node: LiveNode, make: str):
    """Names and keys that are refused are not repeated at length."""
    text = "x" * HUGE
    calls: dict[str, Any] = {
        "name": lambda: Processor(the_error, name=text),
        "key": lambda: JobOptions(debounce=text),
    }
    with pytest.raises(ConfigurationError) as raised:
        calls[make]()
    assert len(raised.value.message) < MAX_TEXT_BYTES
