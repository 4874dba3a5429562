"""Keys spoilt and bytes garbled at random: `python -m tests.hostile.fuzz --seconds 60 --seed 1`.

*records*: operations of a store on a real Redis while its keys are spoilt; no script may abort, no decoder
may raise, and afterwards jobs still run. *connection*: a server's bytes with random changes, the greeting
included; each call of a client ends with a reply or one error. What decodes single values is fuzzed in
`test_fuzz`.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import hiredis
import msgspec

from am2z_trio.concurrency import TaskStatus, current_host
from am2z_trio.model.codec import checksum
from am2z_trio.model.errors import (
    AM2ZError,
    StateIntegrityError,
)
from am2z_trio.model.options import CircuitBreaker, Retention
from am2z_trio.model.records import (
    Commit,
    Grant,
    QueueInfo,
    QueueLimits,
    Settlement,
    StateWrite,
    handed_at_once,
)
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.redis.keys import anchor
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import SETTINGS, Clock, Node, job
from am2z_trio.testing.conformance.builders import bulk as many_alike
from am2z_trio.testing.conformance.builders import bulk_of
from am2z_trio.wire.client import RedisClient
from tests.support.servers import RedisProcess
from tests.wire.peer import bulk, hello, open_peers, push

ODD_TEXTS: Final = (
    b"",
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"-inf",
    b"9" * 30,
    b"x",
    b"\xff\xfe",
    b"\x00",
    b"\n",
    b"\xc1",
    b"a b c",
    b"waiting",
    b"active",
    b"later",
    b"failed",
    b"completed",
    b"q",
    b"a",
    b"s",
    b"1.5",
    b"\x94\x01\x02\x03\x04",
)


# --- records --------------------------------------------------------------------------------------


class Spoiler:
    """Changes one key of the namespace at random, as no program of ours does."""

    def __init__(self, server: RedisProcess, chance: random.Random) -> None:
        self._client = server.client()
        self._chance = chance

    def close(self) -> None:
        self._client.close()

    def _odd(self) -> bytes:
        if self._chance.random() < 0.2:
            return self._chance.randbytes(self._chance.randrange(20))
        return self._chance.choice(ODD_TEXTS)

    def spoil(self) -> str:
        """Returns what was done, for people."""
        found: Any = self._client.keys(f"{anchor('am2z')}:*")
        if not found:
            return "nothing to spoil"
        name: bytes = self._chance.choice(sorted(found))
        kind: Any = self._client.type(name)
        what = self._chance.randrange(10)
        if what == 0:
            self._client.delete(name)
            return f"DEL {name!r}"
        if what == 1:
            other = self._chance.choice(("string", "list", "set", "zset", "hash", "stream"))
            self._client.delete(name)
            self._make(name, other)
            return f"{name!r} is a {other}"
        return f"{name!r}: {self._change(name, kind.decode())}"

    def _make(self, name: bytes, kind: str) -> None:
        odd, client = self._odd(), self._client
        if kind == "string":
            client.set(name, odd)
        elif kind == "list":
            client.rpush(name, odd)
        elif kind == "set":
            client.sadd(name, odd)
        elif kind == "zset":
            client.zadd(name, {odd: self._chance.choice((0, -1, 1e300, float("inf"), float("-inf")))})
        elif kind == "hash":
            client.hset(name, odd, self._odd())
        else:
            client.xadd(name, {"x": odd})

    def _change(self, name: bytes, kind: str) -> str:
        client: Any = self._client
        if kind == "hash":
            field = self._chance.choice(sorted(client.hkeys(name)) or [b"x"])
            if self._chance.random() < 0.3:
                client.hdel(name, field)
                return f"without {field!r}"
            odd = self._odd()
            old = client.hget(name, field) or b""
            if old and self._chance.random() < 0.3:
                odd = mutated(old, self._chance)
            client.hset(name, field, odd)
            return f"{field!r}={odd[:40]!r}"
        if kind == "string":
            odd = self._odd()
            client.set(name, odd)
            return f"{odd!r}"
        self._make(name, kind)
        return "one more member"


class Operations:
    """One of the store's operations at a time, with arguments that are ours."""

    def __init__(self, nodes: list[Node], clock: Clock, chance: random.Random) -> None:
        self._nodes = nodes
        self._clock = clock
        self._chance = chance
        self._grants: list[Grant] = []
        self._numbers = 0

    async def one(self) -> str:
        chance, node = self._chance, self._chance.choice(self._nodes)
        store, id, session = node.store, f"j{chance.randrange(12)}", chance.choice(("s", "t"))
        steps: dict[str, Callable[[], Awaitable[Any]]] = {
            "enqueue": lambda: self._enqueue(node),
            "bulk": lambda: self._enqueue_bulk(node),
            "claim": lambda: self._claim(node),
            "settle": lambda: self._settle(node),
            "report": lambda: store.report(id, "1:x", 0.5),
            "cancel": lambda: store.cancel(id, "why"),
            "view": lambda: store.view([f"j{n}" for n in range(12)]),
            "stop": lambda: store.stop_session(session, running=chance.random() < 0.7, refuse=0.0),
            "sessions": store.active_sessions,
            "counts": lambda: store.session_counts(session),
            "breaker": lambda: store.breaker(
                "p", chance.choice(("enter", "succeed", "fail")), CircuitBreaker()
            ),
            "announce": lambda: store.announce([QueueInfo(queue="q", processor="work")]),
            "queues": store.known_queues,
            "unpark": lambda: store.unpark("q"),
            "dead": lambda: self._dead(node),
            "pause": lambda: store.pause("q", chance.random() < 0.2),
            "stats": lambda: store.stats(["q", "nobody"]),
            "join": store.join,
            "renew": lambda: store.renew(look_every=1.0),
            "tick": store.tick,
            "leave": lambda: self._leave(node),
            "holdings": store.holdings,
            "reconcile": lambda: store.reconcile([(g.spec.id, g.token) for g in self._grants[-5:]]),
            "lineage": store.lineage,
            "state": lambda: self._state(node, session),
            "lock": lambda: self._lock(node, session),
            "time": self._pass_time,
        }
        name = chance.choice((*steps, "enqueue", "enqueue", "claim", "claim", "settle", "settle"))
        await steps[name]()
        return name

    async def _enqueue(self, node: Node) -> None:
        chance = self._chance
        jobs = [
            job(
                f"j{chance.randrange(12)}",
                session=chance.choice(("", "", "s", "t")),
                origin=node.name,
                state=chance.choice((b"\x01", b"\x01", None)),
                priority=chance.choice((0, 0, 3)),
                delay=chance.choice((0.0, 0.0, 2.0)),
                parent=chance.choice(("", "", "j1")),
                again=chance.random() < 0.5,
                max_size=chance.choice((0, 0, 5)),
                debounce=chance.choice(("", "", "k")),
                deadline=chance.choice((None, None, 5.0)),
                on_complete=chance.choice((None, Retention(count=1))),
                on_fail=chance.choice((None, Retention(age=60.0))),
                builds_on=self._told(),
                only_asked=chance.random() < 0.2,
            )
            for _ in range(chance.randrange(1, 4))
        ]
        if chance.random() < 0.5:
            jobs = [job(f"j{chance.randrange(12)}", session=chance.choice(("", "s")), origin=node.name)]
        answers = await node.store.enqueue(jobs, chance.choice(((), ("q",))))
        for request, answer in zip(jobs, answers, strict=True):
            if answer.token:
                self._grants += handed_at_once(request, answer).answer.grants

    def _told(self) -> tuple[tuple[str, str], ...]:
        """What the job is built on, if anything."""
        if not self._grants or self._chance.random() < 0.8:
            return ()
        return tuple((grant.spec.id, grant.token) for grant in self._grants[-2:])

    async def _enqueue_bulk(self, node: Node) -> None:
        chance = self._chance
        like = job(session=chance.choice(("", "s", "t")), priority=chance.choice((0, 0, 3)))
        first = chance.randrange(10)
        many = many_alike(like, 2, first)
        if chance.random() < 0.4:
            many = bulk_of(like, [f"j{first}", f"j{first + 1}"])
        await node.store.enqueue_bulk(msgspec.structs.replace(many, prefix="j"))

    async def _claim(self, node: Node) -> None:
        chance = self._chance
        limits = chance.choice(
            (
                QueueLimits(),
                QueueLimits(),
                QueueLimits(most_active=3),
                QueueLimits(per_session=1),
                QueueLimits(starts=3, per=5.0, delays_excess=chance.random() < 0.5),
            )
        )
        limit, in_a_row, unasked = chance.randrange(1, 5), chance.randrange(1, 4), chance.randrange(5)
        answer = await node.store.claim(
            "q", node.next_seq(), limit, limits, chance.random() < 0.1, in_a_row, unasked
        )
        self._grants += answer.grants
        self._grants = self._grants[-20:]

    async def _settle(self, node: Node) -> None:
        if not self._grants:
            return
        chance, grant = self._chance, self._chance.choice(self._grants)
        blob = b"\x05"
        commit = Commit(blob=blob, checksum=checksum(blob), expected=chance.choice((None, (1, "x"))))
        await node.store.settle(
            [
                Settlement(
                    id=grant.spec.id,
                    token=grant.token,
                    outcome=chance.choice(
                        ("completed", "completed", "failed", "retry", "cancelled", "released")
                    ),
                    result=b"\x01",
                    delay=chance.choice((0.0, 1.0)),
                    commit=chance.choice((None, commit)),
                    builds_on=self._told(),
                )
            ]
        )

    async def _dead(self, node: Node) -> None:
        ids = await node.store.dead_page("q", 0, 10)
        await node.store.dead_jobs(ids)
        await (
            node.store.revive(ids[:2])
            if self._chance.random() < 0.5
            else node.store.drop_dead_letters(ids[:2])
        )

    async def _leave(self, node: Node) -> None:
        await node.store.leave()
        await node.store.join()

    async def _state(self, node: Node, session: str) -> None:
        states, chance, blob = node.store.states, self._chance, self._chance.choice((b"", b"\x07"))
        self._numbers += 1
        with suppress(StateIntegrityError):
            await states.write(
                StateWrite(
                    session=session,
                    seq=self._numbers,
                    blob=blob,
                    checksum=checksum(blob) if blob else "",
                    expected=chance.choice((None, (1, "x"))),
                    ttl=chance.choice((None, 3.0)),
                )
            )
        with suppress(StateIntegrityError):
            await states.read(session)
        with suppress(StateIntegrityError):
            await states.history(session)
        await states.set_ttl(session, 5.0)

    async def _lock(self, node: Node, session: str) -> None:
        states, token = node.store.states, f"t{self._chance.randrange(3)}"
        await states.acquire(session, token, 2.0)
        await states.renew(session, token, 2.0)
        if self._chance.random() < 0.7:
            await states.release(session, token, 2.0)

    async def _pass_time(self) -> None:
        self._clock.advance(self._chance.choice((0.1, 1.0, 3.0)))


