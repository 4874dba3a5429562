"""Many jobs are submitted in one call: cheaply, in order, and as far as it says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import anyio
import pytest

from am2z_trio import (
    AM2ZError,
    ConfigurationError,
    JobOptions,
    QueueOptions,
    ResourceError,
    Session,
    SessionStoppedError,
    UnknownOutcomeError,
    ValidationError,
    processor,
)
from am2z_trio.engine.submission.bulk import MOST, MOST_BYTES, Ids
from am2z_trio.model.records import NO_STATE, WIRE_VERSION, Bulk, Enqueue, JobSpec
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


@processor(queue=QueueOptions(max_size=MOST + 3))
async def bounded(n: int) -> int:
    return n


async def counted(runtime, name: str) -> int:
    """Jobs of it that the store has, whatever became of them."""
    stats = (await runtime.get_queue_stats())[name]
    return int(stats.waiting + stats.active + stats.completed + stats.failed + stats.delayed)


async def test_many_jobs_are_run_and_asked_for_one_by_one(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        jobs = await runtime.submit_many(plus_one, (n for n in range(2 * MOST + 7)))
        assert len(jobs) == 2 * MOST + 7
        assert len({job.id for job in jobs}) == len(jobs)
        for number in (0, MOST - 1, MOST, 2 * MOST, -1):
            result = await jobs[number].result()
            assert result.unwrap() == (number % len(jobs)) + 1
        job = jobs[5]
        assert job.id == [one.id for one in jobs[3:7]][2]
        # Any number of times, and when its end was long ago.
        assert (await job.result()).unwrap() == (await job.result()).unwrap() == 6
        assert await job.status() == "completed"
        assert not await job.cancel()
        with pytest.raises(IndexError):
            jobs[len(jobs)]


async def test_no_states_are_no_jobs(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        assert len(await runtime.submit_many(plus_one, [])) == 0
        assert [*await runtime.submit_many(plus_one, [], job_ids=[])] == []


async def test_states_are_read_as_fast_as_they_are_accepted(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        store, read, taken, gate = runtime.node.store, 0, [0], anyio.Event()
        enqueue_bulk = store.enqueue_bulk

        async def slow(bulk: Bulk):
            await gate.wait()
            assert read <= taken[0] + 2 * MOST
            taken[0] += len(bulk.states)
            return await enqueue_bulk(bulk)

        store.enqueue_bulk = slow

        def numbers() -> Iterator[int]:
            nonlocal read
            for n in range(10 * MOST):
                read += 1
                yield n

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.submit_many, plus_one, numbers())
            await anyio.wait_all_tasks_blocked()
            assert read == 2 * MOST
            gate.set()
        assert taken[0] == 10 * MOST


async def test_large_states_go_in_smaller_steps(make_runtime):
    @processor
    async def length(text: str) -> str:
        return str(len(text))

    async with make_runtime() as runtime:
        runtime.register(length)
        store, sizes = runtime.node.store, list[int]()
        enqueue_bulk = store.enqueue_bulk

        async def weighed(bulk: Bulk):
            sizes.append(sum(map(len, bulk.states)))
            return await enqueue_bulk(bulk)

        store.enqueue_bulk = weighed
        text = "x" * (MOST_BYTES // 3)
        jobs = await runtime.submit_many(length, [text] * 7)
        assert len(sizes) == 3
        assert max(sizes) < MOST_BYTES + len(text) + 99
        assert (await jobs[6].result()).unwrap() == str(len(text))


@pytest.mark.parametrize("index", [0, 3, MOST, MOST + 3])
async def test_those_before_a_bad_state_are_accepted_and_none_behind_it(make_runtime, index):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        states = [*range(index), math.nan, *range(MOST)]
        with pytest.raises(ValidationError) as caught:
            await runtime.submit_many(plus_one, states)
        assert caught.value.message.startswith(f"states[{index}]: NaN at $")
        assert caught.value.message.endswith(f"({index} jobs before it were accepted)")
        assert (caught.value.context["index"], caught.value.context["accepted"]) == (index, index)
        assert await counted(runtime, "plus_one") == index


async def test_those_before_one_that_the_store_refuses_are_accepted_and_none_behind_it(make_runtime):
    most = MOST + 3
    async with make_runtime() as runtime:
        runtime.register(bounded)
        await runtime.pause(bounded)
        with pytest.raises(ResourceError) as caught:
            await runtime.submit_many(bounded, range(3 * MOST))
        assert caught.value.message.startswith(
            f"states[{most}]: {most} jobs wait for 'bounded', the limit is"
        )
        assert caught.value.context["accepted"] == most
        assert (await runtime.get_queue_stats())["bounded"].paused == most


async def test_a_step_that_the_store_does_not_take_is_named(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        store, steps = runtime.node.store, 0
        enqueue_bulk = store.enqueue_bulk

        async def refuses_the_second(bulk: Bulk):
            nonlocal steps
            steps += 1
            if steps == 2:
                raise UnknownOutcomeError("the connection is lost", context={"why": "test"})
            return await enqueue_bulk(bulk)

        store.enqueue_bulk = refuses_the_second
        with pytest.raises(UnknownOutcomeError) as caught:
            await runtime.submit_many(plus_one, range(5 * MOST))
        told = f"states[{MOST}] to states[{2 * MOST - 1}]: the connection is lost"
        assert caught.value.message.startswith(told)
        assert caught.value.context == {"why": "test", "index": MOST, "accepted": MOST}
        assert steps == 2
        assert await counted(runtime, "plus_one") == MOST


async def test_a_refusal_of_what_was_sent_before_is_no_verdict(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)

        async def refuses(bulk: Bulk):
            raise ResourceError("its memory is full", context={"in_doubt": True})

        runtime.node.store.enqueue_bulk = refuses
        with pytest.raises(UnknownOutcomeError, match=r"^states\[0\] to states\[1\]: they may have been"):
            await runtime.submit_many(plus_one, range(2))


async def test_what_the_states_raise_is_raised_when_those_before_it_are_accepted(make_runtime):
    def some() -> Iterator[int]:
        yield from range(MOST + 3)
        raise LookupError("the file ends here")

    async with make_runtime() as runtime:
        runtime.register(plus_one)
        with pytest.raises(LookupError, match="the file ends here") as caught:
            await runtime.submit_many(plus_one, some())
        assert f"{MOST + 3} jobs, has been accepted" in caught.value.__notes__[0]
        assert await counted(runtime, "plus_one") == MOST + 3


@dataclass(frozen=True)
class _OutOfStockError(AM2ZError):
    """One of a user's own: it is made, and can be changed, in no way but its own."""

    item: str


