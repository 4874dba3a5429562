"""The server's clock is set while nodes live, and time goes on as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.model.records import QueueLimits
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.redis import keys
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.store.redis.witness import SLACK, Witness
from am2z_trio.testing.conformance import SETTINGS, Clock, Node, job
from tests.support.servers import RedisProcess

pytestmark = pytest.mark.anyio

HOUR = 3600.0


class World:
    """Nodes on a server whose clock may be set, and the time that really passes."""

    def __init__(self, server: RedisProcess) -> None:
        self.server = server
        self.clock = Clock()
        self.elapsed = 0.0
        self.nodes: dict[str, Node] = {}

    def store(self, node: str) -> RedisStore:
        options = RedisOptions.from_url(self.server.url)
        return RedisStore(node, options, settings=SETTINGS, clock=self.clock, elapsed=lambda: self.elapsed)

    def pass_time(self, seconds: float) -> None:
        self.elapsed += seconds
        self.clock.advance(seconds)

    def set_clock(self, seconds: float) -> None:
        """Set the server's clock by so much, in no time."""
        self.clock.advance(seconds)

    async def live(self, seconds: float, *names: str) -> None:
        """Let nodes renew every second for some time."""
        for _ in range(round(seconds)):
            self.pass_time(1)
            for name in names:
                await self.nodes[name].store.renew(look_every=0.3)

    def offset(self) -> int:
        return int(self.server.call("GET", keys.spell("am2z", "clock")).split()[0])


@asynccontextmanager
async def world(server: RedisProcess, names: str, *, later: float = 0.0) -> AsyncIterator[World]:
    host, made = current_host(), World(server)
    made.pass_time(later)
    async with host.open_nursery() as nursery:
        for name in names:
            store = made.store(name)
            node = made.nodes[name] = Node(name, store, host)
            await nursery.start(node.run)
            await store.renew(look_every=0)
            await store.join()
        yield made
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("step", [HOUR, -HOUR, 24 * HOUR])
async def test_nothing_passes_at_once_and_nothing_stands_still(redis_url, redis_server, step: float):
    limited = QueueLimits(starts=1, per=30.0)
    async with world(redis_server, "ab") as now:
        a, b = now.nodes.values()
        await now.live(3, "a", "b")
        await a.store.enqueue([job("held"), job("due", deadline=60.0), job("later", delay=60.0)])
        held = await a.claim_one()
        await a.store.enqueue([job("r1", "limited"), job("r2", "limited")])
        assert len(await a.claim(2, "limited", limited)) == 1
        lock = await a.store.states.acquire("s", "t", 50.0)
        assert lock.fence is not None
        now.set_clock(step)
        # Before anybody could have noticed.
        assert (await b.store.tick()).reaped == 0
        assert [grant.spec.id for grant in await b.claim(2)] == ["due"]
        assert await b.claim(1, "limited", limited) == []
        assert (await b.store.states.acquire("s", "u", 50.0)).fence is None
        await now.live(20, "a", "b")
        assert (await b.store.tick()).reaped == 0
        assert await b.claim(1, "limited", limited) == []
        assert (await a.settle(held)).status == "applied"
        await now.live(30, "a", "b")
        # As much time has passed as has passed.
        assert len(await b.claim(1, "limited", limited)) == 1
        assert await b.claim(1) == []
        await now.live(12, "a", "b")
        assert [grant.spec.id for grant in await b.claim(1)] == ["later"]
        assert abs(now.offset() + step * 1000) < 2000


async def test_a_deadline_passes_when_its_time_has_passed(redis_url, redis_server):
    async with world(redis_server, "a") as now:
        a = now.nodes["a"]
        await now.live(2, "a")
        await a.store.enqueue([job("due", deadline=10.0, origin="a")])
        now.set_clock(-HOUR)
        await now.live(12, "a")
        assert await a.claim(1) == []
        assert await a.status("due") != "waiting"


async def test_time_that_has_passed_while_nobody_was_there_has_passed(redis_url, redis_server):
    async with world(redis_server, "a") as now:
        await now.live(3, "a")
        await now.nodes["a"].store.enqueue([job("later", delay=HOUR)])
        # One that was away for long, and saw the time go by.
        now.pass_time(HOUR)
        await now.nodes["a"].store.renew(look_every=0.3)
        assert abs(now.offset()) < 10
        await now.nodes["a"].store.join()
        assert (await now.nodes["a"].claim_one()).spec.id == "later"
    # One that comes, and nobody else is there.
    async with world(redis_server, "b", later=3 * HOUR) as now:
        assert int(redis_server.call("GET", keys.spell("am2z", "clock")).split()[1]) == now.clock.now


async def test_one_that_has_just_come_leaves_it_to_those_who_know(redis_url, redis_server):
    async with world(redis_server, "a") as now:
        await now.live(3, "a")
        now.set_clock(HOUR)
        store = now.store("new")
        async with current_host().open_nursery() as nursery:
            await nursery.start(Node("new", store, current_host()).run)
            await store.renew(look_every=0)
            assert now.offset() == 0
            nursery.cancel_scope.cancel()
        await now.live(1, "a")
        assert now.offset() == -HOUR * 1000


async def test_the_time_goes_back_to_the_servers_slowly(redis_url, redis_server):
    async with world(redis_server, "ab") as now:
        await now.live(2, "a", "b")
        now.set_clock(30)
        await now.live(1, "a", "b")
        before = now.offset()
        assert abs(before + 30_000) < 100
        await now.live(100, "a", "b")
        assert 900 <= now.offset() - before <= 1_010


def test_a_witness_takes_nothing_for_a_step_that_may_be_none():
    now = [0.0]
    witness = Witness(lambda: now[0])
    assert witness.note(1_000_000.0, 0.0) is None
    # A second passed; the request took another one.
    now[0] = 2.0
    for server in (1_001_000.0, 1_002_000.0 + SLACK):
        assert Witness.note(_again(witness), server, 1.0) == 0
    assert _again(witness).note(1_000_000.0 + 3_600_000 + 2_000, 1.0) == 3_600_000
    assert _again(witness).note(1_000_000.0 - 3_600_000 + 1_000, 1.0) == -3_600_000


def _again(witness: Witness) -> Witness:
    """A copy, since to note is to remember."""
    copy = Witness(witness._now)
    copy._server, copy._sent, copy._heard = witness._server, witness._sent, witness._heard
    return copy
