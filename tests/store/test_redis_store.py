"""What only the store on Redis can show: a full or forgetful server, strange bytes, the lease thread."""

from __future__ import annotations

import errno
import logging
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
from redis.exceptions import OutOfMemoryError

from am2z_trio import QueueRuntime
from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.model.errors import (
    ResourceError,
    RuntimeStateError,
    UnsupportedServerError,
    ValidationError,
)
from am2z_trio.model.events import Event
from am2z_trio.model.options import Retention
from am2z_trio.model.records import Enqueue, QueueInfo, Settled, Settlement, Standing, Wake, plain_name
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.store.ports import StoreSettings
from am2z_trio.store.redis import agreed, keys, lease, scripts
from am2z_trio.store.redis.lease import LOOKS, LeaseKeeper
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import HOSTILE, SETTINGS, Bench, Clock, Node, commit, job, version
from am2z_trio.testing.conformance.builders import bulk_of
from tests.support.servers import RedisProcess
from tests.support.waiting import until, wait_until
from tests.wire.peer import bulk, open_peers

pytestmark = pytest.mark.anyio


class RedisBackend:
    """Conformance's backend, on any server."""

    def __init__(self, server: RedisProcess) -> None:
        self.server = server

    def store(
        self, node: str, clock: Clock, disconnect_grace: float = SETTINGS.disconnect_grace
    ) -> RedisStore:
        settings = msgspec.structs.replace(SETTINGS, disconnect_grace=disconnect_grace)
        return RedisStore(node, RedisOptions.from_url(self.server.url), settings=settings, clock=clock)

    async def wait_gone(self, node: str) -> None:
        inbox = keys.spell("am2z", "inbox", node)
        wait_until(lambda: self.server.call("PUBSUB", "NUMSUB", inbox)[1] == 0, "the node to be gone")

    def tamper_state(self, session: str) -> bool:
        return False

    def tamper_spec(self, job: str) -> bool:
        return False

    def drop_schedule(self, id: str) -> None:
        pytest.fail("no case is run on it")


@asynccontextmanager
async def open_bench(server: RedisProcess) -> AsyncIterator[Bench]:
    async with current_host().open_nursery() as nursery:
        yield Bench(RedisBackend(server), nursery)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_real(server: RedisProcess, names: str, settings: StoreSettings) -> AsyncIterator[list[Node]]:
    """Nodes on Redis's own clock."""
    host = current_host()
    options = RedisOptions.from_url(server.url)
    async with host.open_nursery() as nursery:
        nodes = [Node(name, RedisStore(name, options, settings=settings), host) for name in names]
        for node in nodes:
            await nursery.start(node.run)
            await node.store.join()
        yield nodes
        nursery.cancel_scope.cancel()


def key(kind: str, name: str = "") -> str:
    return keys.spell("am2z", kind, name)


# --- names ----------------------------------------------------------------------------------------


async def test_hostile_names_stay_in_their_own_key(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job(text, session=text) for text in HOSTILE])
        grants = await a.claim(100)
        assert [grant.spec.id for grant in grants] == list(HOSTILE)
        for grant in grants:
            await a.settle(grant, commit=commit(grant.spec.id))
        for text in HOSTILE:
            assert await a.state(text) == version(1, text)
        await a.store.leave()
        found = {name.decode() for name in redis_server.call("KEYS", "*")}
        jobs = {key("job", text) for text in HOSTILE}
        states = {key(kind, plain_name(text)) for text in HOSTILE for kind in ("session", "history")}
        of_all = {key(kind) for kind in ("queues", "fence", "log", "kept")}
        assert found == jobs | states | {key("meta", "q"), key("recent", "q")} | of_all
        # The first braces of a key are its hash tag: the anchor's, whatever the text says.
        assert all(name.startswith("{am2z:0}:") for name in found)


