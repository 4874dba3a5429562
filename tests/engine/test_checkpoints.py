"""Every public operation is cancelled after every single step of any task, one step per run.

An instrument of Trio's counts the steps that tasks take while an operation is under way and cancels
the operation's scope after the k-th one, for k = 1, 2, 3, … until it ends uncancelled. Whatever the
engine was in the middle of, afterwards nothing is claimed, queued, locked or waited for, no task is
left, effects happened once or not at all, and the next job runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from am2z_trio import (
    Context,
    JobOptions,
    LocalRuntime,
    Processor,
    QueueOptions,
    QueueRuntime,
    RetryPolicy,
    RuntimeStateError,
    SessionStoppedError,
    batch,
    chain,
    parallel,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime

MOST_STEPS = 2_000

OPTIONS: dict[str, Any] = {"max_running": 6, "state_history": 2, "shutdown_grace": 0.01, "session_idle": 0}


@processor(queue=QueueOptions(concurrency=3))
async def plus_one(n: int) -> int:
    return n + 1


@processor(queue=QueueOptions(concurrency=3))
async def calls(n: int, ctx: Context) -> int:
    return await ctx.call(plus_one, n)


@processor(retry=RetryPolicy(max_attempts=2, backoff=0))
async def second_attempt(n: int, ctx: Context) -> int:
    if ctx.meta.attempt == 1:
        raise ValueError("not yet")
    return n + 1


@processor(queue=QueueOptions(concurrency=3))
async def hangs(n: int, ctx: Context) -> int:
    ctx.nursery.start_soon(trio.sleep_forever)
    await trio.sleep_forever()
    return n


@processor
async def fails(n: int) -> int:
    raise OSError


@processor(fallback=plus_one)
async def falls_back(n: int) -> int:
    raise OSError


plus_two = chain("plus two", [plus_one, calls])
plus_two_here = chain("plus two here", [plus_one, plus_one], inline=True)
both = parallel("both", [plus_one, plus_one], merge=lambda state, results: results[0])
many = batch("many", plus_one, payloads=lambda n: [n, n], merge=lambda state, results: results[0])

COMPOSITIONS: list[Processor[int]] = [plus_two, plus_two_here, both, many]
ALL: list[Processor[int]] = [plus_one, calls, second_attempt, hangs, fails, falls_back, *COMPOSITIONS]


class World:
    """A runtime that is used by one operation after the other, and what is known about it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.tasks = tasks()
        self.hanging: list[Any] = []

    async def hang(self, count: int = 1) -> None:
        """Have jobs of session `s` that run and do not end."""
        self.hanging = [await self.runtime.submit(hangs, n, session="s") for n in range(count)]
        for job in self.hanging:
            while await job.status() != "active":
                await trio.sleep(0.001)

    async def tidy(self) -> None:
        """Undo what the operation was allowed to leave."""
        for job in self.hanging:
            await job.cancel()
        self.hanging = []
        self.runtime.register(*ALL)
        await self.runtime.resume(plus_one)

    async def require_idle(self) -> None:
        """Return when nothing is left of anything; fail where something stays."""
        left: Any = None
        with trio.move_on_after(20):
            while left := await self._left():
                await trio.sleep(0.002)
            return
        pytest.fail(f"after cancellation there are left: {left}")

    async def _left(self) -> dict[str, Any]:
        runtime = self.runtime
        stats = runtime.get_stats()
        queues = (await runtime.get_queue_stats()).values()
        found = {
            "claims": stats.claimed,
            "callers": stats.waiting_callers,
            "running": stats.running,
            "jobs": [q for q in queues if q.waiting or q.active or q.delayed],
            "sessions": await runtime.get_active_sessions(),
            "tasks": tasks() - self.tasks,
        }
        return {name: value for name, value in found.items() if value}


def tasks() -> Counter[str]:
    """The tasks there are, by name; but for workers and their slots, which stay as long as their session."""
    found = Counter[str]()

    def add(task: Any) -> None:
        if not task.name.endswith((" slot", " worker")):
            found[task.name] += 1
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                add(child)

    add(trio.lowlevel.current_root_task())
    return found


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps of any task."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self.steps_left = steps

    def after_task_step(self, task: Any) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            self._scope.cancel()


Operation = Callable[[World], Awaitable[Any]]
OPERATIONS: dict[str, tuple[Operation, Operation | None]] = {}


def operation(before: Operation | None = None) -> Callable[[Operation], Operation]:
    def add(run: Operation) -> Operation:
        OPERATIONS[run.__name__] = (run, before)
        return run

    return add


async def hang(world: World) -> None:
    await world.hang(2)


async def hang_once(world: World) -> None:
    await world.hang(1)


async def pause(world: World) -> None:
    await world.runtime.pause(plus_one)


async def fail(world: World) -> None:
    await world.runtime.execute(fails, 1)


# --- jobs -----------------------------------------------------------------------------------------


@operation()
async def execute(world: World) -> None:
    assert (await world.runtime.execute(plus_one, 1)).unwrap() == 2


