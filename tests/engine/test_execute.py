"""What `execute` and its kin give back."""

from __future__ import annotations

import math
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    JobOptions,
    PayloadTooLargeError,
    ProcessorExecutionError,
    ProcessorNotFoundError,
    ProcessorTimeoutError,
    QueueOptions,
    RetryPolicy,
    RuntimeStateError,
    ValidationError,
    processor,
)
from am2z_trio.model.errors import AM2ZError

pytestmark = pytest.mark.anyio


class Order(msgspec.Struct, frozen=True):
    items: list[str]
    total: float = 0.0


@processor
async def price(order: Order, ctx: Context) -> Order:
    return msgspec.structs.replace(order, total=9.5 * len(order.items))


@processor(queue=QueueOptions(concurrency=100))
async def plus_one(n: int) -> int:
    await anyio.lowlevel.checkpoint()
    return n + 1


@processor
async def fail(n: int) -> int:
    raise KeyError(n)


async def test_a_processor_runs_and_its_state_comes_back(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(price)
        result = await runtime.execute(price, Order(["a", "b"]), session="alice")
    assert result.success
    assert result.unwrap() == Order(["a", "b"], 19.0)
    assert result.metadata.attempt == 1
    assert result.metadata.session_id == "alice"
    assert result.execution_time > 0


async def test_many_results_keep_their_order_and_failures_their_place(make_runtime):
    @processor
    async def odd_only(n: int) -> int:
        if n % 2 == 0:
            raise ValueError(f"{n} is even")
        return n * 10

    async with make_runtime() as runtime:
        runtime.register(odd_only)
        results = await runtime.execute_many(odd_only, range(50))
    assert [r.state for r in results] == [n * 10 if n % 2 else None for n in range(50)]
    assert all(isinstance(r.error, ProcessorExecutionError) for r in results[::2])
    assert "4 is even" in str(results[4].error)


async def test_ten_concurrent_transactions_on_one_session_all_count(make_runtime):
    async with make_runtime(max_conflicts=1000) as runtime:
        runtime.register(plus_one)
        assert (await runtime.execute(plus_one, 0, session="counter")).unwrap() == 1

        async def one() -> None:
            assert (await runtime.execute(plus_one, session="counter")).success

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)
        assert (await runtime.execute(plus_one, session="counter")).unwrap() == 12


