"""Parts that were promised with their composition run while the store is being told of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from am2z_trio import QueueOptions, QueueRuntime, chain, parallel, processor, route
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.engine.claim import Stop
from am2z_trio.engine.node import sending
from am2z_trio.engine.processors.plans import first_of
from am2z_trio.model.errors import ServerReplyError
from am2z_trio.model.records import Enqueue, EnqueueAnswer
from am2z_trio.store.redis.store import RedisStore
from tests.support.parts import CHAIN, RUNS, SIDE_BY_SIDE, a, b

pytestmark = pytest.mark.anyio

SINGLE = QueueOptions(concurrency=1)


@pytest.fixture(autouse=True)
def none_has_run() -> None:
    RUNS.clear()


class Calls:
    """Stands between a node and its store: what it sends of parts, and when it hears of them."""

    def __init__(self, runtime: QueueRuntime) -> None:
        self.under: list[str] = []
        """Of the parts of each call, whether they are begun: their queues."""
        self.spoil: Callable[[Enqueue], Enqueue] = lambda job: job
        """What becomes of a part on its way."""
        self.held: list[Callable[[], None]] | None = None
        """Answers that the node has yet to hear, where it is to wait for them."""
        self.answers: list[EnqueueAnswer] = []
        store = runtime.node.store
        self._begin = store.begin_enqueue
        store.begin_enqueue = self.begin  # type: ignore[method-assign]

    def begin(self, jobs: Sequence[Enqueue], told: Told, at_rest: Collection[str]) -> GiveUp | None:
        if not any(job.under for job in jobs):
            return self._begin(jobs, told, at_rest)
        self.under += [job.queue for job in jobs if job.under]

        def hear(answers: Any) -> None:
            self.answers += answers
            if self.held is None:
                told(answers)
            else:
                self.held.append(lambda: told(answers))

        return self._begin([self.spoil(job) for job in jobs], hear, at_rest)

    def let_hear(self) -> None:
        held, self.held = self.held or [], None
        for tell in held:
            tell()


async def active(runtime: QueueRuntime) -> list[int]:
    return [stats.active for stats in await runtime.node.store.stats(["a", "b"])]


async def until_promised(runtime: QueueRuntime, calls: Calls, made: Any) -> dict[str, int]:
    """Where a worker looks for more just then, nothing is promised."""
    with anyio.fail_after(20):
        while not calls.under:
            RUNS.clear()
            found: dict[str, int] = (await runtime.execute(made, {})).unwrap()
    return found


@pytest.mark.parametrize("made", [CHAIN, SIDE_BY_SIDE], ids=lambda made: made.name)
async def test_first_parts_have_run_before_the_store_has_answered(made: Any, redis_url: str) -> None:
    first = ["a"] if made is CHAIN else ["a", "b"]
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(made)
        calls = Calls(runtime)
        async with anyio.create_task_group() as tasks:
            while not calls.under:
                RUNS.clear()
                calls.held = []
                done = anyio.Event()

                async def call(done: anyio.Event = done) -> None:
                    assert (await runtime.execute(made, {})).unwrap() == {"a": 1, "b": 1}
                    done.set()

                tasks.start_soon(call)
                with anyio.fail_after(20):
                    while not (done.is_set() or (calls.held and RUNS.keys() >= {*first})):
                        await anyio.sleep(0.001)
                calls.let_hear()
                with anyio.fail_after(20):
                    await done.wait()
        assert calls.under == first
        assert RUNS == {"a": 1, "b": 1}
        assert all(answer.token.partition("/")[2] for answer in calls.answers)
        assert await active(runtime) == [0, 0]


async def test_a_part_that_the_store_does_not_take_as_it_was_begun_writes_nothing(redis_url: str) -> None:
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(CHAIN)
        calls = Calls(runtime)
        # As if its composition had been taken away, and given back.
        calls.spoil = lambda job: msgspec.structs.replace(job, under="1:x/1")
        assert await until_promised(runtime, calls, CHAIN) == {"a": 1, "b": 1}
        assert all(answer.token != "1:x/1" for answer in calls.answers)
        assert await active(runtime) == [0, 0]
        assert RUNS["b"] == 1


@pytest.mark.parametrize("in_doubt", [True, False])
async def test_a_part_goes_on_where_the_store_may_have_it_and_not_where_its_call_was_refused(
    in_doubt: bool, redis_url: str
) -> None:
    refusal = ServerReplyError("Redis answered: OOM", context={"reply": "OOM", "in_doubt": in_doubt})
    stops: list[Stop | None] = []

    @processor(name="endless")
    async def endless(state: dict[str, int]) -> dict[str, int]:
        await anyio.sleep_forever()
        return state

    endlessly = chain("endlessly", [endless, b])
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(endlessly)
        store, claims = runtime.node.store, runtime.node.claims
        assert isinstance(store, RedisStore)
        begin, link = store.begin_enqueue, store.link

        def refuse(jobs: Sequence[Enqueue], told: Told, at_rest: Collection[str]) -> GiveUp | None:
            (job, *_) = jobs
            if stops or not job.under:
                return begin(jobs, told, at_rest)

            async def tell() -> None:
                claim = claims.get(job.spec.id)
                assert claim is not None
                told(refusal)
                stops.append(claim.stop)

            assert link.start_soon(tell)
            return lambda: None

        store.begin_enqueue = refuse  # type: ignore[method-assign]
        with anyio.fail_after(20):
            while not stops:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(runtime.execute, endlessly, {})
                    while not (stops or any(one.grant.spec.parent for one in claims.all())):
                        await anyio.sleep(0.001)
                    await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
            assert [stop is None for stop in stops] == [in_doubt]
            while len(claims):
                await anyio.sleep(0.001)
        assert runtime.node.fleet.workers["endless"].unconfirmed == 0


async def test_a_node_that_is_held_back_begins_no_part(redis_url: str) -> None:
    begun: list[Enqueue] = []
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(CHAIN)
        calls = Calls(runtime)
        await until_promised(runtime, calls, CHAIN)
        hold = runtime.node.fleet.workers["a"]
        may_begin = sending.Sending._may_begin

        def late(self: sending.Sending, jobs: list[Enqueue]) -> dict[str, Any]:
            begun.extend(job for job in jobs if job.under)
            hold.held_back = bool(begun)
            try:
                return may_begin(self, jobs)
            finally:
                hold.held_back = False

        calls.under.clear()
        with pytest.MonkeyPatch.context() as patch, anyio.fail_after(20):
            patch.setattr(sending.Sending, "_may_begin", late)
            while not begun:
                assert (await runtime.execute(CHAIN, {})).unwrap() == {"a": 1, "b": 1}
        # It was promised, and came as others do.
        assert calls.under == []
        assert await active(runtime) == [0, 0]


async def test_more_parts_of_one_queue_than_its_node_runs_at_a_time_are_not_begun_together(
    redis_url: str,
) -> None:
    at_once, most = 0, 0

    @processor(name="narrow", queue=SINGLE)
    async def narrow(state: dict[str, int]) -> dict[str, int]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.lowlevel.checkpoint()
        at_once -= 1
        return state

    twice = parallel("twice", [narrow, narrow])
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(twice)
        calls = Calls(runtime)
        for _ in range(10):
            (await runtime.execute(twice, {})).unwrap()
        assert calls.under == []
        assert most == 1


@pytest.mark.parametrize(
    ("made", "first"),
    [
        (CHAIN, [a]),
        (SIDE_BY_SIDE, [a, b]),
        (parallel("eleven", [a] * 11), []),
        (chain("inline", [a, b], inline=True), []),
        (route("routed", len, {0: a}), []),
    ],
    ids=lambda given: getattr(given, "name", None),
)
async def test_what_a_composition_begins_with(made: Any, first: list[Any]) -> None:
    assert list(first_of(made.plan)) == first
