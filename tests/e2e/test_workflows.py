"""Compositions, limits and poison over several processes that are killed."""

from __future__ import annotations

import signal
from pathlib import Path

import anyio
import pytest

from am2z_trio import Job, JobStalledError, QueueRuntime
from am2z_trio.model.events import Event
from am2z_trio.testing.events import expect_event
from tests.support.waiting import PATIENCE, until

from .served import POISON, STEPS

pytestmark = pytest.mark.trio


@pytest.mark.parametrize("name", ["stairs", "count_up"])
async def test_a_workflow_whose_worker_is_killed_at_every_step_goes_on_there(
    redis_url, processes, tmp_path: Path, name: str
):
    worker = processes.worker(target="served:stairs")
    async with QueueRuntime(redis_url, workers=False) as client:
        job: Job[list[int]] = await client.submit(name, [], session="s")
        for number in range(STEPS):
            await until((tmp_path / f"step-{number}-run-1").exists, "the step to run")
            worker.signal(signal.SIGKILL)
            worker.process.wait()
            worker = processes.worker(target="served:stairs")
        with anyio.fail_after(PATIENCE):
            result = await job.result()
        left = await client.state.get("s")
    assert result.unwrap() == [*range(STEPS)]
    # Every step was killed once and then completed; none ran again after that.
    runs = sorted(path.name for path in tmp_path.glob("step-*"))
    assert runs == sorted(f"step-{number}-run-{run}" for number in range(STEPS) for run in (1, 2))
    # One effect each, in order, and one of the workflow itself.
    assert left is not None
    assert left.version == STEPS + 1
    if name == "count_up":
        assert left.state == [*range(STEPS + 1)]


async def test_a_rate_limit_holds_over_three_processes(redis_url, processes):
    for _ in range(3):
        processes.worker(target="served:limits")
    starts: list[Event] = []
    async with QueueRuntime(redis_url, workers=False) as client:
        client.on("job:started", starts.append)
        with anyio.fail_after(PATIENCE):
            results = await client.execute_many("limited", range(550))
            await until(lambda: len(starts) >= 550)
    assert [result.unwrap() for result in results] == [*range(550)]
    assert len({event.node for event in starts}) == 3
    # By the clock of Redis: no second sees more than 50.
    times = [event.at for event in starts]
    assert times == sorted(times)
    assert min(last - first for first, last in zip(times, times[50:], strict=False)) >= 1000
    assert times[-1] - times[0] >= 10_000


async def test_a_poison_job_ends_as_a_dead_letter_and_takes_no_other_with_it(
    redis_url, processes, tmp_path: Path
):
    async with QueueRuntime(redis_url, workers=False) as client:
        async with (
            expect_event(client, "job:dead", timeout=PATIENCE) as dead,
            anyio.create_task_group() as tasks,
        ):
            worker = processes.worker(target="served:poisoned", serving=False)

            async def supervise() -> None:
                nonlocal worker
                while True:
                    await anyio.to_thread.run_sync(worker.process.wait, abandon_on_cancel=True)
                    worker = processes.worker(target="served:poisoned", serving=False)

            tasks.start_soon(supervise)
            with anyio.fail_after(PATIENCE):
                while "handle" not in await client.sync_processors():
                    await anyio.sleep(0.01)
                results = await client.execute_many("handle", range(40))
            await dead.wait()
            tasks.cancel_scope.cancel()
        (letter,) = await client.dead_letters.list("handle")
        assert (letter.state, letter.stalls) == (POISON, 4)
        assert isinstance(letter.error, JobStalledError)
        stats = (await client.get_queue_stats())["handle"]
        assert (stats.waiting, stats.active, stats.delayed, stats.completed) == (0, 0, 0, 39)
    error = results.pop(POISON).error
    assert isinstance(error, JobStalledError)
    assert [result.unwrap() for result in results] == [-n for n in range(40) if n != POISON]
    assert {path.name for path in tmp_path.glob(f"handle-{POISON}-*")} == {
        f"handle-{POISON}-run-{run}" for run in (1, 2, 3, 4)
    }