async def test_half_a_surrogate_pair_is_refused_with_nothing_left_behind(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.connect()
        for bad in (job("\ud800"), job("j", session="\ud800")):
            with pytest.raises(ValidationError, match="Unicode"):
                await a.store.enqueue([job("good"), bad])
        with pytest.raises(ValidationError, match="Unicode"):
            await a.store.announce([QueueInfo(queue="q", processor="\ud800")])
        # But that a history of events is kept.
        assert redis_server.call("KEYS", "*") == [key("kept").encode()]


async def test_namespaces_do_not_see_each_other(redis_url, redis_server):
    host = current_host()
    options = RedisOptions.from_url(redis_url)
    async with host.open_nursery() as nursery:
        one = Node("a", RedisStore("a", options, prefix="one"), host)
        two = Node("a", RedisStore("a", options, prefix="two"), host)
        for node in (one, two):
            await nursery.start(node.run)
            await node.store.join()
        await one.store.enqueue([job("j")])
        assert await two.claim(1) == []
        assert await two.store.view(["j"]) == [None]
        assert len(await one.claim(1)) == 1
        assert await two.heard() == []
        nursery.cancel_scope.cancel()


# --- a full memory --------------------------------------------------------------------------------


def fill(server: RedisProcess) -> None:
    """Leave no room: whatever it holds is more than it may hold."""
    server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(OutOfMemoryError):
        server.call("SET", "one-more", "x")


def empty(server: RedisProcess) -> None:
    server.call("CONFIG", "SET", "maxmemory", "0")


async def test_a_full_server_refuses_jobs_and_still_lets_all_end(spawn_redis):
    server = spawn_redis({"maxmemory": "64mb", "maxmemory-policy": "noeviction"})
    async with open_bench(server) as bench:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        names = ("completed", "failed", "retry", "later", "released", "cancelled", "active", "lost")
        await a.store.enqueue([job(name, session="s", origin="a") for name in names])
        await a.store.enqueue([job("waiting", session="s", origin="a"), job("delayed", delay=500.0)])
        grants = {grant.spec.id: grant for grant in await a.claim(7)}
        lost = await c.claim_one()
        fill(server)
        before = server.call("DBSIZE")

        with pytest.raises(ResourceError, match="maxmemory"):
            await a.store.enqueue([job("new1"), job("new2", delay=3.0), job("new3", priority=1)])
        assert await a.store.view(["new1", "new2", "new3"]) == [None, None, None]
        assert server.call("DBSIZE") == before
        assert await a.stats() == (await b.stats())
        assert (await a.stats()).waiting == 1

        # Everything that ends or moves a job that is there already works on.
        answer = await a.settle(grants["completed"], result=b"\xa4done", commit=commit("state"))
        assert answer.status == "applied"
        assert await a.state("s") == version(1, "state")
        assert (await a.settle(grants["failed"], "failed", result=b"\x01")).status == "applied"
        assert (await a.settle(grants["retry"], "retry")).status == "applied"
        assert (await a.settle(grants["later"], "retry", delay=5.0)).status == "applied"
        assert (await a.settle(grants["released"], "released")).status == "applied"
        assert await a.store.report("active", grants["active"].token, 0.5) is True
        assert await a.store.cancel("cancelled", "full") == "active"
        assert (await a.settle(grants["cancelled"], "released")).outcome == "cancelled"
        assert await a.store.cancel("waiting", "full") == "waiting"
        assert await a.store.cancel("delayed", "full") == "later"
        await bench.crash(c)
        assert (await b.store.tick()).reaped == 0
        bench.clock.advance(SETTINGS.disconnect_grace)
        assert (await b.store.tick()).reaped == 1
        # Its node is there after all, and then it is not.
        assert await a.store.reconcile([("lost", lost.token)]) == [Standing(status="held")]
        assert (await b.store.tick()).reaped == 1
        assert (await a.settle(grants["active"], "released")).status == "applied"
        assert sorted(grant.spec.id for grant in await b.claim(9)) == ["active", "lost", "released", "retry"]
        await b.store.leave()
        await b.store.join()
        await a.store.leave()
        heard = Counter(type(message).__name__ for message in await a.heard())
        assert heard["Settled"] == 4

        empty(server)
        assert (await a.store.enqueue([job("new1")]))[0].status == "queued"


async def test_the_refused_half_of_a_batch_is_all_of_it(spawn_redis):
    server = spawn_redis({"maxmemory": "64mb", "maxmemory-policy": "noeviction"})
    async with open_bench(server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("known")])
        fill(server)
        # A duplicate needs no memory, and what follows it is still refused as a whole.
        (answer,) = await a.store.enqueue([job("known")])
        assert answer.status == "dup"
        with pytest.raises(ResourceError):
            await a.store.enqueue([job("known"), job("new")])
        assert await a.store.view(["new"]) == [None]


# --- a server that forgets ------------------------------------------------------------------------


