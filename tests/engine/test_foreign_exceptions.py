"""What a user's code may let out without harm to anybody but its own job."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import Context, Processor, ProcessorExecutionError, QueueOptions, RetryPolicy, processor
from am2z_trio.testing.events import expect_event
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("I have no words")


class OfItsOwnKind(BaseException):
    pass


FILE = os.fsdecode(b"caf\xe9.txt")

AWKWARD: dict[str, BaseException] = {
    "cancelled elsewhere": asyncio.CancelledError(),
    "exit": SystemExit(3),
    "generator exit": GeneratorExit(),
    "own kind": OfItsOwnKind("odd"),
    "a file name that is no text": ValueError(f"cannot parse {FILE}"),
    "without words": Speechless(),
    "long": ValueError("x" * 100_000),
    "a group": BaseExceptionGroup("two", [OfItsOwnKind("one"), SystemExit(1)]),
}


# Python itself closes a coroutine into which a thread's `GeneratorExit` is thrown.
BOTH = [(name, threaded) for name in AWKWARD for threaded in (False, True) if name != "generator exit"]


@pytest.mark.parametrize(("name", "in_thread"), [*BOTH, ("generator exit", False)])
async def test_it_fails_its_own_job_and_nothing_else(make_runtime, name: str, in_thread: bool):
    hold, holding = anyio.Event(), anyio.Event()

    def lets_it_out(n: int) -> int:
        if n == 0:
            raise AWKWARD[name]
        return n

    async def lets_it_out_later(n: int) -> int:
        await anyio.lowlevel.checkpoint()
        return lets_it_out(n)

    @processor
    async def neighbour(n: int) -> int:
        holding.set()
        await hold.wait()
        return n

    twice = RetryPolicy(max_attempts=2, backoff=0)
    awkward = Processor(lets_it_out if in_thread else lets_it_out_later, name="awkward", retry=twice)
    async with make_runtime() as runtime:
        runtime.register(awkward, neighbour)
        with anyio.fail_after(20):
            beside = await runtime.submit(neighbour, 7)
            await holding.wait()
            result = await runtime.execute(awkward, 0)
            assert isinstance(result.error, ProcessorExecutionError)
            assert result.metadata.attempt == 2
            assert len(result.metadata.earlier_errors) == 1
            assert (await runtime.execute(awkward, 1)).unwrap() == 1
            hold.set()
            assert (await beside.result()).unwrap() == 7
            (letter,) = await runtime.dead_letters.list(awkward)
        assert letter.error.message == result.error.message
        assert runtime.workers.has_worker("awkward")


async def test_a_task_of_the_jobs_own_that_was_cancelled_is_no_cancellation(make_runtime, anyio_backend):
    if anyio_backend != "asyncio":
        return

    @processor(queue=QueueOptions(concurrency=1))
    async def impatient(n: int) -> int:
        task = asyncio.create_task(asyncio.sleep(10))
        await asyncio.sleep(0.01)
        task.cancel()
        await task
        return n

    async with make_runtime() as runtime:
        runtime.register(impatient)
        with anyio.fail_after(20):
            results = await runtime.execute_many(impatient, [1, 2])
    assert all(isinstance(result.error, ProcessorExecutionError) for result in results)


async def _kept() -> BaseException:
    """A cancellation that a scope has raised, met, and forgotten."""
    kept: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as cancelled:
            kept.append(cancelled)
            raise
    return kept[0]


async def _raise(kept: BaseException) -> None:
    raise kept


async def _cancel_the_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("where", ["alone", "with a context", "in its nursery", "past its scopes"])
async def test_a_cancellation_that_nobody_asked_for_fails_the_job_and_spares_its_worker(
    make_runtime, anyio_backend, where: str, session: str | None
):
    if where == "past its scopes" and anyio_backend != "asyncio":
        return
    hold, holding = anyio.Event(), anyio.Event()

    async def alone(n: int) -> int:
        if n == 0:
            await (_cancel_the_task() if where == "past its scopes" else _raise(await _kept()))
        elif n == 1:
            holding.set()
            await hold.wait()
        return n

    async def with_context(n: int, ctx: Context) -> int:
        if n == 0 and where == "in its nursery":
            ctx.nursery.start_soon(_raise, await _kept())
            await anyio.sleep_forever()
        return await alone(n)

    bare = where in ("alone", "past its scopes")
    odd = Processor(alone if bare else with_context, name="odd", queue=QueueOptions(concurrency=2))
    async with make_runtime() as runtime:
        runtime.register(odd)
        with anyio.fail_after(20):
            beside = await runtime.submit(odd, 1, session=session)
            await holding.wait()
            for _ in range(3):
                result = await runtime.execute(odd, 0, session=session)
                assert isinstance(result.error, ProcessorExecutionError)
            hold.set()
            assert (await beside.result()).unwrap() == 1
            assert (await runtime.execute(odd, 2, session=session, timeout=10)).unwrap() == 2
        assert (await runtime.connection.check_health()).healthy


async def test_a_handler_that_lets_it_out_is_called_again_and_hurts_no_other(make_runtime):
    heard: list[str] = []

    def bad(event: Any) -> None:
        heard.append("bad")
        raise asyncio.CancelledError

    def exits(event: Any) -> None:
        heard.append("exits")
        sys.exit(1)

    async with make_runtime() as runtime:
        runtime.on("said", bad)
        runtime.on("said", exits)
        runtime.on("said", lambda event: heard.append("good"))
        for _ in range(2):
            async with expect_event(runtime, "said"):
                runtime.emit("said")
        await until(lambda: len(heard) >= 6)
    assert sorted(heard) == ["bad", "bad", "exits", "exits", "good", "good"]
