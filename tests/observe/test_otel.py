"""What is sent, run and settled becomes spans and metrics, where it is sampled; and no job hears of it."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import anyio
import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, TraceFlags

from am2z_trio import (
    ConfigurationError,
    Context,
    Every,
    LocalRuntime,
    QueueOptions,
    QueueRuntime,
    RetryPolicy,
    batch,
    chain,
    parallel,
    processor,
)
from am2z_trio.admin import Admin, Principal
from am2z_trio.model.limits import MAX_TRACE_BYTES
from am2z_trio.observe.otel import OpenTelemetry, names
from tests.observe.seen import Place, parts, told

pytestmark = pytest.mark.anyio


@processor
async def double(n: int) -> int:
    return 2 * n


@processor
async def call_double(n: int, ctx: Context) -> int:
    return await ctx.call(double, n)


def links_to(span: ReadableSpan) -> list[Place]:
    return told(span).links


def place(span: ReadableSpan) -> Place:
    return told(span).place


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_job_has_a_span_where_it_is_sent_and_one_where_it_runs(make_runtime, seen):
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        node = runtime.node_id
        result = await runtime.execute(double, 21, session="alice")
    assert result.unwrap() == 42
    assert seen.names() == ["CONSUMER process double", "PRODUCER send double"]
    send, process = seen.one("send double"), seen.one("process double")
    assert links_to(process) == [place(send)]
    assert process.parent is None
    job = {
        names.SYSTEM: "am2z",
        names.DESTINATION: "double",
        names.MESSAGE_ID: result.metadata.job_id,
        names.CONVERSATION_ID: "alice",
        names.CLIENT_ID: node,
    }
    both = attributes(send)
    server: dict[str, Any] = {
        name: both.pop(name) for name in (names.SERVER_ADDRESS, names.SERVER_PORT) if name in both
    }
    assert both == {**job, names.OPERATION_NAME: "send", names.OPERATION_TYPE: "send"}
    assert attributes(process) == {
        **job,
        **server,
        names.OPERATION_NAME: "process",
        names.OPERATION_TYPE: "process",
        names.ATTEMPT: 1,
        names.DELIVERY: 1,
        names.OUTCOME: "completed",
    }
    assert bool(server) == isinstance(runtime, QueueRuntime)
    assert [event.name for event in process.events] == ["claimed"]
    assert process.status.status_code is StatusCode.UNSET
    assert send.start_time <= process.start_time <= process.end_time


async def test_a_job_may_be_the_child_of_who_has_sent_it(make_runtime, seen):
    async with make_runtime(otel=seen.otel(trace_parenting=True)) as runtime:
        runtime.register(double, call_double)
        await runtime.execute(call_double, 21)
    assert len(parts(map(told, seen.spans), by_links=False)) == 1
    assert len({told(span).place.trace for span in seen.spans}) == 1
    assert not any(span.links for span in seen.spans)


async def test_a_call_is_sent_from_within_the_run_that_calls(make_runtime, seen):
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double, call_double)
        result = await runtime.execute(call_double, 21)
    caller, send = seen.one("process call_double"), seen.one("send double")
    assert told(send).parent == place(caller)
    assert attributes(send)[names.PARENT] == result.metadata.job_id
    assert links_to(seen.one("process double")) == [place(send)]
    assert len(parts(map(told, seen.spans), by_links=True)) == 1


async def test_what_a_job_does_is_below_its_span_and_that_of_no_other(make_runtime, seen):
    tracer = seen.tracers.get_tracer("app")

    @processor
    async def sell(n: int) -> int:
        with tracer.start_as_current_span(f"look up {n}"):
            await anyio.lowlevel.checkpoint()
        return n

    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(sell)
        with tracer.start_as_current_span("request"):
            await runtime.execute_many(sell, range(8))
        assert trace.get_current_span() is trace.INVALID_SPAN
    runs = {place(span): span for span in seen.named("process sell")}
    assert len(runs) == 8
    above = [told(seen.one(f"look up {n}")).parent for n in range(8)]
    assert {*above} == {*runs}


async def test_a_thread_and_the_tasks_of_a_job_are_below_its_span(make_runtime, seen):
    tracer = seen.tracers.get_tracer("app")

    @processor
    def sell(n: int) -> int:
        tracer.start_span("in thread").end()
        return n

    async def note() -> None:
        tracer.start_span("in task").end()

    @processor
    async def sell_more(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(note)
        return n

    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(sell, sell_more)
        await runtime.execute(sell, 1)
        await runtime.execute(sell_more, 1)
    assert told(seen.one("in thread")).parent == place(seen.one("process sell"))
    assert told(seen.one("in task")).parent == place(seen.one("process sell_more"))


async def test_an_inline_call_is_a_part_of_its_caller(make_runtime, seen):
    @processor
    async def sell(n: int, ctx: Context) -> int:
        return await ctx.call(double, n, inline=True)

    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(sell, double)
        assert (await runtime.execute(sell, 21)).unwrap() == 42
    assert seen.names() == ["CONSUMER process sell", "INTERNAL process double", "PRODUCER send sell"]
    assert told(seen.one("process double")).parent == place(seen.one("process sell"))
    assert not seen.one("process double").links


async def test_a_job_of_a_schedule_says_so_and_begins_a_trace(make_runtime, seen):
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        await runtime.schedules.upsert("hourly", double, Every(3600), state=21)
        assert (await (await runtime.schedules.run_now("hourly")).result()).unwrap() == 42
    span = seen.one("process double")
    assert attributes(span)[names.SCHEDULE] == "hourly"
    assert span.parent is None
    assert not span.links


async def test_each_attempt_has_a_span(make_runtime, seen):
    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.01))
    async def fails(n: int) -> int:
        raise ValueError("no\nlorry")

    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(fails)
        assert not (await runtime.execute(fails, 1)).success
    first, second = seen.named("process fails")
    assert links_to(first) == links_to(second) == [place(seen.one("send fails"))]
    assert [attributes(span)[names.ATTEMPT] for span in (first, second)] == [1, 2]
    assert [attributes(span)[names.OUTCOME] for span in (first, second)] == ["retry", "failed"]
    assert [[event.name for event in span.events] for span in (first, second)] == [
        ["claimed", "retry"],
        ["claimed"],
    ]
    retry = first.events[1]
    assert 0 < dict(retry.attributes or {})[names.RETRY_DELAY] < 1
    for span in (first, second):
        assert attributes(span)[names.ERROR_TYPE] == "PROCESSOR_EXECUTION"
        assert span.status.status_code is StatusCode.ERROR
        assert "no\nlorry" in (span.status.description or "")


@pytest.mark.parametrize("plain", [True, False])
async def test_a_job_that_is_cancelled_ends_its_span(make_runtime, seen, plain):
    begun = anyio.Event()

    async def wait(n: int) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    async def wait_with_context(n: int, ctx: Context) -> int:
        return await wait(n)

    asked = processor(name="wait")(wait if plain else wait_with_context)
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(asked)
        job = await runtime.submit(asked, 1)
        with anyio.fail_after(30):
            await begun.wait()
            await job.cancel("not wanted")
            await job.result()
    span = seen.one("process wait")
    assert attributes(span)[names.ERROR_TYPE] == "JOB_CANCELLED"
    assert attributes(span)[names.OUTCOME] == "cancelled"
    assert span.status.description == "not wanted"


async def test_a_job_that_is_given_back_ends_its_span(make_runtime, seen):
    begun = anyio.Event()

    @processor
    async def wait(n: int) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    async with make_runtime(otel=seen.otel(), shutdown_grace=0) as runtime:
        runtime.register(wait)
        await runtime.submit(wait, 1)
        with anyio.fail_after(30):
            await begun.wait()
    assert attributes(seen.one("process wait"))[names.OUTCOME] == "released"
    assert names.ERROR_TYPE not in attributes(seen.one("process wait"))


async def test_a_run_whose_claim_was_lost_says_so(seen):
    """Another node has been given the job meanwhile: nothing of this run is recorded."""
    begun, go_on = anyio.Event(), anyio.Event()

    @processor
    async def sell(n: int) -> int:
        begun.set()
        await go_on.wait()
        return n

    async with LocalRuntime(otel=seen.otel()) as runtime:
        runtime.register(sell)
        job = await runtime.submit(sell, 1)
        with anyio.fail_after(30):
            await begun.wait()
            runtime._server.ledger.jobs[job.id].token = "another"
            go_on.set()
            while not seen.named("process sell"):
                await anyio.sleep(0.001)
    span = seen.one("process sell")
    assert [event.name for event in span.events] == ["claimed", "fenced"]


# --- several ---------------------------------------------------------------------------------


async def test_jobs_that_are_sent_together_are_each_created_and_sent_as_one(make_runtime, seen):
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        with seen.tracers.get_tracer("app").start_as_current_span("request") as request:
            results = await runtime.execute_many(double, range(3))
    assert [result.unwrap() for result in results] == [0, 2, 4]
    creates, send = seen.named("create double"), seen.one("send double")
    assert [span.kind.name for span in (*creates, send)] == ["PRODUCER"] * 3 + ["CLIENT"]
    assert attributes(send)[names.MESSAGE_COUNT] == 3
    assert names.MESSAGE_ID not in attributes(send)
    assert links_to(send) == [place(span) for span in creates]
    assert {attributes(span)[names.MESSAGE_ID] for span in creates} == {
        result.metadata.job_id for result in results
    }
    assert {told(span).parent for span in (*creates, send)} == {place(request)}
    assert sorted(links_to(span)[0] for span in seen.named("process double")) == sorted(map(place, creates))
    assert not any(names.MESSAGE_COUNT in attributes(span) for span in creates)


async def test_they_may_refer_to_the_one_span_of_all(make_runtime, seen):
    async with make_runtime(otel=seen.otel(create_spans=False)) as runtime:
        runtime.register(double)
        await runtime.execute_many(double, range(3))
    assert seen.names() == ["CONSUMER process double"] * 3 + ["PRODUCER send double"]
    send = seen.one("send double")
    assert {links_to(span)[0] for span in seen.named("process double")} == {place(send)}


async def test_one_that_is_sent_as_many_has_no_count(make_runtime, seen):
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        await runtime.execute_many(double, [1])
        await runtime.execute_many(double, [])
    assert names.MESSAGE_COUNT not in attributes(seen.one("send double"))


async def test_jobs_of_submit_many_refer_to_the_step_that_they_were_sent_in(make_runtime, seen):
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        jobs = await runtime.submit_many(double, range(300))
        for job in jobs:
            await job.result()
    sends = seen.named("send double")
    assert [attributes(span)[names.MESSAGE_COUNT] for span in sends] == [250, 50]
    assert {span.kind.name for span in sends} == {"PRODUCER"}
    linked = [links_to(span)[0] for span in seen.named("process double")]
    assert sorted({*linked}) == sorted(map(place, sends))
    assert len(linked) == 300


@pytest.mark.parametrize("by_links", [True, False])
async def test_a_composition_is_connected(make_runtime, seen, by_links):
    @processor
    async def triple(n: int) -> int:
        return 3 * n

    side = parallel("side by side", [double, triple], merge=lambda _, results: sum(results))
    many = batch("many", double, range(3), merge=lambda _, results: sum(results))
    whole = chain("whole", [side, many, triple])
    async with make_runtime(otel=seen.otel(trace_parenting=not by_links)) as runtime:
        runtime.register(side, many, whole, double, triple)
        assert (await runtime.execute(whole, 1)).unwrap() == 18
    assert len(parts(map(told, seen.spans), by_links=by_links)) == 1
    assert len(seen.named("create double")) == 4
    # Each queue is a destination of its own.
    assert [name for name in seen.names() if name.startswith("CLIENT send")] == [
        "CLIENT send double",
        "CLIENT send double",
        "CLIENT send triple",
    ]


# --- sampled or not --------------------------------------------------------------------------


async def test_what_is_not_sampled_has_no_span_and_nothing_below_it_has(make_runtime, seen):
    started: list[str] = []
    seen.tracers.sampler = Asked(started)
    tracer = seen.tracers.get_tracer("app")

    @processor
    async def sell(n: int, ctx: Context) -> int:
        tracer.start_span("look up").end()
        await ctx.call(double, n, inline=True)
        return await ctx.call(double, n)

    async with make_runtime(otel=seen.otel(ratio=0)) as runtime:
        runtime.register(double, sell)
        await runtime.execute(sell, 1)
        await runtime.execute_many(double, range(3))
        await (await runtime.submit_many(double, range(3)))[2].result()
    assert seen.spans == []
    # A user's own span asks the sampler; of the engine's none is made.
    assert started == ["look up"]


class Asked:
    """A sampler that samples what is below what was."""

    def __init__(self, started: list[str]) -> None:
        from opentelemetry.sdk.trace.sampling import DEFAULT_ON

        self._started, self._sampler = started, DEFAULT_ON

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *others: Any, **named: Any) -> Any:
        self._started.append(name)
        return self._sampler.should_sample(parent_context, trace_id, name, *others, **named)

    def get_description(self) -> str:
        return "asked"


@pytest.mark.parametrize("sampled", [True, False])
async def test_whether_it_is_sampled_is_said_by_who_sends_it(make_runtime, seen, sampled):
    """Whatever the ratio is that counts for what begins here."""
    above = SpanContext(7, 8, False, TraceFlags(int(sampled)))
    async with make_runtime(otel=seen.otel(ratio=0.0 if sampled else 1.0)) as runtime:
        runtime.register(double, call_double)
        with trace.use_span(NonRecordingSpan(above)):
            await runtime.execute(call_double, 1)
        admin = Admin(runtime, principal=Principal(name="ada", role="viewer"), face="test")
        found = [row.processor for row in (await admin.search(f"trace:{7:032x}")).rows]
    # What it calls is sent in the trace of its run, which links to this one.
    assert found == (["call_double"] if sampled else [])
    expected = ["process call_double", "process double", "send call_double", "send double"]
    assert sorted(span.name for span in seen.spans) == (expected if sampled else [])


async def test_a_share_of_what_begins_here_is_sampled(make_runtime, seen, monkeypatch):
    drawn = iter([0.05, 0.5, 0.0999, 0.1, 0.99])
    monkeypatch.setattr("am2z_trio.observe.otel.tracer.random.random", lambda: next(drawn))
    async with make_runtime(otel=seen.otel(ratio=0.1)) as runtime:
        runtime.register(call_double, double)
        for _ in range(5):
            await runtime.execute(call_double, 1)
    assert len(seen.named("send call_double")) == len(seen.named("process double")) == 2


@pytest.mark.parametrize(
    "carried",
    [7, None, ["x"], "", "x" * MAX_TRACE_BYTES * 50, "00-é", f"00-{'0' * 32}-{'0' * 16}-01\r\nX-Forged: 1"],
)
async def test_a_job_with_a_bad_trace_runs(make_runtime, seen, monkeypatch, carried):
    from am2z_trio.engine.tracing import GuardedTracer

    def spoil(self: Any, job: Any, sending: Any) -> Any:
        return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, trace=carried))

    monkeypatch.setattr(GuardedTracer, "_carrying", spoil)
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, 21)).unwrap() == 42
    assert seen.one("process double").links == ()


async def test_a_state_that_travels_along_arrives(make_runtime, seen):
    from opentelemetry.trace import TraceState

    above = SpanContext(7, 8, False, TraceFlags(1), TraceState([("vendor", "one"), ("other", "two")]))
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        with trace.use_span(NonRecordingSpan(above)):
            await runtime.execute(double, 1)
    (link,) = seen.one("process double").links
    assert link.context.trace_state.to_header() == "vendor=one,other=two"


# --- calls that settle -----------------------------------------------------------------------


async def test_calls_that_settle_have_spans_if_that_is_wanted(make_runtime, seen):
    async with make_runtime(otel=seen.otel(settle_spans=True)) as runtime:
        runtime.register(double)
        await runtime.execute_many(double, range(3))
    runs = {place(span) for span in seen.named("process double")}
    settles = seen.named("settle double")
    assert {link for span in settles for link in links_to(span)} == runs
    counts = [attributes(span).get(names.MESSAGE_COUNT, 1) for span in settles]
    assert sum(counts) == 3
    assert {span.kind.name for span in settles} == {"CLIENT"}


# --- metrics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_metrics_count_what_is_not_sampled_too(make_runtime, seen, ratio):
    @processor(name="sell")
    async def fails(n: int) -> int:
        raise ValueError("no lorry")

    async with make_runtime(otel=seen.otel(ratio=ratio)) as runtime:
        runtime.register(double, fails)
        await runtime.execute(double, 1, session="alice")
        await runtime.execute_many(double, range(3))
        await (await runtime.submit_many(double, range(5)))[4].result()
        await runtime.execute(fails, 1)
    points = seen.metrics()
    assert {*points} == {
        names.SENT_MESSAGES,
        names.CONSUMED_MESSAGES,
        names.OPERATION_DURATION,
        names.PROCESS_DURATION,
    }
    sent = {point.attributes[names.DESTINATION]: point.value for point in points[names.SENT_MESSAGES]}
    assert sent == {"double": 9, "sell": 1}
    consumed = {point.attributes[names.DESTINATION]: point.value for point in points[names.CONSUMED_MESSAGES]}
    assert consumed == {"double": 9, "sell": 1}
    processed = {
        (point.attributes[names.DESTINATION], point.attributes.get(names.ERROR_TYPE)): point.count
        for point in points[names.PROCESS_DURATION]
    }
    assert processed == {("double", None): 9, ("sell", "PROCESSOR_EXECUTION"): 1}
    assert all(point.explicit_bounds == names.BOUNDARIES for point in points[names.PROCESS_DURATION])
    known = {
        names.SYSTEM,
        names.OPERATION_NAME,
        names.OPERATION_TYPE,
        names.DESTINATION,
        names.ERROR_TYPE,
        names.SERVER_ADDRESS,
        names.SERVER_PORT,
    }
    assert all({*point.attributes} <= known for some in points.values() for point in some)


# --- what goes wrong -------------------------------------------------------------------------


class Broken:
    """A provider all of whose tracers and meters raise."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def get_tracer(self, *args: Any, **named: Any) -> Any:
        return self

    def get_meter(self, *args: Any, **named: Any) -> Any:
        return self

    def create_histogram(self, *args: Any, **named: Any) -> Any:
        return self

    create_counter = create_histogram

    def _raise(self, *args: Any, **named: Any) -> Any:
        raise self.error

    start_span = add = record = _raise