async def test_a_session_without_a_state_says_so(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        result = await runtime.execute(plus_one, session="empty")
    assert isinstance(result.error, ValidationError)
    assert "no stored state" in str(result.error)


async def test_hostile_session_ids_never_meet(make_runtime):
    names = ["a", "a:b", "{a}", "a\r\nb", "a\0b", "b_c", "é", "\u202egnp", "x" * 10_000, "~a", "a b"]
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        for index, name in enumerate(names):
            assert (await runtime.execute(plus_one, 100 * index, session=name)).success
        for index, name in enumerate(names):
            assert (await runtime.execute(plus_one, session=name)).unwrap() == 100 * index + 2


async def test_a_timeout_stops_the_processor_and_names_the_time(make_runtime):
    ended: list[str] = []

    @processor(timeout=0.1)
    async def slow(n: int) -> int:
        try:
            await anyio.sleep(60)
        finally:
            ended.append("stopped")
        return n

    async with make_runtime() as runtime:
        runtime.register(slow)
        result = await runtime.execute(slow, 1)
        assert ended == ["stopped"]
    assert isinstance(result.error, ProcessorTimeoutError)
    assert "0.1 s" in str(result.error)
    assert result.error.category == "timeout"


async def test_a_success_at_the_third_attempt_is_one_success(make_runtime):
    seen: list[int] = []
    told: list[tuple[str, int]] = []

    @processor(
        retry=RetryPolicy(
            max_attempts=3, backoff=0.001, on_retry=lambda error, attempt: told.append((error.code, attempt))
        )
    )
    async def flaky(n: int, ctx: Context) -> int:
        seen.append(ctx.meta.attempt)
        if ctx.meta.attempt < 3:
            raise ConnectionError("not yet")
        return n

    async with make_runtime() as runtime:
        runtime.register(flaky)
        result = await runtime.execute(flaky, 7)
        stats = (await runtime.get_queue_stats())["flaky"]
    assert result.unwrap() == 7
    assert result.metadata.attempt == 3
    assert seen == [1, 2, 3]
    assert told == [("PROCESSOR_EXECUTION", 1), ("PROCESSOR_EXECUTION", 2)]
    assert (stats.completed, stats.failed) == (1, 0)


async def test_exhausted_retries_are_one_failure(make_runtime):
    exhausted: list[int] = []

    @processor(
        retry=RetryPolicy(
            max_attempts=2, backoff=0.001, on_exhausted=lambda error, attempts: exhausted.append(attempts)
        )
    )
    async def hopeless(n: int) -> int:
        raise OSError("never")

    async with make_runtime() as runtime:
        runtime.register(hopeless)
        result = await runtime.execute(hopeless, 7)
    assert isinstance(result.error, ProcessorExecutionError)
    assert result.metadata.attempt == 2
    assert exhausted == [2]
    with pytest.raises(ProcessorExecutionError, match="never"):
        result.unwrap()


async def test_validation_errors_are_not_retried(make_runtime):
    seen: list[int] = []

    @processor(retry=RetryPolicy(max_attempts=5, backoff=0.001, should_retry=lambda error, attempt: True))
    async def refuse(n: int) -> int:
        seen.append(n)
        raise ValidationError("no such thing")

    async with make_runtime() as runtime:
        runtime.register(refuse)
        result = await runtime.execute(refuse, 7)
    assert isinstance(result.error, ValidationError)
    assert seen == [7]


async def test_should_retry_decides(make_runtime):
    @processor(
        retry=RetryPolicy(max_attempts=9, backoff=0.001, should_retry=lambda error, attempt: attempt < 2)
    )
    async def stubborn(n: int) -> int:
        raise OSError("no")

    async with make_runtime() as runtime:
        runtime.register(stubborn)
        assert (await runtime.execute(stubborn, 1)).metadata.attempt == 2


async def test_a_job_may_bring_its_own_numbers(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(fail)
        result = await runtime.execute(fail, 1, options=JobOptions(attempts=4, backoff=0.001))
    assert result.metadata.attempt == 4


async def test_an_error_keeps_its_kind_on_the_way(make_runtime):
    class OutOfStockError(AM2ZError):
        code = "OUT_OF_STOCK"
        category = "execution"
        retryable = False

        def __init__(self, item: str) -> None:
            super().__init__(f"no {item} left", context={"item": item})

    @processor
    async def sell(item: str) -> str:
        raise OutOfStockError(item) from KeyError("shelf")

    async with make_runtime() as runtime:
        runtime.register(sell)
        error = (await runtime.execute(sell, "tea")).error
    assert isinstance(error, OutOfStockError)
    assert str(error) == "no tea left"
    assert error.context["item"] == "tea"
    assert "shelf" in str(error.cause)
    assert "sell" in error.remote_traceback or "shelf" in error.remote_traceback


async def test_a_plain_function_runs_in_a_thread(make_runtime):
    @processor
    def double(n: int) -> int:
        return anyio.from_thread.run(compute, n)

    async def compute(n: int) -> int:
        return 2 * n

    async with make_runtime() as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, 21)).unwrap() == 42


async def test_a_plain_function_may_emit_from_its_thread(make_runtime):
    @processor
    def plain(n: int, ctx: Context) -> int:
        ctx.emit("said", {"n": n})
        ctx.runtime.emit("said", {"n": n + 1})
        return n

    async with make_runtime() as runtime:
        runtime.register(plain)
        async with runtime.events("said") as stream:
            assert (await runtime.execute(plain, 7)).unwrap() == 7
            with anyio.fail_after(10):
                said = [(await stream.next()).data["n"] for _ in range(2)]
    assert said == [7, 8]


