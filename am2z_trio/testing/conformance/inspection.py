"""Jobs in lists: each is found where it is, once, with what its record says."""

from __future__ import annotations

import msgspec

from am2z_trio.model.options import Retention
from am2z_trio.model.records import QueueLimits, Scheduled, Settlement
from am2z_trio.model.views.jobs import JobRow, Source

from .bench import SETTINGS, START_MS, Bench, Node
from .builders import bulk, job
from .hostile import HOSTILE


async def listed(node: Node, source: Source, *, queue: str = "q", count: int = 1_000) -> list[str]:
    """The ids of all jobs of a source, by pages of so many."""
    found, start = list[str](), 0
    while True:
        page = await node.store.inspection.page(queue, source, start, count)
        assert len(page.rows) <= count
        found += [row.id for row in page.rows]
        if page.next is None:
            return found
        assert page.next > start
        start = page.next


async def row_of(node: Node, id: str) -> JobRow:
    (row,) = await node.store.inspection.rows([id])
    assert row is not None
    return row


class InspectionCases:
    """What is shown of jobs to whoever looks."""

    async def test_a_row_says_what_a_job_is_and_since_when(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j", session="s", origin="a")])
        row = await row_of(a, "j")
        assert (row.id, row.status, row.queue, row.processor, row.session) == ("j", "waiting", "q", "q", "s")
        assert (row.at, row.since, row.ended, row.ran, row.origins) == (START_MS, 0, 0, None, ("a",))
        assert (row.attempt, row.deliveries, row.node, row.token) == (1, 0, "", "")
        assert row.size > 0
        bench.clock.advance(2.0)
        grant = await a.claim_one()
        row = await row_of(a, "j")
        assert (row.status, row.at, row.since) == ("active", START_MS, START_MS + 2_000)
        assert (row.deliveries, row.node, row.token) == (1, "a", grant.token)
        bench.clock.advance(3.0)
        await a.settle(grant)
        row = await row_of(a, "j")
        assert (row.status, row.at, row.since, row.ended) == (
            "completed",
            START_MS,
            START_MS + 2_000,
            START_MS + 5_000,
        )
        assert (row.ran, row.node, row.token, row.origins, row.size) == (3_000, "", "", (), 0)

    async def test_a_job_that_is_handed_out_as_it_comes_began_then(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.claim("q", b.next_seq(), 1, unasked=1)
        bench.clock.advance(2.0)
        await a.store.enqueue([job("j")])
        row = await row_of(a, "j")
        assert (row.status, row.node, row.at, row.since) == (
            "active",
            "b",
            START_MS + 2_000,
            START_MS + 2_000,
        )

    async def test_a_row_says_what_only_some_jobs_have(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p")])
        grant = await a.claim_one()
        await a.store.enqueue([job("j", parent="p", priority=3, delay=5.0, deadline=60.0)])
        row = await row_of(a, "j")
        assert (row.status, row.parent, row.priority, row.depth) == ("later", "p", 3, 1)
        assert (row.due, row.deadline) == (START_MS + 5_000, START_MS + 60_000)
        assert await a.store.inspection.children("p") == ["j"]
        assert await a.store.report("p", grant.token, 0.5)
        await a.store.cancel("p", "enough")
        await a.store.step_aside("p", grant.token)
        row = await row_of(a, "p")
        assert (row.progress, row.cancel, row.away) == (0.5, "enough", True)

    async def test_what_a_job_is_found_by_is_kept_as_long_as_its_record(self, bench: Bench) -> None:
        a = await bench.node("a")
        of_spring, plain = job("j", session="s", tags=("spring", "a\nb")), job("plain")
        spec = msgspec.structs.replace(
            of_spring.spec, trace=f"00-{'ab' * 16}-{'1' * 16}-01\nvendor=x", schedule=Scheduled("n/ightly", 5)
        )
        await a.store.enqueue([msgspec.structs.replace(of_spring, spec=spec), plain])
        labels = ("ab" * 16, "n/ightly", ("spring", "a\nb"))

        async def found(id: str) -> tuple[str, str, tuple[str, ...]]:
            row = await row_of(a, id)
            return row.trace, row.schedule, row.tags

        assert (await found("j"), await found("plain")) == (labels, ("", "", ()))
        for grant in await a.claim(2):
            assert await found("j") == labels
            await a.settle(grant, "failed" if grant.spec.id == "j" else "completed")
        assert await found("j") == labels
        await a.store.revive(["j"])
        assert await found("j") == labels
        await a.settle(await a.claim_one())
        assert (await found("j"), (await row_of(a, "j")).size) == (labels, 0)

    async def test_jobs_that_are_alike_have_the_same_labels(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue_bulk(bulk(job("like", tags=("night",)), 3))
        rows = await a.store.inspection.rows(["made-1", "made-2", "made-3"])
        assert [row and row.tags for row in rows] == [("night",)] * 3
        assert await listed(a, "waiting") == ["made-1", "made-2", "made-3"]

    async def test_a_job_says_of_its_trace_only_what_is_recorded(self, bench: Bench) -> None:
        a = await bench.node("a")
        some = "c" * 32
        traces = {
            f"00-{some}-{'1' * 16}-01": some,
            f"00-{some}-{'1' * 16}-03": some,
            f"00-{some}-{'1' * 16}-00": "",
            f"ff-{some}-{'1' * 16}-01": "",
            f"00-{'0' * 32}-{'1' * 16}-01": "",
            "none": "",
        }
        for n, trace in enumerate(traces):
            made = job(f"j{n}")
            spec = msgspec.structs.replace(made.spec, trace=trace)
            await a.store.enqueue([msgspec.structs.replace(made, spec=spec)])
        rows = await a.store.inspection.rows([f"j{n}" for n in range(len(traces))])
        assert [row and row.trace for row in rows] == list(traces.values())

    async def test_there_is_no_row_of_a_job_that_there_is_not(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j1"), job("j2")])
        rows = await a.store.inspection.rows(["j2", "nobody", "j1"])
        assert [row and row.id for row in rows] == ["j2", None, "j1"]

    async def test_texts_are_shown_as_they_are(self, bench: Bench) -> None:
        a = await bench.node("a")
        for text in HOSTILE:
            await a.store.enqueue([job(text, session=text)])
        rows = await a.store.inspection.rows(HOSTILE)
        assert [row and (row.id, row.session) for row in rows] == [(text, text) for text in HOSTILE]
        assert {*await listed(a, "waiting", count=2)} == {*HOSTILE}

    async def test_each_job_is_listed_where_it_is(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job(f"w{n}") for n in range(3)])
        await a.store.enqueue([job("d1", delay=9.0), job("d2", delay=5.0)])
        await a.store.enqueue([job("other", queue="r")])
        assert await listed(a, "waiting") == ["w0", "w1", "w2"]
        assert await listed(a, "later") == ["d2", "d1"]
        assert await listed(a, "active") == []
        grants = await a.claim(2)
        await a.claim(1, "r")
        assert await listed(a, "active") == ["w0", "w1"]
        assert await listed(a, "active", queue="r") == ["other"]
        assert await listed(a, "waiting") == ["w2"]
        await a.settle(grants[0])
        bench.clock.advance(0.001)
        await a.settle(grants[1], "failed")
        await a.store.cancel("w2", "no more")
        assert await listed(a, "recent") == ["w2", "w1", "w0"]
        assert await listed(a, "dead") == ["w1"]
        assert await listed(a, "waiting") == await listed(a, "active") == []
        bench.clock.advance(9.0)
        (totals,) = await a.store.inspection.totals(["q"])
        assert (totals.waiting, totals.later, totals.active, totals.dead, totals.recent) == (0, 2, 0, 1, 3)

    async def test_jobs_are_found_by_session_and_by_node(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue(
            [*(job(f"s{n}", session="s") for n in range(3)), job("t", session="t"), job("j")]
        )
        inspection = a.store.inspection
        assert {*await inspection.of_session("s")} == {"s0", "s1", "s2"}
        assert len(await inspection.of_session("s", 2)) == 2
        held = [(await b.claim_one()).spec.id for _ in range(5)]
        assert {*await inspection.of_node("b")} == {*held}
        assert len(await inspection.of_node("b", 2)) == 2
        await a.store.stop_session("s", running=True, refuse=0.0)
        assert await inspection.of_session("s") == await inspection.of_session("nobody") == []
        assert {*await inspection.of_node("b")} == {"t", "j"}
        assert await inspection.of_node("a") == []

    async def test_whatever_ends_a_job_lists_it_once(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("debounced", delay=1.0, debounce="k"), job("expires", deadline=0.5)])
        await a.store.enqueue([job("takes its place", delay=1.0, debounce="k")])
        bench.clock.advance(0.6)
        assert await a.claim(1) == []
        await a.store.enqueue([job("stopped", session="s")])
        await a.store.stop_session("s", running=True, refuse=0.0)
        await a.store.enqueue([job("cancelled")])
        await a.store.cancel("cancelled", "no more")
        await b.store.enqueue([job("left")])
        await b.claim_one()
        await a.store.cancel("left", "no more")
        await b.store.leave()
        await a.store.enqueue([job("parent")])
        parent = await a.claim_one()
        await a.store.enqueue([job("child", parent="parent")])
        await a.settle(parent)
        c = await bench.node("c")
        await a.store.enqueue([job("lost", max_stalled=0)])
        await c.claim_one()
        await bench.crash(c)
        await a.store.tick()
        bench.clock.advance(1.1)
        await a.store.tick()
        assert await listed(a, "recent") == [
            *("lost", "child", "parent", "left", "cancelled", "stopped", "expires", "debounced"),
        ]

    async def test_a_job_that_has_run_again_is_listed(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j"), job("k")])
        for grant in await a.claim(2):
            await a.settle(grant, "failed")
        bench.clock.advance(1.0)
        await a.store.revive(["j"])
        assert await listed(a, "recent") == ["k"]
        assert (await row_of(a, "j")).at == START_MS + 1_000
        bench.clock.advance(1.0)
        await a.settle(await a.claim_one())
        # For each time that it has ended, or for the last one.
        assert list(dict.fromkeys(await listed(a, "recent"))) == ["j", "k"]
        row = await row_of(a, "j")
        assert (row.status, row.since, row.ended) == ("completed", START_MS + 2_000, START_MS + 2_000)

    async def test_a_job_that_ends_while_it_waits_did_not_run(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        await a.settle(await a.claim_one(), "retry", delay=60.0)
        row = await row_of(a, "j")
        assert (row.status, row.since, row.attempt, row.due) == ("later", 0, 2, START_MS + 60_000)
        await a.store.cancel("j", "no more")
        row = await row_of(a, "j")
        assert (row.since, row.ended, row.ran, row.reason) == (0, START_MS, None, "no more")

    async def test_what_waits_is_listed_by_turns(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("urgent", priority=1), job("more urgent", priority=1, session="s")])
        await a.store.enqueue([job(f"s{n}", session="s") for n in range(3)])
        await a.store.enqueue([job("t0", session="t"), *(job(f"j{n}") for n in range(2))])
        expected = ["j0", "s0", "t0", "j1", "s1", "s2", "urgent", "more urgent"]
        for count in (1, 2, 3, 5, 100):
            assert await listed(a, "waiting", count=count) == expected
        page = await a.store.inspection.page("q", "waiting", 4, 3)
        assert [row.id for row in page.rows] == ["s1", "s2", "urgent"]
        assert page.of == 8

    async def test_those_wait_last_of_whose_session_as_many_run_as_may(self, bench: Bench) -> None:
        a = await bench.node("a")
        limits = QueueLimits(per_session=1)
        await a.store.enqueue([job(f"s{n}", session="s") for n in range(2)])
        await a.claim(1, limits=limits)
        await a.claim(1, limits=limits)
        await a.store.enqueue([job("t", session="t"), job("j")])
        assert await listed(a, "waiting") == ["j", "t", "s1"]
        (totals,) = await a.store.inspection.totals(["q"])
        assert (totals.waiting, totals.lanes, totals.blocked) == (3, 1, 1)

    async def test_what_waits_no_more_is_not_listed(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job(f"j{n}") for n in range(6)])
        for n in (1, 4):
            await a.store.cancel(f"j{n}", "no more")
        assert await listed(a, "waiting") == ["j0", "j2", "j3", "j5"]
        assert await listed(a, "waiting", count=2) == ["j0", "j2", "j3", "j5"]
        # One that was run again stands where it came now, not where it was.
        await a.store.enqueue([job("j1", again=True, input="x")])
        await a.store.cancel("j1", "no more")
        await a.store.enqueue([job("j1", again=True, input="x")])
        assert await listed(a, "waiting") == ["j0", "j2", "j3", "j5", "j1"]

    async def test_a_time_is_found_among_what_has_ended(self, bench: Bench) -> None:
        a = await bench.node("a")
        for n in range(9):
            await a.store.enqueue([job(f"j{n}")])
            await a.settle(await a.claim_one())
            bench.clock.advance(1.0)
        inspection = a.store.inspection
        for n, start in ((8, 0), (5, 3), (0, 8)):
            assert await inspection.place("q", START_MS + n * 1_000) == start
            assert await inspection.place("q", START_MS + n * 1_000 + 999) == start
            (row,) = (await inspection.page("q", "recent", start, 1)).rows
            assert (row.id, row.ended) == (f"j{n}", START_MS + n * 1_000)
        assert await inspection.place("q", START_MS - 1) == 9
        assert await inspection.place("nowhere", START_MS) == 0

    async def test_jobs_beyond_a_number_are_not_kept(self, bench: Bench) -> None:
        a = await bench.node("a")
        most = SETTINGS.recent
        kept = [
            job("chosen", again=True, input="x"),
            job("asked for", on_complete=Retention(age=600.0)),
            job("dead"),
        ]
        await a.store.enqueue([job("first"), *kept, job("second")])
        for grant in await a.claim(5):
            await a.settle(grant, "failed" if grant.spec.id == "dead" else "completed")
        await ends(a, most - 4, first=1)
        # Whoever waits for one may not have heard of it within a minute.
        bench.clock.advance(59.0)
        assert await a.status("first") == "completed"
        assert (await a.store.inspection.page("q", "recent", most)).rows == []
        bench.clock.advance(2.0)
        await ends(a, most, first=most)
        assert [view and view.id for view in await a.store.view(["chosen", "asked for", "dead"])] == [
            *("chosen", "asked for", "dead"),
        ]
        assert await a.store.dead_page("q", 0, 9) == ["dead"]
        assert await a.store.view(["second", "made-1", f"made-{most - 4:x}"]) == [None, None, None]
        newest = await listed(a, "recent")
        assert newest == [f"made-{n:x}" for n in range(2 * most - 1, most - 1, -1)]

    async def test_what_jobs_were_given_is_seen_for_as_long_as_it_is_kept(self, bench: Bench) -> None:
        a = await bench.node("a")
        jobs = [job(f"j{n}", state=bytes([n]), delay=60.0 * (n == 4)) for n in range(5)]
        await a.store.enqueue(jobs)
        done, failed, active = await a.claim(3)
        await a.settle(done)
        await a.settle(failed, "failed")
        assert active.spec.id == "j2"
        found = await a.store.inspection.specs(["j4", "j0", "nobody", "j1", "j2", "j3"])
        assert [spec and spec.state for spec in found] == [
            *(jobs[4].spec.state, None, None),
            *(jobs[n].spec.state for n in (1, 2, 3)),
        ]


async def ends(node: Node, many: int, first: int) -> None:
    """So many jobs complete, one after the other."""
    for start in range(first, first + many, 100):
        await node.store.enqueue_bulk(bulk(job(), min(100, first + many - start), start))
        grants = await node.claim(100)
        done = [Settlement(id=grant.spec.id, token=grant.token, outcome="completed") for grant in grants]
        await node.store.settle(done)