async def test_scripts_that_are_forgotten_are_taught_again(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()

        def forget() -> None:
            redis_server.call("SCRIPT", "FLUSH")

        await a.store.enqueue([job("j0"), job("j1"), job("j2")])
        forget()
        await a.store.enqueue([job("j3")])
        forget()
        grants = await a.claim(3)
        forget()
        for grant in grants:
            assert (await a.settle(grant)).status == "applied"
            forget()
        a.store.cancel_nowait("j3", "why")
        await a.store.ping()
        assert await a.status("j3") == "cancelled"
        forget()
        assert (await a.store.tick()).lost is False
        forget()
        assert (await a.stats()).completed == 3
        forget()
        await a.store.leave()


async def test_a_server_that_was_emptied_says_that_the_node_is_lost(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        redis_server.call("FLUSHALL")
        assert (await a.settle(grant)).status == "gone"
        assert (await a.store.tick()).lost is True
        assert (await a.store.claim("q", a.next_seq(), 1)).lost is True
        await a.store.join()
        assert (await a.store.enqueue([job("j")]))[0].status == "queued"
        again = await a.claim_one()
        # The counter began anew; the token did not repeat.
        assert again.token != grant.token
        assert (await a.settle(grant)).status == "fenced"


# --- how long records are kept --------------------------------------------------------------------


async def test_a_child_that_ends_after_its_parent_is_kept_no_longer_than_it(redis_url, redis_server):
    kept = Retention(age=500.0)
    async with open_bench(redis_server) as bench:
        a = await bench.node("a")
        await a.store.enqueue([job("p", on_complete=kept)])
        parent = await a.claim_one()
        await a.store.enqueue([job(f"c{n}", parent="p") for n in range(3)])
        children = await a.claim(2)
        await a.store.enqueue([job("g", parent="c0")])
        await a.settle(parent, "completed")
        bench.clock.advance(200)
        await a.settle(children[0], "completed")
        await a.settle(children[1], "retry")
        assert [await a.status(id) for id in ("c0", "c1", "c2", "g")] == [
            "completed",
            "cancelled",
            "cancelled",
            "cancelled",
        ]
        for id, most in (("p", 500), ("c0", 300), ("c1", 300), ("c2", 500), ("g", 300)):
            assert (most - 60) * 1000 < redis_server.call("PTTL", key("job", id)) <= most * 1000, id


# --- records that have expired --------------------------------------------------------------------


def expire(server: RedisProcess, id: str) -> None:
    """Let a job's record expire now; what lists its id is not told."""
    server.call("PEXPIRE", key("job", id), 1)
    wait_until(lambda: not server.call("EXISTS", key("job", id)), "the record to expire")


async def test_an_id_that_is_used_again_is_none_of_the_old_dead_letters(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        # By number and by age: those that are too many, or too old, are dropped as others come.
        keep = Retention(age=600.0, count=1)
        await a.store.enqueue([job("nightly", on_fail=keep)])
        await a.settle(await a.claim_one(), "failed")
        expire(redis_server, "nightly")
        assert await a.store.dead_page("q", 0, 10) == ["nightly"]

        (answer,) = await a.store.enqueue([job("nightly", state=b"\x02")])
        assert answer.status == "queued"
        assert await a.store.dead_jobs(["nightly"]) == [None]
        assert await a.store.revive(["nightly"]) == ["gone"]
        assert await a.store.drop_dead_letters(["nightly"]) == [False]
        # Another one fails, and crowds the old one out.
        await a.store.enqueue([job("other", on_fail=keep)])
        nightly, other = await a.claim(2)
        bench.clock.advance(1)
        await a.settle(other, "failed")
        assert await a.store.dead_page("q", 0, 10) == ["other"]
        # It is kept whole, also for a node that takes it over.
        await a.settle(nightly, "released")
        again = await a.claim_one()
        assert (again.spec.id, bytes(again.spec.state)) == ("nightly", b"\x02")
        assert (await a.settle(again)).status == "applied"


async def test_an_id_that_is_used_again_is_none_of_the_completed_jobs(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("nightly", on_complete=Retention(age=60.0, count=1))])
        await a.settle(await a.claim_one())
        expire(redis_server, "nightly")
        assert redis_server.call("ZRANGE", key("done", "q"), 0, -1) == [b"nightly"]

        bench.clock.advance(1)
        await a.store.enqueue([job("nightly", state=b"\x02"), job("other", on_complete=Retention(count=1))])
        nightly, other = await a.claim(2)
        await a.settle(other)
        await a.settle(nightly, "released")
        again = await a.claim_one()
        assert (again.spec.id, bytes(again.spec.state)) == ("nightly", b"\x02")
        assert (await a.settle(again)).status == "applied"


# --- two connections ------------------------------------------------------------------------------


async def test_answers_do_not_count_as_output_of_a_subscriber(spawn_redis):
    server = spawn_redis({"client-output-buffer-limit": "pubsub 256kb 256kb 1"})
    async with open_bench(server) as bench:
        a = await bench.node()
        with anyio.fail_after(20):
            await a.store.enqueue(
                [job(f"j{n}", state=b"\xc6" + (10**6).to_bytes(4) + bytes(10**6)) for n in range(5)]
            )
            # More than the limit of a subscriber's output many times over, in each of two answers.
            granted = await a.claim(5) + await a.claim(5)
            assert [len(bytes(grant.spec.state)) for grant in granted] == [10**6 + 5] * 5


def kill(server: RedisProcess, name: str) -> None:
    with server.client() as admin:
        (client,) = [one for one in admin.client_list() if one["name"] == name]
        admin.client_kill_filter(_id=client["id"])


def names_of_clients(server: RedisProcess) -> set[str]:
    with server.client() as admin:
        return {one["name"] for one in admin.client_list()}


async def test_a_lost_subscription_is_told_and_lost_commands_are_sent_again(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.connect()
        told: list[None] = []
        a.on_reconnect = lambda: told.append(None)  # type: ignore[method-assign]
        with anyio.fail_after(20):
            kill(redis_server, "am2z:a")
            assert (await a.store.enqueue([job("j")]))[0].status == "queued"
            assert a.store.connections == {"commands": "ready", "pushes": "ready"}
            assert told == []
            kill(redis_server, "am2z:a:pushes")
            await until(lambda: told)
            assert redis_server.call("PUBLISH", key("inbox", "a"), b"") == 1


async def test_both_connections_go_where_the_name_leads(spawn_redis, tmp_path):
    old, new = spawn_redis(), spawn_redis()
    name = tmp_path / "name"
    for lost in ("am2z:a", "am2z:a:pushes"):
        name.unlink(missing_ok=True)
        name.symlink_to(old.socket)
        store = RedisStore("a", RedisOptions.from_url(f"unix://{name}"))
        async with current_host().open_nursery() as nursery:
            node = Node("a", store, current_host())
            await nursery.start(node.run)
            name.unlink()
            name.symlink_to(new.socket)
            kill(old, lost)
            with anyio.fail_after(20):
                await until(lambda: not {"am2z:a", "am2z:a:pushes"} - names_of_clients(new))
                await until(lambda: new.call("PUBSUB", "NUMSUB", key("inbox", "a"))[1] != 0)
            nursery.cancel_scope.cancel()


async def test_a_node_follows_a_failover_with_all_its_connections(spawn_redis, tmp_path):
    primary = spawn_redis(tcp=True)
    replica = spawn_redis({"replicaof": f"127.0.0.1 {primary.port}"}, tcp=True)
    wait_until(lambda: replica.call("INFO", "replication")["master_link_status"] == "up", "the replica")
    name = tmp_path / "name"
    name.symlink_to(primary.socket)
    store = RedisStore("a", RedisOptions.from_url(f"unix://{name}"), settings=StoreSettings(lease=0.6))
    async with current_host().open_nursery() as nursery:
        node = Node("a", store, current_host())
        await nursery.start(node.run)
        await store.join()
        await store.enqueue([job("j", origin="a")])
        await renewed(primary)
        replica.call("REPLICAOF", "NO", "ONE")
        primary.call("REPLICAOF", "127.0.0.1", replica.port)
        name.unlink()
        name.symlink_to(replica.socket)
        with anyio.fail_after(30):
            # Put off by the old one, and sent again to the new one.
            grant = await node.claim_one()
            assert (await node.settle(grant)).status == "applied"
            await until(lambda: replica.call("PUBSUB", "NUMSUB", key("inbox", "a"))[1] != 0)
            await until(lambda: store.connections == {"commands": "ready", "pushes": "ready"})
            # The lease thread, too: nothing else renews it here.
            await renewed(replica)
        nursery.cancel_scope.cancel()


async def renewed(server: RedisProcess) -> None:
    """Wait until node a's lease is longer than now."""
    before = _deadline(server)
    await until(lambda: _deadline(server) != before)


# --- clusters -------------------------------------------------------------------------------------


async def test_the_only_node_of_a_cluster_will_do(spawn_redis):
    # The bus has a port of its own, 10,000 above.
    port = next(port for port in range(21_000, 22_000) if is_free(port) and is_free(port + 10_000))
    server = spawn_redis({"cluster-enabled": "yes", "port": str(port)})
    with pytest.raises(UnsupportedServerError, match=r"slot \d+.*no node"), unwrapped():
        async with open_bench(server) as bench:
            await bench.node()
    server.call("CLUSTER", "ADDSLOTS", *range(16384))
    wait_until(lambda: b"cluster_state:ok" in server.call("CLUSTER", "INFO"), "the cluster to stand")
    async with open_bench(server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("j", origin="a")])
        assert (await a.settle(await a.claim_one())).status == "applied"
        assert [type(message) for message in await a.heard()][-1] is Settled


async def test_a_node_of_a_cluster_without_the_slot_names_the_one_that_has_it(tmp_path):
    async with open_peers(tmp_path) as peers, anyio.create_task_group() as tasks:

        async def play() -> None:
            peer = await peers.accept()
            await peer.greet(mode="cluster")
            assert (await peer.command())[:2] == [b"CLUSTER", b"KEYSLOT"]
            await peer.answer(b":7\r\n")
            assert await peer.command() == [b"CLUSTER", b"MYID"]
            await peer.answer(bulk("me"))
            assert await peer.command() == [b"CLUSTER", b"SLOTS"]
            primary = b"*3\r\n" + bulk("10.0.0.9") + b":7001\r\n" + bulk("another")
            await peer.answer(b"*1\r\n*3\r\n:0\r\n:99\r\n" + primary)

        tasks.start_soon(play)
        store = RedisStore("a", RedisOptions.from_url(peers.url))
        with pytest.raises(UnsupportedServerError, match=r"slot 7.*10\.0\.0\.9:7001"), unwrapped():
            async with current_host().open_nursery() as nursery:
                await nursery.start(Node("a", store, current_host()).run)
        tasks.cancel_scope.cancel()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# --- strange bytes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x93", b"not msgpack", b"\x91\x92\xa4what\xa1x", b"\x91\xa4wake", b"\xa5\xff\xff"],
)
async def test_a_message_that_cannot_be_read_is_dropped(payload, redis_url, redis_server, caplog):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.watch_events(True)
        with caplog.at_level(logging.WARNING, "am2z_trio.store"):
            redis_server.call("PUBLISH", key("inbox", "a"), payload)
            redis_server.call("PUBLISH", key("events"), payload)
            assert await a.heard() == []
        assert len(caplog.records) == 2
        assert await a.claim(1) == []
        await a.store.enqueue([job("j")])
        assert await a.heard() == [Wake("q")]


BAD_GROUPS: tuple[Any, ...] = (
    b"\xc0",
    [],
    ["e"],
    ["e", -1, "", "", ["j"]],
    ["e", 2**60, "", "", ["j"]],
    ["e", 1.5, "", "", ["j"]],
    ["e", True, "", "", ["j"]],
    ["e" * 1000, 1, "", "", ["j"]],
    ["e", 1, "", "", "j"],
    ["e", 1, "", "", [b"\xff"]],
    ["e", 1, "", "", ["j"], ["s", "t"]],
    ["e", 1, "", "", ["j"], 7],
    ["e", 1, "", "", ["j"], "", [0]],
    ["e", 1, "", "", ["j"], "", [1, "of nobody"]],
    ["e", 1, "", "", ["j"], "", [-1, "of the last"]],
    ["e", 1, "", "", ["j"], "", ["0", "of none"]],
    ["e", 1, "", "", ["j"], "", [True, "of none"]],
    ["e", 1, "", "", ["j"], "", {0: "of the first"}],
)


async def test_a_bad_group_of_events_harms_no_other(redis_url, redis_server, caplog):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.watch_events(True)
        good = ["e", 1, "n", "p", ["j", ""], ["s", ""], [1, {"x": 1}], "a field of a newer version"]
        with caplog.at_level(logging.WARNING, "am2z_trio.store"):
            for bad in BAD_GROUPS:
                payload = msgspec.msgpack.encode([good, bad, good])
                redis_server.call("PUBLISH", key("events"), payload)
                told = [Event("e", 1, "n", "j", "p", "s"), Event("e", 1, "n", "", "p", "", {"x": 1})]
                assert await a.events() == told * 2, bad
        assert len(caplog.records) == len(BAD_GROUPS)


async def test_many_events_of_one_step_are_one_message(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.watch_events(True)
        await a.store.enqueue([job(f"j{n}", session=f"s{n % 3}") for n in range(100)])
        grants = await a.claim(100)
        settlements = [
            Settlement(id=grant.spec.id, token=grant.token, outcome="completed") for grant in grants
        ]
        published = redis_server.call("INFO", "commandstats")["cmdstat_publish"]["calls"]
        await a.store.settle(settlements)
        assert redis_server.call("INFO", "commandstats")["cmdstat_publish"]["calls"] == published + 1
        names = [event.name for event in await a.events()]
        assert names == ["job:enqueued"] * 100 + ["job:started"] * 100 + ["job:completed"] * 100


@pytest.mark.parametrize("session", ["", "s"])
async def test_messages_of_very_many_events_are_bounded(session, redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.watch_events(True)
        heard = redis_server.client().pubsub(ignore_subscribe_messages=False)
        heard.subscribe(key("events"))
        assert heard.get_message(timeout=5) is not None
        ids = [f"{n:04}{'x' * 700}" for n in range(1_000)]
        await a.store.enqueue_bulk(bulk_of(job(session=session), ids))
        assert [event.job for event in await a.events()] == ids
        assert len(await a.claim(1_000)) == 1_000
        assert [(event.name, event.job) for event in await a.events()] == [("job:started", id) for id in ids]
        # With nothing to say each.
        plain = [f"{id}y" for id in ids]
        await a.store.enqueue([job(id, session=session) for id in plain])
        assert len(await a.claim(1_000)) == 1_000
        assert [event.job for event in await a.events()] == plain * 2
        sizes = []
        while (message := heard.get_message(timeout=0.2)) is not None:
            sizes.append(len(message["data"]))
        heard.close()
        assert len(sizes) >= 12
        assert max(sizes) <= agreed.POSTED_BYTES + 100


async def test_events_that_cannot_be_sent_are_a_clear_error(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        for data in (object(), 2**70, {1: object()}):
            with pytest.raises(ValidationError, match="event"):
                await a.store.publish([Event("custom", 1, "a", data=data)])


async def test_an_unreadable_state_version_harms_only_its_reader(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("k", session="t")])
        j, k = await a.claim(2)
        for grant in (j, k):
            await a.settle(grant, commit=commit("one"))
        redis_server.call("HDEL", key("session", "s"), "blob")
        with pytest.raises(Exception, match="checksum"):
            await a.state("s")
        assert await a.state("t") == version(1, "one")


async def test_a_store_that_does_not_run_says_so(redis_url):
    store = RedisStore("a", RedisOptions.from_url(redis_url))
    with pytest.raises(RuntimeStateError, match="not running"):
        await store.ping()
    with pytest.raises(RuntimeStateError, match="not running"):
        await store.enqueue([job("j")])
    store.cancel_nowait("j", "nobody hears")
    assert store.connections == {"commands": "disconnected", "pushes": "disconnected"}


# --- the lease thread -----------------------------------------------------------------------------


async def test_a_blocked_event_loop_keeps_its_lease(redis_url, redis_server):
    settings = StoreSettings(lease=1.5, disconnect_grace=30.0)
    async with open_real(redis_server, "ab", settings) as (a, b):
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        before = _deadline(redis_server)
        # Longer than a lease without a turn of the loop; neither node's tick runs.
        time.sleep(2.2)
        assert _deadline(redis_server) > before + 1_000
        assert (await b.store.tick()).reaped == 0
        assert (await a.settle(grant)).status == "applied"


def _deadline(server: RedisProcess) -> float:
    score: Any = server.call("ZSCORE", key("nodes"), "a")
    return float(score)


async def _keeper(server: RedisProcess, length: float) -> LeaseKeeper:
    return LeaseKeeper(RedisOptions.from_url(server.url), prefix="am2z", node="a", lease=length)


async def test_the_lease_is_not_renewed_without_a_beat(redis_url, redis_server, monkeypatch, caplog):
    redis_server.call("ZADD", key("nodes"), 1, "a")
    monkeypatch.setattr(lease, "BUDGET", 3.0)
    keeper = await _keeper(redis_server, 0.15)
    caplog.set_level(logging.ERROR, "am2z_trio.lease")
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, keeper.run)
        while _deadline(redis_server) == 1:
            keeper.beat()
            await anyio.sleep(0.01)
        await until(lambda: caplog.records)
        redis_server.call("ZADD", key("nodes"), 1, "a")
        rounds = len(caplog.records)
        await until(lambda: len(caplog.records) >= rounds + 3)
        assert _deadline(redis_server) == 1
        # A sign of life, and it goes on.
        while _deadline(redis_server) == 1:
            keeper.beat()
            await anyio.sleep(0.01)
        keeper.stop()


async def test_a_thread_that_cannot_read_its_library_tries_again_at_its_next_look(
    redis_url, redis_server, monkeypatch, caplog
):
    redis_server.call("ZADD", key("nodes"), 1, "a")
    keeper = await _keeper(redis_server, 0.15)
    connect, tried = lease._connect, list[float]()

    def fails_twice(options: RedisOptions, *, patience: float) -> Any:
        tried.append(patience)
        if len(tried) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return connect(options, patience=patience)

    monkeypatch.setattr(lease, "_connect", fails_twice)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, keeper.run)
        while _deadline(redis_server) == 1:
            keeper.beat()
            await anyio.sleep(0.01)
        keeper.stop()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "am2z_trio.lease"]
    assert "kept by its event loop alone for now" in told
    assert "Too many open files" in told


