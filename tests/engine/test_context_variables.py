"""Each job, and each call of an event handler, begins with the worker's own context variables."""

from __future__ import annotations

import decimal
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import Context, Processor, QueueOptions, RetryPolicy, processor
from am2z_trio.concurrency.contexts import OwnContext, in_context
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

TENANT: ContextVar[str] = ContextVar("tenant", default="none")


def look(n: int) -> int:
    assert TENANT.get() == "worker's", TENANT.get()
    assert decimal.getcontext().prec == 33, decimal.getcontext().prec
    TENANT.set(f"job {n}")
    decimal.getcontext().prec = n
    return n


async def look_later(n: int) -> int:
    look(n)
    await anyio.lowlevel.checkpoint()
    assert TENANT.get() == f"job {n}"
    assert decimal.getcontext().prec == n
    return n


async def look_with_tasks(n: int, ctx: Context) -> int:
    await look_later(n)

    async def task() -> None:
        assert TENANT.get() == f"job {n}"

    ctx.nursery.start_soon(task)
    await ctx.call("inner", n + 1, inline=True)
    assert TENANT.get() == f"job {n}"
    return n


KINDS: dict[str, Any] = {"at once": look_later, "in a thread": look, "with tasks": look_with_tasks}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("session", [None, "s"])
async def test_nothing_of_one_job_is_seen_by_the_next(make_runtime, kind: str, session: str | None):
    token = TENANT.set("worker's")
    before = decimal.getcontext().copy()
    decimal.getcontext().prec = 33
    one = Processor(KINDS[kind], name="one", queue=QueueOptions(concurrency=1))
    inner = Processor(look_later, name="inner")
    async with make_runtime() as runtime:
        runtime.register(one, inner)
        TENANT.set("submitter's")
        for n in range(1, 6):
            assert (await runtime.execute(one, n, session=session)).unwrap() == n
        results = await runtime.execute_many(one, range(1, 20), session=session)
        assert all(result.success for result in results), [result.error for result in results]
    assert decimal.getcontext().prec == 33
    decimal.setcontext(before)
    TENANT.reset(token)


async def test_another_attempt_begins_anew(make_runtime):
    def should_retry(error: Exception, attempt: int) -> bool:
        # The hook belongs to the attempt.
        return TENANT.get() == f"job {attempt}"

    @processor(retry=RetryPolicy(max_attempts=3, backoff=0, should_retry=should_retry))
    async def fails_twice(n: int, ctx: Context) -> int:
        assert TENANT.get() == "none"
        TENANT.set(f"job {ctx.meta.attempt}")
        if ctx.meta.attempt < 3:
            raise ValueError
        return n

    async with make_runtime() as runtime:
        runtime.register(fails_twice)
        assert (await runtime.execute(fails_twice, 1)).metadata.attempt == 3


@pytest.mark.parametrize("is_async", [True, False])
async def test_nothing_of_one_event_is_seen_by_the_next(make_runtime, is_async: bool):
    heard: list[str] = []

    def handler(event: Any) -> None:
        heard.append(TENANT.get())
        TENANT.set("an event's")

    async def handler_later(event: Any) -> None:
        await anyio.lowlevel.checkpoint()
        handler(event)

    async with make_runtime() as runtime:
        runtime.on("said", handler_later if is_async else handler)
        TENANT.set("submitter's")
        for _ in range(3):
            runtime.emit("said")
        await until(lambda: len(heard) >= 3)
    assert heard == ["none"] * 3


async def test_a_coroutine_in_a_context_of_its_own_is_cancelled_and_closed_as_any():
    seen: list[str] = []

    async def waits() -> None:
        TENANT.set("inside")
        try:
            await anyio.sleep_forever()
        except BaseException as raised:
            seen.append(f"{type(raised).__name__}, {TENANT.get()}")
            raise

    own = OwnContext()
    with anyio.move_on_after(0) as scope:
        await in_context(own.copy(), waits())
    assert scope.cancelled_caught
    assert TENANT.get() == "none"
    assert seen[0].endswith("Cancelled, inside") or seen[0] == "CancelledError, inside"
