"""The seed's list of distributed execution, scenario by scenario, on both runtimes and hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    Context,
    Event,
    LocalRuntime,
    Payload,
    Processor,
    QueueOptions,
    QueueRuntime,
    RateLimit,
    ResourceError,
    ResourceLimits,
    batch,
    chain,
    parallel,
    processor,
    route,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.testing.events import expect_event
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MANY = QueueOptions(concurrency=50)


@processor(queue=MANY)
async def plus_one(n: int) -> int:
    return n + 1


@asynccontextmanager
async def three_nodes(redis_url: str, *processors: Processor[Any]) -> AsyncIterator[list[QueueRuntime]]:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(QueueRuntime(redis_url)) for _ in range(3)]
        for node in nodes:
            node.register(*processors)
        yield nodes


# --- parallel execution ---------------------------------------------------------------------------


async def test_different_processors_run_side_by_side(make_runtime):
    met = 0
    together = anyio.Event()

    def meeting(name: str) -> Processor[int]:
        async def meet(n: int) -> int:
            nonlocal met
            met += 1
            if met == 3:
                together.set()
            await together.wait()
            return n

        return processor(name=name)(meet)

    each = [meeting("a"), meeting("b"), meeting("c")]
    async with make_runtime() as runtime:
        runtime.register_many(each)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for one in each:
                    tasks.start_soon(runtime.execute, one, 1)
    assert met == 3


async def test_a_parallel_s_parts_may_run_on_any_node(redis_url):
    ran_on: set[str] = set()

    def part(name: str) -> Processor[dict[str, int]]:
        async def add(state: dict[str, int], ctx: Context) -> dict[str, int]:
            ran_on.add(ctx.meta.node)
            await anyio.sleep(0.02)
            return {**state, name: len(name)}

        return processor(name=name, queue=QueueOptions(concurrency=1))(add)

    names = ["x" * n for n in range(1, 10)]
    spread = parallel("spread", [part(name) for name in names])
    async with three_nodes(redis_url, spread) as (first, *_):
        # Nodes that are idle are woken in turn; one that is slow to go back to rest is passed by.
        with anyio.fail_after(30):
            while len(ran_on) < 3:
                result = await first.execute(spread, {})
                assert result.unwrap() == {name: len(name) for name in names}


# --- load distribution ----------------------------------------------------------------------------


async def test_load_is_shared_by_all_nodes_and_none_runs_more_than_it_may(redis_url):
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    done: Counter[str] = Counter()

    @processor(queue=QueueOptions(concurrency=4))
    async def work(n: int, ctx: Context) -> int:
        node = ctx.meta.node
        running[node] += 1
        most[node] = max(most[node], running[node])
        await anyio.sleep(0.003)
        running[node] -= 1
        done[node] += 1
        return n

    async with three_nodes(redis_url, work) as (first, *_):
        with anyio.fail_after(60):
            results = await first.execute_many(work, range(200))
    assert [result.unwrap() for result in results] == [*range(200)]
    assert len(done) == 3
    assert min(done.values()) > 20
    assert max(most.values()) <= 4


# --- multi-session execution ----------------------------------------------------------------------


async def test_sessions_run_side_by_side_and_never_mix(make_runtime):
    @processor(queue=MANY)
    async def remember(n: int, ctx: Context) -> int:
        await ctx.state.update(lambda seen: [*(seen or []), [ctx.session_id, n]], list[Any])
        return n

    sessions = ["1", "tenant-1", "a_b", "b", "naïve: {x}\r\n", "x" * 300]
    async with make_runtime() as runtime:
        runtime.register(remember)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for session in sessions:
                    tasks.start_soon(partial(runtime.execute_many, remember, range(10), session=session))
        for session in sessions:
            found = await runtime.state.get(session, list[Any])
            assert sorted(found.state) == [[session, n] for n in range(10)]
            assert found.version == 10


# --- complex workflows ----------------------------------------------------------------------------

TEXTS = ["the cat sat", "the dog", "a cat and a dog"]


class Words(msgspec.Struct, frozen=True):
    texts: list[str] = []
    counts: dict[str, int] = {}


@processor
async def count_words(words: Words) -> Words:
    (text,) = words.texts
    return Words([], dict(Counter(text.split())))


def add_up(_: Words, parts: list[Words]) -> Words:
    return Words([], dict(sum((Counter(part.counts) for part in parts), Counter[str]())))


COUNTED = {"the": 2, "cat": 2, "sat": 1, "dog": 2, "a": 2, "and": 1}


@pytest.mark.parametrize("inline", [False, True])
async def test_map_reduce(make_runtime, inline):
    map_reduce = batch(
        "map_reduce",
        count_words,
        lambda words: [Words([text]) for text in words.texts],
        merge=add_up,
        state_type=Words,
        inline=inline,
    )
    async with make_runtime() as runtime:
        runtime.register(map_reduce)
        with anyio.fail_after(30):
            result = await runtime.execute(map_reduce, Words(TEXTS), session="corpus")
        assert result.unwrap().counts == COUNTED
        assert (await runtime.state.get("corpus", Words)).state.counts == COUNTED


async def test_map_reduce_over_sessions_keeps_every_part(make_runtime):
    each_in_its_own = batch(
        "each_in_its_own",
        count_words,
        lambda words: [Payload(Words([text]), f"doc-{n}") for n, text in enumerate(words.texts)],
        merge=add_up,
        state_type=Words,
    )
    async with make_runtime() as runtime:
        runtime.register(each_in_its_own)
        with anyio.fail_after(30):
            assert (await runtime.execute(each_in_its_own, Words(TEXTS))).unwrap().counts == COUNTED
        assert (await runtime.state.get("doc-1", Words)).state.counts == {"the": 1, "dog": 1}


async def test_a_pipeline_with_a_fork_and_a_switch(make_runtime):
    def stage(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Processor[dict[str, Any]]:
        async def run(state: dict[str, Any]) -> dict[str, Any]:
            return change(state)

        return processor(name=name)(run)

    parse = stage("parse", lambda s: {**s, "n": int(s["text"])})
    square = stage("square", lambda s: {**s, "square": s["n"] ** 2})
    cube = stage("cube", lambda s: {**s, "cube": s["n"] ** 3})
    even = stage("even", lambda s: {**s, "kind": "even"})
    odd = stage("odd", lambda s: {**s, "kind": "odd"})
    by_kind = route("by_kind", lambda s: str(s["n"] % 2), {"0": even}, fallback=odd)
    pipeline = chain("pipeline", [parse, parallel("powers", [square, cube]), by_kind])
    async with make_runtime() as runtime:
        runtime.register(pipeline)
        with anyio.fail_after(30):
            results = await runtime.execute_many(pipeline, [{"text": "2"}, {"text": "3"}, {"text": "?"}])
        assert results[0].unwrap() == {"text": "2", "n": 2, "square": 4, "cube": 8, "kind": "even"}
        assert results[1].unwrap() == {"text": "3", "n": 3, "square": 9, "cube": 27, "kind": "odd"}
        assert not results[2].success
        assert "invalid literal" in str(results[2].error)


# --- performance and scalability ------------------------------------------------------------------


async def test_many_jobs_of_many_callers_all_get_their_own_answer(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        answers: dict[int, int] = {}

        async def call(n: int) -> None:
            answers[n] = (await runtime.execute(plus_one, n)).unwrap()

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for n in range(2000):
                    tasks.start_soon(call, n)
    assert answers == {n: n + 1 for n in range(2000)}


async def test_under_memory_pressure_a_node_refuses_and_says_so(make_runtime):
    async with make_runtime(limits=ResourceLimits(max_memory_mb=1)) as runtime:
        runtime.register(plus_one)
        with anyio.fail_after(20):
            while (await runtime.connection.check_health()).healthy:
                await anyio.sleep(0.01)
            result = await runtime.execute(plus_one, 1)
        assert isinstance(result.error, ResourceError)
        assert "max_memory_mb" in result.error.message


async def test_a_limited_processor_does_not_slow_its_neighbours(make_runtime):
    @processor(queue=QueueOptions(limiter=RateLimit(max=1, duration=60)))
    async def rare(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(rare, plus_one)
        waiting = [await runtime.submit(rare, n) for n in range(5)]
        with anyio.fail_after(20):
            assert len(await runtime.execute_many(plus_one, range(500))) == 500
        statuses = [await job.status() for job in waiting[1:]]
        assert statuses == ["waiting"] * 4
        for job in waiting:
            await job.cancel()


# --- event-driven coordination --------------------------------------------------------------------


async def test_an_event_of_one_processor_starts_another(make_runtime):
    @processor
    async def order(n: int, ctx: Context) -> int:
        ctx.emit("order:placed", {"n": n})
        return n

    @processor
    async def ship(n: int, ctx: Context) -> int:
        ctx.emit("order:shipped", {"n": n})
        return n

    async with make_runtime() as runtime:
        runtime.register(order, ship)

        async def on_placed(event: Event) -> None:
            await runtime.submit(ship, event.data["n"])

        runtime.on("order:placed", on_placed)
        shipped: list[int] = []
        async with runtime.events("order:shipped") as stream:
            await runtime.execute_many(order, range(10))
            with anyio.fail_after(20):
                while len(shipped) < 10:
                    shipped.append((await stream.next()).data["n"])
        assert sorted(shipped) == [*range(10)]
        runtime.off("order:placed")


async def test_nodes_hear_each_other(redis_url):
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as other:
        one.register(plus_one)
        async with expect_event(other, "job:completed", processor="plus_one") as expected:
            await one.execute(plus_one, 1)
        assert (await expected.wait()).node == one.node_id
        async with expect_event(one, "hello") as expected:
            other.emit("hello", {"from": "the other"})
        assert (await expected.wait()).data == {"from": "the other"}


async def test_sessions_workers_and_queues_tell_of_themselves(make_runtime):
    seen: list[tuple[str, str]] = []

    def note(event: Event) -> None:
        seen.append((event.name, event.session or event.processor))

    async def heard(*expected: tuple[str, str]) -> None:
        await until(lambda: set(expected) <= set(seen))

    runtime: Runtime = make_runtime()
    for pattern in ("session:*", "worker:*", "queue:*", "processor:*", "runtime:*"):
        runtime.on(pattern, note)
    async with runtime:
        runtime.register(plus_one)
        await heard(
            ("runtime:started", ""), ("processor:registered", "plus_one"), ("worker:started", "plus_one")
        )
        async with runtime.session("alice"):
            pass
        await heard(("session:opened", "alice"), ("session:closed", "alice"))
        await runtime.execute(plus_one, 1, session="bob")
        await runtime.stop_session("bob")
        await runtime.pause(plus_one)
        await runtime.resume(plus_one)
        await heard(("session:stopped", "bob"), ("queue:paused", "plus_one"), ("queue:resumed", "plus_one"))
        runtime.unregister(plus_one)
        await heard(("processor:unregistered", "plus_one"), ("worker:stopped", "plus_one"))


async def test_a_local_and_a_queue_runtime_are_used_alike(redis_url):
    async def program(runtime: Runtime) -> list[int]:
        runtime.register(plus_one)
        async with runtime.session("s") as session:
            await session.state.set(1)
            await session.execute(plus_one)
            return [r.unwrap() for r in await session.execute_many(plus_one, [1, 2])]

    async with LocalRuntime() as local, QueueRuntime(redis_url) as queue:
        assert await program(local) == await program(queue) == [2, 3]