@pytest.mark.parametrize("raiser", ["states", "job_ids"])
async def test_what_the_states_raise_is_raised_as_it_is_whatever_it_is(make_runtime, raiser):
    raised = _OutOfStockError("apples")

    def some() -> Iterator[str]:
        yield from map(str, range(5))
        raise raised

    states = map(int, some()) if raiser == "states" else range(9)
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        with pytest.raises(_OutOfStockError) as caught:
            ids = some() if raiser == "job_ids" else None
            await runtime.submit_many(plus_one, states, job_ids=ids)
        assert caught.value is raised
        assert await counted(runtime, "plus_one") == 5


async def test_what_is_wrong_for_all_of_them_is_said_before_any_state_is_read(make_runtime):
    read = list[int]()

    def numbers() -> Iterator[int]:
        read.append(1)
        yield 1

    async with make_runtime() as runtime:
        runtime.register(plus_one)
        with pytest.raises(ConfigurationError, match=r"options\.wait_for_worker=5.*must be None"):
            await runtime.submit_many(plus_one, numbers(), options=JobOptions(wait_for_worker=5))
        with pytest.raises(ConfigurationError, match="session="):
            await runtime.submit_many(plus_one, numbers(), session="")
        with pytest.raises(ConfigurationError, match="total_timeout=0"):
            await runtime.submit_many(plus_one, numbers(), total_timeout=0)
        assert read == []


async def test_with_ids_that_were_chosen_all_may_be_asked_for_again(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        ids = [f"order-{n}" for n in range(MOST + 5)]
        for _ in range(2):
            jobs = await runtime.submit_many(plus_one, range(len(ids)), session="alice", job_ids=iter(ids))
            assert jobs[7].id == "@alice/order-7"
            assert [(await job.result()).unwrap() for job in jobs[-3:]] == [MOST + 3, MOST + 4, MOST + 5]
        assert await counted(runtime, "plus_one") == len(ids)
        with pytest.raises(ConfigurationError, match=r"states\[1\]: .*another input") as caught:
            await runtime.submit_many(plus_one, [0, 5], session="alice", job_ids=ids[:2])
        assert caught.value.context["accepted"] == 1


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (["a", "b"], r"states\[2\]: job_ids: must be as many as the states"),
        (["a", "b", "c", "d"], r"states\[3\]: job_ids: must be as many as the states"),
        (["a", "x/y", "c"], r"states\[1\]: job_id='x/y'"),
        (["a", 5, "c"], r"states\[1\]: job_id=5"),
        (["a", "b", f"{'0' * 19}-1"], r"states\[2\]: job_id='0+-1': must not be an id that the engine"),
    ],
)
async def test_an_id_that_cannot_be_one_is_named(make_runtime, ids, told):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        with pytest.raises(ConfigurationError, match=told) as caught:
            await runtime.submit_many(plus_one, range(3), job_ids=ids)
        assert await counted(runtime, "plus_one") == caught.value.context["accepted"]


