"""Several processes, real signals: what survives, and that it happened once."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import NoWorkerError, ProcessorResult, QueueRuntime, SessionStoppedError
from am2z_trio.engine.submission import looking, vacancies
from am2z_trio.model.records import queue_name
from am2z_trio.store.redis import keys
from tests.e2e.conftest import Process
from tests.support.servers import RedisProcess
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


class Call:
    """An execute under way, as a task."""

    def __init__(self) -> None:
        self._result: ProcessorResult[Any] | None = None

    async def run(self, client: QueueRuntime, *arguments: Any, **options: Any) -> None:
        self._result = await client.execute(*arguments, **options)

    async def result(self) -> ProcessorResult[Any]:
        await until(lambda: self._result is not None, "the result")
        assert self._result is not None
        return self._result


@asynccontextmanager
async def calling(client: QueueRuntime, *arguments: Any, **options: Any) -> AsyncIterator[Call]:
    """Execute in a task beside the block; cancelled with it, so that a failed test does not hang."""
    call = Call()
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await call.run(client, *arguments, **options)

        tasks.start_soon(run)
        yield call
        tasks.cancel_scope.cancel()


def fields(server: RedisProcess, kind: str, name: str) -> dict[bytes, bytes]:
    with server.client() as admin:
        found: Any = admin.hgetall(keys.spell("am2z", kind, name))
    return dict(found)


def counts(server: RedisProcess, processor: str) -> dict[str, int]:
    """A queue's jobs by status, those of status 0 left out."""
    found = fields(server, "meta", queue_name(processor))
    statuses = ("waiting", "later", "active", "completed", "failed", "cancelled")
    return {name: int(n) for name in statuses if (n := found.get(name.encode(), b"0")) != b"0"}


def claims(server: RedisProcess) -> int:
    """How many jobs any node holds."""
    with server.client() as admin:
        return sum(admin.hlen(key) for key in admin.scan_iter(keys.spell("am2z", "active", "*")))


def effects(server: RedisProcess, session: str) -> tuple[int, Any]:
    """How often a session's state was written, and what it is."""
    state = fields(server, "session", session)
    return int(state[b"version"]), msgspec.msgpack.decode(state[b"blob"])


# --- several processes ----------------------------------------------------------------------------


@pytest.mark.parametrize("worker_host", ["trio", "asyncio"])
async def test_a_client_and_a_worker_in_two_processes(redis_url, processes, worker_host: str):
    if worker_host == "trio":
        processes.worker()
    else:
        processes.asyncio_worker()
    results: dict[int, int] = {}
    async with QueueRuntime(redis_url, workers=False) as client:

        async def call(n: int) -> None:
            results[n] = (await client.execute("double", n)).unwrap()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for n in range(1000):
                    tasks.start_soon(call, n)
        assert client.get_stats().jobs_run == 0
    assert results == {n: 2 * n for n in range(1000)}


async def test_a_batch_of_a_client_is_shared_by_two_workers(redis_url, redis_server, processes):
    processes.worker()
    processes.worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        with anyio.fail_after(PATIENCE):
            results = await client.execute_many("double", range(1000))
    assert [result.unwrap() for result in results] == [2 * n for n in range(1000)]
    assert len({result.metadata.node for result in results}) == 2
    assert counts(redis_server, "double") == {"completed": 1000}


# --- workers that die, freeze, or are told to go ----------------------------------------------------


async def test_a_killed_workers_job_runs_again_and_its_caller_hears(
    redis_url, redis_server, processes, tmp_path: Path
):
    doomed = processes.worker()
    async with (
        QueueRuntime(redis_url, workers=False) as client,
        calling(client, "first_hangs", [], session="once") as call,
    ):
        await until((tmp_path / "started-1").exists, "the job to start")
        heir = processes.worker()
        doomed.signal(signal.SIGKILL)
        result = await call.result()
    expected = ["attempt 1", "delivery 2", str(heir.process.pid)]
    assert result.unwrap() == expected
    assert effects(redis_server, "once") == (1, expected)


