"""Two versions of one program, as processes on one Redis."""

from __future__ import annotations

import signal

import anyio
import pytest

from am2z_trio import Job, QueueRuntime
from tests.e2e.conftest import Process, Processes
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

OLD, NEW = "basket_v1:runtime", "basket_v2:runtime"


async def ended(worker: Process) -> None:
    worker.signal(signal.SIGTERM)
    await until(worker.ended, "the worker to end")


async def put_in(client: QueueRuntime, session: str, state: object = None) -> object:
    with anyio.fail_after(PATIENCE):
        result = await client.execute("put-in", state, session=session)
    assert result.metadata.attempt == 1
    return result.unwrap()


async def test_a_renamed_field_is_found_by_the_jobs_and_states_of_before(processes: Processes):
    old = processes.worker(target=OLD)
    async with QueueRuntime(processes.url, workers=False) as client:
        assert await put_in(client, "alice", {"lines": 1}) == {"lines": 2}
        await client.pause("put-in")
        waiting = await client.submit("put-in", {"lines": 5})
        await ended(old)
        processes.worker(target=NEW)
        await client.resume("put-in")
        with anyio.fail_after(PATIENCE):
            result = await waiting.result()
        assert result.unwrap() == {"items": 6, "notes": ["of version 1", "item 6"]}
        assert await put_in(client, "alice") == {"items": 3, "notes": ["of version 1", "item 3"]}


async def test_in_a_rolling_deployment_nothing_that_the_new_nodes_wrote_is_dropped_by_the_old_ones(
    processes: Processes,
):
    old = processes.worker(target=OLD)
    sessions = [f"s{n}" for n in range(8)]
    async with QueueRuntime(processes.url, workers=False) as client:
        for session in sessions:
            await put_in(client, session, {"lines": 0})
        processes.worker(target=NEW)
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for session in sessions:
                    tasks.start_soon(put_in, client, session)
        await ended(old)
        for session in sessions:
            basket = await put_in(client, session)
            assert isinstance(basket, dict)
            assert basket["items"] == 4
            # Once a new node had the state, no old one has put it back.
            assert basket["notes"] == [
                "of version 1",
                *[f"item {n}" for n in range(6 - len(basket["notes"]), 5)],
            ]


async def test_after_a_rollback_what_is_newer_waits_for_the_next_deployment(processes: Processes):
    new = processes.worker(target=NEW)
    async with QueueRuntime(processes.url, workers=False) as client:
        basket = {"items": 2, "notes": ["of version 1", "item 2"]}
        assert await put_in(client, "alice", {"lines": 1}) == basket
        await ended(new)
        old = processes.worker(target=OLD)
        job: Job[object] = await client.submit("put-in", None, session="alice")
        with anyio.fail_after(PATIENCE):
            while "it is left to a newer node" not in (await client.explain(job.id)).verdict:
                await anyio.sleep(0.05)
        # What is of the older version goes on meanwhile.
        assert await put_in(client, "bob", {"lines": 1}) == {"lines": 2}
        stored = await client.state.get("alice")
        assert stored is not None
        assert stored.state == basket
        assert old.said("jobs of put-in are left to newer nodes: a state of version 2")
        processes.worker(target=NEW)
        with anyio.fail_after(PATIENCE):
            result = await job.result()
        assert result.unwrap() == {"items": 3, "notes": ["of version 1", "item 2", "item 3"]}
        assert (result.metadata.attempt, result.metadata.earlier_errors) == (1, [])