@pytest.mark.parametrize("error", [RuntimeError("no exporter"), SystemExit(3)], ids=["error", "exit"])
@pytest.mark.parametrize("of", ["tracer_provider", "meter_provider"])
async def test_a_tracer_that_raises_harms_no_job_and_is_told_once(make_runtime, caplog, error, of):
    given: dict[str, Any] = {of: Broken(error), "settle_spans": True}
    otel = OpenTelemetry(**given)
    async with make_runtime(otel=otel) as runtime:
        runtime.register(double, call_double)
        assert (await runtime.execute(call_double, 1)).unwrap() == 2
        assert [one.unwrap() for one in await runtime.execute_many(double, range(3))] == [0, 2, 4]
        jobs = await runtime.submit_many(double, range(3))
        assert (await jobs[2].result()).unwrap() == 4
    assert [record.name for record in caplog.records if record.levelno >= logging.ERROR] == [
        "am2z_trio.tracing"
    ]


async def test_an_exporter_that_raises_harms_no_job(make_runtime, seen, monkeypatch):
    def refuse(*_: Any) -> Any:
        raise OSError("the collector is away")

    monkeypatch.setattr(seen.exporter, "export", refuse)
    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, 1)).unwrap() == 2


async def test_what_is_refused_says_so_on_the_span_that_sends_it(make_runtime, seen):
    from am2z_trio import ResourceError, ResourceLimits

    gate = anyio.Event()

    @processor(queue=QueueOptions(concurrency=1))
    async def wait(n: int) -> int:
        await gate.wait()
        return n

    async with make_runtime(
        otel=seen.otel(), limits=ResourceLimits(max_queue_size=1), shutdown_grace=0
    ) as runtime:
        runtime.register(wait)
        with pytest.raises(ResourceError):
            for n in range(20):
                await runtime.submit(wait, n)
        gate.set()
    last = seen.named("send wait")[-1]
    assert attributes(last)[names.ERROR_TYPE] == ResourceError.code
    assert last.status.status_code is StatusCode.ERROR


