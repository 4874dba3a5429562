"""The seed's list of error recovery, scenario by scenario, on both runtimes and hosts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from am2z_trio import (
    AM2ZError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigurationError,
    Context,
    JobCancelledError,
    JobOptions,
    MergeConflictError,
    ParallelError,
    PayloadTooLargeError,
    ProcessorExecutionError,
    ProcessorNotFoundError,
    ProcessorTimeoutError,
    QueueOptions,
    QueueRuntime,
    ResourceError,
    RetryPolicy,
    RouteNotFoundError,
    StepFailedError,
    ValidationError,
    batch,
    chain,
    parallel,
    processor,
    route,
)
from am2z_trio.testing.events import expect_event
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


@processor
async def fail(n: int) -> int:
    raise OSError("disk on fire")


@processor(timeout=0.02)
async def slow(n: int) -> int:
    await anyio.sleep_forever()
    return n


@processor
async def wrong(n: int) -> int:
    return "seven"  # type: ignore[return-value]


class Flaky:
    """A processor that fails so many times for each input, and counts its runs."""

    def __init__(self, failures: int, name: str = "flaky", **options: Any) -> None:
        self.runs: Counter[Any] = Counter()
        self.failures = failures

        @processor(name=name, **options)
        async def flaky(n: int) -> int:
            self.runs[n] += 1
            if self.runs[n] <= self.failures:
                raise ConnectionError(f"try {self.runs[n]}")
            return n + 1

        self.processor = flaky


# --- error categorization -------------------------------------------------------------------------


async def cancelled(runtime: Any) -> Any:
    job = await runtime.submit(plus_one, 1, options=JobOptions(delay=60))
    await job.cancel("not needed")
    return await job.result()


KINDS: list[tuple[type[AM2ZError], str, bool, Any]] = [
    (ProcessorExecutionError, "execution", True, lambda runtime: runtime.execute(fail, 1)),
    (ProcessorTimeoutError, "timeout", True, lambda runtime: runtime.execute(slow, 1)),
    (ValidationError, "validation", False, lambda runtime: runtime.execute(wrong, 1)),
    (ValidationError, "validation", False, lambda runtime: runtime.execute(plus_one, float("nan"))),
    (PayloadTooLargeError, "validation", False, lambda runtime: runtime.execute("big", "x" * 2000)),
    (ProcessorNotFoundError, "configuration", False, lambda runtime: runtime.execute("nobody", 1)),
    (ConfigurationError, "configuration", False, lambda runtime: runtime.execute(plus_one)),
    (ResourceError, "resource", True, lambda runtime: runtime.execute("full", 1)),
    (JobCancelledError, "cancelled", False, cancelled),
    (StepFailedError, "execution", True, lambda runtime: runtime.execute("fails_at_2", 1)),
    (ParallelError, "execution", True, lambda runtime: runtime.execute("side_by_side", 1)),
    (RouteNotFoundError, "validation", False, lambda runtime: runtime.execute("nowhere", 1)),
    (MergeConflictError, "state", False, lambda runtime: runtime.execute("clash", 1)),
]


@pytest.mark.parametrize(
    ("kind", "category", "retryable", "act"),
    KINDS,
    ids=[f"{k.__name__}-{i}" for i, (k, *_) in enumerate(KINDS)],
)
async def test_every_failure_says_what_kind_it_is(make_runtime, kind, category, retryable, act):
    @processor
    async def big(text: str) -> str:
        return text

    @processor(queue=QueueOptions(max_size=1))
    async def full(n: int) -> int:
        return n

    @processor
    async def times_two(n: int) -> int:
        return 2 * n + 7

    async with make_runtime(max_state_bytes=1000) as runtime:
        runtime.register(plus_one, fail, slow, wrong, big, full)
        runtime.register(
            chain("fails_at_2", [plus_one, fail]),
            parallel("side_by_side", [plus_one, fail]),
            parallel("clash", [plus_one, times_two]),
            route("nowhere", lambda n: "here", {"there": plus_one}),
        )
        await runtime.pause(full)
        await runtime.submit(full, 1)
        with anyio.fail_after(20):
            result = await act(runtime)
    error = result.error
    assert type(error) is kind
    assert (error.category, error.retryable) == (category, retryable)
    assert error.severity in ("low", "medium", "high", "critical")
    assert error.code == kind.code
    assert result.state is None
    assert str(error)


# --- retries --------------------------------------------------------------------------------------


async def test_a_flaky_processor_succeeds_in_the_end_and_its_failures_are_told(make_runtime):
    told: list[tuple[str, int]] = []
    policy = RetryPolicy(max_attempts=4, backoff=0.001, on_retry=lambda e, n: told.append((e.code, n)))
    flaky = Flaky(3, retry=policy)
    async with make_runtime() as runtime:
        runtime.register(flaky.processor)
        async with expect_event(runtime, "job:retrying", where=lambda event: event.data["attempt"] == 3):
            result = await runtime.execute(flaky.processor, 1)
    assert result.unwrap() == 2
    assert result.metadata.attempt == 4
    assert [error.message for error in result.metadata.earlier_errors] == [
        f"'flaky' raised ConnectionError: try {n}" for n in (1, 2, 3)
    ]
    assert told == [("PROCESSOR_EXECUTION", n) for n in (1, 2, 3)]


async def test_retries_of_one_job_do_not_hold_up_others(make_runtime):
    flaky = Flaky(1, retry=RetryPolicy(max_attempts=2, backoff=30), queue=QueueOptions(concurrency=1))
    async with make_runtime() as runtime:
        runtime.register(flaky.processor)
        job = await runtime.submit(flaky.processor, 1)
        with anyio.fail_after(20):
            while await job.status() != "delayed":
                await anyio.sleep(0.005)
            flaky.failures = 0
            assert (await runtime.execute(flaky.processor, 2)).unwrap() == 3
        assert await job.status() == "delayed"
        await job.cancel()


# --- timeouts -------------------------------------------------------------------------------------


async def test_a_timeout_stops_the_code_runs_its_cleanup_and_may_be_retried(make_runtime):
    cleaned: list[int] = []

    @processor(timeout=0.05, retry=RetryPolicy(max_attempts=2, backoff=0))
    async def hangs_once(n: int, ctx: Context) -> int:
        if ctx.meta.attempt == 1:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                    await anyio.sleep(0.001)
                    cleaned.append(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(hangs_once)
        with anyio.fail_after(20):
            result = await runtime.execute(hangs_once, 5)
    assert result.unwrap() == 5
    assert cleaned == [5]
    assert isinstance(result.metadata.earlier_errors[0], ProcessorTimeoutError)


async def test_a_callers_deadline_reaches_the_calls_of_its_job(make_runtime):
    remaining: list[float] = []

    @processor
    async def child(n: int, ctx: Context) -> int:
        remaining.append(ctx.deadline - anyio.current_time())
        await anyio.sleep_forever()
        return n

    @processor
    async def parent(n: int, ctx: Context) -> int:
        return await ctx.call(child, n)

    async with make_runtime() as runtime:
        runtime.register(parent, child)
        # Where the call has not begun by then, the caller is to be more patient.
        for seconds in (0.4, 2.0, 10.0):
            with anyio.move_on_after(seconds) as scope:
                await runtime.execute(parent, 1)
            assert scope.cancelled_caught
            if remaining:
                break
        with anyio.fail_after(20):
            while any(s.active or s.waiting for s in (await runtime.get_queue_stats()).values()):
                await anyio.sleep(0.005)
    assert len(remaining) == 1
    assert remaining[0] < seconds


# --- partial failure ------------------------------------------------------------------------------


@pytest.mark.parametrize("queued", [True, False])
async def test_a_retried_chain_goes_on_where_it_failed(make_runtime, queued):
    first, second, third = Flaky(0, "first"), Flaky(2, "second"), Flaky(0, "third")
    parts = [first.processor, second.processor, third.processor]
    again = RetryPolicy(max_attempts=3, backoff=0)
    climb = chain("climb", parts, retry=again, inline=not queued)
    async with make_runtime() as runtime:
        runtime.register(climb)
        with anyio.fail_after(20):
            assert (await runtime.execute(climb, 0, session="s")).unwrap() == 3
        assert (await runtime.state.get("s", int)).version == 1
    assert second.runs == {1: 3}
    assert third.runs == {2: 1}
    # Inline, the steps are the chain's own code and run again with it.
    assert first.runs == {0: 1 if queued else 3}


async def test_a_retried_batch_runs_only_what_had_failed(make_runtime):
    flaky = Flaky(0, "flaky")
    unlucky = 3

    @processor
    async def work(n: int) -> int:
        flaky.runs[n] += 1
        if n == unlucky and flaky.runs[n] == 1:
            # The others have completed by now.
            await until(lambda: sum(flaky.runs.values()) >= 6)
            await anyio.sleep(0.05)
            raise ConnectionError
        return n * n

    total = batch(
        "total",
        work,
        range,
        merge=lambda n, results: sum(results),
        retry=RetryPolicy(max_attempts=2, backoff=0),
    )
    async with make_runtime() as runtime:
        runtime.register(total)
        with anyio.fail_after(20):
            assert (await runtime.execute(total, 6)).unwrap() == 0 + 1 + 4 + 9 + 16 + 25
    assert flaky.runs == {n: 2 if n == unlucky else 1 for n in range(6)}


async def test_bad_jobs_of_many_leave_the_others_alone(make_runtime):
    async with make_runtime() as runtime:

        @processor(queue=QueueOptions(concurrency=20))
        async def halve(n: int) -> int:
            if n % 2:
                raise ValueError(n)
            return n // 2

        runtime.register(halve)
        states: list[Any] = [*range(100), "not a number", None]
        with anyio.fail_after(30):
            results = await runtime.execute_many(halve, states)
    assert [r.state for r in results[:100]] == [None if n % 2 else n // 2 for n in range(100)]
    assert isinstance(results[100].error, ValidationError)
    assert isinstance(results[101].error, ConfigurationError)


# --- circuit breaker and graceful degradation -----------------------------------------------------


async def test_a_circuit_that_one_node_opens_is_open_on_all_and_closes_on_all(redis_url):
    flaky = Flaky(10, breaker=CircuitBreaker(failures=3, recovery=0.3))
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        one.register(flaky.processor)
        for _ in range(3):
            assert isinstance((await one.execute(flaky.processor, 1)).error, ProcessorExecutionError)
        one.unregister(flaky.processor)
        other.register(flaky.processor)
        with anyio.fail_after(20):
            result = await other.execute(flaky.processor, 1)
            assert isinstance(result.error, CircuitOpenError)
            assert float(result.error.context["wait"]) <= 0.3
            assert flaky.runs[1] == 3
            flaky.failures = 0
            while isinstance((await other.execute(flaky.processor, 1)).error, CircuitOpenError):
                await anyio.sleep(0.02)
            assert (await other.execute(flaky.processor, 1)).unwrap() == 2


async def test_while_the_circuit_is_open_the_fallback_answers_at_once(make_runtime):
    @processor
    async def from_cache(n: int, ctx: Context) -> int:
        return -n

    flaky = Flaky(10**6, breaker=CircuitBreaker(failures=2, recovery=60), fallback=from_cache)
    async with make_runtime() as runtime:
        runtime.register(flaky.processor)
        with anyio.fail_after(20):
            results = [await runtime.execute(flaky.processor, n) for n in range(1, 6)]
    assert [result.unwrap() for result in results] == [-1, -2, -3, -4, -5]
    assert sum(flaky.runs.values()) == 2


async def test_executes_wait_while_redis_is_away_and_go_on(spawn_redis, tmp_path):
    server = spawn_redis({"appendonly": "yes", "appendfsync": "always"}, data_dir=tmp_path)
    told: list[str] = []
    async with QueueRuntime(server.url) as runtime:
        runtime.register(plus_one)
        runtime.on("connection:*", lambda event: told.append(event.name.removeprefix("connection:")))
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2
        server.kill()
        results: list[Any] = []

        async def call(n: int) -> None:
            results.append(await runtime.execute(plus_one, n))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for n in range(10):
                    tasks.start_soon(call, n)
                await until(lambda: "reconnecting" in told)
                assert not (await runtime.connection.check_health()).healthy
                server.start()
            assert sorted(result.unwrap() for result in results) == [*range(1, 11)]
            while not (await runtime.connection.check_health()).healthy:
                await anyio.sleep(0.01)
    assert told[0] == "lost"
    # There are two connections, and they come back in any order.
    assert "connected" in told
    assert told[-1] == "ready"


async def test_a_deadline_ends_the_wait_for_a_redis_that_is_away(spawn_redis):
    server = spawn_redis()
    async with QueueRuntime(server.url, shutdown_grace=0.1) as runtime:
        runtime.register(plus_one)
        server.kill()
        with anyio.move_on_after(0.3) as scope:
            await runtime.execute(plus_one, 1)
        assert scope.cancelled_caught


async def test_a_job_that_nobody_may_start_any_more_is_not_started(make_runtime):
    ran: list[int] = []

    @processor
    async def note(n: int) -> int:
        ran.append(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(note)
        await runtime.pause(note)
        results: list[Any] = []

        async def caller() -> None:
            with anyio.CancelScope(deadline=anyio.current_time() + 0.05):
                results.append(await runtime.execute(note, 1))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller)
        await runtime.resume(note)
        with anyio.fail_after(20):
            assert (await runtime.execute(note, 2)).unwrap() == 2
    assert ran == [2]
    assert results == []
