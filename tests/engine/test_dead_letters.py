"""Dead letters: what has failed for good is looked at, retried and dropped; what is kept, and how long."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest
import trio
import trio.testing

from am2z_trio import (
    ConfigurationError,
    JobNotFoundError,
    JobOptions,
    LocalRuntime,
    ProcessorExecutionError,
    QueueOptions,
    Retention,
    RetryPolicy,
    StepFailedError,
    chain,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime

on_both_hosts = pytest.mark.anyio


class Order(msgspec.Struct, frozen=True):
    item: str
    count: int = 1


@processor(name="ship", retry=RetryPolicy(max_attempts=2, backoff=0))
async def broken_ship(order: Order) -> Order:
    try:
        raise OSError("no lorry")
    except OSError as error:
        raise RuntimeError(f"cannot ship {order.item}") from error


@processor(name="ship")
async def working_ship(order: Order) -> Order:
    return msgspec.structs.replace(order, count=order.count + 1)


async def fail_some(runtime: Runtime, *items: str, session: str | None = None) -> list[str]:
    """Ids of failed jobs, in the order in which they failed."""
    runtime.register(broken_ship)
    ids: list[str] = []
    for item in items:
        result = await runtime.execute(broken_ship, Order(item), session=session)
        assert not result.success
        ids.append(result.metadata.job_id)
        # Dead letters are in the order of the millisecond in which they go.
        await anyio.sleep(0.002)
    return ids


@on_both_hosts
async def test_a_dead_letter_says_what_failed_and_why(make_runtime):
    began = datetime.now(UTC) - timedelta(seconds=1)
    async with make_runtime() as runtime:
        (job_id,) = await fail_some(runtime, "chair", session="alice")
        letter = await runtime.dead_letters.show(job_id)
        stats = (await runtime.get_queue_stats())["ship"]
    assert (letter.job_id, letter.processor, letter.session_id) == (job_id, "ship", "alice")
    assert letter.state == {"item": "chair", "count": 1}
    assert (letter.attempts, letter.stalls) == (2, 0)
    assert isinstance(letter.error, ProcessorExecutionError)
    assert "cannot ship chair" in letter.error.message
    assert "OSError: no lorry" in letter.error.remote_traceback
    assert [type(error) for error in letter.earlier_errors] == [ProcessorExecutionError]
    assert began < letter.failed_at < datetime.now(UTC) + timedelta(seconds=1)
    assert (stats.failed, stats.dead) == (1, 1)


@on_both_hosts
async def test_they_are_listed_by_page_the_newest_first(make_runtime):
    async with make_runtime() as runtime:
        ids = await fail_some(runtime, "a", "b", "c", "d", "e")
        letters = runtime.dead_letters
        assert await letters.count("ship") == 5
        assert [letter.job_id for letter in await letters.list("ship")] == ids[::-1]
        page = await letters.list(broken_ship, offset=1, limit=2)
        assert [letter.state["item"] for letter in page] == ["d", "c"]
        assert await letters.list("ship", offset=5) == []
        assert await letters.list("nobody") == []


@on_both_hosts
async def test_one_is_retried_as_if_it_had_just_come(make_runtime):
    async with make_runtime() as runtime:
        ids = await fail_some(runtime, "chair", "table", session="alice")
        runtime.register(working_ship)
        await runtime.dead_letters.retry(ids[0])
        # Its outcome is its old caller's no more; whoever asks for the id hears the new one.
        result = await runtime.execute(working_ship, Order("?"), job_id=ids[0], session="alice")
        assert result.unwrap() == Order("chair", 2)
        assert result.metadata.attempt == 1
        state = await runtime.state.get("alice", Order)
        assert (state.state, state.version) == (Order("chair", 2), 1)
        assert [letter.job_id for letter in await runtime.dead_letters.list("ship")] == [ids[1]]
        # Asked for once more, it is none any more.
        with pytest.raises(JobNotFoundError):
            await runtime.dead_letters.retry(ids[0])
        assert (await runtime.state.get("alice", Order)).version == 1
        with pytest.raises(JobNotFoundError):
            await runtime.dead_letters.show(ids[0])
        with pytest.raises(JobNotFoundError, match="no dead letter"):
            await runtime.dead_letters.retry("nobody")


@on_both_hosts
async def test_one_that_fails_again_is_a_dead_letter_again(make_runtime):
    async with make_runtime() as runtime:
        (job_id,) = await fail_some(runtime, "chair")
        async with runtime.events("job:dead") as stream:
            await runtime.dead_letters.retry(job_id)
            with anyio.fail_after(10):
                event = await stream.next()
        assert event.job == job_id
        letter = await runtime.dead_letters.show(job_id)
        assert letter.attempts == 2


@on_both_hosts
async def test_all_or_some_are_retried_or_dropped(make_runtime):
    async with make_runtime() as runtime:
        await fail_some(runtime, "a", "b", "c", "d")
        letters = runtime.dead_letters
        assert await letters.drop_all("ship", where=lambda letter: letter.state["item"] in "ab") == 2
        runtime.register(working_ship)
        async with runtime.events("job:completed") as stream:
            assert await letters.retry_all("ship", where=lambda letter: letter.state["item"] == "c") == 1
            with anyio.fail_after(10):
                await stream.next()
        (left,) = await letters.list("ship")
        assert left.state["item"] == "d"
        await letters.drop(left.job_id)
        assert await letters.count("ship") == 0
        with pytest.raises(JobNotFoundError):
            await letters.drop(left.job_id)
        assert await letters.retry_all("ship") == await letters.drop_all("ship") == 0


@on_both_hosts
async def test_more_than_a_page_is_retried(make_runtime):
    @processor(name="some", queue=QueueOptions(concurrency=50))
    async def fails(n: int) -> int:
        raise ValueError(n)

    @processor(name="some", queue=QueueOptions(concurrency=50))
    async def works(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(fails)
        results = await runtime.execute_many(fails, range(250))
        runtime.register(works)
        assert await runtime.dead_letters.retry_all("some") == 250
        ids = [result.metadata.job_id for result in results]
        again = [await runtime.execute(works, 0, job_id=id) for id in ids]
        assert [result.unwrap() for result in again] == list(range(250))


@on_both_hosts
async def test_a_compositions_failure_is_one_dead_letter(make_runtime):
    shipping = chain("shipping", [working_ship, chain("inner", [broken := _named(broken_ship, "broken")])])
    async with make_runtime() as runtime:
        runtime.register(shipping)
        assert not (await runtime.execute(shipping, Order("chair"))).success
        (letter,) = await runtime.dead_letters.list(shipping)
        assert await runtime.dead_letters.count(broken) == 0
    assert isinstance(letter.error, StepFailedError)
    assert (letter.error.failed, letter.error.completed) == ("inner", ["ship"])
    assert letter.error.partial_state == {"item": "chair", "count": 2}
    (inner,) = letter.error.causes
    assert isinstance(inner, StepFailedError)
    assert isinstance(inner.causes[0], ProcessorExecutionError)


def _named(template: Any, name: str) -> Any:
    return processor(name=name)(template.fn)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"offset": -1}, "offset=-1"),
        ({"limit": 0}, "limit=0"),
        ({"limit": 10_000}, "from 1 to 1000"),
    ],
)
@on_both_hosts
async def test_bad_pages_are_refused(make_runtime, options, words):
    async with make_runtime() as runtime:
        with pytest.raises(ConfigurationError, match=words):
            await runtime.dead_letters.list("ship", **options)


@pytest.mark.parametrize("seconds", [sys.maxsize, 1e12, 101 * 365 * 24 * 3600])
@pytest.mark.parametrize(
    "make",
    [
        lambda seconds: Retention(age=seconds),
        lambda seconds: JobOptions(delay=seconds),
        lambda seconds: JobOptions(backoff=seconds),
        lambda seconds: RetryPolicy(max_backoff=seconds),
    ],
    ids=["age", "delay", "backoff", "most backoff"],
)
def test_times_that_no_store_can_keep_are_refused_at_once(make, seconds):
    with pytest.raises(ConfigurationError, match="100 years"):
        make(seconds)
    # The longest that may be asked for.
    make(100 * 365 * 24 * 3600)


@on_both_hosts
async def test_the_longest_times_are_kept(make_runtime):
    longest = 100 * 365 * 24 * 3600
    options = JobOptions(remove_on_complete=Retention(age=longest), remove_on_fail=Retention(age=longest))
    async with make_runtime() as runtime:
        (failed,) = await fail_some(runtime, "chair")
        runtime.register(working_ship)
        with anyio.fail_after(20):
            result = await runtime.execute(working_ship, Order("table"), options=options)
            assert result.unwrap() == Order("table", 2)
            job = await runtime.submit(
                working_ship, Order("bed"), options=JobOptions(delay=longest, debounce="bed")
            )
            assert await job.status() == "delayed"
            assert await job.cancel()
            runtime.register(broken_ship)
            result = await runtime.execute(broken_ship, Order("lamp"), options=options)
        letters = await runtime.dead_letters.list("ship")
        assert {letter.job_id for letter in letters} == {failed, result.metadata.job_id}


@on_both_hosts
async def test_one_larger_than_states_usually_are_is_looked_at_like_any_other(make_runtime):
    big = Order("x" * (2 * 1024 * 1024))
    async with make_runtime(max_state_bytes=8 * 1024 * 1024) as runtime:
        (small_id, big_id) = await fail_some(runtime, "chair", big.item)
        letters = runtime.dead_letters
        assert [letter.job_id for letter in await letters.list("ship")] == [big_id, small_id]
        assert (await letters.show(big_id)).state == {"item": big.item, "count": 1}
        runtime.register(working_ship)
        assert await letters.retry_all("ship", where=lambda letter: letter.state["item"] == big.item) == 1
        with anyio.fail_after(20):
            result = await runtime.execute(working_ship, Order("?"), job_id=big_id)
        assert result.unwrap() == Order(big.item, 2)
        await fail_some(runtime, big.item)
        (newest, _) = await letters.list("ship")
        await letters.drop(newest.job_id)
        assert await letters.drop_all("ship", where=lambda letter: len(letter.state["item"]) < 10) == 1
        assert await letters.count("ship") == 0


# --- how long records are kept: in virtual time ---------------------------------------------------


@processor
async def fail(n: int) -> int:
    raise ValueError(n)


@processor
async def succeed(n: int) -> int:
    return n


async def left_after(
    clock: trio.testing.MockClock, seconds: float, options: JobOptions | None
) -> tuple[int, int, int]:
    """Of 5 jobs that fail and 5 that complete: dead letters, and records of each that are left then."""
    async with LocalRuntime(result_ttl=3600) as runtime:
        runtime.register(fail, succeed)
        failed, completed = [], []
        for n in range(5):
            failed.append(await runtime.submit(fail, n, options=options))
            completed.append(await runtime.submit(succeed, n, options=options))
            await failed[-1].result()
            await completed[-1].result()
            await trio.sleep(0.01)
        clock.jump(seconds)
        left = [await runtime.node.store.view([job.id for job in jobs]) for jobs in (failed, completed)]
        dead = await runtime.dead_letters.count(fail)
        return dead, sum(view is not None for view in left[0]), sum(view is not None for view in left[1])


DAY = 24 * 3600


@pytest.mark.trio
@pytest.mark.parametrize(
    ("options", "seconds", "expected"),
    [
        # Usual: an hour for outcomes, a week for dead letters.
        (None, 3500, (5, 5, 5)),
        (None, 3700, (5, 5, 0)),
        (None, 8 * DAY, (0, 0, 0)),
        # A number.
        (JobOptions(remove_on_fail=2, remove_on_complete=1), 50, (2, 5, 5)),
        (JobOptions(remove_on_fail=2, remove_on_complete=1), 70, (2, 2, 1)),
        # At once, which is a minute.
        (JobOptions(remove_on_fail=True, remove_on_complete=True), 50, (5, 5, 5)),
        (JobOptions(remove_on_fail=True, remove_on_complete=True), 70, (0, 0, 0)),
        # By age.
        (JobOptions(remove_on_fail=Retention(age=300)), 290, (5, 5, 5)),
        (JobOptions(remove_on_fail=Retention(age=300)), 310, (0, 0, 5)),
        (JobOptions(remove_on_complete=Retention(age=2 * DAY)), DAY, (5, 5, 5)),
        # By both.
        (JobOptions(remove_on_fail=Retention(age=300, count=1)), 200, (1, 1, 5)),
        (JobOptions(remove_on_fail=False, remove_on_complete=False), 3700, (5, 5, 0)),
    ],
)
async def test_records_are_kept_as_the_options_say(autojump_clock, options, seconds, expected):
    assert await left_after(autojump_clock, seconds, options) == expected


@pytest.mark.trio
async def test_a_queue_may_have_its_own_retention(autojump_clock):
    @processor(queue=QueueOptions(default_job_options=JobOptions(remove_on_fail=1)))
    async def fails(n: int) -> int:
        raise ValueError(n)

    async with LocalRuntime() as runtime:
        runtime.register(fails)
        for n in range(3):
            await runtime.execute(fails, n)
            await trio.sleep(0.01)
        (letter,) = await runtime.dead_letters.list(fails)
        assert letter.state == 2


@pytest.mark.trio
async def test_an_id_that_is_used_again_is_no_dead_letter_any_more(autojump_clock):
    gone_in_a_minute = JobOptions(remove_on_fail=True)
    async with LocalRuntime() as runtime:
        runtime.register(fail)
        assert not (await runtime.execute(fail, 1, job_id="nightly", options=gone_in_a_minute)).success
        # Its record is gone; whatever is left of it must not harm the next one.
        autojump_clock.jump(61)
        await runtime.pause(fail)
        job = await runtime.submit(fail, 2, job_id="nightly", options=gone_in_a_minute)
        with pytest.raises(JobNotFoundError):
            await runtime.dead_letters.show("nightly")
        for ask in (runtime.dead_letters.drop, runtime.dead_letters.retry):
            with pytest.raises(JobNotFoundError):
                await ask("nightly")
        assert await runtime.dead_letters.drop_all(fail) == 0
        assert await job.status() == "waiting"

        @processor(name="fail")
        async def works(n: int) -> int:
            return -n

        runtime.register(works)
        await runtime.resume(works)
        with trio.fail_after(60):
            assert (await job.result()).unwrap() == -2


@pytest.mark.trio
@pytest.mark.parametrize("days", [0, 0.1, 2, 6.9])
async def test_a_dead_workflow_that_is_retried_runs_no_step_again_that_had_completed(autojump_clock, days):
    ran: list[str] = []
    lorry = False

    @processor
    async def charge(n: int) -> int:
        ran.append("charge")
        return n + 1

    @processor(queue=QueueOptions(default_job_options=JobOptions(remove_on_complete=True)))
    async def pack(n: int) -> int:
        ran.append("pack")
        return n + 1

    @processor
    async def ship(n: int) -> int:
        ran.append("ship")
        if not lorry:
            raise OSError("no lorry")
        return n + 1

    order = chain("order", [charge, pack, ship])
    async with LocalRuntime() as runtime:
        runtime.register(order)
        result = await runtime.execute(order, 1)
        assert isinstance(result.error, StepFailedError)
        lorry = True
        autojump_clock.jump(days * DAY)
        await trio.sleep(2)
        job_id = result.metadata.job_id
        await runtime.dead_letters.retry(job_id)
        assert (await runtime.execute(order, 0, job_id=job_id)).unwrap() == 4
    assert ran == ["charge", "pack", "ship", "ship"]
