"""Schedules by the service for operators: what is done, to whose, and what is written down of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from am2z_trio import (
    Every,
    NetworkError,
    ProcessorNotFoundError,
    QueueOptions,
    Schedule,
    ScheduleNotFoundError,
    ValidationError,
    processor,
)
from am2z_trio.admin import NotPermittedError
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.views.audit import AuditEntry
from tests.support.desks import admin

pytestmark = pytest.mark.anyio

SPAN = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, 2, tzinfo=UTC))


class Order(msgspec.Struct, frozen=True):
    number: int


@processor
async def charge(order: Order) -> Order:
    return order


@processor(queue=QueueOptions(max_size=1))
async def narrow(order: Order) -> Order:
    return order


@processor
async def refund(order: Order) -> Order:
    return order


def hourly(number: object = 1, **options: Any) -> Schedule:
    return Schedule("hourly", "charge", Every(3600), {"number": number}, **options)


async def audit_of(runtime: Runtime) -> list[AuditEntry]:
    return (await runtime.node.store.chronicle.audit_page()).entries[::-1]


def data(entry: AuditEntry) -> Any:
    return msgspec.msgpack.decode(entry.preview)


async def test_a_schedule_is_written_down_held_up_and_removed_and_so_is_who_did_it(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        desk = admin(runtime)
        made = await desk.add_schedule(hourly(), reason="as agreed")
        assert made.done
        assert made.text.startswith("revision 1 is written down, and comes next at ")
        assert (await desk.add_schedule(hourly())).text.startswith("it is as it was, and comes next at ")
        assert (await desk.add_schedule(hourly(2))).text.startswith("revision 2 is written down")
        assert (await desk.pause_schedule("hourly", reason="the bank is away")).done
        assert (await desk.schedule("hourly")).paused == "the bank is away"
        assert list(await desk.schedule_times("hourly")) == []
        assert (await desk.resume_schedule("hourly")).text == "it comes again, from now on"
        assert (await desk.resume_schedule("hourly")).text == "it was not paused, and comes as before"
        assert (await desk.pause_schedule("hourly")).done
        assert (await desk.schedule("hourly")).paused == "paused by ada@laptop"
        ran = await desk.run_schedule("hourly")
        assert (await (await runtime.job(ran.job)).result()).unwrap() == Order(2)
        assert (await desk.remove_schedule("hourly")).done
        assert await desk.schedules() == []
        written = await audit_of(runtime)
        assert {(one.who, one.face, one.target) for one in written} == {("ada@laptop", "test", "hourly")}
        begun = [one for one in written if not one.of]
        assert [one.action.removesuffix("_schedule") for one in begun] == [
            *("add", "add", "add", "pause", "resume", "resume", "pause", "run", "remove")
        ]
        assert [one.of for one in written if one.of] == [one.id for one in begun]
        assert (begun[0].reason, data(begun[0])["was"]) == ("as agreed", None)
        assert data(begun[2])["was"]["rev"] == 1
        assert data(begun[-1])["fired"] == 1


async def test_a_state_is_checked_as_its_type_and_a_processor_is_known(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        with pytest.raises(ValidationError, match="number"):
            await admin(runtime).add_schedule(hourly("seven"))
        with pytest.raises(ProcessorNotFoundError):
            await admin(runtime).add_schedule(Schedule("x", "nobody's", Every(60)))
        assert [one.outcome for one in await audit_of(runtime)] == ["", "failed", "", "failed"]
        assert await runtime.schedules.list() == []


async def test_what_is_not_there_is_an_answer_and_so_is_what_goes_meanwhile(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        runtime.register(charge)
        desk = admin(runtime)
        changes = (desk.pause_schedule, desk.resume_schedule, desk.run_schedule, desk.remove_schedule)
        for change in changes:
            answer = await change("hourly")
            assert (answer.done, answer.text) == (False, "there is no schedule 'hourly'")
        for look in (desk.schedule, desk.schedule_times, desk.schedule_runs):
            with pytest.raises(ScheduleNotFoundError):
                await look("hourly")
        for dry_run in (True, False):
            with pytest.raises(ScheduleNotFoundError):
                await desk.backfill_schedule("hourly", *SPAN, dry_run=dry_run)
        await desk.add_schedule(hourly())
        append, chronicle = runtime.node.store.chronicle.append_audit, type(runtime.node.store.chronicle)

        async def and_remove(_: Any, entry: AuditEntry) -> Any:
            await runtime.schedules.remove("hourly")
            return await append(entry)

        for change in changes:
            await runtime.schedules.upsert(hourly(Order(1).number, note="anew"))
            with monkeypatch.context() as patch:
                patch.setattr(chronicle, "append_audit", and_remove)
                answer = await change("hourly")
            assert (answer.done, answer.text) == (False, "there is no schedule 'hourly'")


async def test_earlier_times_are_told_before_they_are_run(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge)
        await admin(runtime).add_schedule(hourly())
        told = await admin(runtime, "viewer").backfill_schedule("hourly", *SPAN)
        assert (len(told.times), told.had, told.queued) == (3, 0, 0)
        with pytest.raises(NotPermittedError, match="'schedule'"):
            await admin(runtime, "viewer").backfill_schedule("hourly", *SPAN, dry_run=False)
        done = await admin(runtime, "operator").backfill_schedule("hourly", *SPAN, dry_run=False)
        assert done.queued == 3
        refused, before, after = (await audit_of(runtime))[2:]
        assert (refused.outcome, refused.target, refused.who) == ("refused", "hourly", "ada@laptop")
        assert data(before) == {"times": 3, "had": 0, "queued": 0, "refused": {}}
        assert data(after) == {"times": 3, "had": 0, "queued": 3, "refused": {}}


async def test_schedules_of_others_are_not_there_for_who_is_limited(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(charge, refund)
        boss = admin(runtime)
        for id, name, session in (
            ("mine", "charge", "team-a/1"),
            ("theirs", "charge", "team-b/1"),
            ("refunds", "refund", "team-a/1"),
            ("without", "charge", None),
        ):
            await boss.add_schedule(Schedule(id, name, Every(3600), {"number": 1}, session=session))
        desk = admin(runtime, sessions=("team-a/*",), queues=("charge",))
        assert [view.id for view in await desk.schedules()] == ["mine"]
        assert await desk.schedules(offset=1) == []
        for id in ("theirs", "refunds", "without"):
            with pytest.raises(ScheduleNotFoundError):
                await desk.schedule(id)
            for change in (desk.pause_schedule, desk.run_schedule, desk.remove_schedule):
                assert (await change(id)).text == f"there is no schedule {id!r}"
            own = Schedule(id, "charge", Every(60), {"number": 1}, session="team-a/1")
            assert (await desk.add_schedule(own)).text == "its id is that of a schedule of others"
        for name, session in (("refund", "team-a/1"), ("charge", "team-b/1"), ("charge", None)):
            with pytest.raises(NotPermittedError):
                await desk.add_schedule(Schedule("x", name, Every(60), {"number": 1}, session=session))
        views = await boss.schedules()
        assert sorted((view.id, view.rev, view.paused, view.fired) for view in views) == sorted(
            (id, 1, None, 0) for id in ("mine", "theirs", "refunds", "without")
        )
        assert (await desk.pause_schedule("mine")).done


async def test_a_run_that_is_not_accepted_is_an_answer(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(narrow)
        desk = admin(runtime)
        await desk.add_schedule(Schedule("hourly", "narrow", Every(3600), {"number": 1}))
        await desk.pause("narrow")
        assert (await desk.run_schedule("hourly")).done
        answer = await desk.run_schedule("hourly")
        assert not answer.done
        assert answer.text.startswith("a run of schedule 'hourly' was not accepted: ")


async def test_a_change_that_cannot_be_written_down_is_not_done(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        runtime.register(charge)
        await runtime.schedules.upsert(hourly())

        async def away(*_: Any) -> None:
            raise NetworkError("the store is away")

        monkeypatch.setattr(type(runtime.node.store.chronicle), "append_audit", away)
        with pytest.raises(NetworkError, match="away"):
            await admin(runtime).remove_schedule("hourly")
        assert len(await runtime.schedules.list()) == 1
