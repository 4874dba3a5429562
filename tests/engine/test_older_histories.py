"""A server that comes back with an older history: from a snapshot, or as a replica that missed the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from am2z_trio import NoWorkerError, QueueOptions, QueueRuntime, processor
from am2z_trio.store.redis import keys
from tests.support.gates import Gate
from tests.support.servers import RedisProcess, SpawnRedis
from tests.support.waiting import until, wait_until

pytestmark = pytest.mark.anyio

NO_SAVES = {"save": "", "appendonly": "no"}


class Histories:
    """A server at one URL that can be made to forget what came after a mark."""

    def __init__(self, how: str, spawn_redis: SpawnRedis, directory: Path) -> None:
        self._how = how
        data = directory / "data"
        data.mkdir()
        self._link = directory / "redis.sock"
        if how == "snapshot":
            self._server = spawn_redis(NO_SAVES, data_dir=data)
            self._point(self._server)
        else:
            self._server = spawn_redis(NO_SAVES, tcp=True)
            self._replica = spawn_redis(NO_SAVES)
            self._replica.call("REPLICAOF", "127.0.0.1", self._server.port)
            self._point(self._server)
            wait_until(self._in_sync, "the replica to have everything")
        self.url = f"unix://{self._link}"

    def _point(self, server: RedisProcess) -> None:
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(server.socket)

    def _in_sync(self) -> bool:
        return bool(self._replica.call("INFO", "replication")["master_link_status"] == "up")

    def call(self, *command: Any) -> Any:
        return self._server.call(*command)

    def mark(self) -> None:
        """What comes from now on will be forgotten."""
        if self._how == "snapshot":
            self._server.call("SAVE")
            return
        wait_until(self._has_all, "the replica to have everything")
        self._replica.call("REPLICAOF", "NO", "ONE")

    def _has_all(self) -> bool:
        return bool(self._server.call("WAIT", 1, 1000) == 1)

    def go_back(self) -> None:
        if self._how == "snapshot":
            self._server.restart()
        else:
            self._point(self._replica)
            self._server.kill()
            self._server = self._replica


@pytest.fixture(params=["snapshot", "replica"])
def histories(request: pytest.FixtureRequest, spawn_redis: SpawnRedis, tmp_path: Path) -> Histories:
    return Histories(request.param, spawn_redis, tmp_path)


async def go_back(histories: Histories) -> None:
    await anyio.to_thread.run_sync(histories.go_back)


async def test_callers_of_what_was_forgotten_have_it_run_all_the_same(histories):
    gate = Gate(counts=True, queue=QueueOptions(concurrency=1))
    async with QueueRuntime(histories.url) as worker, QueueRuntime(histories.url, workers=False) as client:
        worker.register(gate.processor)
        await worker.sync_processors()
        first = await client.submit(gate.processor, 0, session="s0")
        await until(lambda: gate.runs == [0], "the first job to run")
        histories.mark()
        others = [await client.submit(gate.processor, n, session=f"s{n}") for n in (1, 2)]
        await go_back(histories)
        gate.go.set()
        with anyio.fail_after(30):
            results = [await job.result() for job in (first, *others)]
        assert [result.error for result in results] == [None] * 3
        for n in range(3):
            found = await client.state.get(f"s{n}", int)
            assert found is not None
            assert (found.state, found.version) == (1, 1)


async def test_a_job_that_was_granted_after_the_mark_runs_anew_and_ends_once(histories):
    gate = Gate(counts=True, queue=QueueOptions(concurrency=10))
    async with QueueRuntime(histories.url) as worker:
        worker.register(gate.processor)
        await worker.sync_processors()
        await worker.pause(gate.processor)
        job = await worker.submit(gate.processor, 0, session="s0")
        histories.mark()
        await worker.resume(gate.processor)
        await until(lambda: gate.runs == [0], "the job to run")
        await go_back(histories)
        # It waits again, paused, and whoever runs it runs it in vain.
        await until(lambda: len(gate.cancelled) == 1, "the run to be stopped")
        await worker.resume(gate.processor)
        await until(lambda: gate.runs == [0, 0], "the job to run anew")
        gate.go.set()
        with anyio.fail_after(30):
            assert (await job.result()).success
        assert histories.call("EXISTS", keys.spell("am2z", "active", worker.node_id)) == 0
        found = await worker.state.get("s0", int)
        assert found is not None
        assert (found.state, found.version) == (1, 1)


async def test_no_fencing_number_is_given_out_twice(histories):
    numbers: list[int] = []
    async with QueueRuntime(histories.url, workers=False) as client:

        async def take() -> None:
            async with client.state.lock("s") as lock:
                numbers.append(lock.fencing)

        await take()
        histories.mark()
        for _ in range(5):
            await take()
        await go_back(histories)
        for _ in range(3):
            await take()
    assert numbers == sorted(set(numbers))
    assert max(numbers) < 2**53


async def test_what_is_served_is_said_again_and_what_is_served_no_more(histories):
    @processor
    async def older(n: int) -> int:
        return n

    @processor
    async def newer(n: int) -> int:
        return n

    async with QueueRuntime(histories.url) as worker, QueueRuntime(histories.url, workers=False) as client:
        worker.register(older)
        await worker.sync_processors()
        histories.mark()
        worker.unregister(older)
        worker.register(newer)
        await worker.sync_processors()
        await go_back(histories)
        with anyio.fail_after(30):
            while [await workers(client, name) for name in ("older", "newer")] != [0, 1]:
                await anyio.sleep(0.01)
            assert (await client.execute("newer", 1)).unwrap() == 1
            # That it was unregistered is lost with the tail of the history, in which another may serve it.
            result = await client.execute("older", 1, wait_for_worker=0.1)
            assert isinstance(result.error, NoWorkerError)


async def workers(runtime: QueueRuntime, name: str) -> int | None:
    stats = (await runtime.get_queue_stats()).get(name)
    return stats.workers if stats else None