async def test_none_means_unchanged(make_runtime):
    @processor
    async def look(order: Order) -> None:
        return None

    async with make_runtime() as runtime:
        runtime.register(look)
        assert (await runtime.execute(look, Order(["a"]))).unwrap() == Order(["a"])


async def test_the_unknown_processor_is_a_failed_result(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(price)
        result = await runtime.execute("prise", {"items": []})
    assert isinstance(result.error, ProcessorNotFoundError)
    assert "'prise'" in str(result.error)
    assert "price" in str(result.error)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"items": ["a", 3]}, ["$.items[1]"]),
        ({"total": 3}, ["items"]),
        ({"items": [], "total": math.nan}, ["NaN", "['total']"]),
        ({"items": [], "total": 2**65}, ["64 bits"]),
        ({"items": [object()]}, ["cannot be encoded"]),
        (Order(["x" * 2_000_000]), ["2,000,0", "1,048,576"]),
    ],
)
async def test_a_bad_state_is_one_clear_error(make_runtime, state: Any, words: list[str]):
    ran: list[Any] = []

    @processor
    async def watch(order: Order) -> None:
        ran.append(order)

    async with make_runtime() as runtime:
        runtime.register(watch)
        result = await runtime.execute(watch, state)
        assert (await runtime.execute(watch, Order(["fine"]))).success
    assert isinstance(result.error, ValidationError)
    for word in words:
        assert word in str(result.error)
    assert ran == [Order(["fine"])]


async def test_what_a_processor_returns_is_checked_too(make_runtime):
    @processor
    async def wrong(order: Order) -> Any:
        return {"items": "not a list"}

    @processor
    async def huge(order: Order) -> Any:
        return Order(["x" * 2_000_000])

    @processor
    async def unspeakable(order: Order) -> Any:
        return object()

    async with make_runtime() as runtime:
        runtime.register(wrong, huge, unspeakable)
        assert "$.items" in str((await runtime.execute(wrong, Order([]))).error)
        assert isinstance((await runtime.execute(huge, Order([]))).error, PayloadTooLargeError)
        assert isinstance((await runtime.execute(unspeakable, Order([]))).error, ValidationError)


async def test_a_known_job_id_is_not_run_again(make_runtime):
    ran: list[int] = []

    @processor
    async def once(n: int) -> int:
        ran.append(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(once)
        first = await runtime.execute(once, 1, job_id="pay-17")
        second = await runtime.execute(once, 1, job_id="pay-17")
    assert first.unwrap() == second.unwrap() == 1
    assert ran == [1]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"timeout": -1}, "timeout"),
        ({"timeout": math.inf}, "timeout"),
        ({"session": ""}, "session"),
        ({"job_id": ""}, "job_id"),
        ({"options": {"attempts": 3}}, "options"),
    ],
)
async def test_a_bad_argument_is_named(make_runtime, arguments: dict[str, Any], field: str):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        result = await runtime.execute(plus_one, 1, **arguments)
    assert isinstance(result.error, ConfigurationError)
    assert field in str(result.error)


async def test_a_runtime_that_is_not_entered_says_so(make_runtime):
    runtime = make_runtime()
    with pytest.raises(RuntimeStateError, match="async with"):
        await runtime.execute_many(plus_one, [1])


async def test_a_job_id_of_another_processor_is_refused(make_runtime):
    @processor
    async def one(n: int) -> int:
        return n + 1

    @processor
    async def other(n: int) -> int:
        return -n

    async with make_runtime() as runtime:
        runtime.register(one, other)
        assert (await runtime.execute(one, 1, job_id="a")).unwrap() == 2
        result = await runtime.execute(other, 1, job_id="a")
        assert isinstance(result.error, ConfigurationError)
        assert "'a'" in result.error.message
        assert "'one'" in result.error.message
        with pytest.raises(ConfigurationError):
            await runtime.submit(other, 1, job_id="a")
        assert (await runtime.execute(one, 1, job_id="a")).unwrap() == 2
