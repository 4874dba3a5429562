"""How a caller hears of a job's outcome: late, twice, or too large for a message."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from am2z_trio import JobCancelledError, QueueOptions, QueueRuntime, UnknownOutcomeError, processor
from am2z_trio.model.records import Settled
from tests.engine.answering import answer_with

pytestmark = pytest.mark.anyio


def cancelled(job: str) -> Settled:
    """What the inbox said of a run that was cancelled."""
    return Settled(job, "cancelled", "its caller went away", msgspec.Raw(b"\xc0"))


async def test_the_late_outcome_of_an_earlier_run_is_not_taken_for_this_ones(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()

    @processor
    async def wait(n: int) -> int:
        running.set()
        await go_on.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(wait)
        with anyio.fail_after(20):
            job = await runtime.submit(wait, 7, job_id="j")
            await running.wait()
            for _ in range(3):
                runtime.node.inbox.on_message(cancelled("j"))
                await runtime.node.store.ping()
            go_on.set()
            assert (await job.result()).unwrap() == 7


@processor(queue=QueueOptions(concurrency=40))
async def echo(state: bytes) -> bytes:
    return state


async def test_large_states_of_many_jobs_come_and_go(make_runtime):
    """More than Redis lets a subscriber be behind (32 MB), all at once."""
    async with make_runtime() as runtime:
        runtime.register(echo)
        large = [bytes([n]) * 900_000 for n in range(40)]
        with anyio.fail_after(60):
            results = await runtime.execute_many(echo, large)
        assert [result.unwrap() == state for result, state in zip(results, large, strict=True)] == [True] * 40


async def test_large_outcomes_of_one_id_reach_all_who_wait(make_runtime):
    running, go_on = anyio.Event(), anyio.Event()

    @processor
    async def grow(text: str) -> str:
        running.set()
        await go_on.wait()
        return text * 100_000

    async with make_runtime() as one, make_runtime() as two:
        one.register(grow)
        with anyio.fail_after(20):
            jobs = [await one.submit(grow, "x", job_id="j")]
            await running.wait()
            if type(one).__name__ == "QueueRuntime":
                jobs.append(await two.submit("grow", "x", job_id="j"))
            go_on.set()
            assert {len((await job.result()).unwrap()) for job in jobs} == {100_000}


async def test_a_page_of_large_dead_letters_and_a_history_of_large_states(make_runtime):
    @processor(queue=QueueOptions(concurrency=40))
    async def fail(state: bytes) -> bytes:
        raise ValueError(len(state))

    async with make_runtime(state_history=40) as runtime:
        runtime.register(fail)
        large = [bytes([n]) * 900_000 for n in range(40)]
        with anyio.fail_after(60):
            await runtime.execute_many(fail, large)
            letters = await runtime.dead_letters.list(fail)
            assert {letter.state for letter in letters} == {*large}
            for state in large:
                await runtime.state.set("s", state)
            history = await runtime.state.history("s")
            assert len(history) == 40


async def test_an_outcome_that_the_server_does_not_hand_out_is_one_callers_error(spawn_redis):
    server = spawn_redis({"client-output-buffer-limit": "normal 2mb 2mb 1"})

    @processor
    async def grow(text: str) -> str:
        return text * 1_000_000

    async with QueueRuntime(server.url, max_state_bytes=20_000_000) as runtime:
        runtime.register(grow)
        with anyio.fail_after(30):
            large, small = await runtime.execute_many(grow, ["x" * 9, "x"])
            assert isinstance(large.error, UnknownOutcomeError)
            assert small.unwrap() == "x" * 1_000_000
            assert (await runtime.execute(grow, "y")).success
            assert (await runtime.connection.check_health()).healthy


async def test_an_outcome_that_comes_before_the_answer_of_its_submission_is_heard(make_runtime):
    @processor
    async def wait(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(wait)
        enqueue = runtime.node.store.enqueue

        async def enqueue_slowly(jobs, *at_rest):
            answers = await enqueue(jobs, *at_rest)
            for request in jobs:
                await runtime.node.store.cancel(request.spec.id, "over")
            await runtime.node.store.ping()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            return answers

        answer_with(runtime.node.store, "enqueue", enqueue_slowly)
        with anyio.fail_after(20):
            result = await runtime.execute(wait, 1, job_id="j")
            assert isinstance(result.error, JobCancelledError)
            assert isinstance((await runtime.execute(wait, 1)).error, JobCancelledError)