async def test_a_worker_killed_among_many_jobs_loses_and_repeats_none(redis_url, redis_server, processes):
    doomed = processes.worker()
    processes.worker()
    results: dict[int, int] = {}
    async with QueueRuntime(redis_url, workers=False) as client:

        async def call(n: int) -> None:
            results[n] = (await client.execute("double", n, session=f"s{n}")).unwrap()

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for n in range(1000):
                    tasks.start_soon(call, n)
                await until(lambda: len(results) > 100, "some results")
                await kill_with_claims(redis_server, doomed)
    assert results == {n: 2 * n for n in range(1000)}
    assert {effects(redis_server, f"s{n}") for n in range(1000)} == {(1, 2 * n) for n in range(1000)}
    assert claims(redis_server) == 0
    with redis_server.client() as admin:
        lost = [
            key
            for key in admin.scan_iter(keys.spell("am2z", "job", "*"))
            if int(admin.hget(key, "stalls") or 0)
        ]
    assert lost, "the killed worker held jobs"


async def kill_with_claims(server: RedisProcess, worker: Process) -> None:
    """Kill a busy worker at a moment at which it holds jobs: frozen, it can settle them no more."""
    (node,) = re.findall(r"^node (\S+) serves", worker.log.read_text(encoding="utf-8"), re.MULTILINE)
    with anyio.fail_after(PATIENCE):
        while True:
            worker.signal(signal.SIGSTOP)
            if fields(server, "active", node):
                break
            worker.signal(signal.SIGCONT)
            await anyio.sleep(0.001)
    worker.signal(signal.SIGKILL)


async def test_a_frozen_worker_cannot_write_any_more(redis_url, redis_server, processes, tmp_path: Path):
    frozen = processes.worker(target="served:freezes")
    async with QueueRuntime(redis_url, workers=False) as client:
        async with calling(client, "deaf_plus_one", 10, session="counter") as call:
            await until((tmp_path / "started-1").exists, "the job to start")
            frozen.signal(signal.SIGSTOP)
            processes.worker(target="served:freezes")
            assert (await call.result()).unwrap() == 11
        assert effects(redis_server, "counter") == (1, 11)
        # The zombie's job ends the moment it wakes, and is settled with the token it has.
        (tmp_path / "go").touch()
        frozen.signal(signal.SIGCONT)
        await until(lambda: frozen.said("was taken away"), "the zombie's settlement to be fenced")
        assert effects(redis_server, "counter") == (1, 11)
        assert counts(redis_server, "deaf_plus_one") == {"completed": 1}
        # It serves again, under a new lease.
        await until(lambda: serving(redis_server) == 2, "the zombie to register again")
        frozen.signal(signal.SIGTERM)
        await until(frozen.ended, "the zombie to leave")
    assert frozen.process.returncode == 0


async def test_a_zombie_that_hears_of_its_loss_stops_its_job(
    redis_url, redis_server, processes, tmp_path: Path
):
    frozen = processes.worker(target="served:freezes")
    async with (
        QueueRuntime(redis_url, workers=False) as client,
        calling(client, "first_hangs", [], session="counter") as call,
    ):
        await until((tmp_path / "started-1").exists, "the job to start")
        frozen.signal(signal.SIGSTOP)
        heir = processes.worker(target="served:freezes")
        expected = ["attempt 1", "delivery 2", str(heir.process.pid)]
        assert (await call.result()).unwrap() == expected
        frozen.signal(signal.SIGCONT)
        # A worker drains before it leaves: it would wait 20 s for a job that still hung.
        frozen.signal(signal.SIGTERM)
        await until(frozen.ended, "the zombie to leave")
    assert frozen.process.returncode == 0
    assert effects(redis_server, "counter") == (1, expected)


def serving(server: RedisProcess) -> int:
    """How many nodes hold a lease."""
    with server.client() as admin:
        leases: Any = admin.zrange(keys.spell("am2z", "nodes"), 0, -1, withscores=True)
    return sum(lease > 0 for _, lease in leases)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_drains(redis_url, processes, tmp_path: Path, number: signal.Signals):
    worker = processes.worker()
    async with (
        QueueRuntime(redis_url, workers=False) as client,
        calling(client, "slow_plus_one", 1) as call,
    ):
        await until((tmp_path / "started-1").exists, "the job to start")
        worker.signal(number)
        await until(lambda: worker.said("draining"), "the worker to drain")
        # It claims no more.
        job = await client.submit("double", 2)
        (tmp_path / "go").touch()
        assert (await call.result()).unwrap() == 2
        await until(worker.ended, "the worker to leave")
        assert await job.status() == "waiting"
    assert worker.process.returncode == 0
    assert not worker.said("Traceback")


