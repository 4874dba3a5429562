"""Many jobs in one step: in order, as if each had come alone, and none behind one that is refused."""

from __future__ import annotations

import msgspec

from am2z_trio.model.records import BulkAnswer, EnqueueAnswer, Settled, Wake

from .bench import Bench
from .builders import bulk, bulk_of, ids_of, job, settled


class BulkCases:
    """What becomes of jobs that are alike but for id and state."""

    async def test_jobs_that_are_alike_are_granted_in_order_as_if_each_had_come_alone(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        kinds = job(), job(session="s"), job(session="s", origin="a", delay=1.0), job(priority=3)
        for first, like in zip((1, 9, 50, 200), kinds, strict=True):
            many = bulk(like, 8, first=first)
            assert await a.store.enqueue_bulk(many) == BulkAnswer(accepted=8)
            assert (await a.stats()).delayed == (8 if like.delay else 0)
            bench.clock.advance(like.delay)
            grants = await a.claim(100)
            assert [grant.spec for grant in grants] == [many.job(number).spec for number in range(8)]
            assert [msgspec.msgpack.decode(grant.spec.state) for grant in grants] == [*range(8)]
            assert ids_of(grants)[-1] == f"made-{first + 7:x}"
            for grant in grants:
                await a.settle(grant)
            if like.spec.origin:
                heard = [one.id for one in await a.heard() if isinstance(one, Settled)]
                assert heard == ids_of(grants)
        assert (await a.stats()).completed == 32

    async def test_the_same_call_again_changes_nothing(self, bench: Bench) -> None:
        a = await bench.node()
        for like in (job(), job(session="s")):
            many = bulk(like, 5, first=1 if like.spec.session else 11)
            assert await a.store.enqueue_bulk(many) == BulkAnswer(accepted=5)
            first, second = await a.claim(2)
            await a.settle(first)
            assert await a.store.enqueue_bulk(many) == BulkAnswer(accepted=5)
            assert len(await a.claim(9)) == 3
            assert await a.store.enqueue_bulk(many) == BulkAnswer(accepted=5)
            assert await a.claim(9) == []
            await a.settle(second)
        assert (await a.stats()).completed == 4

    async def test_known_ones_among_them_are_not_queued_again(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue_bulk(bulk(job(), 3, first=2))
        assert await a.store.enqueue_bulk(bulk(job(), 6, first=1)) == BulkAnswer(accepted=6)
        expected = [2, 3, 4, 1, 5, 6]
        assert ids_of(await a.claim(9)) == [f"made-{number}" for number in expected]

    async def test_none_is_accepted_behind_one_that_is_refused(self, bench: Bench) -> None:
        a = await bench.node()
        full = EnqueueAnswer(status="full", waiting=3)
        answer = await a.store.enqueue_bulk(bulk(job(max_size=3), 5))
        assert answer == BulkAnswer(accepted=3, refused=full)
        assert ids_of(await a.claim(1)) == ["made-1"]
        # The first three again, though one has left the queue, and one more for which there is room now.
        answer = await a.store.enqueue_bulk(bulk(job(max_size=3), 5))
        assert answer == BulkAnswer(accepted=4, refused=full)
        assert ids_of(await a.claim(9)) == ["made-2", "made-3", "made-4"]

    async def test_a_session_that_is_being_stopped_takes_none_of_them(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.enqueue_bulk(bulk(job(session="s"), 3)) == BulkAnswer(accepted=3)
        await a.store.stop_session("s", running=False, refuse=5.0)
        refused = EnqueueAnswer(status="stopped")
        more = bulk(job(session="s"), 3, first=3)
        assert await a.store.enqueue_bulk(more) == BulkAnswer(accepted=1, refused=refused)
        new = bulk(job(session="s"), 3, first=9)
        assert await a.store.enqueue_bulk(new) == BulkAnswer(accepted=0, refused=refused)
        assert await a.claim(9) == []

    async def test_ids_that_were_chosen_are_those_of_one_job_each(self, bench: Bench) -> None:
        a = await bench.node()
        many = bulk_of(job(session="s"), ["x", "y", "é", "z"])
        assert await a.store.enqueue_bulk(many) == BulkAnswer(accepted=4)
        assert await a.store.enqueue_bulk(many) == BulkAnswer(accepted=4)
        taken = EnqueueAnswer(status="taken", other="input", processor="q")
        other = bulk_of(job(session="s"), ["x", "new", "é", "newer"], ["input 0", "", "other", ""])
        assert await a.store.enqueue_bulk(other) == BulkAnswer(accepted=2, refused=taken)
        grants = await a.claim(9)
        assert ids_of(grants) == ["x", "y", "é", "z", "new"]
        assert grants[2].spec == many.job(2).spec
        await a.settle(grants[0], "failed")
        # It has ended without completing, so it runs anew, also with another input.
        again = bulk_of(job(session="s"), ["x"], ["changed"])
        assert await a.store.enqueue_bulk(again) == BulkAnswer(accepted=1)
        assert ids_of(await a.claim(9)) == ["x"]

    async def test_one_parked_node_is_woken_for_each_of_them(self, bench: Bench) -> None:
        a, b, c = await bench.node("a"), await bench.node("b"), await bench.node("c")
        for node in (a, b, c):
            assert await node.claim(1) == []
        await a.store.enqueue_bulk(bulk(job(), 2))
        woken = [node for node in (a, b, c) if await node.heard() == [Wake("q")]]
        assert woken == [a, b]

    async def test_whoever_asks_for_one_later_hears_of_it(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue_bulk(bulk(job(session="s"), 2))
        early, late = await a.claim(2)
        await a.settle(early, result=b"\x05")
        joining = [job(id, session="s", origin="b", joins=True) for id in ("made-1", "made-2", "made-3")]
        answers = await b.store.enqueue(joining)
        assert [answer.status for answer in answers] == ["dup", "dup", "unknown"]
        assert answers[0].settled == settled("made-1", "completed", result=b"\x05")
        await a.settle(late, result=b"\x06")
        assert await b.heard() == [settled("made-2", "completed", result=b"\x06")]
        assert await a.heard() == []

    async def test_no_jobs_are_no_error(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.enqueue_bulk(bulk(job(), 0)) == BulkAnswer(accepted=0)
        assert await a.store.enqueue_bulk(bulk(job(session="s"), 0)) == BulkAnswer(accepted=0)
        assert await a.store.enqueue_bulk(bulk(job(priority=1), 0)) == BulkAnswer(accepted=0)

    async def test_no_jobs_keep_none_from_who_waits_for_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.claim("q", a.next_seq("q"), 1, unasked=1)
        await a.store.enqueue_bulk(bulk(job(session="s"), 0))
        (answer,) = await a.store.enqueue([job("j")], ["q"])
        assert answer.token

    async def test_inputs_count_where_ids_are_chosen_to_run_again_and_are_each_ones_own(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        assert await a.store.enqueue_bulk(bulk(job(input="x", again=True), 2)) == BulkAnswer(accepted=2)
        views = await a.store.view(["made-1", "made-2"])
        assert [view is not None and view.input for view in views] == ["", ""]
        plain = msgspec.structs.replace(bulk_of(job(), ["x", "y"]), like=job())
        assert await a.store.enqueue_bulk(plain) == BulkAnswer(accepted=2)
        assert ids_of(await a.claim(9)) == ["made-1", "made-2", "x", "y"]
        unknown = EnqueueAnswer(status="unknown")
        joining = msgspec.structs.replace(plain, like=job(joins=True), chosen=["x", "z"])
        assert await a.store.enqueue_bulk(joining) == BulkAnswer(accepted=1, refused=unknown)
