"""Nodes of several processes: the tree over all of them, one that is frozen, and probes of one."""

from __future__ import annotations

import http.client
import re
import signal
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from am2z_trio import Job, QueueRuntime, UnknownOutcomeError
from am2z_trio.model.views.tree import NodeTree
from tests.e2e.conftest import Process, Processes
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def node_of(worker: Process) -> str:
    found = re.search(r"node (\S+) serves", worker.log.read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


async def trees(client: QueueRuntime) -> dict[str, NodeTree]:
    return {one.node: one for one in (await client.control.tree()).nodes}


async def test_the_tree_of_two_processes_is_seen_from_a_third_and_a_frozen_one_is_silent(
    processes: Processes, redis_url: str
):
    one = await anyio.to_thread.run_sync(processes.worker)
    other = await anyio.to_thread.run_sync(partial(processes.worker, target="served:freezes"))
    async with QueueRuntime(redis_url, workers=False) as client:
        jobs: list[Job[Any]] = [await client.submit("held", n) for n in range(3)]
        frozen: Job[Any] = await client.submit("first_hangs", [])
        found: dict[str, NodeTree] = {}

        async def running() -> int:
            found.clear()
            found.update(await trees(client))
            return sum(row.scope == "job" for tree in found.values() for row in tree.rows)

        with anyio.fail_after(60):
            while await running() != 4:
                await anyio.sleep(0.02)
        assert {*found} == {node_of(one), node_of(other)}
        holder = next(id for id, tree in found.items() if any(row.job == frozen.id for row in tree.rows))
        (process,) = (worker for worker in (one, other) if node_of(worker) == holder)
        stack = await client.control.stack(frozen)
        assert stack is not None
        assert stack.node == holder
        assert [frame.function for frame in stack.tasks[0].frames] == ["first_hangs"]
        known = {node.id: node for node in await client.control.nodes()}
        assert known[holder].pid == process.process.pid
        process.signal(signal.SIGSTOP)
        try:
            found = await trees(client)
            assert found[holder].silent
            assert found[holder].rows == []
            assert not any(tree.silent for id, tree in found.items() if id != holder)
            with pytest.raises(UnknownOutcomeError, match="is silent"):
                await client.control.drain_node(holder)
        finally:
            process.signal(signal.SIGCONT)
        with anyio.fail_after(60):
            while (await trees(client)).get(holder, NodeTree(node=holder, silent=True)).silent:
                await anyio.sleep(0.02)
        for job in (*jobs, frozen):
            await job.cancel("the test is over")


async def test_a_worker_that_listens_answers_probes_and_says_when_its_loop_is_stuck(
    processes: Processes, redis_url: str
):
    worker = await anyio.to_thread.run_sync(partial(processes.worker, "--listen", "127.0.0.1:0"))
    found = re.search(r"http://(\S+):(\d+)", worker.log.read_text(encoding="utf-8"))
    assert found is not None
    where = found[1], int(found[2])

    def status(path: str) -> int:
        connection = http.client.HTTPConnection(*where, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse().status
        connection.close()
        return answer

    assert await anyio.to_thread.run_sync(status, "/livez") == 200
    assert await anyio.to_thread.run_sync(status, "/readyz") == 200
    async with QueueRuntime(redis_url, workers=False) as client:
        job = await client.submit("deaf_plus_one", 1)
        # The loop is kept by the job; it does not answer.
        with anyio.fail_after(60):
            while await anyio.to_thread.run_sync(status, "/readyz") != 503:
                await anyio.sleep(0.02)
            while await anyio.to_thread.run_sync(status, "/livez") != 503:
                await anyio.sleep(0.1)
        (processes.directory / "go").touch()
        assert (await job.result()).unwrap() == 2
        with anyio.fail_after(60):
            while await anyio.to_thread.run_sync(status, "/livez") != 200:
                await anyio.sleep(0.02)
    worker.signal(signal.SIGTERM)
    await until(worker.ended, "the worker to end")
