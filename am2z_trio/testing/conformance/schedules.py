"""Schedules: kept, looked at, and fired once."""

from __future__ import annotations

from math import inf
from typing import Any

import msgspec

from am2z_trio.model.records import (
    CancelRequest,
    Firing,
    RunRecord,
    ScheduleRecord,
    ScheduleSpec,
    UpsertAnswer,
    Wake,
    job_of_instant,
)

from .bench import START_MS, Bench, Node
from .builders import ids_of, job

MINUTE = 60_000
FIRST = START_MS + MINUTE


def a_schedule(id: str = "nightly", **options: Any) -> ScheduleSpec:
    """It comes every minute."""
    options = {"job": job("-"), "every": 60.0, "history": 3, **options}
    return ScheduleSpec(id=id, **options)


async def look(node: Node, id: str = "nightly") -> ScheduleRecord:
    _, (record,) = await node.store.schedules.look([id])
    assert record is not None
    return record


async def made(node: Node, **options: Any) -> ScheduleRecord:
    """A schedule that is due in a minute."""
    spec = a_schedule(**options)
    await node.store.schedules.upsert(spec, FIRST, FIRST)
    return await look(node, spec.id)


def step(record: ScheduleRecord, *times: int, **changes: Any) -> Firing:
    """Run it for these times, and go on a minute later."""
    assert record.spec is not None
    jobs = [job_of_instant(record.spec, at) for at in times]
    after = max((*times, record.next or 0)) + MINUTE
    firing = Firing(record=record, jobs=jobs, next=after, due=after)
    return msgspec.structs.replace(firing, **changes)