async def fuzz_records(server: RedisProcess, chance: random.Random, *, steps: int) -> None:
    """A number of operations, each after a key was spoilt or not. At the end, a queue of its own works."""
    server.call("FLUSHALL")
    clock, host = Clock(), current_host()
    spoiler = Spoiler(server, chance)
    done: list[str] = []
    try:
        async with host.open_nursery() as nursery:
            nodes: list[Node] = []
            for name in "ab":
                store = RedisStore(name, RedisOptions.from_url(server.url), settings=SETTINGS, clock=clock)
                nodes.append(Node(name, store, host))
                await nursery.start(nodes[-1].run)
                await store.join()
            operations = Operations(nodes, clock, chance)
            for _ in range(steps):
                if chance.random() < 0.4:
                    done.append(spoiler.spoil())
                done.append(await operations.one())
            await nodes[0].store.join()
            await nodes[0].store.pause("q", False)
            for node in nodes:
                # What comes is claimed, not given to whoever waits.
                await node.store.unpark("q")
            await nodes[0].store.enqueue([job(f"last{n}", session="u" * n) for n in range(3)])
            left = {"last0", "last1", "last2"}
            for _ in range(200):
                answer = await nodes[0].store.claim("q", nodes[0].next_seq(), 10)
                for grant in answer.grants:
                    assert (await nodes[0].settle(grant)).status == "applied"
                    left.discard(grant.spec.id)
                if not left:
                    break
                clock.advance(1)
            assert not left, f"{left} do not run any more"
            nursery.cancel_scope.cancel()
    except BaseException as error:
        error.add_note("what was done: " + "; ".join(done[-12:]))
        raise
    finally:
        spoiler.close()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same bytes with a few of them changed, lost, repeated or added."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(found) + 1)
        what = chance.randrange(5)
        if what == 0 and found:
            found[at % len(found)] = chance.randrange(256)
        elif what == 1:
            del found[at : at + chance.randrange(1, 6)]
        elif what == 2:
            found[at:at] = chance.randbytes(chance.randrange(1, 5))
        elif what == 3:
            found[at:at] = found[at : at + chance.randrange(1, 20)]
        else:
            found[at:at] = chance.choice(
                (b"\xdd\xff\xff\xff\xff", b"\xcb\x7f\xf8" + b"\0" * 6, b"\xc0", b"\xc1")
            )
    return bytes(found)


