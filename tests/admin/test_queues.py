"""Queues, asked for by the service for operators, and emptied."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import JobOptions, Processor, ProcessorNotFoundError, QueueOptions, processor
from am2z_trio.admin import NotPermittedError, queues
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records.samples import QueueFigures, StoredSample
from am2z_trio.model.views.actions import Answer
from am2z_trio.model.views.queues import QueueRow
from am2z_trio.policy.series import SHAPES, added, beside, carried, ended, filled, slotted
from tests.support.desks import admin, until_active
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@processor(queue=QueueOptions(concurrency=4, global_concurrency=1, max_size=100))
async def hold(n: int) -> int:
    await anyio.sleep_forever()
    return n


async def test_a_queue_is_shown_with_what_limits_it_and_whose_turn_is_next(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(hold)
        first = await runtime.submit(hold, 1, session="a")
        await until_active(runtime, first.id)
        plain = await runtime.submit(hold, 2)
        mine = [await runtime.submit(hold, n, session="b") for n in range(3)]
        desk = admin(runtime)
        with anyio.fail_after(PATIENCE):
            # The node says what it serves when it comes to it.
            while not (await desk.queues())[0].slots:
                await anyio.sleep(0.01)
        (row,) = await desk.queues()
        assert (row.queue, row.waiting, row.active, row.workers) == ("hold", 4, 1, 1)
        assert (row.capacity, row.load, row.most_active) == (1, 1.0, 1)
        shown = await desk.queue("hold")
        assert (shown.limits.most_active, shown.most_waiting, shown.lanes) == (1, 100, 2)
        assert [one.slots for one in shown.nodes] == [4]
        assert {(one.session, one.job) for one in shown.next} == {("", plain.id), ("b", mine[0].id)}
        assert {one.session: one.listed for one in shown.next}["b"] == 3
        with pytest.raises(ProcessorNotFoundError):
            await desk.queue("nobody")
        with pytest.raises(ProcessorNotFoundError):
            await admin(runtime, queues=("other",)).queue("hold")
        limited = await admin(runtime, sessions=("b",)).queue("hold")
        assert [one.session for one in limited.next] == ["b"]


def named(*names: str) -> list[Processor[int]]:
    async def work(n: int) -> int:
        return n

    return [processor(name=name)(work) for name in names]


async def paused(runtime: Runtime) -> set[str]:
    return {name for name, now in (await runtime.census()).queues.items() if now.paused}


async def until_announced(runtime: Runtime, queues: int) -> None:
    with anyio.fail_after(PATIENCE):
        while len((await runtime.census()).queues) < queues:
            await anyio.sleep(0.01)


async def test_all_queues_are_paused_and_resumed_and_each_is_written_down(make_runtime):
    async with make_runtime() as runtime:
        desk = admin(runtime)
        assert await desk.pause_all() == Answer(done=False, text="there are no queues")
        runtime.register(*named("a", "b", "c"))
        await until_announced(runtime, 3)
        await desk.pause("b", reason="by hand")
        holding = await desk.preview_pause_all()
        assert ([row.queue for row in holding.queues], holding.already, holding.left) == (["a", "c"], 1, 0)
        answer = await desk.pause_all(reason="upgrade")
        assert answer == Answer(done=True, text="2 queues paused; 1 was paused already")
        assert await paused(runtime) == {"a", "b", "c"}
        again = await desk.pause_all()
        assert again == Answer(done=True, text="all 3 are paused already")
        assert [row.queue for row in (await desk.preview_pause_all(resume=True)).queues] == ["a", "b", "c"]
        assert await desk.resume_all() == Answer(done=True, text="3 queues resumed")
        assert await paused(runtime) == set()
        entries = (await runtime.node.store.chronicle.audit_page()).entries
        begun = {(one.action, one.target, one.reason) for one in entries if not one.of}
        assert begun == {
            *{("pause", name, "upgrade") for name in "ac"},
            ("pause", "b", "by hand"),
            *{("resume", name, "") for name in "abc"},
        }
        assert {one.outcome for one in entries if one.of} == {"done"}


async def test_all_queues_are_those_of_whoever_asks(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(*named("a1", "a2", "b1"))
        await until_announced(runtime, 3)
        assert (await admin(runtime, queues=("a*",)).pause_all()).text == "2 queues paused"
        assert await paused(runtime) == {"a1", "a2"}
        # A queue is of all sessions.
        by_session = admin(runtime, sessions=("team-a/*",))
        for refused in (by_session.resume_all(), by_session.pause_all(), by_session.preview_pause_all()):
            with pytest.raises(NotPermittedError, match="limited to some queues or sessions"):
                await refused
        assert await paused(runtime) == {"a1", "a2"}
        await admin(runtime, queues=("b*",)).resume_all()
        assert await paused(runtime) == {"a1", "a2"}


async def test_of_very_many_queues_some_are_left_for_another_time(make_runtime, monkeypatch):
    monkeypatch.setattr(queues, "MOST_HELD", 2)
    async with make_runtime() as runtime:
        runtime.register(*named("a", "b", "c"))
        await until_announced(runtime, 3)
        desk = admin(runtime)
        assert (await desk.pause_all()).text == "2 queues paused; 1 queue left: ask again"
        assert await paused(runtime) == {"a", "b"}
        assert (await desk.pause_all()).text == "1 queue paused; 2 were paused already"
        assert await paused(runtime) == {"a", "b", "c"}


async def test_a_queue_is_emptied_of_what_waits_by_who_may_and_no_more_than_was_seen(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(hold)
        runs = await runtime.submit(hold, 1)
        await until_active(runtime, runs.id)
        for n in range(3):
            await runtime.submit(hold, n)
        await runtime.submit(hold, 9, options=JobOptions(delay=60))
        desk = admin(runtime)
        with pytest.raises(NotPermittedError):
            await admin(runtime, "operator").purge("hold", agreed=4)
        answer = await desk.drain_queue("hold", reason="upgrade")
        assert answer.text == "none of its jobs is started any more; 1 still run"
        record = await desk.purge("hold", agreed=4, reason="upgrade")
        done = await desk.carry_on(record.id)
        assert (done.state, done.done) == ("done", 4)
        (row,) = await desk.queues()
        assert (row.state, row.waiting, row.delayed, row.active) == ("paused", 0, 0, 1)


async def test_what_has_happened_is_a_series_without_gaps(make_runtime):
    @processor
    async def double(n: int) -> int:
        return 2 * n

    async with make_runtime() as runtime:
        runtime.register(double)
        await runtime.sync_processors()
        await runtime.node.store.samples.flush(1_000, [QueueFigures("double", {1: 3, 2: 1})])
        for span, shape in SHAPES.items():
            series = await admin(runtime).series(span)
            assert len(series.samples) == shape.count
            steps = {b.at - a.at for a, b in zip(series.samples, series.samples[1:], strict=False)}
            assert steps == {shape.width * 1000}
            # What has just been counted is in a slot that narrow series do not show yet.
            seen = 4 if shape.periods else 0
            assert {name: (len(one), sum(one)) for name, one in series.ended.items()} == {
                "double": (shape.count, seen)
            }
            assert sum(sample.failed for sample in series.samples) == (1 if seen else 0)
            one = await admin(runtime).series(span, queue="double")
            assert [sample.at for sample in one.samples] == [sample.at for sample in series.samples]
        with pytest.raises(ProcessorNotFoundError):
            await admin(runtime).series(queue="nobody")


def row(**facts: Any) -> QueueRow:
    return QueueRow(queue="q", **facts)


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (row(), "idle"),
        (row(paused=True, waiting=1), "paused"),
        (row(waiting=1), "unserved"),
        (row(delayed=1, workers=1, slots=2), "idle"),
        (row(waiting=1, workers=1, slots=2, breaker_open=True), "open"),
        (row(waiting=1, active=1, workers=1, slots=2, held=True), "held"),
        (row(active=9, workers=1, slots=10), "busy"),
        (row(active=1, workers=1, slots=10), "flowing"),
        (row(active=1, workers=1, slots=10, most_active=1), "busy"),
    ],
)
def test_how_a_queue_stands_is_one_word(shown, state):
    assert shown.state == state


def test_slots_are_added_up_and_gauges_are_the_largest():
    told = [StoredSample(960_000, {1: 2, 90: 5}), StoredSample(1_010_000, {1: 3, 3: 1, 90: 4})]
    assert slotted(told, 60) == {960_000: {1: 5, 3: 1, 90: 5}}
    assert slotted(told, 10) == {960_000: {1: 2, 90: 5}, 1_010_000: {1: 3, 3: 1, 90: 4}}
    assert added({1: 1, 90: 2}, {1: 1, 90: 7}) == {1: 2, 90: 7}
    assert beside({1: 1, 90: 2}, {1: 1, 90: 7}) == {1: 2, 90: 9}
    assert ended({0: 9, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 9}) == 15


def test_the_last_slot_of_a_series_is_one_of_which_all_is_told_or_as_long_as_it_has_lasted():
    now = 1_700_000_123_456
    for shape in SHAPES.values():
        samples = filled({}, shape, shape.first(now), now)
        assert len(samples) == shape.count
        last = samples[-1]
        if shape.periods:
            assert last.at <= now < last.at + shape.width * 1000
            assert last.seconds <= (now - last.at) / 1000
        else:
            assert now - 2 * shape.width * 1000 - 10_000 < last.at <= now - shape.width * 1000 - 10_000
        assert {sample.seconds for sample in samples[:-1]} == {shape.width}


def test_where_nothing_was_counted_as_many_wait_as_before():
    found = carried({10: {1: 5, 90: 7}, 40: {1: 1}}, range(0, 50, 10))
    assert found == {0: {}, 10: {1: 5, 90: 7}, 20: {90: 7}, 30: {90: 7}, 40: {1: 1}}
