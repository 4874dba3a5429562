"""How long one script holds Redis at most, operation by operation: `python -m benchmarks.scripts --help`.

Everything else waits while a script runs, so what one call does must be bounded, whatever has piled up. Each
operation meets its worst backlog on a private server; the table shows its longest script call as SLOWLOG has
it and how many commands that call ran, which a busy machine does not change. Sizes are those of `SIZES`,
times `--scale`: at 1 that takes a few minutes and a gigabyte of memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import msgspec
import redis

from am2z_trio.cli.display import table
from am2z_trio.embedded.server import open_embedded_server
from am2z_trio.model.options import Retention
from am2z_trio.model.records import (
    UNLIMITED,
    WIRE_VERSION,
    Enqueue,
    Grant,
    JobSpec,
    QueueInfo,
    QueueLimits,
    Settlement,
    StateWrite,
)
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.ports import BATCH, StoreSettings
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis.keys import anchor, spell, spelled_out
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.wire.scripts import Script

T = TypeVar("T")

Connection = Any
"""A blocking `redis.Redis`, whose commands redis-py types in part only."""

SIZES: Final = {
    "waiting": 1_000_000,
    "delayed": 100_000,
    "children": 100_000,
    "priorities": 20_000,
    "starts": 500_000,
    "blocked": 10_000,
    "dead ids": 100_000,
    "queues": 5_000,
    "sessions": 10_000,
    "claims": 10_000,
    "kept": 100_000,
    "writers": 3_000,
    "parked": 1_000,
}
START_MS: Final = 1_700_000_000_000
PLACEHOLDER: Final = "i" * 9

FILL: Final = Script(
    "fill",
    spelled_out(
        scripts.BUNDLER.assembled(
            """