@operation()
async def execute_in_session(world: World) -> None:
    (await world.runtime.execute(plus_one, session="s")).unwrap()


@operation()
async def execute_with_retry(world: World) -> None:
    assert (await world.runtime.execute(second_attempt, 1)).unwrap() == 2


@operation()
async def execute_with_delay(world: World) -> None:
    (await world.runtime.execute(plus_one, 1, options=JobOptions(delay=0.01, priority=3))).unwrap()


@operation()
async def execute_nested(world: World) -> None:
    (await world.runtime.execute(calls, session="s")).unwrap()


@operation()
async def execute_chain(world: World) -> None:
    assert (await world.runtime.execute(plus_two, 1)).unwrap() == 3


@operation()
async def execute_inline_chain(world: World) -> None:
    assert (await world.runtime.execute(plus_two_here, 1, session="s")).unwrap() == 3


@operation()
async def execute_parallel(world: World) -> None:
    assert (await world.runtime.execute(both, 1)).unwrap() == 2


@operation()
async def execute_batch(world: World) -> None:
    assert (await world.runtime.execute(many, 1)).unwrap() == 2


@operation()
async def execute_many(world: World) -> None:
    assert [r.unwrap() for r in await world.runtime.execute_many(plus_one, range(5))] == [1, 2, 3, 4, 5]


@operation()
async def submit_and_wait(world: World) -> None:
    job = await world.runtime.submit(plus_one, 1, session="s")
    await job.status()
    await job.result()


@operation()
async def execute_with_fallback(world: World) -> None:
    assert (await world.runtime.execute(falls_back, 1)).unwrap() == 2


@operation(pause)
async def execute_the_last_of_a_key(world: World) -> None:
    options = JobOptions(debounce="k", delay=0.01)
    first = await world.runtime.submit(plus_one, 1, options=options)

    async def last() -> None:
        assert (await world.runtime.execute(plus_one, 2, options=options)).unwrap() == 3

    async with trio.open_nursery() as nursery:
        nursery.start_soon(last)
        assert not (await first.result()).success
        await world.runtime.resume(plus_one)


@operation(fail)
async def use_dead_letters(world: World) -> None:
    letters = world.runtime.dead_letters
    letter, *_ = await letters.list(fails)
    await letters.show(letter.job_id)
    await letters.retry(letter.job_id)
    await letters.retry_all(fails, where=lambda letter: letter.stalls > 0)
    await letters.drop_all(fails)


@operation()
async def pause_and_resume(world: World) -> None:
    await world.runtime.pause(plus_one)
    await world.runtime.resume(plus_one)


@operation(hang_once)
async def cancel_a_job(world: World) -> None:
    assert await world.hanging[0].cancel()
    await world.hanging[0].result()


@operation()
async def look_around(world: World) -> None:
    runtime = world.runtime
    await runtime.sync_processors()
    await runtime.get_queue_stats()
    await runtime.get_session_stats("s")
    await runtime.connection.check_health()


@operation()
async def listen(world: World) -> None:
    async with world.runtime.events("job:*") as stream:
        await world.runtime.execute(plus_one, 1)
        await anext(stream)


# --- sessions -------------------------------------------------------------------------------------


@operation()
async def open_a_session(world: World) -> None:
    async with world.runtime.session("s", ttl=60) as session:
        (await session.execute(plus_one, 1)).unwrap()
        await session.submit(plus_one)


