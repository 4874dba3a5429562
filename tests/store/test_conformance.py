"""Both stores keep the store contract, on both hosts."""

from __future__ import annotations

import msgspec
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.model.records import QueueLimits, Settlement, Wake, plain_name
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.memory.store import MemoryStore
from am2z_trio.store.redis import agreed, keys
from am2z_trio.store.redis.access import least_acl
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import CASES, SETTINGS, Backend, Bench, Clock, job, run_case
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


class MemoryBackend:
    def __init__(self) -> None:
        self.server = MemoryServer(SETTINGS)

    def store(
        self, node: str, clock: Clock, disconnect_grace: float = SETTINGS.disconnect_grace
    ) -> MemoryStore:
        return MemoryStore(node, self.server, clock=clock, disconnect_grace=disconnect_grace)

    async def wait_gone(self, node: str) -> None:
        pass

    def tamper_state(self, session: str) -> bool:
        return False

    def tamper_spec(self, job: str) -> bool:
        return False

    def drop_schedule(self, id: str) -> None:
        # Name and record are one there.
        self.server.schedules.remove(plain_name(id), None)


class RedisBackend:
    settings = SETTINGS
    functions = True
    """Whether its user may have functions, where the server has them."""

    def __init__(self, url: str, server) -> None:
        # With no more rights than are said to be needed: the contract holds with these.
        functions = self.functions and server.version >= "7"
        server.call("ACL", "SETUSER", "least", "on", ">pw", "resetkeys", *least_acl(functions=functions))
        self.options = RedisOptions.from_url(url.replace("unix://", "unix://least:pw@"))
        self.server = server

    def store(
        self, node: str, clock: Clock, disconnect_grace: float = SETTINGS.disconnect_grace
    ) -> RedisStore:
        settings = msgspec.structs.replace(self.settings, disconnect_grace=disconnect_grace)
        return RedisStore(node, self.options, settings=settings, clock=clock)

    async def wait_gone(self, node: str) -> None:
        inbox = keys.spell("am2z", "inbox", node)
        wait_until(lambda: self.server.call("PUBSUB", "NUMSUB", inbox)[1] == 0, "the node to be gone")

    def tamper_state(self, session: str) -> bool:
        self.server.call("HSET", keys.spell("am2z", "session", plain_name(session)), "blob", "other")
        return True

    def tamper_spec(self, job: str) -> bool:
        self.server.call("HSET", keys.spell("am2z", "job", job), "spec", b"\xc1not msgpack")
        return True

    def drop_schedule(self, id: str) -> None:
        self.server.call("DEL", keys.spell("am2z", "schedule", plain_name(id)))


def test_no_two_cases_have_one_name():
    assert len(set(CASES)) == len(CASES) >= 107


class ScriptsBackend(RedisBackend):
    """A user who may not have functions: all that is done by scripts. And no job is taken for a plain one."""

    functions = False


@pytest.fixture(params=["memory", "redis", "scripts"])
def backend(request, monkeypatch) -> Backend:
    if request.param == "memory":
        return MemoryBackend()
    kind = RedisBackend if request.param == "redis" else ScriptsBackend
    server = request.getfixturevalue("redis_server")
    if kind is ScriptsBackend and server.version < "7":
        pytest.skip("the server has nothing but scripts")
    if kind is ScriptsBackend:
        monkeypatch.setattr(agreed, "MAX_STALLED", None)
    return kind(request.getfixturevalue("redis_url"), server)


@pytest.mark.parametrize("case", CASES)
async def test_the_store(case, backend):
    await run_case(case, backend)


async def test_as_many_nodes_are_woken_as_places_become_free_in_one_call(backend):
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        limits = QueueLimits(most_active=5)
        a, *others = nodes = [await bench.node(name) for name in "abcdefg"]
        await a.store.enqueue([job(f"j{n}") for n in range(20)])
        grants = await a.claim(10, limits=limits)
        assert len(grants) == 5
        # These have room, and find none to be had.
        for other in others:
            bench.clock.advance(0.001)
            assert await other.claim(1, limits=limits) == []
        done = [Settlement(id=grant.spec.id, token=grant.token, outcome="completed") for grant in grants]
        await a.store.settle(done)
        assert [node.name for node in nodes if Wake("q") in await node.heard()] == ["a", "b", "c", "d", "e"]
        nursery.cancel_scope.cancel()
