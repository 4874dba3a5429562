"""How a caller hears of a job's outcome: late, twice, or too large for a message."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from am2z_trio import JobCancelledError, processor
from am2z_trio.model.records import Settled

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
                runtime.node.on_message(cancelled("j"))
                await runtime.node.store.ping()
            go_on.set()
            assert (await job.result()).unwrap() == 7


async def test_an_outcome_that_comes_before_the_answer_of_its_submission_is_heard(make_runtime):
    @processor
    async def wait(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(wait)
        enqueue = runtime.node.store.enqueue

        async def enqueue_slowly(jobs):
            answers = await enqueue(jobs)
            for request in jobs:
                await runtime.node.store.cancel(request.spec.id, "over")
            await runtime.node.store.ping()
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            return answers

        runtime.node.store.enqueue = enqueue_slowly
        with anyio.fail_after(20):
            result = await runtime.execute(wait, 1, job_id="j")
            assert isinstance(result.error, JobCancelledError)
            assert isinstance((await runtime.execute(wait, 1)).error, JobCancelledError)
