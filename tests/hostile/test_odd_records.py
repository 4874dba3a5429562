"""Records that something else has written or spoilt: one at a time, on nodes at work.

After each, the node lives, the neighbours complete, and the odd one ends with one clear error, or as if
nothing had been. Of a table's row: what is done to Redis, and what the odd job's caller hears.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest

from am2z_trio import (
    AM2ZError,
    JobCancelledError,
    QueueOptions,
    QueueRuntime,
    UnknownOutcomeError,
    ValidationError,
    processor,
)
from am2z_trio.engine import node as node_module
from am2z_trio.engine import results
from am2z_trio.engine.job import Job, ProcessorResult
from am2z_trio.store import keys
from tests.conftest import RedisProcess

pytestmark = pytest.mark.anyio

Redis = Any
"""Of redis-py, whose types say less than it does."""
BAD = "bad"

GO_ON = dict[str, anyio.Event]()


@processor(queue=QueueOptions(concurrency=10))
async def echo(n: int) -> int:
    return n


@processor(queue=QueueOptions(concurrency=10))
async def hold(n: int) -> int:
    GO_ON["begun"].set()
    await GO_ON["end"].wait()
    return n


def key(kind: str, name: str = "") -> str:
    return keys.spell("am2z", kind, name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Housekeeping that takes seconds takes a tenth of one."""
    monkeypatch.setattr(node_module, "TICK", 0.1)
    monkeypatch.setattr(results, "LOOK_AFTER", 0.1)


@asynccontextmanager
async def open_worker(server: RedisProcess) -> AsyncIterator[tuple[QueueRuntime, Redis]]:
    with server.client() as admin, anyio.fail_after(30):
        async with QueueRuntime(server.url) as worker:
            worker.register(echo)
            yield worker, admin
            # Whatever was done to it: it lives, and works.
            assert [r.unwrap() for r in await worker.execute_many(echo, range(3))] == [0, 1, 2]
            assert (await worker.execute(echo, 4, session="after")).unwrap() == 4
            await worker.dead_letters.list(echo)
            await worker.get_queue_stats()


# --- what a job that waits may look like ----------------------------------------------------------


class Odd(NamedTuple):
    name: str
    spoil: Callable[[Redis, str], object]
    """With the key of the odd job's record."""
    ends: type[AM2ZError] | None = None
    """What its caller hears; `None`: it completes."""
    session: str | None = None


def lose(*fields: str) -> Callable[[Redis, str], object]:
    return lambda r, k: r.hdel(k, *fields)


def put(**fields: Any) -> Callable[[Redis, str], object]:
    return lambda r, k: r.hset(k, mapping=fields)


def spec(*items: Any, at: int | None = None) -> Callable[[Redis, str], object]:
    """Another spec, or its own with one item changed."""

    def spoil(r: Redis, k: str) -> None:
        whole = msgspec.msgpack.decode(r.hget(k, "spec"))
        if at is None:
            r.hset(k, "spec", msgspec.msgpack.encode(items))
        else:
            whole[at] = items[0]
            r.hset(k, "spec", msgspec.msgpack.encode(whole))

    return spoil


def raw(data: bytes) -> Callable[[Redis, str], object]:
    return lambda r, k: r.hset(k, "spec", data)


def instead(kind: str) -> Callable[[Redis, str], object]:
    def spoil(r: Redis, k: str) -> None:
        r.delete(k)
        of_kind(r, k, kind)

    return spoil


def of_kind(r: Redis, k: str, kind: str) -> None:
    if kind == "string":
        r.set(k, "x")
    elif kind == "list":
        r.rpush(k, "x")
    elif kind == "set":
        r.sadd(k, "x")
    elif kind == "zset":
        r.zadd(k, {"x": 1})
    elif kind == "hash":
        r.hset(k, "x", "x")
    else:
        r.xadd(k, {"x": "x"})


KINDS = ("string", "list", "set", "zset", "hash", "stream")
SPOILT = ValidationError