async def test_the_thread_does_not_bring_a_lost_lease_back(redis_url, redis_server):
    # The command counter shows that it has tried.
    def renewals() -> int:
        return int(redis_server.call("INFO", "commandstats").get("cmdstat_eval", {"calls": 0})["calls"])

    for lost in (None, -1):
        redis_server.call("FLUSHALL")
        if lost is not None:
            redis_server.call("ZADD", key("nodes"), lost, "a")
        keeper = await _keeper(redis_server, 0.1)
        before = renewals()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, keeper.run)
            while renewals() < before + 2:
                keeper.beat()
                await anyio.sleep(0.01)
            keeper.stop()
        score = redis_server.call("ZSCORE", key("nodes"), "a")
        assert (score if score is None else float(score)) == lost


async def test_the_thread_leaves_to_the_loop_what_that_renews(redis_url, redis_server):
    def renewals() -> int:
        return int(redis_server.call("INFO", "commandstats").get("cmdstat_eval", {"calls": 0})["calls"])

    redis_server.call("ZADD", key("nodes"), 1, "a")
    keeper = await _keeper(redis_server, 0.6)
    before, looked, look = renewals(), 0, keeper._stopped.wait

    def wait(seconds: float | None = None) -> bool:
        nonlocal looked
        looked += 1
        keeper.beat()
        if looked < 30:
            keeper.renewed(time.monotonic())
        return look(seconds)

    keeper._stopped.wait = wait  # type: ignore[assignment, method-assign]
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, keeper.run)
        await until(lambda: looked >= 30)
        # Once per lease, so that the connection is there when it is needed.
        renewed = renewals() - before
        await until(lambda: renewals() != before + renewed)
        keeper.stop()
    assert 1 <= renewed <= 30 // LOOKS + 1


