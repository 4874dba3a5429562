"""Nodes that cannot reach Redis for a while: what nobody took goes on, what others took stops here, and
nothing is charged to the jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from am2z_trio import Job, Processor, QueueOptions, QueueRuntime, SessionStoppedError, processor
from am2z_trio.engine.node import holdings
from am2z_trio.store.redis import keys
from tests.chaos.faults import FaultProxy, Refuse, open_fault_proxy
from tests.support.gates import Gate
from tests.support.servers import RedisProcess
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

QUICK = QueueOptions(stalled_interval=0.1)

gated = partial(Gate, counts=True, queue=QUICK)
"""A processor that adds one to its session's state once it may."""


class Away:
    """A node behind a network that can go away."""

    def __init__(self, proxy: FaultProxy, runtime: QueueRuntime) -> None:
        self._proxy = proxy
        self.runtime = runtime

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        self._proxy.set(Refuse())
        await self._proxy.reset_all()
        yield
        self._proxy.heal()


@asynccontextmanager
async def open_node(server: RedisProcess, *processors: Processor[Any], **options: Any) -> AsyncIterator[Away]:
    async with (
        # On asyncio, AnyIO trips over a Unix socket that is cancelled while it becomes readable.
        open_fault_proxy(server.url, listen="tcp") as proxy,
        QueueRuntime(proxy.url, shutdown_grace=0.5, **options) as runtime,
    ):
        runtime.register(*processors)
        yield Away(proxy, runtime)


@processor(queue=QUICK)
async def idle(n: int) -> int:
    return n


def record(server: RedisProcess, job: str) -> dict[str, str]:
    with server.client() as admin:
        found: Any = admin.hgetall(keys.spell("am2z", "job", job))
    names = ("status", "stalls", "deliveries", "node")
    return {name: found.get(name.encode(), b"").decode() for name in names}


def is_(server: RedisProcess, job: str, status: str) -> Callable[[], bool]:
    return lambda: record(server, job)["status"] == status


async def effects(runtime: QueueRuntime, session: str) -> int:
    """How often the session's state was written."""
    found = await runtime.state.get(session, int)
    assert found is not None
    assert found.state == found.version
    return found.version


async def submit(gate: Gate, client: QueueRuntime, count: int = 1) -> list[Job[int]]:
    while gate.name not in await client.sync_processors():
        await anyio.sleep(0.005)
    jobs = [
        await client.submit(gate.processor, n, job_id=f"{gate.name}-{n}", session=f"s{n}")
        for n in range(count)
    ]
    await until(lambda: gate.running == count, "the jobs to run")
    return jobs


async def test_what_nobody_took_meanwhile_goes_on_however_often_the_connection_is_lost(
    redis_url, redis_server
):
    gate = gated(queue=QueueOptions(stalled_interval=0.1, max_stalled_count=1))
    async with (
        QueueRuntime(redis_url) as other,
        open_node(redis_server, gate.processor, disconnect_grace=0.05) as node,
    ):
        other.register(idle)
        jobs = await submit(gate, other, 3)
        for _ in range(3):
            async with node.away():
                for job in jobs:
                    await until(is_(redis_server, job.id, "waiting"), "the job to be given up for lost")
                    assert record(redis_server, job.id)["stalls"] == "1"
            for job in jobs:
                await until(is_(redis_server, job.id, "active"), "the job to be its node's again")
                assert record(redis_server, job.id)["stalls"] == "0"
        gate.go.set()
        with anyio.fail_after(20):
            assert [(await job.result()).unwrap() for job in jobs] == [0, 1, 2]
        for n, job in enumerate(jobs):
            assert record(redis_server, job.id) == {
                "status": "completed",
                "stalls": "0",
                "deliveries": "",  # none but the first
                "node": "",
            }
            assert await effects(other, f"s{n}") == 1
    assert (len(gate.runs), len(gate.cancelled)) == (3, 0)