@pytest.mark.parametrize("how", ["first_hangs", "first_hangs_in_thread"])
async def test_the_second_signal_cancels_and_the_job_runs_elsewhere(
    redis_url, redis_server, processes, tmp_path: Path, how: str
):
    worker = processes.worker()
    async with QueueRuntime(redis_url, workers=False) as client, calling(client, how, []) as call:
        await until((tmp_path / "started-1").exists, "the job to start")
        worker.signal(signal.SIGTERM)
        await until(lambda: worker.said("draining"), "the worker to drain")
        worker.signal(signal.SIGTERM)
        await until(worker.ended, "the worker to leave")
        assert counts(redis_server, how) == {"waiting": 1}
        heir = processes.worker()
        assert (await call.result()).unwrap() == ["attempt 1", "delivery 2", str(heir.process.pid)]
    assert worker.process.returncode == 0
    assert not worker.said("Traceback")


async def test_a_job_that_outlasts_the_grace_goes_back(redis_url, redis_server, processes, tmp_path: Path):
    worker = processes.worker("--grace", "0.1")
    async with QueueRuntime(redis_url, workers=False) as client, calling(client, "first_hangs", []) as call:
        await until((tmp_path / "started-1").exists, "the job to start")
        worker.signal(signal.SIGTERM)
        await until(worker.ended, "the worker to leave")
        assert counts(redis_server, "first_hangs") == {"waiting": 1}
        heir = processes.worker()
        assert (await call.result()).unwrap() == ["attempt 1", "delivery 2", str(heir.process.pid)]
    assert worker.process.returncode == 0


# --- connections and servers that go ----------------------------------------------------------------


async def test_cut_connections_lose_no_call_between_processes(redis_url, redis_server, processes):
    processes.worker()
    processes.worker()
    results: dict[int, int] = {}
    cut = 0
    async with QueueRuntime(redis_url, workers=False) as client:

        async def call(n: int) -> None:
            results[n] = (await client.execute("double", n, session=f"s{n}")).unwrap()

        with anyio.fail_after(PATIENCE):
            for start in range(0, 200, 40):
                async with anyio.create_task_group() as tasks:
                    for n in range(start, start + 40):
                        tasks.start_soon(call, n)
                    await until(partial(has_more_than, results, start), "the first result of forty")
                    with redis_server.client() as admin:
                        for kind in ("normal", "pubsub"):
                            cut += admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    assert results == {n: 2 * n for n in range(200)}
    assert {effects(redis_server, f"s{n}") for n in range(200)} == {(1, 2 * n) for n in range(200)}
    assert cut >= 3 * 5, "client and both workers, five times"
    assert counts(redis_server, "double") == {"completed": 200}
    assert claims(redis_server) == 0


async def test_an_emptied_server_strands_no_caller_between_processes(spawn_redis, processes, tmp_path: Path):
    server = spawn_redis()
    processes.url = server.url
    processes.worker()
    results: dict[int, ProcessorResult[Any]] = {}
    async with QueueRuntime(server.url, workers=False) as client:

        async def call(n: int) -> None:
            results[n] = await client.execute("held", n, job_id=f"job-{n}")

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for n in range(20):
                    tasks.start_soon(call, n)
                # Ten run, ten wait: its concurrency is ten.
                await until(
                    lambda: counts(server, "held") == {"active": 10, "waiting": 10}, "the jobs to be there"
                )
                await anyio.to_thread.run_sync(server.restart)
                assert not results
                (tmp_path / "go").touch()
    assert {n: result.unwrap() for n, result in results.items()} == {n: n + 1 for n in range(20)}
    assert {n: result.metadata.job_id for n, result in results.items()} == {n: f"job-{n}" for n in range(20)}
    assert counts(server, "held") == {"completed": 20}
    assert claims(server) == 0


def has_more_than(results: dict[int, int], count: int) -> bool:
    return len(results) > count


# --- clients that go ------------------------------------------------------------------------------


