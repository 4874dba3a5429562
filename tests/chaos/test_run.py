"""The chaos run in a small size, and what each of its crash points leads to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from am2z_trio import QueueRuntime
from tests.chaos.processes import Persistence, WorkerProcess
from tests.chaos.run import Plan, run
from tests.chaos.worker import POINTS, PROCESSORS
from tests.support.servers import RedisProcess

SEED = int(os.environ.get("AM2Z_SOAK_SEED", "1"))
DECISIVE = (
    "claim after-send",
    "claim after-answer",
    "code after-effect",
    "settle before-send",
    "settle after-send",
    "settle after-answer",
)


@pytest.mark.parametrize("persistence", ["always", "none"])
def test_whatever_breaks_every_caller_is_answered_and_no_effect_is_lost_or_doubled(
    persistence: Persistence, redis_server: RedisProcess
) -> None:
    plan = Plan(jobs=400, every=0.15, seed=SEED, persistence=persistence)
    report = anyio.run(run, plan, redis_server.binary, backend="trio")
    assert report.wrong == [], "\n".join(report.lines())
    unknown = report.errors["UnknownOutcomeError"] if plan.forgets else 0
    assert (report.completed + unknown, report.unanswered) == (400, 0)
    assert sum(report.faults.values()) >= 3, report.faults


@pytest.mark.trio
async def test_wherever_a_worker_dies_its_job_has_one_effect(redis_url: str, tmp_path: Path) -> None:
    """Each point has a namespace of its own: a worker that dies there, then one that does not."""
    assert {*DECISIVE} <= {*POINTS}
    workers: list[WorkerProcess] = []
    states: dict[str, list[str] | None] = {}

    async def die_at(point: str) -> None:
        prefix = point.replace(" ", "-")
        async with QueueRuntime(redis_url, workers=False, prefix=prefix) as client:
            client.register(*PROCESSORS)
            doomed = WorkerProcess(
                redis_url, tmp_path / f"{prefix}-1", crash=f"{point} 1", options={"prefix": prefix}
            )
            workers.append(doomed)
            async with anyio.create_task_group() as tasks:

                async def call() -> None:
                    result = await client.execute("effect", ["it"], session="s")
                    assert result.unwrap() == ["it"]
                    found = await client.state.get("s", list[str])
                    states[point] = None if found is None else found.state

                tasks.start_soon(call)
                while doomed.alive:
                    await anyio.sleep(0.02)
                assert doomed.status == -signal.SIGKILL, doomed.log.read_text()
                workers.append(WorkerProcess(redis_url, tmp_path / f"{prefix}-2", options={"prefix": prefix}))

    try:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for point in DECISIVE:
                    tasks.start_soon(die_at, point)
    finally:
        for worker in workers:
            worker.kill()
    assert states == {point: ["it"] for point in DECISIVE}