class ScheduleCases:
    async def test_a_schedule_is_kept_as_it_is_written(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        spec = a_schedule("n / {}\r\n\u202e", note="x", overlap="cancel", limit=3, tz="UTC", cron="0 0 * * *")
        assert await schedules.look([spec.id]) == (START_MS, [None])
        answer = await schedules.upsert(spec, FIRST, FIRST + 7, "2026f")
        assert answer == UpsertAnswer(status="created", rev=1)
        record = await look(a, spec.id)
        assert (record.spec, record.rev, record.next, record.due) == (spec, 1, FIRST, FIRST + 7)
        assert (record.tz_version, record.paused, record.last) == ("2026f", None, None)
        # The same again is no change.
        assert await schedules.upsert(spec, FIRST + 5, FIRST + 5) == UpsertAnswer(status="unchanged", rev=1)
        assert await look(a, spec.id) == record
        other = msgspec.structs.replace(spec, limit=4)
        assert await schedules.upsert(other, FIRST + 5, FIRST + 5) == UpsertAnswer(status="changed", rev=2)
        changed = await look(a, spec.id)
        assert (changed.spec, changed.next, changed.mark) == (other, FIRST + 5, record.mark)
        # A pause stays, whatever is written.
        assert await schedules.put(changed, FIRST, FIRST, pause="why")
        assert (await look(a, spec.id)).due == inf
        assert (await schedules.upsert(spec, FIRST, FIRST)).rev == 3
        paused = await look(a, spec.id)
        assert (paused.spec, paused.paused, paused.due) == (spec, "why", inf)

    async def test_a_schedule_is_its_owners_until_another_takes_it_over(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        billing, sales, nobodys = (a_schedule(owner=owner) for owner in ("billing", "sales", ""))
        await schedules.upsert(billing, FIRST, FIRST)
        owned = UpsertAnswer(status="owned", rev=1, owner="billing")
        for other in (sales, nobodys):
            assert await schedules.upsert(other, FIRST + 5, FIRST + 5) == owned
        record = await look(a)
        assert (record.spec, record.next) == (billing, FIRST)
        taken = await schedules.upsert(sales, FIRST + 5, FIRST + 5, take_over=True)
        assert taken == UpsertAnswer(status="changed", rev=2)
        assert (await schedules.upsert(billing, FIRST, FIRST)).owner == "sales"
        await schedules.upsert(nobodys, FIRST, FIRST, take_over=True)
        assert (await schedules.upsert(sales, FIRST, FIRST)) == UpsertAnswer(status="owned", rev=3)

    async def test_a_schedule_is_changed_if_it_is_the_one_that_is_meant(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        await schedules.upsert(a_schedule(), FIRST, FIRST)
        seen = await look(a)
        other, third = a_schedule(note="other"), a_schedule(note="third")
        assert (await schedules.upsert(other, FIRST, FIRST, of=seen)).status == "changed"
        stale = UpsertAnswer(status="stale", rev=2)
        assert await schedules.upsert(third, FIRST, FIRST, of=seen) == stale
        assert await schedules.upsert(other, FIRST, FIRST, of=seen) == stale
        assert (await look(a)).spec == other
        await schedules.remove("nightly")
        assert await schedules.upsert(third, FIRST, FIRST, of=seen) == UpsertAnswer(status="stale", rev=0)
        await schedules.upsert(a_schedule(), FIRST, FIRST)
        # It was made anew meanwhile.
        assert (await schedules.upsert(third, FIRST, FIRST, of=seen)).status == "stale"

    async def test_a_beat_tells_when_the_next_schedule_is_due(self, bench: Bench) -> None:
        a = await bench.node()
        assert (await a.store.renew(look_every=1.0)).schedule_in is None
        await made(a)
        assert (await a.store.renew(look_every=1.0)).schedule_in == 60.0
        bench.clock.advance(61)
        assert (await a.store.renew(look_every=1.0)).schedule_in == 0.0
        record = await look(a)
        assert await a.store.schedules.put(record, None, pause="")
        assert (await a.store.renew(look_every=1.0)).schedule_in is None

    async def test_firing_makes_a_job_and_sets_the_next_time(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        record = await made(a)
        assert await b.claim(1) == []
        bench.clock.advance(60.5)
        answer = await a.store.schedules.fire(step(record, FIRST))
        assert (answer.done, answer.outcomes) == (True, ["queued"])
        # It came as any job does.
        assert await b.heard() == [Wake("q")]
        (grant,) = await b.claim(9)
        assert grant.spec.id == f"s/nightly/{FIRST}"
        assert grant.spec.schedule is not None
        assert (grant.spec.schedule.id, grant.spec.schedule.at) == ("nightly", FIRST)
        after = await look(a)
        assert (after.next, after.due, after.fired) == (FIRST + MINUTE, FIRST + MINUTE, 1)
        assert after.last is not None
        assert (after.last.job, after.last.at, after.last.status) == (grant.spec.id, FIRST, "busy")
        run = RunRecord(at=FIRST, outcome="queued", fired=START_MS + 60_500, job=grant.spec.id)
        assert await a.store.schedules.runs("nightly", 0, 9) == [run]
        await b.settle(grant)
        last = (await look(a)).last
        assert last is not None
        assert last.status == "ended"

    async def test_of_two_who_fire_one_does(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        record = await made(a)
        assert (await a.store.schedules.fire(step(record, FIRST))).done
        assert not (await b.store.schedules.fire(step(record, FIRST))).done
        assert ids_of(await b.claim(9)) == [f"s/nightly/{FIRST}"]

    async def test_what_was_changed_is_not_fired(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        record = await made(a)
        await schedules.upsert(a_schedule(note="other"), FIRST, FIRST)
        assert not (await schedules.fire(step(record, FIRST))).done
        assert not await schedules.put(record, FIRST, FIRST)
        record = await look(a)
        assert await schedules.put(record, FIRST + 1, FIRST + 1)
        assert not await schedules.put(record, FIRST, FIRST)
        assert not (await schedules.fire(step(record, FIRST))).done
        record = await look(a)
        assert await schedules.put(record, record.next, pause="why")
        assert not (await schedules.fire(step(record, FIRST))).done
        # Removed, and made anew: it is another one.
        assert await schedules.remove("nightly")
        assert not (await schedules.fire(step(record, FIRST))).done
        await schedules.upsert(a_schedule(note="other"), FIRST + 1, FIRST + 1)
        assert (await look(a)).rev < record.rev
        await schedules.upsert(a_schedule(), FIRST + 1, FIRST + 1)
        same = await look(a)
        assert (same.rev, same.next) == (record.rev, record.next)
        assert not (await schedules.fire(step(record, FIRST))).done
        assert await a.claim(9) == []

    async def test_what_depends_on_the_last_run_is_not_done_when_that_has_changed(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        record = await made(a)
        assert (await schedules.fire(step(record, FIRST, looks_at_last=True))).done
        busy = await look(a)
        (grant,) = await a.claim(1)
        await a.settle(grant, "failed")
        second = FIRST + MINUTE
        skips = step(busy, jobs=[], skipped=[second], looks_at_last=True)
        assert not (await schedules.fire(skips)).done
        failed = await look(a)
        assert failed.last is not None
        assert failed.last.status == "failed"
        pause = step(failed, jobs=[], looks_at_last=True, pause="it failed", next=second)
        assert (await schedules.fire(pause)).done
        paused = await look(a)
        assert (paused.paused, paused.due, paused.next) == ("it failed", inf, second)
        # Who lets it go on forgives that.
        assert await schedules.put(paused, second, second, resume=True)
        resumed = await look(a)
        assert resumed.last is not None
        assert (resumed.paused, resumed.due, resumed.last.status) == (None, second, "ended")

    async def test_times_that_are_passed_by_are_counted(self, bench: Bench) -> None:
        a = await bench.node()
        record = await made(a)
        firing = step(record, jobs=[], skipped=[FIRST, FIRST + MINUTE], missed=5)
        assert (await a.store.schedules.fire(firing)).done
        after = await look(a)
        assert (after.fired, after.skipped, after.missed) == (0, 2, 5)
        runs = await a.store.schedules.runs("nightly", 0, 9)
        assert [(run.at, run.outcome, run.job) for run in runs] == [
            (FIRST + MINUTE, "skipped", ""),
            (FIRST, "skipped", ""),
        ]

    async def test_a_run_that_waits_says_since_when(self, bench: Bench) -> None:
        a = await bench.node()
        record = await made(a)
        assert (await a.store.schedules.fire(step(record, FIRST))).done
        (grant,) = await a.claim(1)
        record = await look(a)
        waits = step(record, jobs=[], next=record.next, due=FIRST + 1, held=FIRST, cancel="make room")
        assert (await a.store.schedules.fire(waits)).done
        assert await a.heard() == [CancelRequest(grant.spec.id, grant.token, "make room")]
        held = await look(a)
        assert (held.held, held.next, held.due) == (FIRST, FIRST + MINUTE, FIRST + 1)
        await a.settle(grant, "cancelled")
        assert (await a.store.schedules.fire(step(held, FIRST + MINUTE))).done
        assert (await look(a)).held is None

    async def test_a_last_run_that_has_not_begun_is_cancelled_at_once(self, bench: Bench) -> None:
        a = await bench.node()
        record = await made(a)
        assert (await a.store.schedules.fire(step(record, FIRST))).done
        record = await look(a)
        waits = step(record, jobs=[], next=record.next, cancel="make room")
        assert (await a.store.schedules.fire(waits)).done
        assert await a.status(f"s/nightly/{FIRST}") == "cancelled"
        assert await a.claim(1) == []

    async def test_what_stands_beside_the_times_changes_none(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        record = await made(a)
        assert await schedules.put(record, record.next, pause="")
        record = await look(a)
        old = FIRST - 5 * MINUTE
        assert (await schedules.fire(step(record, old, old + MINUTE, beside=True))).outcomes == ["queued"] * 2
        # A job that there is already is made by nobody again.
        assert (await schedules.fire(step(record, old, old - MINUTE, beside=True))).outcomes == [
            "known",
            "queued",
        ]
        after = await look(a)
        assert (after.next, after.paused, after.fired) == (FIRST, "", 3)
        assert ids_of(await a.claim(9)) == [f"s/nightly/{old + by * MINUTE}" for by in (0, 1, -1)]

    async def test_of_its_times_so_many_are_kept_as_its_history_says(self, bench: Bench) -> None:
        a = await bench.node()
        record = await made(a)
        times = [FIRST + n * MINUTE for n in range(5)]
        assert (await a.store.schedules.fire(step(record, *times))).done
        runs = await a.store.schedules.runs("nightly", 0, 9)
        assert [run.at for run in runs] == times[:1:-1]
        assert [run.at for run in await a.store.schedules.runs("nightly", 1, 1)] == [times[3]]

    async def test_a_run_that_is_not_accepted_is_noted(self, bench: Bench) -> None:
        a = await bench.node()
        record = await made(a, job=job("-", max_size=1))
        answer = await a.store.schedules.fire(step(record, FIRST, FIRST + MINUTE))
        assert answer.outcomes == ["queued", "full"]
        after = await look(a)
        assert (after.fired, after.next) == (1, FIRST + 2 * MINUTE)
        runs = await a.store.schedules.runs("nightly", 0, 9)
        assert [run.outcome for run in runs] == ["full", "queued"]
        # Given its job later, that is what has become of it.
        await a.claim(1)
        again = step(after, FIRST + MINUTE, beside=True)
        assert (await a.store.schedules.fire(again)).outcomes == ["queued"]
        runs = await a.store.schedules.runs("nightly", 0, 9)
        assert [run.outcome for run in runs] == ["queued", "queued"]

    async def test_a_removed_schedule_leaves_nothing_but_its_jobs(self, bench: Bench) -> None:
        a = await bench.node()
        schedules = a.store.schedules
        record = await made(a, owner="billing")
        assert (await schedules.fire(step(record, FIRST))).done
        assert not await schedules.remove("nightly", "others")
        assert await schedules.remove("nightly", "billing")
        assert not await schedules.remove("nightly")
        assert await schedules.look(["nightly"]) == (START_MS, [None])
        assert await schedules.page(0, 9) == []
        assert await schedules.runs("nightly", 0, 9) == []
        assert ids_of(await a.claim(9)) == [f"s/nightly/{FIRST}"]

    async def test_a_schedules_job_takes_all_that_is_said_of_it(self, bench: Bench) -> None:
        a = await bench.node()
        like = job("-", session="alice", priority=5, state=None)
        record = await made(a, job=like)
        await a.store.enqueue([job("later", priority=9)])
        assert (await a.store.schedules.fire(step(record, FIRST))).done
        assert (await a.store.session_counts("alice")).waiting == 1
        first, _ = await a.claim(9)
        assert (first.spec.id, first.spec.session) == (f"s/nightly/{FIRST}", "alice")

    async def test_while_its_session_is_stopped_no_run_is_accepted(self, bench: Bench) -> None:
        a = await bench.node()
        record = await made(a, job=job("-", session="alice"))
        assert await a.store.stop_session("alice", running=False, refuse=60.0) == []
        assert (await a.store.schedules.fire(step(record, FIRST))).outcomes == ["stopped"]
        assert (await look(a)).next == FIRST + MINUTE
