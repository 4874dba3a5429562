"""Schedules of a runtime: written down, fired, paused, looked at; alike in memory and on Redis."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from am2z_trio import (
    ConfigurationError,
    Context,
    Cron,
    Every,
    JobOptions,
    LocalRuntime,
    ProcessorNotFoundError,
    QueueOptions,
    QueueRuntime,
    ResourceError,
    Schedule,
    ScheduleNotFoundError,
    ServerReplyError,
    StateConflictError,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.schedules.plan import DECORATED
from am2z_trio.model.records import FireAnswer, Firing, plain_name
from tests.support.calendar import in_ms, minutes
from tests.support.waiting import until

both_hosts = pytest.mark.anyio
on_trio = pytest.mark.trio

SELDOM = Every(10**6)
OFTEN = Every(0.2)


class Seen:
    """What a processor's runs have seen."""

    def __init__(self) -> None:
        self.runs: list[Any] = []
        self.states: list[Any] = []
        self.hold = False
        self.fail = False

        @processor(name="work")
        async def work(state: dict[str, int], ctx: Context) -> dict[str, int]:
            self.runs.append(ctx.schedule)
            self.states.append((state, ctx.session_id))
            if self.fail:
                raise RuntimeError("no luck")
            while self.hold:
                await anyio.sleep(0.01)
            return state

        self.work = work

    async def some(self, count: int = 1) -> None:
        await until(lambda: len(self.runs) >= count, f"{count} runs")


async def events_of(runtime: Runtime, found: list[tuple[str, Any]]) -> None:
    runtime.on("schedule:*", lambda event: found.append((event.name, event.data)))


