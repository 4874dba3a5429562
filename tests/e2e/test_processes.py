"""Several processes, real signals: what survives, and that it happened once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import redis as redis_py
import trio

from am2z_trio import QueueRuntime
from am2z_trio.store import keys

pytestmark = pytest.mark.trio


async def until(condition: Callable[[], bool], what: str) -> None:
    with trio.move_on_after(30) as scope:
        while not condition():
            await trio.sleep(0.01)
    assert not scope.cancelled_caught, f"waited 30 s for {what}"


def one_key(redis_server, key: str) -> dict[bytes, bytes]:
    with redis_server.client() as admin:
        assert isinstance(admin, redis_py.Redis)
        return admin.hgetall(key)


async def test_a_client_and_a_worker_in_two_processes(redis_url, start_worker):
    start_worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        with trio.fail_after(60):
            results = await client.execute_many("double", range(1000))
    assert [result.unwrap() for result in results] == [2 * n for n in range(1000)]


async def test_a_killed_workers_job_runs_again_and_its_caller_hears(redis_url, start_worker, tmp_path: Path):
    doomed = start_worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        results = []

        async def call() -> None:
            results.append(await client.execute("first_hangs", [], session="once"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until((tmp_path / "started-1").exists, "the job to start")
            heir = start_worker()
            doomed.signal(signal.SIGKILL)
            await until(lambda: bool(results), "the result")
    assert results[0].unwrap() == ["attempt 1", "delivery 2", str(heir.process.pid)]


async def test_a_frozen_worker_cannot_write_any_more(redis_url, redis_server, start_worker, tmp_path: Path):
    frozen = start_worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        results = []

        async def call() -> None:
            results.append(await client.execute("slow_plus_one", 10, session="counter"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until((tmp_path / "started-1").exists, "the job to start")
            frozen.signal(signal.SIGSTOP)
            start_worker()
            await until(lambda: bool(results), "the result")
    assert results[0].unwrap() == 11
    (tmp_path / "go").touch()
    frozen.signal(signal.SIGCONT)
    # Its loop wakes, its tick learns that the lease is gone, and it serves again under a new one.
    await until(
        lambda: frozen.said("taken away") or frozen.said("lease") or served_again(redis_server),
        "the zombie to notice",
    )
    frozen.signal(signal.SIGTERM)
    await until(frozen.ended, "the zombie to leave")
    state = one_key(redis_server, keys.spell("am2z", "session", "counter"))
    assert state[b"version"] == b"1"
    assert msgspec.msgpack.decode(state[b"blob"]) == 11


def served_again(redis_server) -> bool:
    with redis_server.client() as admin:
        leases = admin.zrange(keys.spell("am2z", "nodes"), 0, -1, withscores=True)
    return len(leases) == 2 and all(lease > 0 for _, lease in leases)


async def test_the_first_signal_drains(redis_url, start_worker, tmp_path: Path):
    worker = start_worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        results = []

        async def call() -> None:
            results.append(await client.execute("slow_plus_one", 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until((tmp_path / "started-1").exists, "the job to start")
            worker.signal(signal.SIGTERM)
            await until(lambda: worker.said("draining"), "the worker to drain")
            (tmp_path / "go").touch()
            await until(lambda: bool(results), "the result")
            await until(worker.ended, "the worker to leave")
    assert results[0].unwrap() == 2
    assert worker.process.returncode == 0


async def test_the_second_signal_cancels_and_the_job_runs_elsewhere(redis_url, start_worker, tmp_path: Path):
    worker = start_worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        results = []

        async def call() -> None:
            results.append(await client.execute("first_hangs", []))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until((tmp_path / "started-1").exists, "the job to start")
            worker.signal(signal.SIGINT)
            await until(lambda: worker.said("draining"), "the worker to drain")
            worker.signal(signal.SIGINT)
            await until(worker.ended, "the worker to leave")
            assert (await client.get_queue_stats())["first_hangs"].waiting == 1
            heir = start_worker()
            await until(lambda: bool(results), "the result")
    assert results[0].unwrap() == ["attempt 1", "delivery 2", str(heir.process.pid)]


async def test_a_killed_clients_jobs_do_not_stay(redis_url, start_worker, redis_server):
    worker = start_worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        with trio.move_on_after(0.05):
            await client.execute_many("first_hangs", [[] for _ in range(5)])
        await until(lambda: not one_key(redis_server, active_of(redis_server)), "the claims to go")
        stats = (await client.get_queue_stats())["first_hangs"]
    assert stats.active == 0
    assert not worker.ended()


def active_of(redis_server) -> str:
    with redis_server.client() as admin:
        nodes = admin.zrange(keys.spell("am2z", "nodes"), 0, -1)
    return keys.spell("am2z", "active", nodes[0].decode())


async def test_worker_without_processors_and_without_redis(start_worker, monkeypatch):
    idle = start_worker("served:idle", serving=False)
    await until(idle.ended, "the worker to refuse")
    assert idle.process.returncode == 2
    assert idle.said("no processors")
    assert not idle.said("Traceback")
