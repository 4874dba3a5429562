"""Nodes through the service: what is seen of them, what is done, whose it must be, what is written down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest

from am2z_trio import Context, JobNotFoundError, processor
from am2z_trio.admin import NotPermittedError
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.events import Event
from am2z_trio.model.records import EventPage
from tests.admin.test_service import audited, until_status
from tests.support.desks import admin
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def beside() -> None:
    await anyio.sleep_forever()


@processor
async def hold(n: int, ctx: Context) -> int:
    ctx.nursery.start_soon(beside, name="beside")
    await anyio.sleep_forever()
    return n


@processor
async def other(n: int) -> int:
    await anyio.sleep_forever()
    return n


@asynccontextmanager
async def at_work(runtime: Runtime) -> AsyncIterator[tuple[str, Job[int], Job[int]]]:
    """A node, and two jobs that run there."""
    runtime.register(hold, other)
    jobs = [
        await runtime.submit(hold, 1, session="team-a/1"),
        await runtime.submit(other, 2, session="team-b/1"),
    ]
    for job in jobs:
        await until_status(runtime, job.id, "active")
    desk = admin(runtime)
    with anyio.fail_after(PATIENCE):
        while sum(row.scope == "job" and row.ran is not None for row in await rows_of(desk)) < 2:
            await anyio.sleep(0.01)
    yield runtime.node.id, jobs[0], jobs[1]
    for job in jobs:
        await job.cancel("the test is over")


async def rows_of(desk, **asked):
    return [row for node in (await desk.tree(**asked)).nodes for row in node.rows]


async def entries(runtime: Runtime, action: str):
    page = await runtime.node.store.chronicle.audit_page()
    return [one for one in reversed(page.entries) if one.action == action]


async def test_a_node_is_drained_and_undrained_and_both_are_written_down(make_runtime):
    async with make_runtime() as runtime, at_work(runtime) as (node, _, _):
        desk = admin(runtime)
        assert (await desk.drain_node(node, grace=60, reason="a new kernel")).done
        (one,) = await desk.nodes()
        health = await desk.node_health(node)
        assert (one.id, health.ready) == (node, False)
        again = await desk.drain_node(node)
        assert (again.done, again.text) == (False, "it was drained already")
        assert (await desk.undrain_node(node)).done
        assert not (await desk.undrain_node(node)).done
        assert await audited(runtime) == [
            (action, node, outcome)
            for action in (*["drain_node"] * 2, *["undrain_node"] * 2)
            for outcome in ("", "done")
        ]
        before, after, *_ = await entries(runtime, "drain_node")
        assert before.reason == "a new kernel"
        told = msgspec.msgpack.decode(before.preview)
        assert (told["running"], told["grace"], told["silent"]) == (2, 60, False)
        assert msgspec.msgpack.decode(after.preview)["done"] is True


async def test_a_worker_of_a_session_is_stopped_and_then_the_whole_queue(make_runtime):
    async with make_runtime() as runtime, at_work(runtime) as (node, mine, _):
        desk = admin(runtime)
        assert len((await desk.preview_stop_worker(node, hold, "team-a/1")).running) == 1
        assert (await desk.stop_worker(node, hold, "nobody")).text == "there is none"
        assert (await desk.stop_worker(node, hold, "team-a/1")).done
        assert not (await mine.result()).success
        assert (await desk.stop_worker(node, "other", reason="moves")).done
        before = (await entries(runtime, "stop_worker"))[-2]
        assert (before.target, before.reason) == ("other", "moves")
        told = msgspec.msgpack.decode(before.preview)
        assert (told["node"], told["session"], told["running"]) == (node, None, 1)


async def test_a_task_of_a_job_is_cancelled_by_what_its_row_says(make_runtime):
    async with make_runtime() as runtime, at_work(runtime) as (node, mine, _):
        desk = admin(runtime)
        (task,) = [row for row in await rows_of(desk) if row.scope == "task"]
        assert not (await desk.cancel_task(node, mine.id, "stale", task.path)).done
        assert (await desk.cancel_task(node, mine.id, task.token, task.path, reason="stuck")).done
        with anyio.fail_after(PATIENCE):
            while any(row.scope == "task" for row in await rows_of(desk)):
                await anyio.sleep(0.01)
        assert await mine.status() == "active"
        before = (await entries(runtime, "cancel_task"))[-2]
        assert (before.target, before.reason) == (mine.id, "stuck")


async def test_what_is_not_there_is_not_written_down_as_done(make_runtime):
    async with make_runtime() as runtime, at_work(runtime) as (node, mine, _):
        desk = admin(runtime)
        for call in (
            desk.drain_node("nobody"),
            desk.undrain_node("nobody"),
            desk.stop_worker("nobody", "hold"),
            desk.cancel_task("nobody", mine.id, "0", "0"),
        ):
            with pytest.raises(RuntimeStateError, match="there is no node 'nobody'"):
                await call
        with pytest.raises(JobNotFoundError):
            await desk.cancel_task(node, "nobody", "0", "0")
        assert await audited(runtime) == []


async def test_who_is_limited_sees_its_own_jobs_on_every_node_and_drains_none(make_runtime):
    async with make_runtime() as runtime, at_work(runtime) as (node, mine, others):
        desk = admin(runtime, "operator", sessions=("team-a/*",), queues=("hold",))
        rows = await rows_of(desk)
        assert [row.scope for row in rows] == ["node", "session", "worker", "job", "task"]
        assert {row.session for row in rows[1:]} == {"team-a/1"}
        with anyio.fail_after(PATIENCE):
            while (await desk.nodes())[0].served < 2:
                await anyio.sleep(0.05)
        assert [*(await desk.nodes())[0].concurrency] == ["hold"]
        assert await desk.stack(mine.id) is not None
        assert await desk.stack(others.id) is None
        refused = {
            "drain_node": desk.drain_node(node),
            "undrain_node": desk.undrain_node(node),
            "preview_drain": desk.preview_drain(node),
            "stop_worker": desk.stop_worker(node, "hold"),
            "stop_worker ": desk.stop_worker(node, "other", "team-a/1"),
            "stop_worker  ": desk.stop_worker(node, "hold", "team-b/1"),
            "preview_stop_worker": desk.preview_stop_worker(node, "hold"),
        }
        for call in refused.values():
            with pytest.raises(NotPermittedError):
                await call
        with pytest.raises(JobNotFoundError):
            await desk.cancel_task(node, others.id, "0", "0")
        said = await audited(runtime)
        assert [action for action, _, _ in said] == [name.strip() for name in refused]
        assert {outcome for _, _, outcome in said} == {"refused"}
        assert (await desk.stop_worker(node, "hold", "team-a/1")).done
        by_queue = admin(runtime, queues=("other",))
        assert (await by_queue.stop_worker(node, "other")).done


async def test_nodes_that_were_lost_are_told_with_what_they_held(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        desk, limited = admin(runtime, "viewer"), admin(runtime, queues=("hold",))
        now = desk.now()
        events = [
            Event("job:stalled", now - 7200_000, "old", "j0", "hold", "", id="1-1"),
            Event("job:stalled", now - 60_000, "a", "j1", "hold", "", id="2-1"),
            Event("job:stalled", now - 50_000, "b", "j2", "other", "", id="3-1"),
            Event("job:stalled", now - 40_000, "a", "j3", "other", "", id="4-1"),
            Event("job:stalled", now - 30_000, "a", "j1", "hold", "", id="5-1"),
        ]

        async def history(*_: object, **asked: object) -> EventPage:
            return EventPage(events=events, last="1-1")

        monkeypatch.setattr(type(runtime.events), "history", history)
        told = await desk.lost_nodes()
        assert [(one.id, one.jobs, one.processors, now - one.at) for one in told.nodes] == [
            ("a", 2, ["hold", "other"], 30_000),
            ("b", 1, ["other"], 50_000),
        ]
        assert [(one.id, one.jobs) for one in (await limited.lost_nodes()).nodes] == [("a", 1)]
        assert [one.id for one in (await desk.lost_nodes(within=35.0)).nodes] == ["a"]