async def test_what_ended_while_its_node_was_away_is_settled_when_it_is_back(redis_url, redis_server):
    gate = gated()
    async with (
        QueueRuntime(redis_url) as other,
        open_node(redis_server, gate.processor, disconnect_grace=0.05) as node,
    ):
        other.register(idle)
        (job,) = await submit(gate, other)
        async with node.away():
            await until(is_(redis_server, job.id, "waiting"), "the job to be given up for lost")
            gate.go.set()
            await until(lambda: gate.running == 0, "the job's code to end")
        with anyio.fail_after(20):
            assert (await job.result()).unwrap() == 0
        assert record(redis_server, job.id)["stalls"] == "0"
        assert await effects(other, "s0") == 1
    assert len(gate.runs) == 1


async def test_what_others_took_stops_here_and_leaves_no_stall(redis_url, redis_server):
    gate, other_gate = gated(), gated()
    async with (
        open_node(redis_server, gate.processor, disconnect_grace=0.05) as node,
        QueueRuntime(redis_url) as other,
    ):
        (job,) = await submit(gate, other)
        other.register(other_gate.processor)
        async with node.away():
            await until(lambda: other_gate.running == 1, "the job to run elsewhere")
            assert gate.running == 1
        await until(lambda: len(gate.cancelled) == 1, "the job to stop here")
        assert record(redis_server, job.id)["stalls"] == "0"
        other_gate.go.set()
        with anyio.fail_after(20):
            assert (await job.result()).unwrap() == 0
        assert await effects(other, "s0") == 1
    assert (len(gate.runs), len(other_gate.runs)) == (1, 1)


async def test_a_patient_nodes_jobs_are_not_given_to_others(redis_url, redis_server):
    gate, other_gate = gated(), gated()
    async with (
        open_node(redis_server, gate.processor, disconnect_grace=60.0) as node,
        QueueRuntime(redis_url) as other,
    ):
        (job,) = await submit(gate, other)
        other.register(other_gate.processor)
        suspects = keys.spell("am2z", "suspects")
        async with node.away():
            # Others miss it for longer than they would be missed themselves.
            await until(lambda: redis_server.call("HLEN", suspects) == 1, "the node to be missed")
            since = other.node.host.now()
            await until(lambda: other.node.host.now() > since + 1.3, "its second of grace to be over")
        assert record(redis_server, job.id)["status"] == "active"
        gate.go.set()
        with anyio.fail_after(20):
            assert (await job.result()).unwrap() == 0
    assert (len(gate.runs), len(other_gate.runs)) == (1, 0)


# Cut off, the grace counts, however long the lease is and however often a new connection is cut off, too.
@pytest.mark.parametrize(("how", "lease"), [("cut off", 10.0), ("unanswered", 2.0)])
async def test_jobs_that_must_not_overlap_stop_before_others_can_be_given_them(spawn_redis, how, lease):
    server = spawn_redis()
    gate, other_gate = gated(), gated()
    order: list[str] = []
    careful = gated(
        queue=QueueOptions(stalled_interval=0.1, stop_when_cut_off=True),
        name="careful",
        on_cancel=lambda: order.append("stopped"),
    )
    other_careful = gated(
        queue=QueueOptions(stalled_interval=0.1), name="careful", on_begin=lambda: order.append("began again")
    )
    async with (
        open_node(server, gate.processor, careful.processor, lease=lease, disconnect_grace=0.6) as node,
        QueueRuntime(server.url) as other,
    ):
        (job,) = await submit(gate, other)
        (one,) = await submit(careful, other)
        other.register(other_gate.processor, other_careful.processor)
        if how == "cut off":
            async with node.away():
                await until(lambda: other_careful.running == 1, "the job to run elsewhere")
            assert order == ["stopped", "began again"]
        else:
            server.pause()
            try:
                await until(lambda: len(careful.cancelled) == 1, "the job to stop")
            finally:
                server.resume()
            await until(lambda: len(careful.runs) + len(other_careful.runs) == 2, "the job to go back")
        assert len(gate.runs) + len(other_gate.runs) == (2 if how == "cut off" else 1)
        for each in (gate, other_gate, careful, other_careful):
            each.go.set()
        with anyio.fail_after(20):
            assert (await job.result()).success
            assert (await one.result()).success
        await until(lambda: not int(record(server, one.id)["stalls"] or 0), "the stall to be taken back")
    assert len(careful.cancelled) == 1