async def test_the_thread_outlives_a_lost_connection(redis_url, redis_server):
    redis_server.call("ZADD", key("nodes"), 1, "a")
    keeper = await _keeper(redis_server, 0.3)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, keeper.run)
        for _ in range(3):
            redis_server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            redis_server.call("ZADD", key("nodes"), 1, "a")
            while _deadline(redis_server) == 1:
                keeper.beat()
                await anyio.sleep(0.01)
        keeper.stop()


async def test_a_look_waits_for_a_silent_server_once_and_not_as_often_as_its_library_would(caplog):
    """One that takes connections and says nothing: each look is over by the time of the next two."""
    caplog.set_level(logging.DEBUG, "am2z_trio.lease")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = RedisOptions.from_url(f"redis://127.0.0.1:{listener.getsockname()[1]}")
        keeper = LeaseKeeper(options, prefix="am2z", node="a", lease=0.3)
        await anyio.to_thread.run_sync(lambda: keeper._look(keeper._connected()))  # type: ignore[arg-type]
        listener.setblocking(False)
        listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            listener.accept()
    (told,) = [record.getMessage() for record in caplog.records if record.name == "am2z_trio.lease"]
    assert told.startswith("the lease of a was not renewed: Timeout")
    # Connecting, and the answers to the hello, the database and the lease.
    assert lease.PATIENCE * 4 < 1


