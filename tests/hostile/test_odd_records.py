"""Records that something else has written or spoilt: one at a time, on nodes at work.

After each, the node lives, the neighbours complete, and the odd one ends with one clear error, or as if
nothing had been. Of a table's row: what is done to Redis, and what the odd job's caller hears.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import anyio
import msgspec
import pytest

from am2z_trio import (
    AM2ZError,
    CircuitBreaker,
    JobCancelledError,
    JobOptions,
    QueueOptions,
    QueueRuntime,
    StateIntegrityError,
    UnknownOutcomeError,
    ValidationError,
    processor,
)
from am2z_trio.concurrency import current_host
from am2z_trio.engine.node import announcements, heartbeat
from am2z_trio.engine.processors.result import ProcessorResult
from am2z_trio.engine.submission import looking
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.codec import encode_record
from am2z_trio.model.records import WIRE_VERSION, ResultRecord
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.redis import keys
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import Node
from tests.support.servers import RedisProcess
from tests.support.waiting import until

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


def children_of(record: str) -> str:
    """Where the ids of what a job has called are, by the key of its record."""
    return record.replace(":job:", ":children:", 1)


def key(kind: str, name: str = "") -> str:
    return keys.spell("am2z", kind, name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Housekeeping that takes seconds takes a tenth of one."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.1)
    monkeypatch.setattr(looking, "LOOK_AFTER", 0.1)
    monkeypatch.setattr(announcements, "ANNOUNCE_EVERY", 0.1)


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

COMPLETED = encode_record(ResultRecord(WIRE_VERSION, msgspec.Raw(b"\x07"), None, 1, 2**60, 0.1, "x"))
NEWER = encode_record(ResultRecord(WIRE_VERSION + 1, msgspec.Raw(b"\x07"), None, 1, 1, 0.1, "x"))

WAITING = [
    # Fields that are not there.
    Odd("no status", lose("status"), SPOILT),
    Odd("no spec", lose("spec"), SPOILT),
    Odd("no queue", lose("queue"), SPOILT),
    Odd("no processor", lose("processor")),
    Odd("no origin", lose("origin")),
    Odd("no max_stalled", lose("max_stalled")),
    Odd("nothing but its queue", lambda r, k: (r.delete(k), r.hset(k, "queue", "echo")), SPOILT),
    Odd("no session name", lose("skey"), session="s"),
    Odd("no session", lose("session"), session="s"),
    Odd("no word of what it has beside", lose("more")),
    Odd("no word of what it has beside its session", lose("more"), session="s"),
    Odd("a strange word of what it has beside", put(more=b"\xff")),
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
    Odd("completed without an outcome", put(status="completed"), ValidationError),
    Odd(
        "failed with the outcome of a completed one", put(status="failed", result=COMPLETED), ValidationError
    ),
    Odd("completed by a newer version", put(status="completed", result=NEWER), ValidationError),
    Odd("cancelled", put(status="cancelled"), JobCancelledError),
    Odd("failed with a result that is none", put(status="failed", result=b"\xc1"), ValidationError),
    Odd("of another queue", put(queue="other"), AM2ZError),
    Odd("of a queue whose name is bytes", put(queue=b"\xff"), AM2ZError),
    Odd("its own parent", put(parent=BAD, calls="1")),
    Odd("its own child", lambda r, k: (r.hset(k, "calls", "1"), r.sadd(children_of(k), BAD))),
    Odd("child of nobody", put(parent="nobody")),
    Odd("children of another type", lambda r, k: (r.hset(k, "calls", "1"), r.set(children_of(k), "x"))),
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
        odd.spoil(admin, key("job", bad.id))
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


# --- a job that runs ------------------------------------------------------------------------------

RUNNING = [
    Odd("no status", lose("status"), AM2ZError),
    Odd("no token", lose("token")),
    Odd("no node", lose("node")),
    Odd("no queue", lose("queue")),
    Odd("no spec", lose("spec")),
    Odd("no origin", lose("origin")),
    Odd("no session name", lose("skey"), session="s"),
    Odd("no word of what it has beside", lose("more"), session="s"),
    Odd("status is none", put(status="banana"), AM2ZError),
    Odd("waiting again", put(status="waiting")),
    Odd("delayed again", put(status="later")),
    Odd("ended already", put(status="cancelled"), JobCancelledError),
    Odd("another token", put(token="1:x")),
    Odd("another node", put(node="x")),
    Odd("settled already", put(last_token="1:x", last_outcome="completed")),
    Odd("another queue", put(queue="other")),
    Odd("attempt is text", put(attempt="x")),
    Odd("attempt is infinite", put(attempt="1e400")),
    Odd("stalls are text", put(stalls="x")),
    Odd("keep is text", put(keep="x")),
    Odd("parent is itself", put(parent=BAD, calls="1")),
    Odd("children of another type", lambda r, k: (r.hset(k, "calls", "1"), r.set(children_of(k), "x"))),
    Odd(
        "its children are its neighbours",
        lambda r, k: (r.hset(k, "calls", "1"), r.sadd(children_of(k), BAD, "", "x")),
    ),
    Odd("no record", lambda r, k: r.delete(k), UnknownOutcomeError),
    *[Odd(f"a {kind}", instead(kind), AM2ZError) for kind in KINDS if kind != "hash"],
]


@pytest.mark.parametrize("odd", RUNNING, ids=lambda odd: odd.name)
async def test_a_job_that_runs_and_becomes_odd_harms_no_other(odd: Odd, redis_url, redis_server):
    GO_ON["begun"], GO_ON["end"] = anyio.Event(), anyio.Event()
    async with open_worker(redis_server) as (worker, admin):
        worker.register(hold)
        bad = await worker.submit(hold, 7, job_id=BAD, session=odd.session)
        await GO_ON["begun"].wait()
        odd.spoil(admin, key("job", bad.id))
        admin.hset(key("active", worker.node_id), "nobody", "1:x")
        beside = await worker.submit(hold, 8)
        GO_ON["end"].set()
        assert (await beside.result()).unwrap() == 8
        result = await bad.result()
        assert result.success or isinstance(result.error, odd.ends or AM2ZError), result
        if odd.ends is None:
            assert result.unwrap() == 7


# --- what a dead worker leaves --------------------------------------------------------------------


async def test_whatever_a_dead_worker_has_left_its_other_jobs_come_back(redis_url, redis_server):
    """Each of its jobs is spoilt in another way, and so is what lists them; those that are not all run."""
    options = RedisOptions.from_url(redis_server.url)
    # One that says it is of another queue goes back to that one, and waits for somebody who serves it.
    spoilt = [odd for odd in RUNNING if odd.session is None and odd.name != "another queue"]
    async with open_worker(redis_server) as (worker, admin):
        await worker.pause(echo)
        good = [await worker.submit(echo, n) for n in range(20)]
        bad = [await worker.submit(echo, 7, job_id=f"{BAD}{n}") for n in range(len(spoilt))]
        worker.unregister(echo)
        await until(lambda: not worker.get_stats().workers)
        await worker.resume(echo)
        async with current_host().open_nursery() as nursery:
            for name in ("ghost1", "ghost2", "ghost3"):
                ghost = Node(name, RedisStore(name, options), current_host())
                await nursery.start(ghost.run)
                await ghost.store.join()
                assert len(await ghost.claim(20, "echo")) >= 5
            nursery.cancel_scope.cancel()
        for n, odd in enumerate(spoilt):
            odd.spoil(admin, key("job", f"{BAD}{n}"))
        for name in ("ghost1", "ghost2"):
            admin.hset(key("active", name), mapping={"nobody": "x", "": "", b"\xff": b"\xff"})
        admin.delete(key("claims", "ghost1"))
        admin.set(key("claims", "ghost1"), "x")
        admin.hset(key("claims", "ghost2"), "echo", b"\xc1rubbish")
        admin.hset(key("suspects"), mapping={"ghost1": "long ago", "ghost2": "nan", "ghost3": ""})
        worker.register(echo)
        for n, job in enumerate(good):
            assert (await job.result()).unwrap() == n
        for job in bad:
            result = await job.result()
            assert result.success or isinstance(result.error, AM2ZError)
        await until(lambda: admin.zcard(key("nodes")) <= 1)


# --- keys that hold something else ----------------------------------------------------------------


class Odds(NamedTuple):
    name: str
    spoil: Callable[[Redis, str], object]
    """With the id of a node at work."""


def wrong(kind: str, of: str = "stream", queue: str = "echo") -> Odds:
    """A key of this kind, whichever is at work, holds something of another type."""
    template = keys.TEMPLATES[kind]
    room = template.partition(":")[0]

    def spoil(r: Redis, node: str) -> None:
        names = {"q": queue, "node": node, "session": "s", "lock": "s", "turn": "s", "breaker": "guarded"}
        k = key(kind, names.get(room, "echo:k"))
        r.delete(k)
        of_kind(r, k, of)

    return Odds(f"{kind} of {queue} is a {of}" if room == "q" else f"{kind} is a {of}", spoil)


def text(kind: str, name: str = "", **fields: Any) -> Odds:
    """Fields that say nothing sensible."""
    what = ", ".join(f"{field}={value!r}"[:40] for field, value in fields.items())
    return Odds(f"{kind}: {what}", lambda r, node: r.hset(key(kind, name), mapping=fields))


def rubbish(kind: str, data: bytes) -> Odds:
    return Odds(f"{kind}: {data!r}", lambda r, node: r.set(key(kind), data))


def claims(data: bytes) -> Odds:
    return Odds(f"claims: {data!r}", lambda r, node: r.hset(key("claims", node), "echo", data))


ODDS = [
    *[
        wrong(kind)
        for kind in sorted(keys.TEMPLATES.keys() - {"job", "children", "inbox", "events", "spoilt"})
    ],
    *[wrong(kind, "string", "echo@s") for kind in ("wait", "sieved", "turns")],
    *[wrong(kind, "string", "limited") for kind in ("running", "blocked", "back", "ready", "meta")],
    *[
        wrong(kind, "string")
        for kind in ("wait", "ready", "lot", "meta", "queues", "nodes", "claims", "session")
    ],
    *[wrong(kind, "hash") for kind in ("wait", "prio", "later", "lot", "fence", "lineage", "clock")],
    *[
        rubbish(kind, data)
        for kind in ("clock", "look", "sweep", "truce", "fence", "lineage", "stops")
        for data in (b"x", b"\xff", b"-5", b"1e400")
    ],
    Odds(
        "ending: rubbish", lambda r, node: r.rpush(key("ending"), "", "x", b"\xc1", b"\x94\x01\x02\x03\x04")
    ),
    Odds(
        "graces: rubbish", lambda r, node: r.hset(key("graces"), mapping={node: "long", "x": "", "": "nan"})
    ),
    Odds(
        "leaving: rubbish",
        lambda r, node: r.hset(key("leaving"), mapping={node: "long", "x": "-1", "": b"\xff", "y": "9" * 30}),
    ),
    Odds("stopped: rubbish", lambda r, node: r.zadd(key("stopped"), {"": "-inf", b"\xff": 1, "x": "inf"})),
    Odds(
        "receipts: rubbish",
        lambda r, node: r.hset(key("receipts", "s"), mapping={node: b"\xc1", "x": "", "": b"\x91\x01"}),
    ),
    Odds(
        "floor: rubbish",
        lambda r, node: r.hset(key("floor", "s"), mapping={"holder": "x", "q:": "", "q:x": "1"}),
    ),
    Odds("back: rubbish", lambda r, node: r.zadd(key("back", "limited"), {"": 1, "x": 2, b"\xff": "inf"})),
    Odds(
        "calls: rubbish", lambda r, node: r.zadd(key("calls", "echo"), {"": "-inf", "x": 2, b"\xff": "inf"})
    ),
    Odds("turns: rubbish", lambda r, node: r.zadd(key("turns", "echo@s"), {"": 1, "x": 2, b"\xff": "inf"})),
    text(
        "meta", "echo", waiting="many", active="nan", later="1e400", completed="-", failed="", cancelled="x"
    ),
    text(
        "meta", "echo", arrivals="soon", aside="never", sieving="x", per_session="?", held="?", unblocking="?"
    ),
    text("meta", "echo", options=b"\xc1", processor=b"\xff"),
    text("meta", "echo", active="9223372036854775807", waiting="9223372036854775807"),
    text("meta", "echo", active="-5", waiting="-5"),
    Odds("meta: nothing", lambda r, node: r.delete(key("meta", "echo"))),
    Odds("fence: at its end", lambda r, node: r.set(key("fence"), 2**63 - 1)),
    Odds(
        "queues: of nobody",
        lambda r, node: r.zadd(key("queues"), {"": -1, b"\xff": 0, "x" * 9999: 1, "inf": "inf"}),
    ),
    Odds(
        "nodes: of nobody",
        lambda r, node: r.zadd(key("nodes"), {"": 1, b"\xff\n": "-inf", "x": 5, "y": "inf"}),
    ),
    Odds(
        "suspects: rubbish",
        lambda r, node: r.hset(key("suspects"), mapping={"": "", node: "x", b"\xff": b"\xff"}),
    ),
    Odds(
        "lot: nodes of nobody",
        lambda r, node: r.zadd(key("lot", "echo"), {"": "-inf", b"\xff": 0, "x": "inf"}),
    ),
    Odds(
        "active: ids of nobody", lambda r, node: r.hset(key("active", node), mapping={"": "", b"\xff": "x"})
    ),
    *[
        claims(data)
        for data in (
            b"",
            b"\xc1",
            b"\x05",
            b"\x94\xa1x\xa1x\xa1x\xa1x",
            b"\x94\x01\x01\x01\x01",
            b"\x94\x01\xa1n\x01\x92\x01\xc0",
        )
    ],
    text("session", "s", version="many"),
    text("session", "s", version="nan", sha="", blob=""),
    text("session", "s", version="-1"),
    text("session", "s", version="1e400", updated="x", created="y"),
    text("session", "s", sha="0" * 64),
    text("session", "s", blob=b"\xc1"),
    text("session", "s", expires="never", ttl="long", updated="x", created="x"),
    text("session", "s", stopping="for ever"),
    text("session", "s", gone="why"),
    Odds("session: no sha", lambda r, node: r.hdel(key("session", "s"), "sha")),
    Odds("session: no version", lambda r, node: r.hdel(key("session", "s"), "version")),
    Odds("session: no blob", lambda r, node: r.hdel(key("session", "s"), "blob")),
    Odds(
        "history: rubbish", lambda r, node: r.lpush(key("history", "s"), "", "x", b"\xff \xff \xff \xff \xff")
    ),
    Odds("expiries: of nobody", lambda r, node: r.zadd(key("expiries"), {"": 1, "nobody": 2, "s": 1})),
    Odds("jobs: of nobody", lambda r, node: r.sadd(key("jobs", "s"), "", "nobody", b"\xff", "x" * 9999)),
    Odds(
        "sessions: of nobody", lambda r, node: r.hset(key("sessions"), mapping={"x": b"\xff", "s": "other"})
    ),
    text("lock", "s", token="x", ends="never", fence="x"),
    text("lock", "s", token="x", ends="nan"),
    text("lock", "s", token=""),
    Odds(
        "line: rubbish",
        lambda r, node: r.zadd(key("line", "s"), {"": "-inf", "x": 1, "a b c": 2, "a b 5": "inf"}),
    ),
    text("breaker", "guarded", state="ajar", failures="many", until="x", probes="x", step="x", allowed="x"),
    text("breaker", "guarded", state="open", until="nan"),
    Odds(
        "prio: of nobody", lambda r, node: r.zadd(key("prio", "echo"), {"": "-inf", b"\xff": 0, "x": "inf"})
    ),
    Odds(
        "later: of nobody", lambda r, node: r.zadd(key("later", "echo"), {"": "-inf", b"\xff": 0, "x": "inf"})
    ),
    Odds(
        "ready: of nobody", lambda r, node: r.zadd(key("ready", "echo"), {"": "-inf", b"\xff": 0, "x": "inf"})
    ),
    Odds("debounce: of nobody", lambda r, node: r.set(key("debounce", "echo:k"), "nobody")),
    Odds("debounce: a list", lambda r, node: r.rpush(key("debounce", "echo:k"), "nobody")),
]


@processor(queue=QueueOptions(concurrency=2, session_concurrency=1, global_concurrency=3))
async def limited(n: int) -> int:
    return n


@processor(breaker=CircuitBreaker(failures=3))
async def guarded(n: int) -> int:
    return n


@pytest.mark.parametrize("odds", ODDS, ids=lambda odds: odds.name)
async def test_a_key_that_holds_something_odd_stops_nobody(odds: Odds, redis_url, redis_server):
    async with open_worker(redis_server) as (worker, admin):
        worker.register(limited, guarded)
        await worker.state.set("s", 1)
        assert (await worker.execute(echo, 1, session="s")).unwrap() == 1
        assert (await worker.execute(guarded, 1)).unwrap() == 1
        await until(lambda: not worker.get_stats().claimed)
        odds.spoil(admin, worker.node_id)
        for _ in range(2):
            # What a session's state has become of it is its reader's error, and nobody else's.
            with suppress(StateIntegrityError):
                await worker.state.get("s")
            with suppress(StateIntegrityError):
                await worker.state.history("s")
            for one in (echo, limited):
                assert (await worker.execute(one, 2)).unwrap() == 2
                assert (await worker.execute(one, 2, session="t")).unwrap() == 2
            assert (await worker.execute(guarded, 2)).unwrap() == 2
            for options in (
                JobOptions(priority=3),
                JobOptions(delay=0.01),
                JobOptions(debounce="k"),
                JobOptions(remove_on_complete=1, remove_on_fail=1),
            ):
                assert (await worker.execute(echo, 3, options=options)).unwrap() == 3
            failed = await worker.execute("echo", "text", options=JobOptions(remove_on_fail=5))
            assert isinstance(failed.error, ValidationError)
            await worker.pause(echo)
            await worker.resume(echo)
            assert len(await worker.dead_letters.list(echo)) >= 1
            assert await worker.dead_letters.drop_all(echo) >= 1
            while "echo" not in await worker.sync_processors():
                await anyio.sleep(0.005)
            assert await worker.get_active_sessions() is not None
            with suppress(StateIntegrityError):
                await worker.get_session_stats("s")
            await worker.get_queue_stats()
            async with worker.state.lock("s", lease=5.0):
                pass
            await worker.state.set("s", 2)
            assert (await worker.execute(echo, 9, session="s")).unwrap() == 9
            await worker.stop_session("s")


# --- messages -------------------------------------------------------------------------------------

MESSAGES = [
    b"",
    b"\xc1",
    b"\x05",
    b"\x91" * 1000,
    b"\xdd\xff\xff\xff\xff",
    msgspec.msgpack.encode([["settled", "j"], ["wake", 5], ["what", 1], 7, None]),
    msgspec.msgpack.encode([["wake", "x" * 100_000], ["cancel", "x", "y", "z"], ["stopped", ""]]),
    msgspec.msgpack.encode(
        [["granted", "x", 2**63], ["granted", "x", -1], ["settled", "x", "banana", "", None]]
    ),
]


@pytest.mark.parametrize("payload", MESSAGES, ids=lambda payload: repr(payload[:20]))
async def test_a_message_that_cannot_be_read_takes_no_other_with_it(payload, redis_url, redis_server):
    async with open_worker(redis_server) as (worker, admin):
        GO_ON["begun"], GO_ON["end"] = anyio.Event(), anyio.Event()
        worker.register(hold)
        job = await worker.submit(hold, 1)
        await GO_ON["begun"].wait()
        inbox = key("inbox", worker.node_id)
        admin.publish(inbox, payload)
        admin.publish(key("events"), payload)
        # The one that can be read among others that cannot.
        told = ["settled", job.id, "cancelled", "by hand", None]
        admin.publish(inbox, msgspec.msgpack.encode([["what"], told, 5]))
        assert (await job.result()).error is not None
        GO_ON["end"].set()


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["the same fields", "other fields"])
async def test_a_job_of_a_newer_version_is_left_to_a_newer_node(
    shape: str, redis_url, redis_server, caplog: pytest.LogCaptureFixture
):
    async with open_worker(redis_server) as (worker, admin):
        await worker.pause(echo)
        jobs = [await worker.submit(echo, 7) for _ in range(3)]
        old = [admin.hget(key("job", job.id), "spec") for job in jobs]
        for job in jobs:
            if shape == "the same fields":
                spec(WIRE_VERSION + 1, at=0)(admin, key("job", job.id))
            else:
                spec(WIRE_VERSION + 1, {"all": "new"}, 5)(admin, key("job", job.id))
        with caplog.at_level(logging.WARNING, "am2z_trio.worker"):
            await worker.resume(echo)
            for job in jobs:
                while (await job.status()) != "delayed":
                    await anyio.sleep(0.005)
            assert (await worker.execute(echo, 1)).unwrap() == 1
        assert len([r for r in caplog.records if "newer" in r.message]) == 1
        for job in jobs:
            assert admin.hget(key("job", job.id), "since"), "it was granted"
            assert admin.hget(key("job", job.id), "deliveries") is None, "more than once"
            assert admin.hget(key("job", job.id), "attempt") is None
        # A node that reads it, as this one does now.
        for job, blob in zip(jobs, old, strict=True):
            admin.hset(key("job", job.id), "spec", blob)
            assert (await job.result()).unwrap() == 7


# --- what was set aside ---------------------------------------------------------------------------


async def test_what_cannot_be_read_is_a_dead_letter_that_says_why(redis_url, redis_server):
    async with open_worker(redis_server) as (worker, admin):
        await worker.pause(echo)
        flawed = await worker.submit(echo, 7, job_id="flawed")
        rubbish = await worker.submit(echo, 7, job_id="rubbish", session="s")
        empty = await worker.submit(echo, 7, job_id="empty")
        admin.hset(key("job", "flawed"), "attempt", "many")
        old = admin.hget(key("job", rubbish.id), "spec")
        admin.hset(key("job", rubbish.id), "spec", b"\xc1")
        admin.hdel(key("job", "empty"), "spec")
        await worker.resume(echo)
        for job in (flawed, rubbish, empty):
            await ends_as(job, ValidationError)
        letters = {letter.job_id: letter for letter in await worker.dead_letters.list(echo)}
        assert letters.keys() == {"flawed", "@s/rubbish", "empty"}
        assert "attempt is no number" in letters["flawed"].error.message
        assert "no spec" in letters["empty"].error.message
        assert (letters["@s/rubbish"].state, letters["flawed"].state) == (None, 7)
        assert letters["@s/rubbish"].session_id == "s"
        assert all(letter.processor == "echo" for letter in letters.values())
        # Each as far as it goes.
        await worker.dead_letters.retry("flawed")
        assert (await worker.execute(echo, 7, job_id="flawed")).unwrap() == 7
        admin.hset(key("job", rubbish.id), "spec", old)
        await worker.dead_letters.retry(rubbish.id)
        assert (await worker.execute(echo, 7, job_id="rubbish", session="s")).unwrap() == 7
        with pytest.raises(ValidationError, match="spoilt"):
            await worker.dead_letters.retry("empty")
        await worker.dead_letters.drop("empty")
        assert await worker.dead_letters.count(echo) == 0


async def test_what_stood_in_a_key_of_ours_is_kept_for_a_while(redis_url, redis_server):
    async with open_worker(redis_server) as (worker, admin):
        admin.delete(key("lot", "echo"))
        admin.set(key("lot", "echo"), "somebody's data")
        assert (await worker.execute(echo, 1)).unwrap() == 1
        kept = key("spoilt", "q:echo:lot")
        assert admin.get(kept) == b"somebody's data"
        assert 0 < admin.pttl(kept) <= 7 * 24 * 3600 * 1000