async def test_a_killed_clients_jobs_end_and_nothing_stays_claimed(redis_server, processes, tmp_path: Path):
    worker = processes.worker()
    client = processes.start("abandoned.py", "15")
    await until(lambda: counts(redis_server, "held") == {"active": 10, "waiting": 5}, "the jobs to run")
    client.signal(signal.SIGKILL)
    await until(client.ended, "the client to be gone")
    (tmp_path / "go").touch()
    await until(lambda: counts(redis_server, "held") == {"completed": 15}, "the jobs to end")
    assert claims(redis_server) == 0
    worker.signal(signal.SIGTERM)
    await until(worker.ended, "the worker to leave")
    with redis_server.client() as admin:
        left = {key.decode().partition(":")[2].partition(":")[2] for key in admin.scan_iter("*")}
    left = {name for name in left if not name.startswith("job:")}
    registered = ("double", "first_hangs", "first_hangs_in_thread", "slow_plus_one", "deaf_plus_one", "held")
    # What has ended of a queue is listed for a while.
    ended = {"q:held:recent", "q:held:fresh"}
    assert left <= {"queues", "clock", "fence", "lineage", *(f"q:{name}:meta" for name in registered), *ended}


async def test_a_cancelled_clients_jobs_stop_on_the_worker(redis_url, redis_server, processes):
    worker = processes.worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.execute_many, "held", range(15))
            await until(
                lambda: counts(redis_server, "held") == {"active": 10, "waiting": 5}, "the jobs to run"
            )
            tasks.cancel_scope.cancel()
        await until(lambda: counts(redis_server, "held") == {"cancelled": 15}, "the jobs to be cancelled")
        assert claims(redis_server) == 0
        assert (await client.execute("double", 4)).unwrap() == 8
    assert not worker.ended()


@pytest.mark.parametrize("how", ["cancelled", "deadline", "session stopped", "killed"])
async def test_what_a_caller_began_ends_with_it_in_every_process(
    redis_url, redis_server, processes, tmp_path: Path, how: str
):
    """The caller here, its job in a second process, that job's child in a third."""
    processes.worker(target="served:children")
    parent = processes.worker(target="served:parents")
    async with QueueRuntime(redis_url, workers=False) as client:
        async with calling(client, "calls_sleeper", 1, session="s") as call:
            await until((tmp_path / "sleeper-runs").exists, "the child to run")
            if how == "deadline":
                with anyio.move_on_after(0.2) as scope:
                    await client.execute("calls_sleeper", 1)
                assert scope.cancelled_caught
            elif how == "session stopped":
                await client.stop_session("s")
                assert isinstance((await call.result()).error, SessionStoppedError)
            elif how == "killed":
                # The parent's process ends, and its job is not wanted any more when it would come back.
                parent.process.kill()
        await until((tmp_path / "sleeper-ended").exists, "the child to be cancelled and to clean up")
        if how != "killed":
            await until((tmp_path / "caller-ended").exists, "the parent to be cancelled")
        await until(lambda: claims(redis_server) == 0, "the claims to be given up")
        jobs = 2 if how == "deadline" else 1
        for name in ("calls_sleeper", "sleeper"):

            def ended(name: str = name) -> bool:
                found = counts(redis_server, name)
                return found == {"cancelled": jobs}

            await until(ended, f"{name} to end")
        assert await client.get_active_sessions() == []


async def test_a_worker_without_processors_does_not_start(processes):
    idle = processes.worker(target="served:idle", serving=False)
    await until(idle.ended, "the worker to refuse")
    assert idle.process.returncode == 2
    assert idle.said("no processors")
    assert not idle.said("Traceback")


async def test_a_client_is_told_that_the_last_worker_was_killed(redis_url, processes, monkeypatch, caplog):
    monkeypatch.setattr(looking, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(vacancies, "SERVED_FOR", 0.1)
    worker = processes.worker()
    async with QueueRuntime(redis_url, workers=False) as client:
        assert (await client.execute("double", 1)).unwrap() == 2
        worker.process.kill()
        # It counts for a moment yet, and who has asked meanwhile is told all the same.
        result = await client.execute("double", 1, wait_for_worker=0.1)
        assert isinstance(result.error, NoWorkerError)
        assert (await client.get_queue_stats())["double"].workers == 0
        async with calling(client, "double", 2) as call:
            await until(lambda: "nobody serves 'double'" in caplog.text, "the warning")
            await anyio.to_thread.run_sync(processes.worker)
            outcome = await call.result()
        assert outcome.unwrap() == 4
        assert outcome.metadata.waited_for_worker > 0