async def test_a_thread_that_cannot_start_ends_its_node_with_what_to_do_about_it(redis_url, monkeypatch):
    host = type(current_host())
    real = host.run_in_thread

    async def run_in_thread(self: Any, fn: Any, *args: Any) -> Any:
        if fn.__qualname__.startswith(LeaseKeeper.__name__):
            raise RuntimeError("can't start new thread")
        return await real(self, fn, *args)

    monkeypatch.setattr(host, "run_in_thread", run_in_thread)
    with pytest.raises(ResourceError, match=r"can't start new thread.*ulimit -u") as caught:
        async with QueueRuntime(redis_url):
            await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, RuntimeError)


# --- many jobs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [100, 2_500])
async def test_ten_thousand_jobs_drain_exactly_once_over_three_nodes(redis_url, redis_server, limit):
    total = 10_000
    settings = StoreSettings(lease=60.0)
    granted: Counter[str] = Counter()
    applied: Counter[str] = Counter()
    async with open_real(redis_server, "abc", settings) as nodes:
        requests: list[Enqueue] = [job(f"j{i}") for i in range(total)]
        for first in range(0, total, 500):
            await nodes[0].store.enqueue(requests[first : first + 500])

        async def drain(node: Node) -> None:
            while grants := await node.claim(limit):
                granted.update(grant.spec.id for grant in grants)
                answers = await node.store.settle(
                    [Settlement(id=g.spec.id, token=g.token, outcome="completed") for g in grants]
                )
                applied.update(
                    g.spec.id for g, answer in zip(grants, answers, strict=True) if answer.status == "applied"
                )

        async with anyio.create_task_group() as group:
            for node in nodes:
                group.start_soon(drain, node)
        assert len(granted) == len(applied) == total
        assert set(granted.values()) == set(applied.values()) == {1}
        stats = await nodes[0].stats()
        assert (stats.completed, stats.waiting, stats.active) == (total, 0, 0)
        for node in nodes:
            await node.store.leave()
        left = {name.decode() for name in redis_server.call("KEYS", "*") if b":job:" not in name}
        assert left == {key("meta", "q"), key("recent", "q"), key("fence")}