local letter, first, last, before, after = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local queue, skey, status, parent, priority = ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local own_sessions, own_queues, fields = ARGV[11] == '1', ARGV[12] == '1', cmsgpack.unpack(ARGV[13])
for i = first, last do
  local id, name = letter .. string.format('%08d', i), skey
  if own_sessions then name = skey .. i end
  local place = queue
  if own_queues then place = queue .. i end
  local record = { 'spec', before .. id .. after, 'status', status, 'queue', place, 'processor', 'work',
    'origin', '', 'max_stalled', '3' }
  for _, value in ipairs(fields) do record[#record + 1] = value end
  if name ~= '' then
    record[#record + 1], record[#record + 2] = 'skey', name
    record[#record + 1], record[#record + 2] = 'session', name
  end
  redis.call('HSET', job_key(id), unpack(record))
  if name ~= '' and not ENDED[status] then
    redis.call('SADD', jobs_key(name), id)
    redis.call('HSETNX', sessions_key(), name, name)
  end
  if parent ~= '' then redis.call('SADD', children_key(parent), id) end
  count(place, status, 1)
  if status == 'waiting' or status == 'cancelled' then
    line_up(place, id, priority, false, name ~= '' and name or nil)
  elseif status == 'later' then
    redis.call('ZADD', later_key(place), whole(START + i), id)
  elseif status == 'active' then
    redis.call('HSET', active_key('dead'), id, 'x')
  end
end
for _, name in ipairs(counts_order) do
  for of, by in pairs(counts[name]) do redis.call('HINCRBY', meta_key(name), of, by) end
end
""".replace("START", str(START_MS)),
        )
    ),
)
"""Makes records and queues as the scripts do, many at a time."""


@dataclass
class Call:
    """One script call."""

    script: str
    ms: float
    """As SLOWLOG has it: on a busy machine, also while the server was not running."""
    cpu: float
    """Milliseconds that the server's main thread has worked, 0 where it does not say."""
    commands: int


class Probe:
    """What a `RedisStore` needs of its client: blocking, and every call is measured."""

    state = "ready"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.calls: list[Call] = []
        self._loaded: set[str] = set()

    async def eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> Any:
        connection = self.connection
        if script.sha1 not in self._loaded:
            connection.execute_command("SCRIPT", "LOAD", script.source)
            self._loaded.add(script.sha1)
        connection.execute_command("SLOWLOG", "RESET")
        before, cpu = self._commands(), self._cpu()
        try:
            return connection.execute_command("EVALSHA", script.sha1, len(keys), *keys, *args)
        finally:
            worked = self._cpu() - cpu
            # Less the looks at what has run and the script call itself.
            commands = self._commands() - before - 4
            entries: Any = connection.slowlog_get(10)
            took = [entry["duration"] for entry in entries if entry["command"].startswith(b"EVALSHA")]
            self.calls.append(Call(script.name, max(took, default=0) / 1000, worked, commands))

    def _commands(self) -> int:
        found: Any = self.connection.info("commandstats")
        return sum(row["calls"] for row in found.values())

    def _cpu(self) -> float:
        found: Any = self.connection.info("cpu")
        seconds: float = sum(found.get(f"used_cpu_{kind}_main_thread", 0.0) for kind in ("user", "sys"))
        return seconds * 1000

    async def call(self, *args: Any) -> Any:
        return self.connection.execute_command(*args)

    def send_eval(self, script: Script, keys: Sequence[Any], args: Sequence[Any]) -> None:
        drive(self.eval(script, keys, args))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the store waited")


@dataclass
class Bench:
    """A store whose every call is measured, and what fills it."""

    connection: Connection
    scale: float
    now: int = START_MS
    operation: str = ""
    found: dict[str, list[Call]] = field(default_factory=dict[str, list[Call]])

    def __post_init__(self) -> None:
        self.probe = Probe(self.connection)
        self.store = self.store_of("n1")
        self.seq = 0

    def store_of(self, node: str, **settings: Any) -> RedisStore:
        store = RedisStore(node, RedisOptions(), settings=StoreSettings(**settings), clock=lambda: self.now)
        store.link.commands = self.probe  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        return store

    def size(self, name: str) -> int:
        return max(2, int(SIZES[name] * self.scale))

    @contextmanager
    def measured(self, operation: str) -> Iterator[None]:
        """Put the script calls made inside down to this operation."""
        self.probe.calls = []
        yield
        self.found.setdefault(operation, []).extend(self.probe.calls)

    def fill(
        self,
        count: int,
        *,
        letter: str = "j",
        queue: str = "q",
        session: str = "",
        status: str = "waiting",
        parent: str = "",
        priority: int = 0,
        own_sessions: bool = False,
        own_queues: bool = False,
        **fields: Any,
    ) -> list[str]:
        """Make `count` jobs; returns their ids."""
        spec = msgspec.msgpack.encode(job(PLACEHOLDER).spec)
        before, after = spec.split(PLACEHOLDER.encode())
        flat = [str(part) for pair in fields.items() for part in pair]
        for first in range(0, count, 10_000):
            last = min(first + 10_000, count) - 1
            options = (queue, session, status, parent, priority, int(own_sessions), int(own_queues))
            packed = msgspec.msgpack.encode(flat)
            args = (letter, first, last, before, after, *options, packed)
            self.connection.eval(FILL.source, 1, anchor("am2z"), *args)
        return [f"{letter}{number:08d}" for number in range(count)]

    def claim(
        self, limit: int = BATCH, limits: QueueLimits = UNLIMITED, queue: str = "q", calls: int = 1
    ) -> list[Grant]:
        """Claim, and go on as a worker does while the answer says so; at most `calls` times."""
        grants: list[Grant] = []
        for _ in range(calls):
            self.seq += 1
            answer = drive(self.store.claim(queue, self.seq, limit, limits))
            grants += answer.grants
            if len(grants) >= limit or answer.next_due != 0:
                break
        return grants

    def carry_on(self, ticks: int = 3) -> None:
        for _ in range(ticks):
            self.now += 1000
            drive(self.store.tick())
            drive(self.probe.eval(scripts.END_CHILDREN, [anchor("am2z")], [self.now, 3_600_000, "n1"]))

    def key(self, kind: str, name: str = "") -> str:
        return spell("am2z", kind, name)


def job(id: str, queue: str = "q", session: str = "", **options: Any) -> Enqueue:
    spec = JobSpec(
        WIRE_VERSION, id, "work", session, msgspec.Raw(b"\x01"), "", parent=options.pop("parent", "")
    )
    return Enqueue(spec=spec, queue=queue, **options)


def done(grant: Grant, outcome: Any = "completed", **options: Any) -> Settlement:
    return Settlement(id=grant.spec.id, token=grant.token, outcome=outcome, **options)


# --- the operations, each with what has piled up -----------------------------------------------


def the_usual_ones(bench: Bench) -> None:
    """Over a long queue, with as many delayed as there are."""
    store = bench.store
    drive(store.enqueue([job("k0", debounce="k")]))
    bench.fill(bench.size("waiting"))
    bench.fill(bench.size("delayed"), letter="d", status="later")
    with bench.measured("debounce"):
        drive(store.enqueue([job("k1", debounce="k")]))
    with bench.measured("enqueue 100"):
        drive(store.enqueue([job(f"new{n}") for n in range(BATCH)]))
    with bench.measured("enqueue 100 with a priority"):
        drive(store.enqueue([job(f"prio{n}", priority=1) for n in range(BATCH)]))
    with bench.measured("enqueue 100 delayed"):
        drive(store.enqueue([job(f"later{n}", delay=5.0) for n in range(BATCH)]))
    grants = bench.claim(200)
    bench.now += 200_000
    with bench.measured("claim 200, as many due"):
        grants = bench.claim(200)
    with bench.measured("settle 50 completed"):
        drive(store.settle([done(grant) for grant in grants[:50]]))
    with bench.measured("settle 50 released"):
        drive(store.settle([done(grant, "released") for grant in grants[50:100]]))
    with bench.measured("settle 50 failed"):
        drive(store.settle([done(grant, "failed") for grant in grants[100:150]]))
    with bench.measured("settle 50 retried"):
        drive(store.settle([done(grant, "retry", delay=1.0) for grant in grants[150:200]]))
    middle = f"j{bench.size('waiting') // 2:08d}"
    with bench.measured("cancel one that waits"):
        drive(store.cancel(middle, "unwanted"))
    with bench.measured("run a cancelled one again"):
        drive(store.enqueue([job(middle, again=True)]))
    with bench.measured("stats"):
        drive(store.stats(["q"]))
    with bench.measured("pause and go on"):
        drive(store.pause("q", True))
        drive(store.pause("q", False))
    drive(store.announce([QueueInfo(queue="q", processor="work")]))
    with bench.measured("tick"):
        bench.carry_on()


def dead_ids_at_the_head(bench: Bench) -> None:
    bench.fill(bench.size("dead ids"), letter="c", status="cancelled")
    bench.fill(BATCH)
    with bench.measured("claim past cancelled ones"):
        assert bench.claim(10, calls=100_000)


def expired_jobs_at_the_head(bench: Bench) -> None:
    bench.fill(bench.size("dead ids"), letter="x", deadline=START_MS - 1)
    bench.fill(BATCH)
    with bench.measured("claim past expired ones"):
        assert bench.claim(10, calls=100_000)


def cancelled_while_paused(bench: Bench) -> None:
    drive(bench.store.pause("q", True))
    ids = bench.fill(min(2_000, bench.size("waiting")))
    bench.fill(bench.size("dead ids"), letter="e")
    with bench.measured("cancel while nobody claims"):
        for id in ids:
            drive(bench.store.cancel(id, "unwanted"))


def a_parent(bench: Bench, status: str, outcome: str) -> None:
    """A job with many children of this status ends."""
    drive(bench.store.enqueue([job("parent")]))
    (grant,) = bench.claim(1)
    fields: dict[str, Any] = {"node": "dead", "token": "x"} if status == "active" else {}
    bench.fill(bench.size("children"), letter="c", status=status, parent="parent", **fields)
    bench.connection.hset(bench.key("job", "parent"), "calls", "1")
    with bench.measured(f"a parent of {status} ones is {outcome}"):
        drive(bench.store.settle([done(grant, outcome)]))
        bench.carry_on(10)


def a_parent_of_waiting_ones(bench: Bench) -> None:
    a_parent(bench, "waiting", "cancelled")


def a_parent_of_active_ones(bench: Bench) -> None:
    a_parent(bench, "active", "cancelled")


def a_parent_of_ended_ones(bench: Bench) -> None:
    a_parent(bench, "completed", "completed")


def priorities_of_one_session(bench: Bench) -> None:
    bench.fill(bench.size("priorities"), session="s", priority=1)
    with bench.measured("claim among priorities of one session"):
        bench.claim(BATCH, QueueLimits(per_session=1), calls=1_000)


def many_sessions(bench: Bench) -> None:
    count = bench.size("blocked")
    bench.fill(count, session="s", own_sessions=True)
    bench.connection.hset(bench.key("meta", "q"), "per_session", "1")
    for first in range(0, count, 10_000):
        running = {f"s{n}": 1 for n in range(first, min(first + 10_000, count))}
        bench.connection.hset(bench.key("running", "q"), mapping=running)
    with bench.measured("claim where all sessions are full"):
        bench.claim(BATCH, QueueLimits(per_session=1), calls=1_000)
    with bench.measured("claim with another limit per session"):
        bench.claim(BATCH, QueueLimits(per_session=2), calls=1_000)
    with bench.measured("claim without a limit per session"):
        bench.claim(BATCH, calls=1_000)
    with bench.measured("list active sessions"):
        drive(bench.store.active_sessions())


def many_starts(bench: Bench) -> None:
    count = bench.size("starts")
    key = bench.key("starts", "q")
    for first in range(0, count, 10_000):
        starts = {f"t{n}": START_MS + n // 100 for n in range(first, min(first + 10_000, count))}
        bench.connection.zadd(key, starts)
    bench.fill(1_000)
    limits = QueueLimits(starts=count, per=60.0)
    bench.now += 30_000
    with bench.measured("claim at a rate limit that is reached"):
        bench.claim(BATCH, limits)
    bench.now += 60_000
    with bench.measured("claim when all starts have passed"):
        bench.claim(BATCH, limits)


def many_set_aside(bench: Bench) -> None:
    bench.fill(bench.size("dead ids"))
    limits = QueueLimits(starts=10, per=60.0, delays_excess=True)
    with bench.measured("claim that sets jobs aside"):
        bench.claim(BATCH, limits)


def many_queues(bench: Bench) -> None:
    names = [f"q{n}" for n in range(bench.size("queues"))]
    with bench.measured("announce queues"):
        drive(bench.store.announce([QueueInfo(queue=name, processor="work") for name in names]))
    with bench.measured("list queues"):
        drive(bench.store.known_queues())
    with bench.measured("stats of all queues"):
        drive(bench.store.stats(names))
    with bench.measured("tick over many queues"):
        bench.carry_on(20)
    bench.fill(len(names), session="s", own_queues=True)
    with bench.measured("stop a session in many queues"):
        drive(bench.store.stop_session("s", running=True, refuse=1.0))


def a_session_of_many_jobs(bench: Bench) -> None:
    bench.fill(bench.size("children"), session="s")
    with bench.measured("count a session's jobs"):
        drive(bench.store.session_counts("s"))
    with bench.measured("stop a session of many jobs"):
        drive(bench.store.stop_session("s", running=True, refuse=1.0))


def many_claims(bench: Bench) -> None:
    """A node holds many jobs."""
    count = bench.size("claims")

    def held() -> list[tuple[str, str]]:
        bench.connection.flushdb()
        drive(bench.store.join())
        ids = bench.fill(count, status="active", node="n1", token="x")
        for first in range(0, count, 10_000):
            claims = dict.fromkeys(ids[first : first + 10_000], "x")
            bench.connection.hset(bench.key("active", "n1"), mapping=claims)
        return [(id, "x") for id in ids]

    claims = held()
    with bench.measured("reconcile"):
        drive(bench.store.reconcile(claims))
    with bench.measured("holdings"):
        drive(bench.store.holdings())
    with bench.measured("join again"):
        drive(bench.store.join())
    held()
    with bench.measured("leave"):
        drive(bench.store.leave())
    held()
    bench.now += 3_600_000
    with bench.measured("give a dead node's jobs back"):
        other = bench.store_of("n2")
        drive(other.join())
        for _ in range(20):
            drive(other.tick())
    with bench.measured("give them back to their node"):
        drive(bench.store.reconcile(claims))


def what_is_kept(bench: Bench) -> None:
    count = bench.size("kept")
    for status, kind in (("completed", "done"), ("failed", "dead")):
        ids = bench.fill(count, letter=status[0], status=status)
        for first in range(0, count, 10_000):
            kept = dict.fromkeys(ids[first : first + 10_000], START_MS + 3_600_000)
            bench.connection.zadd(bench.key(kind, "q"), kept)
    few = Retention(count=10)
    drive(bench.store.enqueue([job(f"n{n}", on_complete=few, on_fail=few) for n in range(20)]))
    grants = bench.claim(20)
    with bench.measured("page of dead letters, the last one"):
        drive(bench.store.dead_page("q", count - 100, 100))
    with bench.measured("complete, with far too many kept"):
        for grant in grants[:5]:
            drive(bench.store.settle([done(grant)]))
    with bench.measured("fail, with far too many kept"):
        for grant in grants[5:10]:
            drive(bench.store.settle([done(grant, "failed")]))
    bench.now += 7_200_000
    with bench.measured("complete, with far too old ones kept"):
        for grant in grants[10:15]:
            drive(bench.store.settle([done(grant)]))
    with bench.measured("fail, with far too old ones kept"):
        for grant in grants[15:20]:
            drive(bench.store.settle([done(grant, "failed")]))


def many_states(bench: Bench) -> None:
    store = bench.store_of("n1", state_ttl=60.0)
    for number in range(bench.size("sessions")):
        fields = {"version": 1, "sha": "x", "blob": "x", "updated": START_MS, "expires": START_MS + 1}
        bench.connection.hset(bench.key("session", f"s{number}"), mapping=fields)
        bench.connection.zadd(bench.key("expiries"), {f"s{number}": START_MS + 1})
    drive(store.join())
    with bench.measured("tick over expired states"):
        bench.carry_on(20)


def many_writers(bench: Bench) -> None:
    with bench.measured("write a state as one of many writers"):
        for number in range(bench.size("writers")):
            write = StateWrite(session="s", seq=1, blob=b"\x01", checksum="0" * 64)
            drive(bench.store_of(f"w{number}").states.write(write))
    bench.now += 7_200_000
    with bench.measured("write a state as one of many writers"):
        for number in range(20):
            write = StateWrite(session="s", seq=1, blob=b"\x01", checksum="0" * 64)
            drive(bench.store_of(f"v{number}").states.write(write))


def many_parked(bench: Bench) -> None:
    names = {f"n{n}": n for n in range(bench.size("parked"))}
    bench.connection.zadd(bench.key("lot", "q"), names)
    with bench.measured("enqueue where only nodes long gone are parked"):
        drive(bench.store.enqueue([job("j")]))
    bench.connection.zadd(bench.key("lot", "q"), names)
    drive(bench.store.pause("q", True))
    with bench.measured("go on where nodes long gone are parked"):
        drive(bench.store.pause("q", False))
    line = {f"t{n} n{n} 1000": n for n in range(bench.size("claims"))}
    drive(bench.store.states.acquire("s", "t", 60.0))
    bench.connection.zadd(bench.key("line", "s"), line)
    with bench.measured("release a lock whose line has gone"):
        drive(bench.store.states.release("s", "t", 60.0))


OPERATIONS: Final[dict[str, Callable[[Bench], None]]] = {
    step.__name__: step
    for step in (
        the_usual_ones,
        dead_ids_at_the_head,
        expired_jobs_at_the_head,
        cancelled_while_paused,
        a_parent_of_waiting_ones,
        a_parent_of_active_ones,
        a_parent_of_ended_ones,
        priorities_of_one_session,
        many_sessions,
        many_starts,
        many_set_aside,
        many_queues,
        a_session_of_many_jobs,
        many_claims,
        what_is_kept,
        many_states,
        many_writers,
        many_parked,
    )
}


def measure(connection: Connection, scale: float, only: Sequence[str] = ()) -> dict[str, list[Call]]:
    """Run every operation on a server, which is emptied; returns the script calls of each."""
    found: dict[str, list[Call]] = {}
    connection.config_set("slowlog-log-slower-than", 0)
    connection.config_set("slowlog-max-len", 1000)
    for name in only or OPERATIONS:
        connection.flushall()
        bench = Bench(connection, scale, found=found)
        drive(bench.store.join())
        OPERATIONS[name](bench)
    connection.flushall()
    return found


def render(rounds: Sequence[dict[str, list[Call]]]) -> str:
    rows: list[tuple[str, ...]] = []
    for operation in rounds[0]:
        worst = [max(one[operation], key=lambda call: call.ms) for one in rounds]
        least = min(worst, key=lambda call: call.ms)
        cpu = min(max(call.cpu for call in one[operation]) for one in rounds)
        most = max(call.commands for one in rounds for call in one[operation])
        calls = str(len(rounds[0][operation]))
        rows.append((operation, least.script, calls, f"{least.ms:.1f}", f"{cpu:.1f}", str(most)))
    return table(("operation", "longest script", "calls", "worst ms", "cpu ms", "most commands"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes times this (1)")
    parser.add_argument(
        "--rounds", type=int, default=1, help="rounds; shown is the best round's worst call (1)"
    )
    parser.add_argument("--only", nargs="+", choices=OPERATIONS, metavar="STEP", help=", ".join(OPERATIONS))
    parser.add_argument("--redis-binary", metavar="PATH", help="server program; default: the embedded one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every operation's worst call here")
    options = parser.parse_args(arguments)

    async def run() -> list[dict[str, list[Call]]]:
        async with open_embedded_server(binary=options.redis_binary) as server:
            print(f"redis server {server.version}, scale {options.scale:g}", file=sys.stderr)
            connection: Connection = redis.Redis.from_url(server.url, socket_timeout=None)
            with connection:
                return [measure(connection, options.scale, options.only or ()) for _ in range(options.rounds)]

    rounds = anyio.run(run, backend="trio")
    if options.json is not None:
        worst = {name: max(call.ms for one in rounds for call in one[name]) for name in rounds[0]}
        options.json.write_text(json.dumps(worst, indent=2), encoding="utf-8")
    print(render(rounds))


if __name__ == "__main__":
    main()