@operation()
async def fail_in_a_session(world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        async with world.runtime.session("s") as session:
            await session.submit(hangs, 1)
            raise ZeroDivisionError


@operation(hang)
async def stop_session(world: World) -> None:
    await world.runtime.stop_session("s")


@operation(hang)
async def stop_session_with_grace(world: World) -> None:
    await world.runtime.stop_session("s", grace=0.01)


@operation(hang)
async def clean_all_sessions(world: World) -> None:
    assert await world.runtime.clean_all_sessions() == 1


@operation()
async def stop_from_inside(world: World) -> None:
    with pytest.raises(SessionStoppedError):
        async with world.runtime.session("s") as session:
            await session.submit(hangs, 1)
            await world.runtime.stop_session("s")


@operation(hang)
async def stop_session_workers(world: World) -> None:
    world.runtime.workers.create_session_worker(plus_one, "s")
    assert await world.runtime.workers.stop_session_workers("s") == 2


@operation(hang)
async def stop_a_sessions_worker(world: World) -> None:
    assert await world.runtime.workers.stop_worker(hangs, "s")


@operation()
async def stop_a_worker(world: World) -> None:
    job = await world.runtime.submit(plus_one, 1)
    assert await world.runtime.workers.stop_worker(plus_one)
    world.runtime.register(plus_one)
    (await job.result()).unwrap()


@operation(hang)
async def stop_all_workers(world: World) -> None:
    await world.runtime.workers.stop_all()


# --- states ---------------------------------------------------------------------------------------


@operation()
async def use_states(world: World) -> None:
    state = world.runtime.state
    await state.set("s", 1)
    await state.get("s", int)
    await state.exists("s")
    await state.get_version("s")
    await state.history("s")
    await state.delete("s")


@operation()
async def update_state(world: World) -> None:
    async def slowly(n: int | None) -> int:
        await trio.lowlevel.checkpoint()
        return (n or 0) + 1

    await world.runtime.state.update("s", slowly, type=int)


@operation()
async def contended_updates(world: World) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(world.runtime.state.update, "s", lambda n: (n or 0) + 1)


@operation()
async def hold_a_lock(world: World) -> None:
    async with world.runtime.state.lock("s") as lock:
        await lock.write(5)


@operation()
async def wait_for_a_lock(world: World) -> None:
    async def hold() -> None:
        async with world.runtime.state.lock("s"):
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        nursery.start_soon(hold)


# --- the test -------------------------------------------------------------------------------------


async def cancelled_after(world: World, steps: int, run: Operation, before: Operation | None) -> bool:
    """Run an operation, cancelled after so many steps; whether it came to its end before that."""
    if before is not None:
        await before(world)
    version = await world.runtime.state.get_version("s")
    with trio.fail_after(30), trio.CancelScope() as scope:
        counter = CancelAfter(scope, steps)
        trio.lowlevel.add_instrument(counter)
        try:
            await run(world)
        finally:
            trio.lowlevel.remove_instrument(counter)
    assert await world.runtime.state.get_version("s") >= version
    await world.tidy()
    await world.require_idle()
    with trio.fail_after(20):
        assert (await world.runtime.execute(plus_one, steps)).unwrap() == steps + 1
        async with world.runtime.session("s") as session:
            assert (await session.execute(plus_one, steps)).unwrap() == steps + 1
            async with session.state.lock() as lock:
                await lock.write(0)
    return counter.steps_left > 0


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("where", ["local", "queue"])
def test_cancelled_after_any_step(name, where, request):
    run, before = OPERATIONS[name]
    url = request.getfixturevalue("redis_url") if where == "queue" else ""

    async def main() -> None:
        async with QueueRuntime(url, **OPTIONS) if url else LocalRuntime(**OPTIONS) as runtime:
            runtime.register(*ALL)
            await runtime.state.set("s", 0)
            while tasks()["am2z_trio.engine.work.feeder.Feeder.run"] < len(ALL):
                await trio.sleep(0.001)
            world = World(runtime)
            for steps in range(1, MOST_STEPS):
                if await cancelled_after(world, steps, run, before):
                    assert steps > 2, "nothing was cancelled"
                    return
            pytest.fail(f"not at its end after {MOST_STEPS} steps")

    trio.run(main, clock=None if url else trio.testing.MockClock(autojump_threshold=0))


# --- a runtime's own life -------------------------------------------------------------------------


async def live(make: Callable[[], Runtime]) -> None:
    async with make() as runtime:
        runtime.register(*ALL)
        await runtime.submit(plus_one, 1, session="s")
        await runtime.submit(calls, 1)
        (await runtime.execute(plus_one, 1)).unwrap()
        await runtime.submit(hangs, 1)
        await runtime.stop(grace=0.01)


async def run_as_a_task(make: Callable[[], Runtime]) -> None:
    async with trio.open_nursery() as nursery:
        runtime = await nursery.start(make().run)
        runtime.register(*ALL)
        result = await runtime.execute(calls, 1)
        # Cancelled with the runtime, it may hear of that before it is cancelled itself.
        assert result.success or isinstance(result.error, RuntimeStateError)
        await runtime.stop()


@pytest.mark.parametrize("life", [live, run_as_a_task])
@pytest.mark.parametrize("where", ["local", "queue"])
def test_a_runtime_that_is_cancelled_after_any_step_leaves_nothing(life, where, request):
    url = request.getfixturevalue("redis_url") if where == "queue" else ""

    def make() -> Runtime:
        return QueueRuntime(url, **OPTIONS) if url else LocalRuntime(**OPTIONS)

    async def main() -> None:
        before = tasks()
        for steps in range(1, MOST_STEPS):
            with trio.fail_after(20), trio.CancelScope() as scope:
                counter = CancelAfter(scope, steps)
                trio.lowlevel.add_instrument(counter)
                try:
                    await life(make)
                finally:
                    trio.lowlevel.remove_instrument(counter)
            assert tasks() == before
            if url:
                await require_unclaimed(make)
            if counter.steps_left > 0:
                assert steps > 20, "nothing was cancelled"
                return
        pytest.fail(f"not at its end after {MOST_STEPS} steps")

    async def require_unclaimed(make: Callable[[], Runtime]) -> None:
        """What was left waiting can be run by the next node, the first time it is asked for."""
        with trio.fail_after(20):
            async with make() as runtime:
                runtime.register(*ALL)
                await runtime.clean_all_sessions()
                (await runtime.execute(plus_one, 1)).unwrap()
                while any(
                    q.active for name, q in (await runtime.get_queue_stats()).items() if name != "hangs"
                ):
                    await trio.sleep(0.002)

    trio.run(main, clock=None if url else trio.testing.MockClock(autojump_threshold=0))