@both_hosts
async def test_a_schedule_runs_its_processor_at_its_times(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        view = await runtime.schedules.upsert("often", seen.work, OFTEN, state={"a": 1}, session="alice")
        assert (view.id, view.processor, view.session, view.rev) == ("often", "work", "alice", 1)
        await seen.some(2)
        runs = await runtime.schedules.runs("often")
    first, second = seen.runs[:2]
    assert (first.id, first.missed, first.at % 200) == ("often", 0, 0)
    assert second.instant - first.instant >= timedelta(seconds=0.2)
    assert seen.states[0] == ({"a": 1}, "alice")
    assert runs[-1].outcome == "queued"
    assert runs[-1].job == f"s/often/{first.at}"
    assert runs[-1].late >= 0


@both_hosts
async def test_what_is_the_same_is_left_alone_and_what_is_not_counts_from_now_on(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        upsert = runtime.schedules.upsert
        one = await upsert("s", seen.work, SELDOM, state={}, note="x", options=JobOptions(total_timeout=60))
        same = await upsert("s", seen.work, SELDOM, state={}, note="x", options=JobOptions(total_timeout=60))
        assert same == one
        await runtime.schedules.pause("s", "for now")
        other = await upsert(Schedule("s", seen.work, Every(5 * 10**5), state={}))
        assert (other.rev, other.paused, other.next) == (2, "for now", None)
        await runtime.schedules.resume("s")
        again = await runtime.schedules.get("s")
        assert again.paused is None
        assert again.next is not None
        assert [again.next] == await runtime.schedules.next("s", 1)


@both_hosts
async def test_a_paused_schedule_does_not_run_and_misses_nothing(make_runtime):
    seen, told = Seen(), list[tuple[str, Any]]()
    async with make_runtime() as runtime:
        await events_of(runtime, told)
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, OFTEN, state={})
        await seen.some()
        await runtime.schedules.pause("s", "why not")
        paused = await runtime.schedules.get("s")
        assert (paused.paused, await runtime.schedules.next("s")) == ("why not", [])
        ran = paused.fired
        await anyio.sleep(0.5)
        assert (await runtime.schedules.get("s")).fired == ran
        await runtime.schedules.resume("s")
        await seen.some(ran + 1)
        view = await runtime.schedules.get("s")
        assert (view.passed_by, view.skipped) == (0, 0)
        await until(lambda: ("schedule:changed", {"schedule": "s", "what": "resumed"}) in told, "the event")
    assert ("schedule:paused", {"schedule": "s", "reason": "why not"}) in told
    assert told[0] == ("schedule:changed", {"schedule": "s", "what": "created", "rev": 1})
    assert "schedule:fired" in [name for name, _ in told]


@both_hosts
async def test_run_now_runs_it_beside_its_times(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, SELDOM, state={"n": 3})
        await runtime.schedules.pause("s")
        job = await runtime.schedules.run_now("s")
        assert (await job.result()).unwrap() == {"n": 3}
        view = await runtime.schedules.get("s")
        assert (view.fired, view.last_job, view.paused) == (1, job.id, "")
        (run,) = await runtime.schedules.runs("s")
        assert (run.job, run.status) == (job.id, "completed")


@both_hosts
async def test_a_backfill_runs_what_had_no_job_and_nothing_twice(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, Cron("0 * * * *"), state={}, history=1000)
        start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
        end = start + timedelta(hours=24)
        told = await runtime.schedules.backfill("s", start, end)
        assert (len(told.times), told.had, told.queued) == (25, 0, 0)
        assert (told.times[0], told.times[-1]) == (start, end)
        assert seen.runs == []
        told = await runtime.schedules.backfill("s", start, start + timedelta(hours=3), dry_run=False)
        assert (len(told.times), told.queued) == (4, 4)
        await seen.some(4)
        told = await runtime.schedules.backfill("s", start, end, dry_run=False)
        assert (len(told.times), told.had, told.queued) == (21, 4, 21)
        await seen.some(25)
        assert (await runtime.schedules.backfill("s", start, end, dry_run=False)).queued == 0
        # Times to come are none that were missed.
        far = await runtime.schedules.backfill("s", end, end + timedelta(days=30))
        assert len(far.times) <= 7
    assert len({run.at for run in seen.runs}) == 25


@both_hosts
async def test_an_owners_schedules_are_made_to_be_these(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        one, two = (Schedule(id, seen.work, SELDOM, state={}) for id in ("one", "two"))
        await runtime.schedules.upsert("mine", seen.work, SELDOM, state={})
        synced = await runtime.schedules.sync([one, two], owner="billing")
        assert (synced.created, synced.removed) == (["one", "two"], [])
        changed = Schedule("two", seen.work, Every(10**5), state={})
        synced = await runtime.schedules.sync([changed], owner="billing")
        assert (synced.created, synced.changed, synced.removed) == ([], ["two"], ["one"])
        assert {view.id for view in await runtime.schedules.list()} == {"mine", "two"}
        synced = await runtime.schedules.sync([changed], owner="billing")
        assert (synced.unchanged, synced.removed) == (["two"], [])


@both_hosts
async def test_another_owners_schedule_is_taken_over_on_purpose_only(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        schedules, plan = runtime.schedules, Schedule("one", seen.work, SELDOM, state={})
        await schedules.sync([plan], owner="billing")
        with pytest.raises(ConfigurationError, match="owner 'billing'; take_over=True makes it yours"):
            await schedules.upsert("one", seen.work, Every(10**5), state={})
        with pytest.raises(ConfigurationError, match="id='one': a schedule of this id"):
            await schedules.sync([plan], owner="sales")
        assert (await schedules.get("one")).owner == "billing"
        assert (await schedules.sync([plan], owner="sales", take_over=True)).changed == ["one"]
        assert (await schedules.sync([], owner="billing")).removed == []
        assert (await schedules.get("one")).owner == "sales"


@both_hosts
async def test_two_who_amend_a_schedule_at_a_time_both_count(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        view = await runtime.schedules.upsert("s", seen.work, SELDOM, state={})
        terms: list[dict[str, Any]] = [{"jitter": 5.0}, {"note": "x"}, {"limit": 7}, {"catch_up": 3}]
        async with anyio.create_task_group() as tasks:
            for some in terms:
                tasks.start_soon(partial(runtime.schedules.amend, "s", **some))
        now = await runtime.schedules.get("s")
        assert (now.jitter, now.note, now.limit, now.rev) == (5.0, "x", 7, view.rev + 4)
        with pytest.raises(StateConflictError, match=f"moved on: revision {now.rev}"):
            await runtime.schedules.amend("s", rev=view.rev, note="y")
        assert (await runtime.schedules.amend("s", rev=now.rev, note="y")).note == "y"


@both_hosts
async def test_a_processor_may_bring_its_schedule(make_runtime):
    ran: list[Any] = []

    async def tick(state: dict[str, int], ctx: Context) -> None:
        ran.append((state, ctx.schedule))

    async with make_runtime() as runtime:
        runtime.register(processor(schedule=OFTEN)(tick))
        await until(lambda: len(ran) > 1, "two runs")
        view = await runtime.schedules.get("tick")
        assert (view.owner, view.processor) == (DECORATED, "tick")
        assert ran[0][0] == {}
        assert ran[0][1].id == "tick"
        # An earlier version had one, this one has not.
        runtime.register(processor(tick))
        while await runtime.schedules.list():
            await anyio.sleep(0.01)


@both_hosts
async def test_a_schedule_of_the_same_name_that_somebody_else_has_made_stays(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("work", seen.work, SELDOM, state={})
        runtime.register(seen.work)
        other = Seen()
        runtime.register(other.work)
        assert (await (await runtime.schedules.run_now("work")).result()).success
        assert (await runtime.schedules.get("work")).owner == ""


def test_a_processor_with_a_schedule_must_be_able_to_do_with_an_empty_state():
    @processor(schedule=OFTEN)
    async def double(n: int) -> int:
        return 2 * n

    with pytest.raises(ConfigurationError, match=r"state cannot be made of \{\}"):
        LocalRuntime().register(double)
    with pytest.raises(ConfigurationError, match=r"Processor\.schedule"):
        processor(schedule="* * * * *")(lambda state: state)  # type: ignore[call-overload]


@both_hosts
async def test_a_processor_that_cannot_be_scheduled_keeps_no_other_from_its_times(make_runtime, caplog):
    seen = Seen()
    # No job of it could ever begin.
    late = QueueOptions(default_job_options=JobOptions(delay=10, expires=5))

    @processor(schedule=OFTEN, queue=late)
    async def odd(state: dict[str, int]) -> dict[str, int]:
        return state

    async with make_runtime() as runtime:
        runtime.register(odd, seen.work)
        await runtime.schedules.upsert("s", seen.work, OFTEN, state={})
        await seen.some(3)
    assert caplog.text.count("'odd' cannot be scheduled") == 1


@both_hosts
async def test_a_schedule_that_the_store_refuses_to_fire_keeps_no_other_from_its_times(
    make_runtime, monkeypatch, caplog
):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        schedules = runtime._running().store.schedules
        fire = schedules.fire

        async def refuse(firing: Firing) -> FireAnswer:
            if firing.record.name == plain_name("odd"):
                raise ServerReplyError("refused")
            answer: FireAnswer = await fire(firing)
            return answer

        monkeypatch.setattr(schedules, "fire", refuse)
        await runtime.schedules.upsert("odd", seen.work, OFTEN, state={"odd": 1})
        await runtime.schedules.upsert("s", seen.work, OFTEN, state={})
        await seen.some(3)
        monkeypatch.undo()
        await until(lambda: ({"odd": 1}, None) in seen.states, "it to be fired, too")
    assert caplog.text.count("'odd' cannot be fired by this node: refused") == 1


@both_hosts
async def test_while_a_run_goes_on_the_next_is_skipped(make_runtime):
    seen = Seen()
    seen.hold = True
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, OFTEN, state={})
        await seen.some()
        while (await runtime.schedules.get("s")).skipped < 2:
            await anyio.sleep(0.02)
        assert len(seen.runs) == 1
        seen.hold = False
        await seen.some(2)
        outcomes = [run.outcome for run in await runtime.schedules.runs("s")]
    assert outcomes.count("skipped") >= 2
    assert outcomes[-1] == "queued"


@both_hosts
async def test_after_a_failure_it_is_paused_and_goes_on_when_told(make_runtime):
    seen = Seen()
    seen.fail = True
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, OFTEN, state={}, pause_on_failure=True)
        while (view := await runtime.schedules.get("s")).paused is None:
            await anyio.sleep(0.02)
        assert view.paused == "its last run has failed"
        assert view.last_status == "failed"
        assert len(seen.runs) == 1
        seen.fail = False
        await runtime.schedules.resume("s")
        await seen.some(2)
        assert (await runtime.schedules.get("s")).paused is None


@both_hosts
async def test_it_ends_at_its_limit(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, OFTEN, state={}, limit=2)
        await seen.some(2)
        while (view := await runtime.schedules.get("s")).next is not None:
            await anyio.sleep(0.02)
        assert view.fired == 2


@both_hosts
async def test_what_there_is_not_is_said(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        schedules = runtime.schedules
        for call in (schedules.get, schedules.pause, schedules.resume, schedules.run_now, schedules.runs):
            with pytest.raises(ScheduleNotFoundError, match="there is no schedule 'x'"):
                await call("x")
        assert not await schedules.remove("x")
        with pytest.raises(ProcessorNotFoundError):
            await schedules.upsert("x", "nobody's", SELDOM, state=1)
        runtime.register(seen.work)
        with pytest.raises(ConfigurationError, match=r"Schedule\.when"):
            await schedules.upsert("x", seen.work, "* * * * *", state={})
        with pytest.raises(ConfigurationError, match="did you mean 'overlap'"):
            await schedules.upsert("x", seen.work, SELDOM, state={}, overlaps="skip")


@both_hosts
async def test_a_run_that_is_not_accepted_is_an_error(make_runtime):
    seen = Seen()
    seen.hold = True
    async with make_runtime(
        limits=None or __import__("am2z_trio").ResourceLimits(max_queue_size=1)
    ) as runtime:
        runtime.register(seen.work)
        await runtime.schedules.upsert("s", seen.work, SELDOM, state={})
        await runtime.pause(seen.work)
        await runtime.schedules.run_now("s")
        with pytest.raises(ResourceError, match="was not accepted: full"):
            await runtime.schedules.run_now("s")
        seen.hold = False


@both_hosts
async def test_a_client_without_workers_writes_what_others_fire(redis_url):
    seen = Seen()
    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as client:
        worker.register(seen.work)
        await client.schedules.upsert("s", seen.work, OFTEN, state={})
        await seen.some(2)


@both_hosts
async def test_two_nodes_fire_each_time_once(redis_url):
    seen = Seen()
    async with QueueRuntime(redis_url) as one, QueueRuntime(redis_url) as two:
        one.register(seen.work)
        two.register(seen.work)
        await one.schedules.upsert("s", seen.work, Every(0.1), state={}, overlap="allow")
        await seen.some(10)
    times = [run.at for run in seen.runs]
    assert len(times) == len({*times})
    assert sorted(times) == [*range(min(times), max(times) + 1, 100)]


# --- in virtual time ------------------------------------------------------------------------------


async def all_have_done_what_is_due() -> None:
    for _ in range(3):
        await trio.testing.wait_all_tasks_blocked()


@on_trio
async def test_in_virtual_time_a_year_has_all_its_runs(mock_clock):
    """As many as a look at every minute says, in the hours in which clocks are set, too."""
    ran: list[int] = []

    @processor
    async def work(state: dict[str, int], ctx: Context) -> None:
        assert ctx.schedule is not None
        ran.append(ctx.schedule.at)

    texts = {"night": ("30 2 * * *", "Europe/Berlin"), "howe": ("*/30 1-2 * * SUN#1", "Australia/Lord_Howe")}
    offset = time.time() - trio.current_time()
    first = datetime.fromtimestamp(time.time() + 60, UTC).replace(second=0, microsecond=0)
    last = first + timedelta(days=365)
    expected = {at for text, tz in texts.values() for at in in_ms(minutes(text, tz, first, last))}
    async with LocalRuntime() as runtime:
        runtime.register(work)
        await all_have_done_what_is_due()
        for id, (text, tz) in texts.items():
            await runtime.schedules.upsert(id, work, Cron(text, tz), state={}, overlap="allow")
        for at in sorted(expected):
            # With what this test and the nodes' timers are apart.
            mock_clock.jump(max(0.0, at / 1000 - trio.current_time() - offset + 1))
            await all_have_done_what_is_due()
        views = [await runtime.schedules.get(id) for id in texts]
    assert sorted(ran) == sorted(expected)
    assert sum(view.fired for view in views) == len(expected) > 400
    assert [view.passed_by for view in views] == [0, 0]


@on_trio
async def test_what_was_missed_is_one_run_that_says_so(mock_clock):
    runs: list[Any] = []

    @processor
    async def work(state: dict[str, int], ctx: Context) -> None:
        runs.append(ctx.schedule)

    async with LocalRuntime() as runtime:
        runtime.register(work)
        await all_have_done_what_is_due()
        view = await runtime.schedules.upsert("s", work, Every(3600), state={})
        assert view.next is not None
        mock_clock.jump(5 * 3600)
        await all_have_done_what_is_due()
        after = await runtime.schedules.get("s")
    (run,) = runs
    assert run.missed in (3, 4)
    assert run.instant == view.next + timedelta(hours=run.missed)
    assert (after.fired, after.passed_by) == (1, run.missed)


@both_hosts
async def test_other_terms_leave_what_it_runs_as_it_is(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        plan = Schedule(
            *("hourly", seen.work, SELDOM, {"n": 7}),
            session="alice",
            options=JobOptions(priority=3),
            overlap="queue",
            note="as agreed",
            start=datetime(2020, 1, 1, tzinfo=UTC),
        )
        await runtime.schedules.upsert(plan)
        view = await runtime.schedules.amend("hourly", when=Cron("30 2 * * *", "Europe/Berlin"), jitter=5)
        assert (view.rev, view.when, view.tz, view.jitter) == (2, "30 2 * * *", "Europe/Berlin", 5.0)
        assert view.words == "At 02:30 every day, Europe/Berlin"
        assert (view.overlap, view.note, view.session) == ("queue", "as agreed", "alice")
        assert view.start == datetime(2020, 1, 1, tzinfo=UTC)
        assert (await runtime.schedules.amend("hourly", jitter=5.0)).rev == 2
        job = await runtime.schedules.run_now("hourly")
        await job.result()
        assert seen.states == [({"n": 7}, "alice")]
        assert (
            await runtime.schedules.amend("hourly", when=Every(3600, phase=60))
        ).when == "every 3600 s + 60 s"
        for wrong, field in (
            ({"when": "* * * * *"}, "Schedule.when"),
            ({"overlap": "never"}, "Schedule.overlap"),
            ({"state": {}}, "state"),
            ({"processor": "other"}, "processor"),
        ):
            with pytest.raises(ConfigurationError) as caught:
                await runtime.schedules.amend("hourly", **wrong)
            assert caught.value.context["field"] == field
        with pytest.raises(ScheduleNotFoundError):
            await runtime.schedules.amend("nobody", jitter=1)


@both_hosts
async def test_runs_say_how_long_they_took_and_why_one_came_late(make_runtime):
    seen = Seen()
    async with make_runtime() as runtime:
        runtime.register(seen.work)
        for id in ("one", "two"):
            await runtime.schedules.upsert(id, seen.work, SELDOM, state={}, history=3)
        job = await runtime.schedules.run_now("one")
        await job.result()
        long_ago = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)
        await runtime.schedules.backfill("two", *long_ago, dry_run=False)
        await until(lambda: len(seen.runs) == 4, "all runs")
        found = await runtime.schedules.last_runs(["two", "nobody", "one"], 2)
        assert [*found] == ["two", "one"]
        (now,), (late, _) = found["one"], found["two"]
        assert (now.job, now.why, now.status) == (job.id, "", "completed")
        assert now.ran is not None
        assert now.ran >= 0
        assert late.why.startswith("caught up: it came ")
        assert found["two"] == await runtime.schedules.runs("two", limit=2)
