"""What the server's access rules must allow: said at start, and never waited for in silence later."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    AccessDeniedError,
    AuthenticationError,
    Context,
    JobOptions,
    QueueOptions,
    QueueRuntime,
    RedisStateManager,
    batch,
    processor,
)
from am2z_trio.engine.node import access, node
from am2z_trio.engine.work import settler
from am2z_trio.model.errors import AM2ZError
from am2z_trio.store.redis.access import Probe, least_acl
from am2z_trio.store.redis.keys import spell
from am2z_trio.wire import client
from tests.support.servers import RedisProcess, SpawnRedis
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

NOTHING = ("resetkeys", "resetchannels", "-@all")
RULES = [rule for rule in least_acl("a", functions=False) if rule not in NOTHING]
"""Those without which nothing goes."""
NOT_MISSED = {"+hello", "+info", "+select", "+unsubscribe"}
"""Needed by some logins only, for a better look at the server, or by other users of the store."""


@pytest.fixture
def server(spawn_redis: SpawnRedis) -> RedisProcess:
    return spawn_redis()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(access, "PATIENCE", 0.1)
    monkeypatch.setattr(client, "REFUSED_PATIENCE", 0.1)
    monkeypatch.setattr(node, "SIGN_OFF_TIMEOUT", 0.2)


def give(server: RedisProcess, user: str, *rules: str) -> str:
    """Give the user exactly these rights; returns its URL."""
    server.call("ACL", "SETUSER", user, "on", ">pw", *NOTHING, *rules)
    return server.url.replace("unix://", f"unix://{user}:pw@")


@processor
async def double(n: int) -> int:
    return 2 * n


@processor
async def stubborn(n: int) -> int:
    raise ValueError("no")


@processor(queue=QueueOptions(concurrency=4, session_concurrency=1, global_concurrency=3))
async def limited(n: int) -> int:
    return n


total = batch("total", double, range, merge=lambda n, results: sum(results))


async def use_everything(runtime: QueueRuntime) -> None:
    """What a program does in a day."""
    heard: list[Any] = []
    runtime.on("*", heard.append)
    runtime.register(double, stubborn, limited, total)
    assert (await runtime.execute(double, 21)).unwrap() == 42
    assert (await runtime.execute(total, 4)).unwrap() == 12
    await runtime.execute_many(limited, range(9), session="s")
    options = JobOptions(delay=0.01, priority=2, debounce="k", remove_on_complete=2)
    assert (await runtime.execute(double, 3, options=options, job_id="mine")).success
    assert not (await runtime.execute(stubborn, 1)).success
    (letter,) = await runtime.dead_letters.list(stubborn)
    await runtime.dead_letters.retry(letter.job_id)
    await runtime.dead_letters.drop_all(stubborn)
    async with runtime.session("alice", ttl=60) as session:
        await session.state.set(1)
        assert (await session.execute(double)).unwrap() == 2
    async with runtime.state.lock("alice") as lock:
        await lock.write(5)
    await runtime.state.update("alice", lambda n: n + 1)
    await runtime.state.history("alice")
    await runtime.stop_session("alice")
    await runtime.pause(double)
    job = await runtime.submit(double, 1)
    await job.cancel()
    await runtime.resume(double)
    await runtime.get_queue_stats()
    await runtime.sync_processors()
    assert (await runtime.connection.check_health()).healthy
    assert heard


async def test_the_least_rights_are_enough(server: RedisProcess) -> None:
    url = give(server, "least", *least_acl("a", functions=server.version >= "7"))
    async with QueueRuntime(url, prefix="a", state_history=3) as runtime:
        await use_everything(runtime)
    # Nothing was refused on the way. The lease's connection says who it is, where it may.
    refused = {entry[entry.index(b"object") + 1].decode() for entry in server.call("ACL", "LOG")}
    assert refused <= {"client|setinfo"}


async def test_who_may_not_have_functions_has_scripts(server: RedisProcess) -> None:
    async with QueueRuntime(give(server, "scripts", *RULES), prefix="a", state_history=3) as runtime:
        await use_everything(runtime)
    if server.version >= "7":
        assert server.call("FUNCTION", "LIST") == []
        await anyio.lowlevel.checkpoint()
        async with QueueRuntime(give(server, "some", *RULES, "+function|load"), prefix="a") as runtime:
            runtime.register(double)
            assert (await runtime.execute(double, 21)).unwrap() == 42


async def test_rights_to_one_prefix_are_none_to_another(server: RedisProcess) -> None:
    url = give(server, "least", *RULES)
    with pytest.raises(AccessDeniedError) as raised:
        async with QueueRuntime(url, prefix="b"):
            pytest.fail("entered")
    assert raised.value.context["missing"] == ["~{b:0}", "~{b:0}:*", "&{b:0}:*"]
    assert ":***@" in raised.value.message


@pytest.mark.parametrize("workers", [True, False])
async def test_each_right_that_is_missing_is_named_at_start(server: RedisProcess, workers: bool) -> None:
    for rule in RULES:
        url = give(server, "lacking", *(other for other in RULES if other != rule))
        runtime = QueueRuntime(url, prefix="a", workers=workers)
        with anyio.fail_after(20):
            if rule in NOT_MISSED:
                async with runtime:
                    pass
                continue
            with pytest.raises(AccessDeniedError) as raised:
                async with runtime:
                    pytest.fail(f"entered without {rule}")
        assert rule in raised.value.context["missing"]
        assert len(raised.value.context["missing"]) <= 2
        assert rule in raised.value.message
        assert "'lacking'" in raised.value.message
    assert server.call("DBSIZE") <= len(RULES)


async def test_all_that_is_missing_is_named_at_once(server: RedisProcess) -> None:
    kept = [rule for rule in RULES if rule not in ("+zscore", "+ping", "+subscribe", "+hset", "&{a:0}:*")]
    with pytest.raises(AccessDeniedError) as raised:
        async with RedisStateManager(give(server, "lacking", *kept), prefix="a"):
            pytest.fail("entered")
    assert raised.value.context["missing"] == ["&{a:0}:*", "+hset", "+zscore", "+ping", "+subscribe"]


async def test_rights_to_read_alone_are_too_few(server: RedisProcess) -> None:
    if server.version < "7":
        pytest.skip("the server knows no rights to read alone")
    url = give(server, "reader", *(rule.replace("~", "%R~") for rule in RULES))
    with pytest.raises(AccessDeniedError, match="~"):
        async with QueueRuntime(url, prefix="a"):
            pytest.fail("entered")


async def test_to_try_the_rights_leaves_no_key(server: RedisProcess) -> None:
    async with QueueRuntime(server.url, workers=False):
        server.call("FLUSHALL")
        async with QueueRuntime(server.url, workers=False) as other:
            assert await other.node.store.lacking() is None
            assert [key for key in server.call("KEYS", "*") if b"probe" in key] == []


async def test_to_try_the_rights_is_heard_by_nobody() -> None:
    packed = [words for words in Probe("a").arguments if isinstance(words, bytes)]
    # The batch of no messages is no text, which it is packed as.
    calls: list[list[Any]] = [msgspec.msgpack.decode(words.replace(b"\xa1\x90", b"\xa0")) for words in packed]
    channels = [words[1] for words in calls if words[0] == "PUBLISH"]
    assert len(channels) == 4
    assert all(channel.startswith("{a:0}:") for channel in channels)
    assert not {spell("a", kind) for kind in ("stops", "events")} & set(channels)


@pytest.mark.parametrize("part", range(4))
async def test_no_caller_waits_for_a_right_that_was_taken_away(
    server: RedisProcess, impatient: None, caplog: pytest.LogCaptureFixture, part: int
) -> None:
    """Each right on its own: what is under way, what comes then, here and at a pure client."""
    caplog.set_level(logging.CRITICAL)
    heard: dict[str, list[Any]] = {}

    async def one(number: int, rule: str) -> None:
        prefix, said = f"p{number}", heard.setdefault(rule, [])
        rules = [other for other in least_acl(prefix, functions=False) if other not in NOTHING]
        begun, go_on = anyio.Event(), anyio.Event()

        @processor(name="slow")
        async def slow(n: int) -> int:
            begun.set()
            await go_on.wait()
            return 2 * n

        async def hear(ask: Callable[[], Awaitable[Any]]) -> None:
            try:
                said.append(await ask())
            except AM2ZError as error:
                said.append(error)

        url = give(server, prefix, *rules)
        async with (
            QueueRuntime(url, prefix=prefix, shutdown_grace=0) as worker,
            QueueRuntime(url, prefix=prefix, workers=False) as other,
        ):
            worker.register(slow, double)
            await worker.sync_processors()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear, lambda: worker.execute(slow, 1))
                await begun.wait()
                give(server, prefix, *rules[:number], *rules[number + 1 :])
                go_on.set()
                tasks.start_soon(hear, lambda: worker.execute(double, 1))
                tasks.start_soon(hear, lambda: worker.execute(double, 1, session="s"))
                tasks.start_soon(hear, lambda: other.execute("double", 1))
                tasks.start_soon(hear, lambda: worker.state.set("t", 2))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as all_of_them:
            for number, rule in enumerate(RULES):
                if number % 4 == part:
                    all_of_them.start_soon(one, number, rule)
    assert {rule: len(said) for rule, said in heard.items()} == dict.fromkeys(RULES[part::4], 5)
    for rule, said in heard.items():
        errors = [getattr(outcome, "error", outcome) for outcome in said]
        wrong = [error for error in errors if isinstance(error, AM2ZError)]
        assert all(isinstance(error, AccessDeniedError) for error in wrong), (rule, wrong)


async def test_nobody_waits_for_a_user_who_is_let_in_no_more(server: RedisProcess, impatient: None) -> None:
    url = give(server, "gone", *RULES)
    hold = anyio.Event()

    @processor
    async def held(n: int) -> int:
        await hold.wait()
        return n

    async with QueueRuntime(url, prefix="a", shutdown_grace=0) as runtime:
        runtime.register(held)
        job = await runtime.submit(held, 1)
        server.call("ACL", "DELUSER", "gone")
        with anyio.fail_after(20):
            with pytest.raises(AuthenticationError):
                await runtime.state.get("s")
            assert isinstance((await job.result()).error, AuthenticationError)
            assert isinstance((await runtime.execute(held, 2)).error, AuthenticationError)
        assert not (await runtime.connection.check_health()).healthy


async def test_a_job_that_waits_for_its_call_outlives_rights_that_are_away(
    server: RedisProcess, impatient: None
) -> None:
    """Who waits for it is told; the job has its call's outcome once the rights are back."""
    url = give(server, "app", *RULES)
    begun, go_on = anyio.Event(), anyio.Event()
    ended: list[Any] = []

    @processor
    async def child(n: int) -> int:
        begun.set()
        await go_on.wait()
        return n + 1

    @processor(depends_on=[child])
    async def parent(n: int, ctx: Context) -> int:
        try:
            ended.append(await ctx.call(child, n))
        except AM2ZError as error:
            ended.append(error)
            raise
        return n

    async with QueueRuntime(url, prefix="a") as runtime:
        runtime.register(parent)
        job = await runtime.submit(parent, 1)
        with anyio.fail_after(20):
            await begun.wait()
            server.call("ACL", "SETUSER", "app", "-hget")
            assert isinstance((await job.result()).error, AccessDeniedError)
            server.call("ACL", "SETUSER", "app", "+hget")
            while not (await runtime.connection.check_health()).healthy:
                await anyio.sleep(0.01)
            assert ended == []
            go_on.set()
            while await job.status() != "completed":
                await anyio.sleep(0.01)
    assert ended == [2]