def is_away(runtime: QueueRuntime, away: bool) -> bool:
    return (runtime.node.why_it_cannot_claim() != "") is away


async def test_jobs_go_on_though_redis_was_away_for_longer_than_their_lease(spawn_redis):
    server = spawn_redis()
    gate = gated(queue=QueueOptions(stalled_interval=0.1))
    async with QueueRuntime(server.url, lease=2) as one, QueueRuntime(server.url, lease=2) as two:
        for runtime in (one, two):
            runtime.register(gate.processor)
        jobs = await submit(gate, one, 12)
        assert len({record(server, job.id)["node"] for job in jobs}) == 2
        server.pause()
        try:
            for runtime in (one, two):
                await until(partial(is_away, runtime, True), "the lease to be over")
            await anyio.sleep(0.3)
        finally:
            server.resume()
        for runtime in (one, two):
            await until(partial(is_away, runtime, False), "the node to be back")
        assert gate.running == 12
        gate.go.set()
        with anyio.fail_after(20):
            for job in jobs:
                assert (await job.result()).success
        assert {record(server, job.id)["stalls"] or "0" for job in jobs} == {"0"}
    assert (len(gate.runs), len(gate.cancelled)) == (12, 0)


async def test_a_cancellation_that_nobody_heard_takes_effect_when_the_node_is_back(redis_url, redis_server):
    gate = gated()
    async with (
        QueueRuntime(redis_url, workers=False) as client,
        open_node(redis_server, gate.processor) as node,
    ):
        (job,) = await submit(gate, client)
        async with node.away():
            inbox = keys.spell("am2z", "inbox", node.runtime.node_id)
            await until(lambda: redis_server.call("PUBSUB", "NUMSUB", inbox)[1] == 0, "nobody to listen")
            assert await job.cancel()
        await until(lambda: len(gate.cancelled) == 1, "the job to hear of it")
        with anyio.fail_after(20):
            assert not (await job.result()).success


@pytest.mark.parametrize("stop", [False, True])
async def test_a_message_that_was_lost_takes_effect_at_a_tick(redis_url, redis_server, stop):
    """It was published, and nothing shows that nobody has heard it."""
    gate = gated()
    async with QueueRuntime(redis_url) as node, QueueRuntime(redis_url, workers=False) as client:
        node.register(gate.processor)
        (job,) = await submit(gate, client)
        node.node.inbox.on_message = lambda message: None  # type: ignore[method-assign]
        if stop:
            await client.stop_session("s0")
        else:
            assert await job.cancel()
        await until(lambda: len(gate.cancelled) == 1, "the job to hear of it")
        with anyio.fail_after(20):
            assert not (await job.result()).success


@asynccontextmanager
async def open_block(client: QueueRuntime, stopped: list[str]) -> AsyncIterator[None]:
    """A block that holds a session open, in a task of its own."""
    opened = anyio.Event()

    async def hold() -> None:
        try:
            async with client.session("s"):
                opened.set()
                await anyio.sleep_forever()
        except SessionStoppedError as error:
            stopped.append(error.message)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await opened.wait()
        yield
        tasks.cancel_scope.cancel()