WAITING = [
    # Fields that are not there.
    Odd("no status", lose("status"), SPOILT),
    Odd("no spec", lose("spec"), SPOILT),
    Odd("no queue", lose("queue"), SPOILT),
    Odd("no processor", lose("processor")),
    Odd("no origin", lose("origin")),
    Odd("no max_stalled", lose("max_stalled")),
    Odd("nothing but its queue", lambda r, k: (r.delete(k), r.hset(k, "queue", "echo")), UnknownOutcomeError),
    Odd("no session name", lose("skey"), session="s"),
    Odd("no session", lose("session"), session="s"),
    Odd("no record", lambda r, k: r.delete(k), UnknownOutcomeError),
    # Numbers that are none.
    Odd("attempt is text", put(attempt="many"), SPOILT),
    Odd("attempt is NaN", put(attempt="nan"), SPOILT),
    Odd("attempt is infinite", put(attempt="1e400"), SPOILT),
    Odd("attempt is negative", put(attempt="-3"), SPOILT),
    Odd("attempt is 0", put(attempt="0"), SPOILT),
    Odd("attempt is empty", put(attempt=""), SPOILT),
    Odd("attempt is beyond 64 bits", put(attempt="9" * 40), SPOILT),
    Odd("attempt has 5,000 digits", put(attempt="9" * 5000), SPOILT),
    Odd("attempt is a fraction", put(attempt="1.5")),
    Odd("deliveries are text", put(deliveries="x"), SPOILT),
    Odd("deliveries are negative", put(deliveries="-1"), SPOILT),
    Odd("deliveries are NaN", put(deliveries="-nan"), SPOILT),
    Odd("deadline is text", put(deadline="soon"), SPOILT),
    Odd("deadline is NaN", put(deadline="nan"), SPOILT),
    Odd("deadline is infinite", put(deadline="inf"), SPOILT),
    Odd("deadline is long ago", put(deadline="-5"), AM2ZError),
    Odd("priority is text", put(priority="high")),
    Odd("priority is negative", put(priority="-7")),
    Odd("priority is infinite", put(priority="1e999")),
    Odd("max_stalled is text", put(max_stalled="x")),
    Odd("stalls are text", put(stalls="often")),
    Odd("keep is text", put(keep="for ever and ever")),
    Odd("keep is short", put(keep="1")),
    Odd("keep is NaN", put(keep="nan nan nan nan")),
    Odd("progress is text", put(progress="half")),
    # Marks that are not its own.
    Odd("status is none", put(status="banana"), SPOILT),
    Odd("status is empty", put(status=""), SPOILT),
    Odd("status is bytes", put(status=b"\xff\xfe"), SPOILT),
    Odd("active, and nobody holds it", put(status="active"), SPOILT),
    Odd("active on a node that does not exist", put(status="active", node="x", token="1:x"), SPOILT),
    Odd("delayed, and nobody knows until when", put(status="later"), SPOILT),
    Odd("completed without an outcome", put(status="completed"), AM2ZError),
    Odd("cancelled", put(status="cancelled"), JobCancelledError),
    Odd("failed with a result that is none", put(status="failed", result=b"\xc1"), ValidationError),
    Odd("of another queue", put(queue="other"), AM2ZError),
    Odd("of a queue whose name is bytes", put(queue=b"\xff"), AM2ZError),
    Odd("its own parent", put(parent=BAD, calls="1")),
    Odd("its own child", lambda r, k: (r.hset(k, "calls", "1"), r.sadd(f"{k}:children", BAD))),
    Odd("child of nobody", put(parent="nobody")),
    Odd("children of another type", lambda r, k: (r.hset(k, "calls", "1"), r.set(f"{k}:children", "x"))),
    Odd("debounced by nothing", put(debounce="k")),
    Odd("works on a state it has no session for", put(stored="1")),
    Odd("of a session that is none", put(session="x", skey="~")),
    Odd("held already", put(token="1:x", node="x", last_token="1:x")),
    Odd("wanted cancelled", put(cancel="why not")),
    Odd("earlier errors that are none", put(errors=b"\xc1\xc1")),
    Odd("origin is bytes", put(origin=b"\xff\n\xfe\n\n")),
    Odd("origin is large", put(origin="x\n" * 10_000)),
    # Specs.
    Odd("spec is empty", raw(b""), SPOILT),
    Odd("spec is rubbish", raw(b"\xc1\xff\x00"), SPOILT),
    Odd("spec is text", raw(b"not msgpack at all"), SPOILT),
    Odd("spec is cut off", lambda r, k: r.hset(k, "spec", r.hget(k, "spec")[:-3]), SPOILT),
    Odd("spec goes on", lambda r, k: r.hset(k, "spec", bytes(r.hget(k, "spec")) + b"x"), SPOILT),
    Odd("spec is a mapping", raw(msgspec.msgpack.encode({"version": 1, "id": BAD})), SPOILT),
    Odd("spec is a number", raw(b"\x05"), SPOILT),
    Odd("spec is nested deep", raw(b"\x91" * 100_000 + b"\xc0"), SPOILT),
    Odd("spec claims 4 billion items", raw(b"\xdd\xff\xff\xff\xff\x01"), SPOILT),
    Odd("spec is large", raw(b"\xc1" * 2_000_000), SPOILT),
    Odd("version is 0", spec(0, at=0), SPOILT),
    Odd("version is text", spec("1", at=0), SPOILT),
    Odd("id is another's", spec("n0", at=1), SPOILT),
    Odd("id is a number", spec(5, at=1), SPOILT),
    Odd("processor is another", spec("hold", at=2), SPOILT),
    Odd("processor is empty", spec("", at=2), SPOILT),
    Odd("session is a number", spec(7, at=3), SPOILT),
    Odd("state is of another type", spec("text", at=4), ValidationError),
    Odd("state is nested deep", spec(msgspec.Raw(b"\x91" * 5000 + b"\xc0"), at=4), AM2ZError),
    Odd("timeout is negative", spec(-1.0, at=6), SPOILT),
    Odd("timeout is NaN", spec(math.nan, at=6), SPOILT),
    Odd("timeout is infinite", spec(math.inf, at=6), SPOILT),
    Odd("attempts are 0", spec(0, at=7), SPOILT),
    Odd("attempts are beyond count", spec(2**63, at=7), SPOILT),
    Odd("attempts are true", spec(True, at=7), SPOILT),
    Odd("backoff is NaN", spec(math.nan, at=8), SPOILT),
    Odd("backoff is -inf", spec(-math.inf, at=8), SPOILT),
    Odd("depth is negative", spec(-1, at=9), SPOILT),
    Odd("parent is a list", spec([1], at=10), SPOILT),
    Odd("commits is text", spec("yes", at=11), SPOILT),
    Odd("multiplier is 0", spec(0.0, at=12), SPOILT),
    # Records of another type.
    *[Odd(f"a {kind}", instead(kind), AM2ZError) for kind in KINDS if kind != "hash"],
    # Ids where they do not belong.
    Odd("twice in its list", lambda r, k: r.rpush(key("wait", "echo"), BAD, BAD)),
    Odd("in another queue's list", lambda r, k: r.rpush(key("wait", "hold"), BAD)),
    Odd("in the list of delayed ones, too", lambda r, k: r.zadd(key("later", "echo"), {BAD: 1})),
    Odd("with those of a priority, too", lambda r, k: r.zadd(key("prio", "echo"), {BAD: 1})),
    Odd("after an id of nobody", lambda r, k: r.lpush(key("wait", "echo"), "nobody", "")),
    Odd("after an id that is no text", lambda r, k: r.lpush(key("wait", "echo"), b"\xff\xfe", b"\x00")),
    Odd("after an id of a megabyte", lambda r, k: r.lpush(key("wait", "echo"), "x" * 1_000_000)),
    Odd(
        "after a job whose id is no text",
        lambda r, k: (
            r.hset(k[: -len(BAD)].encode() + b"\xff", mapping=r.hgetall(k)),
            r.lpush(key("wait", "echo"), b"\xff"),
        ),
    ),
    Odd("after sessions of nobody", lambda r, k: r.lpush(key("ready", "echo"), "nobody", "", b"\xff")),
    Odd("after an id with a priority of nobody", lambda r, k: r.zadd(key("prio", "echo"), {"nobody": -1})),
    Odd(
        "after one that is due for ever",
        lambda r, k: r.zadd(key("later", "echo"), {"nobody": "-inf", "no one": "inf"}),
    ),
]


@pytest.mark.parametrize("odd", WAITING, ids=lambda odd: odd.name)
async def test_a_job_that_waits_and_is_odd_harms_no_other(odd: Odd, redis_url, redis_server):
    async with open_worker(redis_server) as (worker, admin):
        worker.register(hold)
        await worker.pause(echo)
        jobs = {name: await worker.submit(echo, 1, job_id=name) for name in ("n0", "n1")}
        bad = await worker.submit(echo, 7, job_id=BAD, session=odd.session)
        jobs |= {name: await worker.submit(echo, 1, job_id=name) for name in ("n2", "n3")}
        odd.spoil(admin, key("job", BAD))
        await worker.resume(echo)
        for job in jobs.values():
            assert (await job.result()).unwrap() == 1
        await ends_as(bad, odd.ends)


async def ends_as(job: Job[int], error: type[AM2ZError] | None) -> ProcessorResult[int]:
    result = await job.result()
    if error is None:
        assert result.unwrap() == 7
    else:
        assert isinstance(result.error, error), result
        assert len(result.error.message) < 1000
    return result
