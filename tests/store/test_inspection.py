"""What only Redis can show of jobs in lists: records that have gone or are spoilt, and a bound on looks."""

from __future__ import annotations

import msgspec
import pytest

from am2z_trio.model.records import RECENT_TTL, Settlement
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.store.ports import MOST_LOOKED_AT
from am2z_trio.store.redis.listing import SLICE
from am2z_trio.testing.conformance import job
from am2z_trio.testing.conformance.inspection import listed, row_of
from tests.store.test_redis_store import key, open_bench

pytestmark = pytest.mark.anyio


async def ended(node, ids):
    for first in range(0, len(ids), 100):
        await node.store.enqueue([job(id) for id in ids[first : first + 100]])
        grants = await node.claim(100)
        await node.store.settle(
            [Settlement(id=grant.spec.id, token=grant.token, outcome="completed") for grant in grants]
        )


async def test_ids_whose_records_have_gone_are_skipped_and_counted(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        ids = [f"j{n}" for n in range(300)]
        await ended(a, ids)
        for n in range(100, 290):
            redis_server.call("DEL", key("job", f"j{n}"))
        page = await a.store.inspection.page("q", "recent", 0, 20)
        assert [row.id for row in page.rows] == [f"j{n}" for n in (*range(299, 289, -1), *range(99, 89, -1))]
        assert (page.gone, page.looked_at, page.of, page.next) == (190, 210, 300, 210)
        assert await listed(a, "recent") == [f"j{n}" for n in (*range(299, 289, -1), *range(99, -1, -1))]


async def test_a_page_looks_at_no_more_than_it_may(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        redis_server.call("RPUSH", key("recent", "q"), *(f"gone{n}" for n in range(3_000)))
        page = await a.store.inspection.page("q", "recent")
        assert (page.rows, page.gone, page.looked_at, page.next) == (
            [],
            MOST_LOOKED_AT,
            MOST_LOOKED_AT,
            2_000,
        )
        page = await a.store.inspection.page("q", "recent", 2_000)
        assert (page.rows, page.gone, page.next) == ([], 1_000, None)


async def test_a_time_is_found_although_much_has_gone(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        for n in range(40):
            await ended(a, [f"j{n}"])
            bench.clock.advance(1.0)
        for n in range(20):
            redis_server.call("DEL", key("job", f"j{n}"))
        for n in (39, 30, 20):
            row = await row_of(a, f"j{n}")
            assert await a.store.inspection.place("q", row.ended) == 39 - n
        assert await a.store.inspection.place("q", 0) == 20


async def test_many_lines_are_gone_through_in_parts(redis_url, redis_server):
    """Each part takes turns in itself; nobody is left out, and nobody comes twice."""
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        wait = [job(f"s{s}-{n}", session=f"s{s}") for n in range(3) for s in range(450)]
        for first in range(0, len(wait), 500):
            await a.store.enqueue(wait[first : first + 500])
        await a.store.enqueue([job("j"), job("urgent", priority=1)])
        found = await listed(a, "waiting", count=70)
        assert sorted(found) == sorted(["j", "urgent", *(request.spec.id for request in wait)])
        assert found[:4] == ["j", "s0-0", "s1-0", "s2-0"]
        assert found[201] == "s0-1"
        assert found[-1] == "urgent"


async def test_what_runs_on_many_nodes_is_found_once(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        nodes = [await bench.node(name) for name in "abc"]
        await nodes[0].store.enqueue([job(f"j{n}") for n in range(30)])
        await nodes[0].store.enqueue([job("other", queue="r")])
        for node in nodes:
            await node.claim(10)
        await nodes[1].claim(1, "r")
        assert sorted(await listed(nodes[0], "active", count=7)) == sorted(f"j{n}" for n in range(30))


async def test_a_spoilt_record_is_shown_as_one(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("j1"), job("j2"), job("j3"), job("j4")])
        redis_server.call("HSET", key("job", "j1"), "session", b"\xff\xfe")
        redis_server.call("HSET", key("job", "j2"), "status", "odd", "at", "no number")
        redis_server.call("HSET", key("job", "j3"), "trail", b"\xc1")
        redis_server.call("HSET", key("job", "j4"), "trail", msgspec.msgpack.encode([5]))
        assert await row_of(a, "j1") == JobRow(id="j1", status="unreadable")
        row = await row_of(a, "j2")
        assert (row.status, row.at) == ("unreadable", 0)
        row = await row_of(a, "j3")
        assert (row.status, row.trail) == ("waiting", ())
        assert await row_of(a, "j4") == JobRow(id="j4", status="unreadable")


async def test_the_list_of_what_has_ended_goes_with_time(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await ended(a, ["j"])
        assert 0 < redis_server.call("PTTL", key("recent", "q")) <= RECENT_TTL * 1000


async def test_what_a_job_has_called_goes_with_its_record(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job("p")])
        grant = await a.claim_one()
        await a.store.enqueue([job("c", parent="p")])
        await a.settle(grant)
        record, called = (redis_server.call("PTTL", key(kind, "p")) for kind in ("job", "called"))
        assert abs(record - called) < 1_000
        assert redis_server.call("EXISTS", key("children", "p")) == 0
        redis_server.call("DEL", key("job", "p"))
        assert await a.store.inspection.children("p") == []


async def test_no_look_takes_the_server_long(redis_url, redis_server):
    """Whatever has piled up: what is counted is what a script looks at."""
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        for first in range(0, 20_000, 1_000):
            await a.store.enqueue([job(f"j{n}") for n in range(first, first + 1_000)])

        def calls(name):
            return redis_server.call("INFO", "commandstats").get(f"cmdstat_{name}", {"calls": 0})["calls"]

        before = calls("hmget")
        page = await a.store.inspection.page("q", "waiting", 10_000, 50)
        assert [row.id for row in page.rows] == [f"j{n}" for n in range(10_000, 10_050)]
        assert page.next == 10_050
        assert calls("hmget") - before <= 50
        before = calls("hmget")
        await a.store.inspection.page("q", "waiting", 0, 1_000)
        assert calls("hmget") - before <= 1_000
        assert SLICE <= 250