# --- RESP -----------------------------------------------------------------------------------------

_REPLIES: Final = (
    b"+OK\r\n",
    b":-42\r\n",
    b"$-1\r\n",
    b",2.5\r\n",
    b"#t\r\n",
    bulk(b"x" * 40),
    b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*0\r\n_\r\n",
    b"%1\r\n+a\r\n:1\r\n",
    b"-ERR no\r\n",
    b"-MOVED 5 h:1\r\n",
    push("message", "ch", b"payload"),
    push("subscribe", "ch", "1"),
    b"(12345678901234567890\r\n",
    b"=6\r\ntxt:ab\r\n",
    b"!5\r\nERR x\r\n",
)


async def fuzz_connection(chance: random.Random, where: Path) -> None:
    """A server that answers with anything, the greeting included: each call ends with a reply or one of our
    errors, and a client that was let in stays."""
    answers = [hello("7.0.15"), bulk("# Memory\r\nmaxmemory_policy:noeviction\r\n")]
    garbled = chance.randrange(4)
    if garbled < 2:
        answers[garbled] = mutated(answers[garbled], chance)
    async with open_peers(where) as peers:
        options = msgspec.structs.replace(
            RedisOptions.from_url(peers.url), connect_timeout=0.3, call_timeout=0.3
        )
        client = RedisClient(options)

        async def play(*, task_status: TaskStatus) -> None:
            peer = await peers.accept()
            task_status.started()
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError, hiredis.ProtocolError):
                for answer in (*answers, mutated(b"".join(chance.choices(_REPLIES, k=3)), chance)):
                    await peer.command()
                    await peer.answer(answer)
                peer.hang_up()

        async with current_host().open_nursery() as nursery:
            with anyio.fail_after(20):
                playing = nursery.start_soon
                playing(nursery.start, play)
                with suppress(AM2ZError):
                    await nursery.start(client.run)
                    with anyio.move_on_after(0.5):
                        # One that the server has put off waits for a connection that will not come.
                        await client.call("GET", "x", replay_safe=False)
            nursery.cancel_scope.cancel()
    (where / "peer.sock").unlink(missing_ok=True)