async def test_a_block_of_a_client_hears_that_its_session_is_stopped(redis_url):
    """A client serves nothing, so it is not among the nodes that hold jobs."""
    stopped: list[str] = []
    async with QueueRuntime(redis_url) as node, QueueRuntime(redis_url, workers=False) as client:
        async with open_block(client, stopped):
            await node.stop_session("another")
            assert not stopped
            await node.stop_session("s")
            await until(lambda: bool(stopped), "the block to hear of it")
        # What is opened after a stop is not hit by it.
        async with client.session("s"):
            await client.node.stops.look()
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("away", [False, True])
async def test_a_stop_that_nobody_heard_ends_a_client_s_block_all_the_same(redis_url, redis_server, away):
    stopped: list[str] = []
    async with (
        QueueRuntime(redis_url) as node,
        open_node(redis_server, workers=False) as client,
    ):
        client.runtime.node.inbox.on_message = lambda message: None  # type: ignore[method-assign]
        async with open_block(client.runtime, stopped):
            if away:
                async with client.away():
                    await node.stop_session("s")
            else:
                await node.stop_session("s")
            await until(lambda: bool(stopped), "the block to hear of it")


async def test_a_grant_that_was_never_heard_of_goes_back(redis_url, redis_server):
    """Though the node runs the very job under an earlier token, and though it claims without a pause."""
    gate = gated()
    async with QueueRuntime(redis_url) as node, QueueRuntime(redis_url, workers=False) as client:
        node.register(gate.processor)
        (job,) = await submit(gate, client)
        # As if the server had lost the end of its history, and then the answer that granted the job anew.
        with redis_server.client() as admin:
            admin.hset(keys.spell("am2z", "job", job.id), "token", "7:anew")
            admin.hset(keys.spell("am2z", "active", node.node_id), job.id, "7:anew")
        seq = node.node.claims.begin()
        node.node.inbox.on_reconnect()
        await until(lambda: len(gate.cancelled) == 1, "the older run to stop")
        assert record(redis_server, job.id)["status"] == "active", "some claim may bring it yet"
        node.node.claims.end(seq)
        await until(lambda: len(gate.runs) == 2, "the job to be granted once more")
        gate.go.set()
        with anyio.fail_after(20):
            assert (await job.result()).unwrap() == 0
        assert await effects(client, "s0") == 1


LATE = {"status": "active", "token": "9:late", "queue": "another", "deliveries": "1"}
"""What a claim that came late has left of a job."""


async def test_a_grant_of_a_claim_that_came_late_is_found(redis_url, redis_server, monkeypatch):
    """Its node has long given up on it, and nothing has happened since to make it ask."""
    monkeypatch.setattr(holdings, "EVERY", 0.5)
    gate = gated()
    async with QueueRuntime(redis_url) as node:
        node.register(gate.processor)
        await submit(gate, node)
        with redis_server.client() as admin:
            admin.hset(keys.spell("am2z", "job", "late"), mapping=LATE | {"node": node.node_id})
            admin.hset(keys.spell("am2z", "active", node.node_id), "late", "9:late")
        await until(is_(redis_server, "late", "waiting"), "the job to go back")
        assert gate.running == 1
        gate.go.set()


async def test_a_job_that_is_granted_anew_to_its_node_runs_there_once(redis_url, redis_server):
    gate = gated()
    async with QueueRuntime(redis_url) as node, QueueRuntime(redis_url, workers=False) as client:
        node.register(gate.processor)
        (job,) = await submit(gate, client)
        with redis_server.client() as admin:
            admin.hset(keys.spell("am2z", "job", job.id), "status", "waiting")
            admin.hdel(keys.spell("am2z", "job", job.id), "token", "node")
            admin.hdel(keys.spell("am2z", "active", node.node_id), job.id)
            admin.rpush(keys.spell("am2z", "wait", "gated@s0"), job.id)
            admin.zadd(keys.spell("am2z", "ready", "gated"), {"s0": 0})
        node.node.fleet.wake_all()
        await until(lambda: len(gate.runs) == 2, "the job to be granted anew")
        await until(lambda: len(gate.cancelled) == 1, "the older run to stop")
        gate.go.set()
        with anyio.fail_after(20):
            assert (await job.result()).unwrap() == 0
        assert await effects(client, "s0") == 1