async def test_without_a_state_they_work_on_that_of_their_session(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        with pytest.raises(ConfigurationError, match=r"states\[0\]: it is neither a state nor"):
            await runtime.submit_many(plus_one, [None])
        await runtime.state.set("alice", 1)
        jobs = await runtime.submit_many(plus_one, [None, None, 5, None], session="alice")
        assert len(jobs) == 4
        assert (await jobs[2].result()).unwrap() == 6
        for job in jobs:
            (await job.result()).unwrap()
        assert (await runtime.state.get("alice")).version == 5


async def test_a_job_that_is_asked_for_again_and_again_is_waited_for_once(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        await runtime.pause(plus_one)
        jobs = await runtime.submit_many(plus_one, [1, 2])
        for _ in range(5):
            # As who looks again now and then.
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(jobs[1].result)
                await until(lambda: len(runtime.node.in_flight))
                tasks.cancel_scope.cancel()
        assert len(runtime.node.in_flight._waiters.of(jobs[1].id)) == 1
        await runtime.resume(plus_one)
        assert (await jobs[1].result()).unwrap() == 3


async def test_cancelled_it_has_submitted_the_first_ones(make_runtime):
    ran = list[int]()

    @processor(queue=QueueOptions(concurrency=1))
    async def notes(n: int) -> int:
        ran.append(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(notes)
        scope = anyio.CancelScope()

        def numbers() -> Iterator[int]:
            for n in range(10 * MOST):
                if n == 3 * MOST + 9:
                    scope.cancel()
                yield n

        with scope:
            await runtime.submit_many(notes, numbers())
        assert scope.cancelled_caught
        accepted = await counted(runtime, "notes")
        assert 2 * MOST <= accepted <= 4 * MOST
        while (await runtime.get_queue_stats())["notes"].completed < accepted:
            await anyio.sleep(0.01)
        assert ran == [*range(accepted)]


async def test_leaving_a_session_waits_for_those_that_it_has_submitted(make_runtime):
    gate, ran = anyio.Event(), list[int]()

    @processor
    async def waits(n: int) -> int:
        await gate.wait()
        ran.append(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(waits)
        async with anyio.create_task_group() as tasks:

            async def visit() -> None:
                async with runtime.session("alice") as session:
                    assert len(await session.submit_many(waits, range(30))) == 30
                assert sorted(ran) == [*range(30)]

            tasks.start_soon(visit)
            await anyio.wait_all_tasks_blocked()
            assert ran == []
            gate.set()


async def test_leaving_a_session_waits_for_those_that_are_submitted_meanwhile(make_runtime):
    gates, ended = [anyio.Event(), anyio.Event()], list[int]()

    @processor
    async def waits(n: int) -> int:
        await gates[n].wait()
        ended.append(n)
        return n

    async with make_runtime() as runtime:
        runtime.register(waits)
        async with anyio.create_task_group() as tasks:
            sessions, left = list[Session](), anyio.Event()

            async def visit() -> None:
                async with runtime.session("alice") as session:
                    await session.submit(waits, 0)
                    sessions.append(session)
                assert ended == [0, 1]
                left.set()

            tasks.start_soon(visit)
            await until(lambda: sessions)
            await sessions[0].submit_many(waits, [1])
            gates[0].set()
            await until(lambda: left.is_set() or ended == [0])
            gates[1].set()


async def test_a_session_that_is_being_stopped_takes_none(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        await runtime.pause(plus_one)
        jobs = await runtime.submit_many(plus_one, [1, 2], session="alice")
        store = runtime.node.store
        await store.stop_session("alice", running=False, refuse=60.0)
        with pytest.raises(SessionStoppedError, match=r"^states\[0\]: session 'alice' is being stopped"):
            await runtime.submit_many(plus_one, [1, 2], session="alice")
        assert (await jobs[0].result()).error.code == SessionStoppedError.code


def bulk(first: int, many: int, chosen: list[str] | None = None) -> Bulk:
    like = Enqueue(spec=JobSpec(WIRE_VERSION, "", "q", "", NO_STATE, ""), queue="q")
    return Bulk(like=like, states=[b""] * many, prefix="p-", first=first, chosen=chosen or [])


def test_ids_that_follow_each_other_are_kept_as_one():
    ids = Ids()
    for given, many in ((bulk(1, 10), 10), (bulk(11, 10), 10), (bulk(30, 5), 2), (bulk(40, 0), 0)):
        ids.add(given, many)
    assert [*ids] == [f"p-{n:x}" for n in (*range(1, 21), 30, 31)]
    assert len(ids._runs) == 2
    ids.add(bulk(0, 3, ["a", "b", "c"]), 2)
    ids.add(bulk(0, 1, ["d"]), 1)
    assert ids[-4:] == ["p-1f", "a", "b", "d"]
    assert "a" in ids
    assert "c" not in ids