# --- all of it ------------------------------------------------------------------------------------


def run(name: str, round: Callable[[random.Random], object], seconds: float, seed: int) -> int:
    """Rounds of one part until its time is over; a failure names the seed of its round."""
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        try:
            round(random.Random(f"{name}/{seed}/{count}"))
        except BaseException as error:
            error.add_note(f"{name}, seed {seed}, round {count}")
            raise
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    server = RedisProcess(os.environ.get("AM2Z_TEST_REDIS") or None)
    server.start()

    def records(chance: random.Random) -> None:
        anyio.run(partial(fuzz_records, server, chance, steps=60), backend="trio")

    directory = tempfile.TemporaryDirectory(prefix="am2z-fuzz-", dir="/tmp")

    def connection(chance: random.Random) -> None:
        where = Path(directory.name)
        anyio.run(fuzz_connection, chance, where, backend=chance.choice(("trio", "asyncio")))

    logging.disable(logging.CRITICAL)
    try:
        for name, round, share in (
            ("records", records, 0.8),
            ("connection", connection, 0.2),
        ):
            count = run(name, round, given.seconds * share, given.seed)
            sys.stdout.write(f"{name}: {count:,} rounds\n")
            sys.stdout.flush()
    finally:
        server.close()
        directory.cleanup()


if __name__ == "__main__":
    main()