@pytest.mark.parametrize("command", ["hget", "lpop", "publish", "zpopmin"])
async def test_a_node_gets_on_by_itself_once_it_has_its_rights_again(
    server: RedisProcess, impatient: None, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    """Also where a script was refused that had taken the node off its queue before."""
    url = give(server, "app", *RULES)
    async with QueueRuntime(url, prefix="a") as runtime:
        runtime.register(double)
        await runtime.sync_processors()
        server.call("ACL", "SETUSER", "app", f"-{command}")
        with anyio.fail_after(20):
            # Not one that is given to a worker that waits: it has to be claimed.
            failed = await runtime.execute(double, 1, options=JobOptions(debounce="k"))
            assert isinstance(failed.error, AccessDeniedError)
            while (health := await runtime.connection.check_health()).healthy:
                await anyio.sleep(0.01)
            assert f"missing: +{command}" in health.reason
            server.call("ACL", "SETUSER", "app", f"+{command}")
            while not (await runtime.connection.check_health()).healthy:
                await anyio.sleep(0.01)
            assert (await runtime.execute(double, 2)).unwrap() == 4
    told = [record.message for record in caplog.records if record.name == "am2z_trio.node"]
    assert len([message for message in told if "no longer has all rights" in message]) == 1


async def test_a_settlement_that_a_script_may_not_make_is_sent_again(
    server: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers give such a refusal no code of its own: it was taken for one of what the job had returned."""
    monkeypatch.setattr(settler, "RETRY_AFTER", 0.01)
    url = give(server, "app", *RULES)
    begun, go_on, heard = anyio.Event(), anyio.Event(), list[int]()

    @processor
    async def slow(n: int) -> int:
        begun.set()
        await go_on.wait()
        return n

    async with QueueRuntime(url, prefix="a") as runtime, anyio.create_task_group() as tasks:
        runtime.register(slow)

        async def call() -> None:
            heard.append((await runtime.execute(slow, 7)).unwrap())

        with anyio.fail_after(20):
            tasks.start_soon(call)
            await begun.wait()
            server.call("ACL", "SETUSER", "app", "-hmget")
            go_on.set()
            await until(lambda: runtime.node.settler.refusal)
            server.call("ACL", "SETUSER", "app", "+hmget")
            await until(lambda: heard)
    assert heard == [7]
