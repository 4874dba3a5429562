"""What a record tells afterwards: what went wrong, what was called, who has written."""

from __future__ import annotations

from am2z_trio.model.records import Author
from am2z_trio.model.views.jobs import MOST_TRAIL, TrailEntry

from .bench import START_MS, Bench
from .builders import commit, job, write
from .inspection import row_of


class TrailCases:
    """What is known of a job, or of a state, when it is over."""

    async def test_nothing_is_said_of_a_job_where_all_goes_well(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j", session="s")])
        await a.settle(await a.claim_one())
        assert (await row_of(a, "j")).trail == ()

    async def test_a_job_says_how_it_has_failed(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        await a.settle(await a.claim_one(), "retry", reason="E1\nno such\nthing")
        row = await row_of(a, "j")
        assert row.trail == (TrailEntry(START_MS, "retry", "a", 1, "E1", "no such\nthing"),)
        assert (row.code, row.error) == ("E1", "no such\nthing")
        bench.clock.advance(1.0)
        await a.settle(await a.claim_one(), "failed", reason="E2\n" + "é" * 400)
        row = await row_of(a, "j")
        assert row.trail[1:] == (TrailEntry(START_MS + 1_000, "failed", "a", 2, "E2", row.error),)
        assert "é" * 240 < row.error < "é" * 251
        assert row.code == "E2"
        # A dead letter that runs again has not forgotten.
        await a.store.revive(["j"])
        assert [entry.what for entry in (await row_of(a, "j")).trail] == ["retry", "failed"]

    async def test_a_job_says_who_gave_it_back(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j")])
        await a.settle(await a.claim_one(), "released")
        await b.settle(await b.claim_one(), "conflicted")
        await b.claim_one()
        await b.store.leave()
        what = [(entry.what, entry.node, entry.attempt) for entry in (await row_of(a, "j")).trail]
        assert what == [("released", "a", 1), ("conflicted", "b", 1), ("left", "b", 1)]

    async def test_a_job_says_with_whom_it_was_lost_and_what_was_refused(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", max_stalled=1)])
        grant = await b.claim_one()
        await bench.outlast(a)
        await a.store.tick()
        own = await a.claim_one()
        assert (await b.settle(grant)).status == "fenced"
        row = await row_of(a, "j")
        assert [(entry.what, entry.node) for entry in row.trail] == [("lost", "b"), ("refused", "")]
        assert (row.trail[1].code, row.trail[1].text) == (grant.token, "completed")
        await a.settle(own)
        assert (await row_of(a, "j")).trail == row.trail

    async def test_a_job_says_that_it_was_lost_too_often(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j", max_stalled=0)])
        await b.claim_one()
        await bench.outlast(a)
        await a.store.tick()
        row = await row_of(a, "j")
        assert [(entry.what, entry.node) for entry in row.trail] == [("failed", "b")]
        assert row.code == "JOB_STALLED"

    async def test_a_job_says_that_its_sessions_state_had_moved(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j", session="s", state=None)])
        grant = await a.claim_one()
        await a.store.states.write(write(1, "moved"))
        assert (await a.settle(grant, commit=commit("mine"))).status == "conflict"
        (entry,) = (await row_of(a, "j")).trail
        assert (entry.what, entry.node, entry.text) == ("conflict", "a", "it is version 1")

    async def test_of_much_that_happens_the_first_and_the_last_is_kept(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        for n in range(MOST_TRAIL + 5):
            await a.settle(await a.claim_one(), "retry", reason=f"E\n{n}")
        texts = [entry.text for entry in (await row_of(a, "j")).trail]
        assert texts == ["0", *(f"{n}" for n in range(6, MOST_TRAIL + 5))]

    # --- what was called, and who has written -----------------------------------------------

    async def test_what_a_job_has_called_is_known_when_it_has_ended(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p")])
        grant = await a.claim_one()
        await a.store.enqueue([job(f"c{n}", parent="p") for n in range(150)])
        called = {f"c{n}" for n in range(150)}
        inspection = a.store.inspection
        assert {*await inspection.children("p")} == called
        assert len(await inspection.children("p", 20)) == 20
        await a.settle(grant)
        # Of many the last ones end by and by.
        await a.store.tick()
        while (await a.stats()).waiting or {*await inspection.children("p")} != called:
            await a.store.ping()
        assert await inspection.children("nobody") == []

    async def test_a_job_that_is_run_anew_has_called_what_it_calls_now(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("p", again=True)])
        grant = await a.claim_one()
        await a.store.enqueue([job("before", parent="p")])
        await a.settle(grant, "failed")
        assert await a.store.inspection.children("p") == ["before"]
        await a.store.enqueue([job("p", again=True)])
        assert await a.store.inspection.children("p") == []

    async def test_each_version_of_a_state_says_who_wrote_it(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j", session="s", state=None)])
        grant = await a.claim_one()
        await a.settle(grant, commit=commit("first"))
        by_job = Author(node="a", job="j", token=grant.token)
        assert (await a.store.states.read("s")).by == by_job
        answer = await a.store.states.write(write(1, "second"))
        assert answer.current is not None
        by_node = Author(node="a")
        assert answer.current.by == (await a.store.states.read("s")).by == by_node
        assert [record.by for record in await a.store.states.history("s")] == [by_node, by_job]
        await a.store.states.write(write(2, ""))
        assert (await a.store.states.read("s")).by == Author()
