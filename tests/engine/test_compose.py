"""Processors made of processors, and the calls they are made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    CallDepthExceededError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigurationError,
    Context,
    JobCancelledError,
    MergeConflictError,
    ParallelError,
    Payload,
    ProcessorExecutionError,
    QueueOptions,
    RetryPolicy,
    RouteNotFoundError,
    ServerReplyError,
    StepFailedError,
    ValidationError,
    batch,
    chain,
    parallel,
    processor,
    route,
)
from am2z_trio.model.records import Permit

pytestmark = pytest.mark.anyio


class Order(msgspec.Struct, frozen=True):
    items: list[str]
    total: float = 0.0
    status: str = "new"


@processor(timeout=5)
async def price(order: Order) -> Order:
    return msgspec.structs.replace(order, total=9.5 * len(order.items))


@processor(timeout=5, retry=RetryPolicy(max_attempts=2, backoff=1.0))
async def charge(order: Order) -> Order:
    return msgspec.structs.replace(order, status="charged")


@processor
async def refuse(order: Order) -> Order:
    raise OSError("no stock")


@processor
async def square(n: int) -> int:
    return n * n


@pytest.mark.parametrize("inline", [False, True])
async def test_a_chain_goes_step_by_step_and_commits_once(make_runtime, inline):
    checkout = chain("checkout", [price, charge], inline=inline)
    async with make_runtime() as runtime:
        runtime.register(checkout)
        assert runtime.list_processors() == ["price", "charge", "checkout"]
        result = await runtime.execute(checkout, Order(["a"]), session="alice")
        assert result.unwrap() == Order(["a"], 9.5, "charged")
        found = await runtime.state.get("alice", Order)
        assert (found.state, found.version) == (result.state, 1)


@pytest.mark.parametrize("inline", [False, True])
async def test_a_failed_chain_says_where_and_how_far_it_came(make_runtime, inline):
    broken = chain("broken", [price, refuse, charge], inline=inline)
    async with make_runtime() as runtime:
        runtime.register(broken)
        result = await runtime.execute(broken, Order(["a"]), session="alice")
        assert await runtime.state.get("alice") is None
    error = result.error
    assert isinstance(error, StepFailedError)
    assert (error.failed, error.completed) == ("refuse", ["price"])
    assert error.partial_state == {"items": ["a"], "total": 9.5, "status": "new"}
    assert isinstance(error.causes[0], ProcessorExecutionError)
    assert "no stock" in str(error)
    assert error.retryable


async def test_a_parallel_merges_what_each_child_changed(make_runtime):
    both = parallel("both", [price, charge])
    async with make_runtime() as runtime:
        runtime.register(both)
        assert (await runtime.execute(both, Order(["a"]))).unwrap() == Order(["a"], 9.5, "charged")


async def test_contradicting_changes_are_refused_and_a_merge_function_decides(make_runtime):
    @processor
    async def twice(n: int) -> int:
        return 2 * n

    clash = parallel("clash", [square, twice])
    decided = parallel("decided", [square, twice], merge=lambda n, results: sum(results))
    async with make_runtime() as runtime:
        runtime.register(clash, decided)
        error = (await runtime.execute(clash, 5)).error
        assert isinstance(error, MergeConflictError)
        assert "'square' and 'twice'" in str(error)
        assert (await runtime.execute(decided, 5)).unwrap() == 35
        # 2 * 2 and 2 ** 2: the same change by both is one change.
        assert (await runtime.execute(clash, 2)).unwrap() == 4


async def test_a_failed_parallel_cancels_the_rest_unless_told_to_collect(make_runtime):
    cleaned = anyio.Event()

    @processor
    async def slow(order: Order) -> Order:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.set()
        return order

    hasty = parallel("hasty", [slow, refuse])
    patient = parallel("patient", [refuse, price, refuse], collect=True)
    async with make_runtime() as runtime:
        runtime.register(hasty, patient)
        with anyio.fail_after(20):
            error = (await runtime.execute(hasty, Order(["a"]))).error
            assert isinstance(error, ParallelError)
            error = (await runtime.execute(patient, Order(["a"]))).error
    assert isinstance(error, ParallelError)
    assert [type(cause) for cause in error.causes] == [ProcessorExecutionError] * 2
    assert isinstance(error.cause, ExceptionGroup)
    assert "2 of 3" in str(error)


async def test_a_route_takes_the_named_way_or_the_fallback(make_runtime):
    ways = route("ways", lambda order: order.status, {"new": price}, fallback=charge)
    strict = route("strict", lambda order: order.status, {"new": price})
    async with make_runtime() as runtime:
        runtime.register(ways, strict)
        assert (await runtime.execute(ways, Order(["a"]))).unwrap().total == 9.5
        assert (await runtime.execute(ways, Order(["a"], status="odd"))).unwrap().status == "charged"
        error = (await runtime.execute(strict, Order(["a"], status="odd"))).error
    assert isinstance(error, RouteNotFoundError)
    assert "'odd'" in str(error)


async def test_a_batch_maps_and_reduces_and_payloads_may_have_sessions(make_runtime):
    total = batch("total", square, range, merge=lambda n, found: sum(found), state_type=int)
    named = batch(
        "named",
        square,
        lambda n: [Payload(i, session=f"s{i}") for i in range(n)],
        merge=lambda n, found: len(found),
        state_type=int,
    )
    async with make_runtime() as runtime:
        runtime.register(total, named)
        assert (await runtime.execute(total, 10)).unwrap() == 285
        assert (await runtime.execute(named, 3)).unwrap() == 3
        assert [(await runtime.state.get(f"s{i}", int)).state for i in range(3)] == [0, 1, 4]


async def test_compositions_nest(make_runtime):
    inner = parallel("inner", [price, charge])
    outer = chain("outer", [inner, route("r", lambda o: o.status, {"charged": price}), inner])
    async with make_runtime() as runtime:
        runtime.register(outer)
        assert (await runtime.execute(outer, Order(["a", "b"]))).unwrap() == Order(
            ["a", "b"], 19.0, "charged"
        )


def test_default_timeouts_are_what_the_parts_may_take():
    assert chain("c", [price, charge]).timeout == 5 + (2 * 5 + 1.0)
    assert parallel("p", [price, charge]).timeout == 11.0
    assert chain("n", [price, refuse]).timeout is None
    assert chain("t", [price], timeout=2).timeout == 2


def test_bad_compositions_are_refused_at_once():
    for make in (
        lambda: chain("c", []),
        lambda: parallel("p", [price, "price"]),  # type: ignore[arg-type]
        lambda: route("r", str, {}),
        lambda: route("r", "status", {"a": price}),  # type: ignore[arg-type]
        lambda: batch("b", price, 1, merge=lambda n, r: n),  # type: ignore[call-overload]
    ):
        with pytest.raises(ConfigurationError):
            make()


async def test_a_retried_parent_does_not_run_completed_children_again(make_runtime):
    runs: list[str] = []

    @processor
    async def child(n: int) -> int:
        runs.append(f"child {n}")
        return n + 1

    @processor(retry=RetryPolicy(max_attempts=3, backoff=0.01))
    async def parent(n: int, ctx: Context) -> int:
        runs.append("parent")
        n = await ctx.call(child, n)
        n = await ctx.call(child, n)
        if ctx.meta.attempt < 3:
            raise OSError("once more")
        return n

    async with make_runtime() as runtime:
        runtime.register(parent, child)
        result = await runtime.execute(parent, 1)
    assert result.unwrap() == 3
    assert runs == ["parent", "child 1", "child 2", "parent", "parent"]
    assert [str(error)[-9:] for error in result.metadata.earlier_errors] == ["once more"] * 2


async def test_a_failed_child_is_run_anew_and_another_input_is_another_call(make_runtime):
    runs: list[int] = []

    @processor
    async def child(n: int) -> int:
        runs.append(n)
        if len(runs) == 1:
            raise OSError("first time")
        return n

    @processor(retry=RetryPolicy(max_attempts=3, backoff=0.01))
    async def parent(n: int, ctx: Context) -> int:
        await ctx.call(child, 7, key="same")
        return await ctx.call(child, ctx.meta.attempt, key="other")

    async with make_runtime() as runtime:
        runtime.register(parent, child)
        assert (await runtime.execute(parent, 1)).unwrap() == 2
    assert runs == [7, 7, 2]


async def test_recursion_works_where_one_may_run_at_a_time(make_runtime):
    @processor(queue=QueueOptions(concurrency=1))
    async def factorial(n: int, ctx: Context) -> int:
        return 1 if n <= 1 else n * await ctx.call(factorial, n - 1)

    async with make_runtime() as runtime:
        runtime.register(factorial)
        with anyio.fail_after(20):
            assert (await runtime.execute(factorial, 10)).unwrap() == 3_628_800
            error: Any = (await runtime.execute(factorial, 12)).error
    assert isinstance(error, CallDepthExceededError)
    assert "max_call_depth=10" in str(error)


async def test_inline_calls_keep_timeouts_retries_and_events(make_runtime):
    attempts: list[int] = []

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.01))
    async def flaky(n: int, ctx: Context) -> int:
        attempts.append(ctx.meta.attempt)
        if len(attempts) == 1:
            raise OSError("again")
        return n + 1

    @processor
    async def parent(n: int, ctx: Context) -> int:
        return await ctx.call(flaky, n, inline=True)

    async with make_runtime() as runtime:
        runtime.register(parent, flaky)
        async with runtime.events("job:*") as stream:
            assert (await runtime.execute(parent, 1)).unwrap() == 2
            of_flaky: list[str] = []
            with anyio.fail_after(10):
                while not of_flaky or of_flaky[-1] != "job:completed":
                    event = await stream.next()
                    if event.processor == "flaky":
                        of_flaky.append(event.name)
    assert attempts == [1, 2]
    assert of_flaky == ["job:started", "job:retrying", "job:started", "job:completed"]


async def test_the_circuit_opens_and_closes_again_and_bad_states_do_not_count(make_runtime):
    calls: list[int] = []

    @processor(breaker=CircuitBreaker(failures=2, recovery=0.2))
    async def flaky(n: int) -> int:
        calls.append(n)
        if n > 0:
            raise OSError("down")
        return n

    async with make_runtime() as runtime:
        runtime.register(flaky)
        assert isinstance((await runtime.execute("flaky", "text")).error, ValidationError)
        for n in (1, 2):
            assert isinstance((await runtime.execute(flaky, n)).error, ProcessorExecutionError)
        error = (await runtime.execute(flaky, 3)).error
        assert isinstance(error, CircuitOpenError)
        with anyio.fail_after(10):
            while (await runtime.execute(flaky, 0)).error is not None:
                await anyio.sleep(0.02)
        assert (await runtime.execute(flaky, 0)).success
    assert 3 not in calls


async def test_a_store_that_does_not_say_how_a_circuit_stands_fails_no_job(make_runtime, monkeypatch, caplog):
    @processor(breaker=CircuitBreaker(failures=1))
    async def sound(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(sound)

        async def refuse(*_: object) -> Permit:
            raise ServerReplyError("refused")

        monkeypatch.setattr(runtime._running().store, "breaker", refuse)
        assert (await runtime.execute(sound, 7)).unwrap() == 7
    assert "its circuit could not be asked" in caplog.text


async def test_a_fallback_answers_when_a_processor_has_failed_for_good(make_runtime):
    @processor
    async def plan_b(n: int) -> int:
        return -n

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.01), fallback=plan_b)
    async def plan_a(n: int, ctx: Context) -> int:
        raise OSError(f"attempt {ctx.meta.attempt}")

    async with make_runtime() as runtime:
        runtime.register(plan_a)
        result = await runtime.execute(plan_a, 5, session="s")
        assert result.unwrap() == -5
        assert result.metadata.attempt == 2
        assert (await runtime.state.get("s", int)).state == -5


async def test_a_fallback_ends_with_its_job(make_runtime):
    running, ended = anyio.Event(), anyio.Event()

    @processor
    async def hang(n: int) -> int:
        running.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return n

    @processor(fallback=hang)
    async def fail(n: int) -> int:
        raise OSError

    async with make_runtime() as runtime:
        runtime.register(fail)
        with anyio.fail_after(20):
            job = await runtime.submit(fail, 1)
            await running.wait()
            await job.cancel("enough")
            result = await job.result()
            await ended.wait()
        assert isinstance(result.error, JobCancelledError)
        assert result.error.message == "enough"
        # A caller's deadline goes on while the fallback runs.
        running, ended = anyio.Event(), anyio.Event()
        for seconds in (0.3, 2.0, 10.0):
            with anyio.move_on_after(seconds) as scope:
                await runtime.execute(fail, 1)
            assert scope.cancelled_caught
            if running.is_set():
                break
        with anyio.fail_after(20):
            await ended.wait()
            while (await runtime.get_queue_stats())["fail"].active:
                await anyio.sleep(0.005)


async def test_hooks_that_raise_decide_nothing(make_runtime):
    asked: list[int] = []

    def broken(error: Any, attempt: int) -> bool:
        asked.append(attempt)
        raise RuntimeError("a hook of the test raises")

    @processor
    async def plan_b(n: int) -> int:
        return -n

    @processor(retry=RetryPolicy(max_attempts=5, backoff=0, should_retry=broken), fallback=plan_b)
    async def undecided(n: int) -> int:
        raise OSError

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0, on_retry=broken, on_exhausted=broken))
    async def stubborn(n: int) -> int:
        raise OSError

    async with make_runtime() as runtime:
        runtime.register(undecided, stubborn)
        assert (await runtime.execute(undecided, 7)).unwrap() == -7
        assert asked == [1]
        result = await runtime.execute(stubborn, 7)
        assert (result.success, result.metadata.attempt) == (False, 2)
        assert asked == [1, 1, 2]


async def test_children_of_a_job_die_with_it(make_runtime):
    started, ended = anyio.Event(), anyio.Event()

    @processor
    async def parent(n: int, ctx: Context) -> int:
        async def child() -> None:
            try:
                started.set()
                await anyio.sleep_forever()
            finally:
                ended.set()

        ctx.nursery.start_soon(child)
        return n

    async with make_runtime() as runtime:
        runtime.register(parent)
        job = await runtime.submit(parent, 1)
        with anyio.fail_after(10):
            await started.wait()
            assert await job.cancel()
            await ended.wait()
            assert not (await job.result()).success


@dataclass
class Pair:
    left: int = 0
    right: int = 0


async def test_merging_knows_dataclasses_and_dicts(make_runtime):
    @processor
    async def left(pair: Pair) -> Pair:
        return Pair(1, pair.right)

    @processor
    async def right(pair: Pair) -> Pair:
        return Pair(pair.left, 2)

    @processor
    async def add_key(state: dict[str, int]) -> dict[str, int]:
        return {**state, "a": 1}

    @processor
    async def drop_key(state: dict[str, int]) -> dict[str, int]:
        return {key: value for key, value in state.items() if key != "b"}

    pairs, dicts = parallel("pairs", [left, right]), parallel("dicts", [add_key, drop_key])
    async with make_runtime() as runtime:
        runtime.register(pairs, dicts)
        assert (await runtime.execute(pairs, Pair())).unwrap() == Pair(1, 2)
        assert (await runtime.execute(dicts, {"b": 2, "c": 3})).unwrap() == {"a": 1, "c": 3}


async def test_when_the_fallback_fails_too_both_reasons_are_told(make_runtime):
    @processor
    async def plan_b(n: int) -> int:
        raise ValueError("no plan c")

    @processor(fallback=plan_b)
    async def plan_a(n: int) -> int:
        raise OSError("disk on fire")

    async with make_runtime() as runtime:
        runtime.register(plan_a)
        result = await runtime.execute(plan_a, 1)
    assert result.error is not None
    assert "no plan c" in result.error.message
    assert "disk on fire" in str(result.error.causes[-1])