async def test_one_claim_may_take_them_all(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        for first in range(0, 9_000, 500):
            await a.store.enqueue([job(f"j{i}") for i in range(first, first + 500)])
        answer = await a.store.claim("q", 1, 10_000)
        assert len(answer.grants) == 9_000
        assert await a.store.claim("q", 1, 10_000) == answer
        assert redis_server.call("HLEN", key("active", "a")) == 9_000
        await a.store.leave()
        assert (await a.stats()).waiting == 9_000


# --- large answers --------------------------------------------------------------------------------


async def test_a_claim_grants_no_more_bytes_than_an_answer_may_have(redis_url, redis_server):
    """What does not fit stays where it was: in the shared list, in its session's, by its priority."""
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        large = msgspec.msgpack.encode(b"x" * 1_000_000)
        jobs = [job(f"plain{n}", state=large) for n in range(6)]
        jobs += [job(f"session{n}", session="s", state=large) for n in range(6)]
        jobs += [job(f"urgent{n}", priority=5 - n, state=large) for n in range(5)]
        await a.store.enqueue(jobs)
        rounds = list[list[str]]()
        while True:
            answer = await a.store.claim("q", a.next_seq(), 40)
            rounds.append([grant.spec.id for grant in answer.grants])
            if answer.next_due is None:
                break
            assert answer.next_due == 0
            assert 1 <= len(answer.grants) <= 4
        ids = [id for ids in rounds for id in ids]
        for kind in ("plain", "session"):
            assert [id for id in ids if id.startswith(kind)] == [f"{kind}{n}" for n in range(6)]
        assert ids[12:] == [f"urgent{n}" for n in range(4, -1, -1)]
        assert (await a.stats()).active == 17


async def test_a_single_job_is_granted_however_large_it_is(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue(
            [job(f"j{n}", state=msgspec.msgpack.encode(b"x" * 6_000_000)) for n in range(2)]
        )
        for n in range(2):
            answer = await a.store.claim("q", a.next_seq(), 40)
            assert [grant.spec.id for grant in answer.grants] == [f"j{n}"]


async def test_large_states_of_sessions_count_in_their_grants(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        for n in range(5):
            await a.store.enqueue([job(f"first{n}", session=f"s{n}")])
            await a.settle(await a.claim_one(), commit=commit("x" * 1_500_000))
        await a.store.enqueue([job(f"j{n}", session=f"s{n}", state=None) for n in range(5)])
        assert [len(await a.claim(40)) for _ in range(4)] == [2, 2, 1, 0]


async def test_libraries_of_other_versions_stay_side_by_side_until_there_are_many(spawn_redis):
    server = spawn_redis()
    if server.version < "7":
        pytest.skip("the server has no functions")

    def load(*names: str) -> None:
        for name in names:
            text = f"#!lua name={name}\nredis.register_function('{name}_f', function() return 1 end)"
            server.call("FUNCTION", "LOAD", text)

    def known() -> set[str]:
        found = re.findall(r"library_name'[,:] b'(\w+)'", str(server.call("FUNCTION", "LIST")))
        return set(found)

    others = [f"am2z_{number:016x}" for number in range(8)]
    load("somebody_elses", *others[:7])
    async with open_bench(server) as bench:
        node = await bench.node()
        await node.store.enqueue([job("j1")])
        ours = scripts.library().name
        assert known() == {"somebody_elses", ours, *others[:7]}
        load(others[7])
        other = await bench.node("b")
        assert known() == {"somebody_elses", ours}
        assert [grant.spec.id for grant in await other.claim(1)] == ["j1"]


async def test_a_job_whose_token_somebody_has_changed_ends_under_that_of_its_claim(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("j")])
        (grant,) = await a.claim(1)
        redis_server.call("HSET", key("job", "j"), "token", "1:x")
        done = Settlement(id="j", token=grant.token, outcome="completed", result=b"\x90")
        for status in ("applied", "replay"):
            (answer,) = await a.store.settle([done])
            assert (answer.status, answer.outcome) == (status, "completed")
