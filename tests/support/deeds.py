"""One action of each kind, what each would change, and ways in which nothing can be written down before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from am2z_trio import Context, Every, Processor, QueueRuntime, RetryPolicy
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.store.redis.access import least_acl
from am2z_trio.store.redis.keys import anchor, spell
from tests.support.servers import RedisProcess

DEEDS: Final = ("cancel", "pause", "redrive", "remove a schedule", "stop a session", "bulk")

WAYS: Final = ("denied", "full", "at its end")
"""Its key is none of the user's any more; the server's memory is full; its stream takes no entry any more."""


async def _fails(n: int, ctx: Context) -> int:
    raise ValueError("no")


def shop() -> Processor[int]:
    return Processor(_fails, name="shop.price", retry=RetryPolicy(max_attempts=1))


class Ground:
    """What is acted upon, by its ids."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    async def prepare(self, url: str, prefix: str = "am2z") -> None:
        async with QueueRuntime(url, prefix=prefix) as runtime:
            runtime.register(shop())
            dead = await runtime.submit("shop.price", 1)
            assert not (await dead.result()).success
        async with QueueRuntime(url, prefix=prefix, workers=False) as client:
            job = await client.submit("shop.price", 2)
            of_session = await client.submit("shop.price", 3, session="alice")
            await client.schedules.upsert("nightly", "shop.price", Every(3600), state=1)
        self.ids = {"dead": dead.id, "job": job.id, "of session": of_session.id}

    async def standing(self, runtime: Runtime) -> Mapping[str, Any]:
        """All that the actions would change, and how many entries the audit has."""
        store = runtime.node.store
        rows = await store.inspection.rows(list(self.ids.values()))
        stats = (await runtime.get_queue_stats())["shop.price"]
        return {
            "jobs": [row and (row.status, row.attempt, row.at) for row in rows],
            "queue": (stats.paused, stats.waiting, stats.dead),
            "schedules": [(one.id, one.paused) for one in await runtime.schedules.list()],
            "bulks": await store.bulks.newest(10),
            "audit": len((await store.chronicle.audit_page()).entries),
        }


def as_ada(server: RedisProcess, prefix: str = "am2z") -> str:
    """The URL of a user who may do what a node does, until it is taken away."""
    server.call("ACL", "SETUSER", "ada", "on", ">pw", *least_acl(prefix, functions=False))
    return server.url.replace("unix://", "unix://ada:pw@")


@contextmanager
def unwritten(server: RedisProcess, way: str, prefix: str = "am2z") -> Iterator[None]:
    """Within, nothing can be written down, in this way, by `as_ada`."""
    front, key = anchor(prefix), spell(prefix, "audit")
    assert key == f"{front}:audit"
    if way == "denied":
        others = (f"~{front}:[^a]*", f"~{front}:a[^u]*", f"~{front}:audit:*")
        server.call("ACL", "SETUSER", "ada", "resetkeys", f"~{front}", *others)
    elif way == "full":
        server.call("CONFIG", "SET", "maxmemory", "1")
    else:
        server.call("XADD", key, f"{2**64 - 1}-{2**64 - 1}", "at", "1", "entry", b"\xc0")
    try:
        yield
    finally:
        server.call("ACL", "SETUSER", "ada", f"~{front}:*")
        server.call("CONFIG", "SET", "maxmemory", "0")
        if way == "at its end":
            server.call("DEL", key)
