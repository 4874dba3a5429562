"""What only the runtime over Redis can show: several nodes, lost connections, a lost server."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
import redis as redis_py

from am2z_trio import (
    AM2ZError,
    AuthenticationError,
    ConfigurationError,
    NetworkError,
    QueueOptions,
    QueueRuntime,
    UnknownOutcomeError,
    UnsupportedServerError,
    ValidationError,
    processor,
)
from am2z_trio.model.records import WIRE_VERSION, ClaimAnswer, JobSpec, RenewAnswer
from am2z_trio.store.redis import keys
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@processor(queue=QueueOptions(concurrency=50))
async def plus_one(n: int) -> int:
    await anyio.lowlevel.checkpoint()
    return n + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("http://localhost",), ["url", "redis://"]),
        (("redis://:secret@localhost:notaport",), ["url"]),
        (("redis://localhost/x",), ["number", "database"]),
        (("redis://localhost?spam=1",), ["spam"]),
        (("unix://",), ["unix:///path"]),
    ],
)
def test_a_wrong_url_is_named_without_its_password(arguments, words):
    with pytest.raises(ConfigurationError) as caught:
        QueueRuntime(*arguments)
    assert "secret" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"spam": 1}, "spam"),
        ({"lease": 0.1}, "lease"),
        ({"prefix": "a b"}, "prefix"),
        ({"workers": "no"}, "workers"),
        ({"shutdown_grace": -1}, "shutdown_grace"),
        ({"max_state_bytes": 0}, "max_state_bytes"),
        ({"embedded": True}, "embedded"),
    ],
)
def test_a_bad_option_is_named(options, field):
    with pytest.raises(ConfigurationError, match=field):
        QueueRuntime("redis://localhost", **options)


async def test_missing_redis_is_one_line_that_says_where_it_looked(tmp_path):
    url = f"unix://{tmp_path}/nowhere.sock"
    with pytest.raises(NetworkError, match=r"nowhere\.sock.*embedded=True") as caught:
        async with QueueRuntime(url):
            pytest.fail("entered without a Redis")
    assert "\n" not in str(caught.value)


async def test_a_wrong_password_is_refused(spawn_redis):
    server = spawn_redis({"requirepass": "right"})
    for url in (server.url.replace("unix://", "unix://:wrong@"), server.url.replace(":right@", "")):
        with pytest.raises(AuthenticationError) as caught:
            async with QueueRuntime(url):
                pytest.fail("entered without the password")
        assert "wrong" not in str(caught.value).replace("wrong number", "")


async def test_a_server_that_evicts_is_refused_unless_told_otherwise(spawn_redis):
    server = spawn_redis({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    with pytest.raises(UnsupportedServerError, match="noeviction"):
        async with QueueRuntime(server.url):
            pytest.fail("entered on a server that may drop jobs")
    async with QueueRuntime(f"{server.url}?allow_eviction=true") as runtime:
        assert runtime.is_started


async def test_a_client_has_its_jobs_run_by_another_node(redis_url):
    async with (
        QueueRuntime(redis_url) as worker,
        QueueRuntime(redis_url, workers=False) as client,
    ):
        worker.register(plus_one)
        assert (await worker.execute(plus_one, 1)).success
        results = await client.execute_many("plus_one", range(300))
        assert [r.state for r in results] == list(range(1, 301))
        assert {r.metadata.node for r in results} == {worker.node_id}
        assert await client.sync_processors() == ["plus_one"]
        assert client.get_stats().jobs_run == 0


async def test_events_that_nobody_may_hear_are_no_end_of_a_node(spawn_redis, caplog):
    server = spawn_redis()
    channels = [f"&{keys.spell('am2z', 'inbox', '*')}", f"&{keys.spell('am2z', 'stops')}"]
    server.call("ACL", "SETUSER", "bob", "on", "nopass", "~*", "&*", "+@all")
    async with QueueRuntime(server.url.replace("unix://", "unix://bob@")) as runtime:
        # Without this right it would not have begun.
        server.call("ACL", "SETUSER", "bob", "resetchannels", *channels)
        runtime.register(plus_one)
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2
        runtime.on("*", lambda event: None)
        runtime.emit("word", 1)
        for n in range(3):
            assert (await runtime.execute(plus_one, n)).unwrap() == n + 1
        with pytest.raises(AM2ZError, match="NOPERM"):
            async with runtime.events("word"):
                pytest.fail("entered, and could not hear anything")
        with anyio.fail_after(20):
            # Not asked for when the connection comes back either.
            server.call("CLIENT", "KILL", "TYPE", "pubsub")
            store: Any = runtime.node.store
            await until(lambda: store.link.pushes.reconnects)
            assert (await runtime.execute(plus_one, 1)).unwrap() == 2
    assert [record.message for record in caplog.records if "cannot be heard" in record.message] != []


async def test_prefixes_never_meet(redis_url):
    async with (
        QueueRuntime(redis_url, prefix="one") as one,
        QueueRuntime(redis_url, prefix="two") as two,
    ):
        one.register(plus_one)
        assert (await one.execute(plus_one, 1, session="s")).success
        assert not (await two.execute("plus_one", 1)).success
        two.register(plus_one)
        assert isinstance((await two.execute(plus_one, session="s")).error, ValidationError)


async def test_work_is_shared(redis_url):
    here: dict[str, int] = {}

    @processor(queue=QueueOptions(concurrency=2))
    async def slow(n: int) -> int:
        await anyio.sleep(0.002)
        return n

    async with (
        QueueRuntime(redis_url) as one,
        QueueRuntime(redis_url) as two,
        QueueRuntime(redis_url, workers=False) as client,
    ):
        one.register(slow)
        two.register(slow)
        await one.sync_processors()
        for result in await client.execute_many(slow, range(200)):
            here[result.metadata.node] = here.get(result.metadata.node, 0) + 1
    assert len(here) == 2
    assert sum(here.values()) == 200


async def test_cut_connections_lose_nothing(redis_url, redis_server):
    cut = 0
    async with (
        QueueRuntime(redis_url) as worker,
        QueueRuntime(redis_url, workers=False) as client,
    ):
        worker.register(plus_one)
        assert (await worker.execute(plus_one, 0)).success
        results: dict[int, int] = {}

        async def call(n: int) -> None:
            results[n] = (await client.execute(plus_one, n)).unwrap()

        with anyio.fail_after(60):
            for start in range(0, 200, 40):
                async with anyio.create_task_group() as tasks:
                    for n in range(start, start + 40):
                        tasks.start_soon(call, n)
                    await anyio.lowlevel.checkpoint()
                    with redis_server.client() as admin:
                        for kind in ("normal", "pubsub"):
                            cut += admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    assert results == {n: n + 1 for n in range(200)}
    assert cut >= 10


async def test_an_emptied_server_does_not_strand_a_caller(spawn_redis):
    server = spawn_redis()
    running = anyio.Event()
    go_on = anyio.Event()

    @processor
    async def wait(n: int) -> int:
        running.set()
        await go_on.wait()
        return n

    async with QueueRuntime(server.url) as runtime:
        runtime.register(wait)
        results: list[int] = []

        async def call() -> None:
            results.append((await runtime.execute(wait, 7)).unwrap())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await running.wait()
            await anyio.to_thread.run_sync(server.restart)
            go_on.set()
            await until(lambda: results)
            tasks.cancel_scope.cancel()
    assert results == [7]


async def test_an_unreadable_record_fails_and_blocks_nothing(redis_url, redis_server):
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(plus_one)
        assert (await runtime.execute(plus_one, 1)).success
        job = await runtime.submit(plus_one, 1, job_id="first")
        assert (await job.result()).success
        runtime.unregister(plus_one)
        await until(lambda: not runtime.get_stats().workers)
        poison = await runtime.submit(plus_one, 1, job_id="poison")
        with redis_server.client() as admin:
            assert isinstance(admin, redis_py.Redis)
            admin.hset(keys.spell("am2z", "job", "poison"), "spec", b"\x93nonsense")
        runtime.register(plus_one)
        with anyio.fail_after(20):
            assert isinstance((await poison.result()).error, ValidationError)
            assert (await runtime.execute(plus_one, 5)).unwrap() == 6
    assert JobSpec.__struct_fields__[0] == "version"
    assert WIRE_VERSION == 2


async def test_leaving_leaves_no_key_but_records_and_figures(redis_url, redis_server):
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(plus_one)
        await runtime.execute_many(plus_one, range(20))
        await runtime.execute(plus_one, 1, session="kept")
    with redis_server.client() as admin:
        left = {key.decode() for key in admin.keys("*")}
    permanent = {key for key in left if ":job:" not in key and not key.endswith(":recent")}
    assert permanent == {
        "{am2z:0}:clock",
        "{am2z:0}:fence",
        "{am2z:0}:lineage",
        "{am2z:0}:queues",
        "{am2z:0}:q:plus_one:meta",
        # What it has counted, for a day.
        "{am2z:0}:q:plus_one:fresh",
        "{am2z:0}:session:kept",
    }


async def test_a_job_that_has_ended_unheard_is_not_run_again(redis_url, redis_server):
    """Its record goes by its retention while the caller is cut off; the store has not lost its memory."""
    running, go_on, runs = anyio.Event(), anyio.Event(), 0

    @processor
    async def once(n: int) -> int:
        nonlocal runs
        runs += 1
        running.set()
        await go_on.wait()
        return n

    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as client:
        worker.register(once)
        await worker.sync_processors()
        job = await client.submit(once, 1, job_id="j")
        await running.wait()
        # The client hears nothing of the outcome.
        client.node.in_flight.on_settled = lambda settled: None  # type: ignore[method-assign]
        go_on.set()
        with anyio.fail_after(20):
            while (await job.status()) != "completed":
                await anyio.sleep(0.005)
        redis_server.call("DEL", keys.spell("am2z", "job", "j"))
        client.node.in_flight.on_reconnect()
        with anyio.fail_after(20):
            result = await job.result()
    assert isinstance(result.error, UnknownOutcomeError)
    assert "remove_on_complete" in result.error.message
    assert runs == 1


async def test_processors_are_announced_again_when_the_store_was_emptied(redis_url, redis_server):
    @processor
    async def plain(n: int) -> int:
        return n

    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as client:
        worker.register(plain)
        with anyio.fail_after(30):
            assert await worker.sync_processors() == ["plain"]
            redis_server.call("FLUSHALL")
            while await client.sync_processors() != ["plain"]:
                await anyio.sleep(0.01)
            assert (await client.execute("plain", 3)).unwrap() == 3


async def test_each_job_that_ends_is_a_sign_of_life(redis_url, redis_server, monkeypatch):
    monkeypatch.setattr("am2z_trio.store.redis.lease.BUDGET", 0.4)
    lease, budget = 3.0, 1.2
    signs: list[float] = []
    """When the loop has given one but for a job that ended."""
    renewed_after: list[float] = [0.0]

    @processor(queue=QueueOptions(concurrency=12))
    async def hog(n: int) -> int:
        # They run in one turn of the loop or two, and none leaves it a moment.
        if max(renewed_after) <= budget:
            time.sleep(0.4)
            ((_, ends),) = redis_server.call("ZRANGE", keys.spell("am2z", "nodes"), 0, 0, "WITHSCORES")
            renewed_after.append(ends / 1000 - lease - signs[-1])
        return n

    async with QueueRuntime(redis_url, lease=lease) as runtime:
        store: Any = runtime.node.store
        tick = store.tick

        async def renew(**options: Any) -> RenewAnswer:
            # A sign, and no more: that the lease is renewed is the thread's doing.
            signs.append(time.time())
            store.beat()
            return RenewAnswer(lost=False)

        async def noted(**options: Any) -> Any:
            signs.append(time.time())
            return await tick(**options)

        store.renew, store.tick = renew, noted
        signs.append(time.time())
        runtime.register(hog)
        # Each has a session, and so a task of its own.
        await runtime.pause(hog)
        jobs = [await runtime.submit(hog, n, session=f"s{n}") for n in range(12)]
        await runtime.resume(hog)
        for job in jobs:
            (await job.result()).unwrap()
    # Later than it may be but for the jobs that had ended meanwhile.
    assert max(renewed_after) > budget


async def test_a_backlog_of_large_jobs_is_worked_off_in_answers_of_some_megabytes(redis_url):
    """36 x 1 MB at a concurrency of 40: all in one answer, Redis would close a connection that listens."""

    @processor(queue=QueueOptions(concurrency=40))
    async def shorten(text: str) -> str:
        return text[:3]

    granted: list[int] = []
    async with QueueRuntime(redis_url) as runtime:
        store = runtime.node.store
        claim = store.claim

        async def watched(*arguments: object) -> ClaimAnswer:
            answer = await claim(*arguments)  # type: ignore[arg-type]
            granted.append(sum(len(bytes(grant.spec.state)) for grant in answer.grants))
            return answer

        store.claim = watched  # type: ignore[method-assign, assignment]
        runtime.register(shorten)
        await runtime.pause(shorten)
        jobs = [await runtime.submit(shorten, "x" * 1_000_000) for _ in range(36)]
        await runtime.resume(shorten)
        with anyio.fail_after(60):
            assert [(await job.result()).unwrap() for job in jobs] == ["xxx"] * 36
    assert sum(granted) > 36_000_000
    assert max(granted) < 5_000_000
