"""Events: every step of a job is told once, to those who watch."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from am2z_trio.model.errors import JobStalledError
from am2z_trio.model.events import Event
from am2z_trio.model.records import STALLED, FailedJob, Settlement, queue_name

from .bench import Bench
from .builders import job


class EventCases:
    """What is told, to whom, and what is not worth telling."""

    async def test_events_are_heard_only_while_watched(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        event = Event("custom", 12, "a", data={"n": [1, "x", None]})
        await a.store.publish([event])
        await b.store.watch_events(True)
        assert await b.events() == []
        await a.store.publish([event, msgspec.structs.replace(event, name="second")])
        heard = await b.events()
        assert heard == [event, msgspec.structs.replace(event, name="second")]
        assert await a.events() == []
        await b.store.watch_events(False)
        await a.store.publish([event])
        assert await b.events() == []

    async def test_the_publisher_hears_its_own_events(self, bench: Bench) -> None:
        a = await bench.connect("a")
        await a.store.watch_events(True)
        await a.store.publish([Event("custom", 12, "a")])
        assert await a.events() == [Event("custom", 12, "a")]

    async def test_every_step_of_a_job_is_an_event(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.watch_events(True)
        await a.store.enqueue([job("j", session="s")])
        grant = await a.claim_one()
        await a.store.report("j", grant.token, 0.5)
        await a.settle(grant, "retry", reason="OUT_OF_STOCK\nno more\nto be had")
        await a.settle(await a.claim_one())
        now = bench.clock.now
        names = [
            ("job:enqueued", "", None),
            ("job:started", "a", {"attempt": 1}),
            ("job:progress", "a", {"progress": 0.5}),
            (
                "job:retrying",
                "a",
                {"attempt": 1, "code": "OUT_OF_STOCK", "message": "no more\nto be had"},
            ),
            ("job:started", "a", {"attempt": 2}),
            ("job:completed", "a", {"attempt": 2}),
        ]
        assert await b.events() == [Event(name, now, node, "j", "q", "s", data) for name, node, data in names]

    async def test_ends_other_than_completion_are_events_too(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue(
            [job("f"), job("c"), job("s"), job("s0", max_stalled=0), job("w"), job("d", deadline=0)]
        )
        f, c, _s, _s0 = await a.claim(4)
        await b.store.watch_events(True)
        await a.settle(f, "failed")
        await a.settle(c, "cancelled")
        await a.store.cancel("w", "")
        await bench.outlast(b)
        await b.store.tick()
        heard = [(event.name, event.job, event.node) for event in await b.events()]
        assert heard[:4] == [
            ("job:failed", "f", "a"),
            ("job:dead", "f", "a"),
            ("job:cancelled", "c", "a"),
            ("job:cancelled", "w", ""),
        ]
        assert sorted(heard[4:]) == [
            ("job:dead", "s0", "a"),
            ("job:failed", "s0", "a"),
            ("job:stalled", "s", "a"),
        ]
        await b.claim(9)
        assert sorted((event.name, event.job) for event in await b.events()) == [
            ("job:cancelled", "d"),
            ("job:started", "s"),
        ]

    async def test_events_of_failures_carry_code_and_message(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await b.store.watch_events(True)
        await a.store.enqueue([job("j"), job("old"), job("lost", max_stalled=0)])
        grant, old, _ = await a.claim(3)
        await a.settle(grant, "failed", reason="SOLD_OUT\nno ünïcode, and\nno more")
        # As an older node has it.
        await a.settle(old, "failed")
        await bench.outlast(b)
        assert (await b.store.tick()).failed == [FailedJob(id="lost", processor="q")]
        heard = {(event.job, event.name): event.data for event in await b.events()}
        for name in ("job:failed", "job:dead"):
            assert heard["j", name] == {
                "attempt": 1,
                "code": "SOLD_OUT",
                "message": "no ünïcode, and\nno more",
            }
            assert heard["old", name] == {"attempt": 1}
            assert heard["lost", name] == {"attempt": 1, "code": JobStalledError.code, "message": STALLED}

    async def test_a_failure_that_is_cancelled_has_the_reason_of_that(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.store.cancel("j", "no longer wanted")
        await a.settle(grant, "retry", reason="SOLD_OUT\nno more")
        settled = (await a.view("j")).settled
        assert settled is not None
        assert (settled.status, settled.reason) == ("cancelled", "no longer wanted")

    async def test_events_of_many_jobs_are_each_job_s_own(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.watch_events(True)
        sessions = ["", "s", "s", "", "odd: {s}\r\n", "t"]
        jobs = [job(f"j{n}", session=session) for n, session in enumerate(sessions)]
        odd, more = (
            msgspec.structs.replace(job(id, queue="odd: {q}", session=session), queue=queue_name("odd: {q}"))
            for id, session in (("odd", ""), ("one more", "s"))
        )
        await a.store.enqueue([*jobs, job("other", queue="p"), odd])
        grants = {grant.spec.id: grant for grant in await a.claim(9)}
        await a.settle(grants["j1"], "retry", reason="X\nx")
        grants["j1"] = await a.claim_one()
        await a.events()
        await a.store.settle(
            [Settlement(id=id, token=grant.token, outcome="completed") for id, grant in grants.items()]
        )
        await a.store.enqueue([odd, more])
        heard = await a.events()
        assert {(event.job, event.session, event.processor, event.name) for event in heard} == {
            ("one more", "s", "odd: {q}", "job:enqueued"),
            *((f"j{n}", session, "q", "job:completed") for n, session in enumerate(sessions)),
        }
        assert {event.job: event.data for event in heard if event.data} == {
            f"j{n}": {"attempt": 2 if n == 1 else 1} for n in range(len(sessions))
        }

    async def test_what_happens_to_one_job_in_one_step_is_told_in_order(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.watch_events(True)
        await a.store.enqueue([job("old", debounce="k"), job("before"), job("p"), job("plain")])
        parents = {grant.spec.id: grant.token for grant in await a.claim(3, "q")}
        called = [job("child", queue="c", parent="p"), job("waits", queue="c", parent="p")]
        await a.store.enqueue([*called, job("of before", queue="c", parent="before")])
        child = await a.claim_one("c")
        await a.events()
        # Each takes the place of the one before, in one call.
        replaced = await a.store.enqueue([job(id, debounce="k") for id in ("x", "y", "z")])
        assert [answer.status for answer in replaced] == ["queued"] * 3
        # One is to be tried again, and then ends with its parent; another one has so before both.
        settlements = [
            Settlement(id="before", token=parents["before"], outcome="completed"),
            Settlement(id="child", token=child.token, outcome="retry", reason="X\nx"),
            Settlement(id="p", token=parents["p"], outcome="completed"),
        ]
        await a.store.settle(settlements)
        told = dict[str, list[str]]()
        for event in await a.events():
            told.setdefault(event.job, []).append(event.name)
        assert told == {
            "x": ["job:enqueued", "job:cancelled"],
            "y": ["job:enqueued", "job:cancelled"],
            "z": ["job:enqueued"],
            "before": ["job:completed"],
            "of before": ["job:cancelled"],
            "child": ["job:retrying", "job:cancelled"],
            "waits": ["job:cancelled"],
            "p": ["job:completed"],
        }

    async def test_what_changes_nothing_is_no_event(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.settle(grant)
        await a.store.watch_events(True)
        await a.store.enqueue([job("j")])
        await a.settle(grant)
        await a.store.report("j", grant.token, 0.1)
        await a.store.cancel("j", "")
        assert _names(await a.events()) == []


def _names(events: Sequence[Event]) -> list[str]:
    return [event.name for event in events]