async def test_who_gives_up_before_it_is_sent_ends_the_span(seen, spawn_redis):
    server = spawn_redis()
    async with QueueRuntime(server.url, otel=seen.otel(), workers=False) as runtime:
        await runtime.submit(double, 1)
        server.pause()
        try:
            for _ in range(2):
                with anyio.move_on_after(0.05):
                    await runtime.execute(double, 1)
        finally:
            server.resume()
        await runtime.submit(double, 2)
    codes = sorted(attributes(span).get(names.ERROR_TYPE, "") for span in seen.named("send double"))
    assert codes == ["", "", "JOB_CANCELLED", "JOB_CANCELLED"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ratio", "all"),
        ("ratio", -0.1),
        ("ratio", 1.1),
        ("ratio", float("nan")),
        ("ratio", None),
        ("trace_parenting", 1),
        ("create_spans", "no"),
        ("settle_spans", None),
        ("tracer_provider", object()),
        ("meter_provider", "global"),
        ("meters", 1),
    ],
)
async def test_a_wrong_option_is_refused_by_its_name(field, value):
    with pytest.raises(ConfigurationError, match=field):
        OpenTelemetry(**{field: value})


@pytest.mark.parametrize("value", [True, "otel", OpenTelemetry, object(), {}])
async def test_what_is_no_tracing_is_refused(make_runtime, value):
    with pytest.raises(ConfigurationError, match="otel"):
        make_runtime(otel=value)


async def test_one_is_given_to_any_number_of_runtimes(make_runtime, seen):
    otel = seen.otel()
    for _ in range(2):
        async with make_runtime(otel=otel) as one:
            one.register(double)
            await one.execute(double, 1)
    assert len(seen.spans) == 4
    assert len({attributes(span)[names.CLIENT_ID] for span in seen.spans}) == 2


async def test_logs_of_a_traced_job_say_which_trace_it_is_of(make_runtime, seen, caplog):
    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.warning("selling")
        return n

    async with make_runtime(otel=seen.otel()) as runtime:
        runtime.register(sell)
        await runtime.execute(sell, 1)
    (record,) = [record for record in caplog.records if record.getMessage() == "selling"]
    assert record.trace_id == place(seen.one("process sell")).trace


def test_a_runtime_without_one_imports_nothing_of_it():
    # But redis-py imports whatever there is of OpenTelemetry.
    program = """
import sys, trio
from am2z_trio import LocalRuntime, processor

@processor
async def double(n: int) -> int:
    return 2 * n

async def main():
    async with LocalRuntime() as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, 21)).unwrap() == 42

trio.run(main)
print([name for name in sys.modules if "am2z_trio.observe" in name])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
