"""Waits: jobs that have many at once, of which no call goes through all."""

from __future__ import annotations

from am2z_trio.model.records import Grant, Wait, WaitFacts

from .bench import START_MS, Bench, Node
from .builders import job
from .waits import OPEN, TIMED_OUT, ask, begun, park, sent, signal, sleep, wait_for

MANY = [f"{number:02}" for number in range(40)]
"""More than any store takes for few."""


def waits_of(keys: list[str] = MANY, seconds: float | None = None) -> list[Wait]:
    """One for a signal of its own each."""
    return [wait_for(f"go-{key}", seconds, key) for key in keys]


async def pack(node: Node, grant: Grant, *waits: Wait) -> None:
    await node.store.waits.pack(grant.spec.id, grant.token, [wait.key for wait in waits])


async def packed(node: Node, *waits: Wait) -> Grant:
    """Claim the next job, let it wait and park."""
    grant = await begun(node, *waits, parks=False)
    await pack(node, grant, *waits)
    await park(node, grant, *waits)
    return grant


class ManyWaitCases:
    """What is so of few waits is so of many."""

    async def test_each_of_many_waits_is_the_same_one_in_every_run(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await packed(a, *waits_of(seconds=60.0))
        bench.clock.advance(20.0)
        await a.store.waits.signal("j", signal("x", "go-07"))
        grant = await a.claim_one()
        for wait in waits_of(seconds=600.0):
            answer = await ask(a, grant, wait)
            expected = ("signalled", None) if wait.key == "07" else ("open", 40.0)
            assert (answer.status, answer.left) == expected
        left = [wait for wait in waits_of() if wait.key != "07"]
        await pack(a, grant, *left)
        await park(a, grant, *left)
        assert (await a.claim_answer()).next_due == 40.0
        bench.clock.advance(40.0)
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for("go-07", key="07")) == sent("x")
        assert [await ask(a, grant, wait) for wait in left] == [TIMED_OUT] * 39

    async def test_many_waits_outlast_a_worker_that_is_lost(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job()])
        await begun(a, *waits_of(seconds=600.0), parks=False)
        bench.clock.advance(100.0)
        await bench.crash(a)
        await bench.outlast(b)
        await b.store.tick()
        left = 600.0 - (bench.clock() - START_MS) / 1000
        grant = await b.claim_one()
        for wait in waits_of(seconds=600.0):
            assert (await ask(b, grant, wait)).left == left

    async def test_of_many_waits_that_one_hears_a_signal_which_is_for_it(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, *waits_of(), parks=False)
        await a.heard()
        await a.store.waits.signal("j", signal("1", "else"))
        assert await a.heard() == []
        await a.store.waits.signal("j", signal("2", "go-11"))
        assert [message.name for message in await a.heard()] == ["go-11"]  # type: ignore[union-attr]
        assert await ask(a, grant, wait_for("go-11", key="11")) == sent("2")
        # That one is over.
        await a.store.waits.signal("j", signal("3", "go-11"))
        assert await a.heard() == []

    async def test_a_job_that_is_parked_for_many_goes_on_with_each(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await packed(a, *waits_of())
        for name in ("else", "go-40", "go"):
            await a.store.waits.signal("j", signal(name=name, op=name))
            assert await a.status("j") == "later"
        await a.store.waits.signal("j", signal("x", "go-39"))
        assert await a.status("j") == "waiting"
        grant = await a.claim_one()
        # What it asks of one of them, all others are as they were for.
        assert await ask(a, grant, wait_for("go-39", key="39")) == sent("x")
        await pack(a, grant, *waits_of(MANY[:39]))
        await park(a, grant, *waits_of(MANY[:39]))
        await a.store.waits.signal("j", signal("more", "go-39"))
        assert await a.status("j") == "later"
        await a.store.waits.signal("j", signal("first", "go-00"))
        assert await ask(a, await a.claim_one(), wait_for("go-00", key="00")) == sent("first")

    async def test_a_signal_that_comes_between_pack_and_park_is_not_missed(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, *waits_of(), parks=False)
        await pack(a, grant, *waits_of())
        await a.store.waits.signal("j", signal("x", "go-20"))
        await park(a, grant, *waits_of())
        assert await a.status("j") == "waiting"
        assert await ask(a, await a.claim_one(), wait_for("go-20", key="20")) == sent("x")

    async def test_a_wait_may_begin_between_pack_and_park(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, *waits_of(), parks=False)
        await pack(a, grant, *waits_of())
        assert (await ask(a, grant, sleep(5.0, "late"))).status == "open"
        await pack(a, grant, *waits_of(), sleep(5.0, "late"))
        await park(a, grant, *waits_of(), sleep(5.0, "late"))
        assert (await a.claim_answer()).next_due == 5.0

    async def test_what_is_named_no_more_is_dropped(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("k", session="s")])
        first = await begun(a, *waits_of(), parks=False)
        second = await begun(a, *waits_of(), parks=False)
        for grant in (first, second):
            kept = waits_of(MANY[:20] if grant is first else MANY)
            await pack(a, grant, *kept)
            await park(a, grant, *kept)
        # The first job's is the signal that both wait for; of the other only the second one.
        await a.store.waits.signal_session("s", signal("1", "go-30"))
        assert [await a.status(id) for id in "jk"] == ["later", "waiting"]
        await a.store.waits.signal_session("s", signal("2", "go-10"))
        assert [await a.status(id) for id in "jk"] == ["waiting", "waiting"]

    async def test_only_the_newest_token_packs(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        stale = await packed(a, *waits_of(seconds=1.0))
        bench.clock.advance(1.0)
        grant = await begun(a, parks=False)
        await pack(a, stale)
        await a.store.waits.pack("unknown", "1:x", ["1"])
        await a.store.waits.pack("j", "", ["1"])
        assert [await ask(a, grant, wait) for wait in waits_of(seconds=9.0)] == [TIMED_OUT] * 40

    async def test_a_job_of_many_waits_that_ends_leaves_all_its_lines(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("k", session="s"), job("l", session="s")])
        first = await begun(a, *waits_of(), parks=False)
        await packed(a, *waits_of())
        await begun(a, *waits_of(MANY[:1] + MANY[-1:]))
        for key in ("00", "39"):
            await a.store.waits.signal_session("s", signal(key, f"go-{key}"))
        assert [await a.status(id) for id in "jkl"] == ["active", "later", "later"]
        await a.settle(first)
        assert [await a.status(id) for id in "kl"] == ["waiting", "later"]
        await a.store.cancel("k", "not wanted")
        assert await a.status("l") == "waiting"

    async def test_some_of_what_a_job_is_parked_for_are_known(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        now = bench.clock()
        await packed(a, *waits_of(), sleep(90.0, "40"))
        (row,) = await a.store.inspection.rows(["j"])
        facts = await a.store.inspection.facts("j")
        assert row is not None
        assert facts is not None
        assert (list(row.waits), facts.due, row.shown_as) == (facts.waits, now + 90_000, "parked")
        some = [WaitFacts(name=f"go-{key}", since=now) for key in MANY]
        assert facts.waits == some[: len(facts.waits)]
        assert facts.waits

    async def test_a_job_that_begins_anew_has_none_of_many_waits(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        grant = await begun(a, *waits_of(seconds=60.0), parks=False)
        await a.settle(grant, "failed", result=b"\xc0")
        assert await a.store.revive(["j"]) == ["queued"]
        bench.clock.advance(30.0)
        grant = await a.claim_one()
        assert (await ask(a, grant, waits_of(seconds=60.0)[0])).left == 60.0
        assert await ask(a, grant, wait_for("other", key="01")) == OPEN
