"""Jobs that sleep and wait for signals: parked, run again, and told the same in every run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
import trio
from trio.testing import MockClock

from am2z_trio import (
    ConfigurationError,
    Context,
    JobCancelledError,
    JobNotFoundError,
    JobOptions,
    LocalRuntime,
    QueueOptions,
    RetryPolicy,
    SessionStoppedError,
    SignalRefusedError,
    TotalTimeoutError,
    ValidationError,
    WaitTimeoutError,
    processor,
)
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio

LONG = 3600.0


class Approval(msgspec.Struct, frozen=True):
    yes: bool
    by: str = ""


async def parked(job: Any) -> None:
    """Return when the job is parked."""

    async def is_parked() -> bool:
        return bool(await job.status() == "parked")

    await until_true(is_parked)


async def until_true(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await anyio.sleep(0.005)


# --- signals --------------------------------------------------------------------------------------


@on_both_hosts
async def test_a_job_that_waits_for_a_signal_is_parked_and_goes_on_with_it(make_runtime):
    runs = list[int]()

    @processor(queue=QueueOptions(concurrency=1))
    async def pays(amount: int, ctx: Context) -> int:
        runs.append(ctx.meta.deliveries)
        approval = await ctx.wait_for("approval", Approval)
        return amount if approval.yes else 0

    @processor(name="pays-not", queue=QueueOptions(concurrency=1))
    async def other(amount: int) -> int:
        return amount

    with anyio.fail_after(8):
        async with make_runtime(max_running=1) as runtime:
            runtime.register(pays, other)
            job = await runtime.submit(pays, 7)
            await parked(job)
            # Neither its queue's place nor the node's is taken.
            assert (await runtime.execute(other, 1)).unwrap() == 1
            await job.signal("approval", Approval(yes=True, by="ada"))
            result = await job.result()
            assert result.unwrap() == 7
            assert result.metadata.attempt == 1
            assert runs == [1, 2]


@on_both_hosts
async def test_a_signal_that_comes_before_the_wait_is_kept_and_each_is_delivered_once(make_runtime):
    may_wait = anyio.Event()

    @processor
    async def collects(heard: list[int], ctx: Context) -> list[int]:
        await may_wait.wait()
        return [await ctx.wait_for("number", int) for _ in range(3)]

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(collects)
            job = await runtime.submit(collects, [], job_id="one")
            await runtime.signal("one", "number", 1)
            await runtime.signal(job, "number", 2)
            may_wait.set()
            await parked(job)
            await runtime.signal(job.id, "number", 3)
            assert (await job.result()).unwrap() == [1, 2, 3]


@on_both_hosts
async def test_a_wait_that_nobody_signals_times_out_in_every_run_alike(make_runtime):
    errors = list[BaseException]()

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0))
    async def waits(heard: str, ctx: Context) -> str:
        try:
            await ctx.wait_for("go", str, timeout=1.1)
        except WaitTimeoutError as error:
            errors.append(error)
        heard = await ctx.wait_for("go", str, timeout=0, default="nothing")
        if ctx.meta.attempt == 1:
            raise OSError("once")
        return heard

    @processor
    async def fails(n: int, ctx: Context) -> int:
        return await ctx.wait_for("go", int, timeout=timedelta(0))

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits, fails)
            job = await runtime.submit(waits, "")
            await parked(job)
            assert (await job.result()).unwrap() == "nothing"
            assert len(errors) == 2
            assert "for signal 'go' for 1.1 s, and none came" in str(errors[0])
            error = (await runtime.execute(fails, 1)).error
            assert isinstance(error, WaitTimeoutError)
            assert error.context["signal"] == "go"
            assert error.category == "timeout"


@on_both_hosts
async def test_what_was_called_and_waited_for_is_not_done_again(make_runtime):
    done = list[str]()

    @processor
    async def step(name: str) -> str:
        done.append(name)
        return name

    @processor
    async def agent(state: str, ctx: Context) -> str:
        first = await ctx.call(step, "first", key="first")
        answer = await ctx.wait_for("answer", str)
        second = await ctx.call(step, "second", key="second")
        return f"{first} {answer} {second} {await ctx.wait_for('answer', str)}"

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(step, agent)
            job = await runtime.submit(agent, "")
            await parked(job)
            await job.signal("answer", "a")
            await until(lambda: done == ["first", "second"])
            await parked(job)
            await job.signal("answer", "b")
            assert (await job.result()).unwrap() == "first a second b"
            assert done == ["first", "second"]


@on_both_hosts
async def test_no_except_of_a_users_keeps_a_job_from_being_parked_and_its_finally_runs(make_runtime):
    ended = list[str]()

    @processor
    async def careful(n: int, ctx: Context) -> int:
        try:
            return await ctx.wait_for("go", int)
        except Exception:
            ended.append("swallowed")
            return -1
        finally:
            ended.append("closed")

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(careful)
            job = await runtime.submit(careful, 1)
            await parked(job)
            assert ended == ["closed"]
            await job.signal("go", 5)
            assert (await job.result()).unwrap() == 5
            assert ended == ["closed", "closed"]


@on_both_hosts
async def test_a_wait_in_a_shielded_scope_parks_the_job_all_the_same(make_runtime):
    @processor
    async def shields(n: int, ctx: Context) -> int:
        with anyio.CancelScope(shield=True):
            n += await ctx.wait_for("go", int)
        return n

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(shields)
            job = await runtime.submit(shields, 1)
            await parked(job)
            await job.signal("go", 5)
            assert (await job.result()).unwrap() == 6


@on_both_hosts
async def test_what_a_job_does_beside_its_wait_ends_with_the_run(make_runtime):
    beside = list[str]()

    @processor
    async def works(n: int, ctx: Context) -> int:
        async def tick() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                beside.append("over")

        ctx.nursery.start_soon(tick)
        await anyio.lowlevel.checkpoint()
        heard = await ctx.wait_for("go", int)
        ctx.nursery.cancel_scope.cancel()
        return heard

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(works)
            job = await runtime.submit(works, 1)
            await parked(job)
            assert beside == ["over"]
            await job.cancel()
            assert isinstance((await job.result()).error, JobCancelledError)


@on_both_hosts
async def test_several_waits_at_a_time_park_the_job_for_whichever_comes_first(make_runtime):
    @processor
    async def waits(heard: list[str], ctx: Context) -> list[str]:
        found = list[str]()

        async def hear(name: str, scope: anyio.CancelScope) -> None:
            found.append(f"{name} {await ctx.wait_for(name, str, key=name)}")
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(hear, "yes", group.cancel_scope)
            group.start_soon(hear, "no", group.cancel_scope)
        return found

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits)
            job = await runtime.submit(waits, [])
            await parked(job)
            await job.signal("no", "never")
            assert (await job.result()).unwrap() == ["no never"]


@on_both_hosts
async def test_a_job_that_waits_beside_a_call_hears_its_signal_without_being_parked(make_runtime):
    may_end, runs = anyio.Event(), list[str]()

    @processor
    async def slow(n: int) -> int:
        await may_end.wait()
        return n

    @processor
    async def waits(n: int, ctx: Context) -> int:
        runs.append("waits")
        heard = list[int]()

        async def hear() -> None:
            heard.append(await ctx.wait_for("go", int))
            may_end.set()

        async with anyio.create_task_group() as group:
            group.start_soon(hear)
            n = await ctx.call(slow, n, key="slow")
        return n + heard[0]

    async def is_waiting(runtime: Any) -> bool:
        return bool(runtime._node.waits._waiting)

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(slow, waits)
            job = await runtime.submit(waits, 1)
            await until_true(lambda: is_waiting(runtime))
            await job.signal("go", 2)
            assert (await job.result()).unwrap() == 3
            assert runs == ["waits"]


@on_both_hosts
async def test_an_inline_job_parks_the_one_that_it_is_part_of(make_runtime):
    @processor
    async def asks(n: int, ctx: Context) -> int:
        return n + await ctx.wait_for("more", int)

    @processor
    async def outer(n: int, ctx: Context) -> int:
        n = await ctx.call(asks, n, inline=True)
        return await ctx.call(asks, n, inline=True)

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(asks, outer)
            job = await runtime.submit(outer, 1)
            await parked(job)
            await job.signal("more", 10)
            await job.signal("more", 100)
            assert (await job.result()).unwrap() == 111


@on_both_hosts
async def test_a_value_that_does_not_fit_is_an_error_and_so_is_a_type_that_cannot_be(make_runtime):
    @processor
    async def waits(n: int, ctx: Context) -> int:
        return await ctx.wait_for("go", int)

    @processor
    async def odd(n: int, ctx: Context) -> int:
        await ctx.wait_for("go", complex)
        return n

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits, odd)
            job = await runtime.submit(waits, 1)
            await job.signal("go", "not a number")
            error = (await job.result()).error
            assert isinstance(error, ValidationError)
            assert "signal 'go'" in error.message
            assert isinstance((await runtime.execute(odd, 1)).error, ValidationError)


@on_both_hosts
async def test_a_signal_that_nobody_can_take_is_refused(make_runtime):
    @processor
    async def waits(n: int, ctx: Context) -> int:
        return await ctx.wait_for("go", int)

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits)
            with pytest.raises(JobNotFoundError):
                await runtime.signal("unknown", "go", 1)
            job = await runtime.submit(waits, 1, job_id="one")
            for number in range(100):
                await job.signal("other", number)
            with pytest.raises(SignalRefusedError, match="100 signals") as full:
                await job.signal("go", 1)
            assert full.value.context["reason"] == "full"
            await job.cancel()
            with pytest.raises(SignalRefusedError, match="has ended"):
                await job.signal("go", 1)
            with pytest.raises(ValidationError):
                await job.signal("go", "x" * 65_536)


@on_both_hosts
async def test_a_run_that_waits_for_something_else_than_the_one_before_fails(make_runtime):
    @processor
    async def changes(n: int, ctx: Context) -> int:
        if ctx.meta.deliveries == 1:
            await ctx.wait_for("go")
        await ctx.sleep(LONG)
        return n

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(changes)
            job = await runtime.submit(changes, 1)
            await parked(job)
            await job.signal("go")
            error = (await job.result()).error
            assert isinstance(error, ConfigurationError)
            assert "waits for a time where" in error.message
            assert "has waited for signal 'go' before" in error.message


@on_both_hosts
async def test_it_is_explained_what_a_parked_job_waits_for(make_runtime):
    @processor
    async def waits(n: int, ctx: Context) -> int:
        return await ctx.wait_for("approval", int, timeout=timedelta(days=2))

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits)
            job = await runtime.submit(waits, 1, job_id="one")
            await parked(job)
            told = await runtime.explain("one")
            assert "it waits for signal 'approval', since" in told.verdict
            assert told.blocked_by == "due"
            assert 2 * 86_400 - 60 < (told.starts_in or 0) <= 2 * 86_400
            (remedy,) = told.remedies
            assert (remedy.action, remedy.text) == ("signal", "am2z job signal one approval JSON")
            await job.cancel()


# --- what ends a job that is parked ---------------------------------------------------------------


@on_both_hosts
async def test_a_parked_job_is_cancelled_and_ends_with_its_time_and_with_its_session(make_runtime):
    @processor
    async def waits(n: int, ctx: Context) -> int:
        await ctx.sleep(LONG)
        return n

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits)
            job = await runtime.submit(waits, 1, job_id="one")
            await parked(job)
            assert await job.cancel("not wanted any more")
            error = (await job.result()).error
            assert isinstance(error, JobCancelledError)
            assert "not wanted any more" in error.message
            assert isinstance((await runtime.execute(waits, 1, total_timeout=0.3)).error, TotalTimeoutError)
            job = await runtime.submit(waits, 1, session="s")
            await parked(job)
            await runtime.stop_session("s")
            assert isinstance((await job.result()).error, SessionStoppedError)


@on_both_hosts
async def test_the_timeout_bounds_each_run_and_not_the_time_between_them(make_runtime):
    @processor(timeout=0.9)
    async def waits(n: int, ctx: Context) -> int:
        await ctx.sleep(1.2)
        await ctx.sleep(0)
        return n

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(waits)
            assert (await runtime.execute(waits, 1)).unwrap() == 1


# --- times ----------------------------------------------------------------------------------------


def test_a_job_that_sleeps_for_minutes_takes_no_time_on_a_virtual_clock():
    runs = list[int]()

    @processor
    async def now_and_then(n: int, ctx: Context) -> int:
        runs.append(ctx.meta.deliveries)
        await ctx.sleep(timedelta(minutes=1))
        await ctx.sleep(datetime.now(UTC) - timedelta(days=1))
        await ctx.sleep(0.5)
        await ctx.sleep(60, key="the rest")
        return n

    async def main() -> float:
        async with LocalRuntime() as runtime:
            runtime.register(now_and_then)
            began = trio.current_time()
            assert (await runtime.execute(now_and_then, 1)).unwrap() == 1
            return trio.current_time() - began

    taken = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert 120 <= taken < 140
    assert runs == [1, 2, 3]


@on_both_hosts
async def test_a_job_that_is_tried_again_has_slept_already(make_runtime):
    @processor
    async def fails_once(n: int, ctx: Context) -> int:
        await ctx.sleep(1.1)
        if ctx.meta.attempt == 1:
            raise OSError("once")
        return n

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(fails_once)
            options = JobOptions(attempts=2, backoff=0.0)
            result = await runtime.execute(fails_once, 1, options=options)
            assert result.unwrap() == 1
            assert result.metadata.attempt == 2


# --- sessions -------------------------------------------------------------------------------------


@on_both_hosts
async def test_a_signal_to_a_session_is_taken_by_one_of_its_jobs(make_runtime):
    @processor
    async def chats(heard: list[str], ctx: Context) -> list[str]:
        return [*heard, await ctx.wait_for("message", str)]

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(chats)
            async with runtime.session("alice") as session:
                await session.signal("message", "early")
                assert (await session.execute(chats, [])).unwrap() == ["early"]
                first = await session.submit(chats, ["first"])
                await parked(first)
                second = await session.submit(chats, ["second"])
                await parked(second)
                await runtime.signal(session, "message", "hello")
                assert (await first.result()).unwrap() == ["first", "hello"]
                assert await second.status() == "parked"
                await runtime.signal_session("alice", "message", "bye")
                assert (await second.result()).unwrap() == ["second", "bye"]


@on_both_hosts
async def test_a_job_on_stored_state_gives_its_turn_up_and_sees_the_state_as_it_is_then(make_runtime):
    @processor
    async def adds(n: int, ctx: Context) -> int:
        return n + await ctx.wait_for("more", int)

    @processor
    async def doubles(n: int) -> int:
        return n * 2

    with anyio.fail_after(8):
        async with make_runtime() as runtime:
            runtime.register(adds, doubles)
            await runtime.execute(doubles, 1, session="s")
            job = await runtime.submit(adds, session="s")
            await parked(job)
            assert (await runtime.execute(doubles, session="s")).unwrap() == 4
            await job.signal("more", 1)
            assert (await job.result()).unwrap() == 5


@on_both_hosts
async def test_a_job_of_many_waits_at_once_is_parked_and_goes_on_with_each(make_runtime):
    """More than a store reads at once: they are packed before it is parked."""
    names = [f"part-{number:02}" for number in range(40)]

    @processor
    async def gathers(heard: dict[str, int], ctx: Context) -> dict[str, int]:
        async def wait_for(name: str) -> None:
            heard[name] = await ctx.wait_for(name, int, key=name)

        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(wait_for, name)
        return heard

    async with make_runtime() as runtime:
        runtime.register(gathers)
        job = await runtime.submit(gathers, {})
        with anyio.fail_after(60):
            await parked(job)
            await job.signal("nobody waits for it", 1)
            assert await job.status() == "parked"
            for number, name in enumerate(names[:3]):
                await job.signal(name, number)
                await parked(job)
            for number, name in enumerate(names[3:], 3):
                await job.signal(name, number)
            assert (await job.result()).unwrap() == {name: n for n, name in enumerate(names)}


@on_both_hosts
@pytest.mark.parametrize("is_longest", [True, False])
async def test_a_wait_that_begins_while_the_others_are_packed_keeps_no_job_from_being_parked(
    make_runtime, monkeypatch: pytest.MonkeyPatch, is_longest: bool
):
    """Whichever of them rests longest parks it."""
    begins = anyio.Event()

    @processor
    async def gathers(n: int, ctx: Context) -> int:
        async def wait_beside() -> None:
            await begins.wait()
            await ctx.wait_for("beside", int, key="beside", timeout=None if is_longest else LONG)

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                timeout = LONG * (1 if is_longest else 2)
                tasks.start_soon(partial(ctx.wait_for, "part", int, key=str(number), timeout=timeout))
            tasks.start_soon(wait_beside)
        return n

    async with make_runtime() as runtime:
        runtime.register(gathers)
        waits = runtime.node.waits
        pack = waits._store.pack

        async def packs(job: str, token: str, keys: Sequence[str]) -> None:
            (waiting,) = waits._waiting.values()
            begins.set()
            # The store is slow, and has the other one begun before it answers.
            await until(lambda: len(waiting.resting) == 41)
            await pack(job, token, keys)

        monkeypatch.setattr(waits._store, "pack", packs)
        job = await runtime.submit(gathers, 1)
        with anyio.fail_after(60):
            await parked(job)
            assert await job.cancel()
