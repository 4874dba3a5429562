"""Lives of jobs: their calls, what they have changed, why they wait, and one of them as a test."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import Context, JobNotFoundError, JobOptions, processor
from am2z_trio.admin import Admin, NotPermittedError, Principal, Rules
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.views.lives import Loosened
from tests.support.waiting import PATIENCE


class Cart(msgspec.Struct):
    total: float = 0.0
    card: str = "4111"
    depth: int = 0


@processor
async def price(cart: Cart) -> Cart:
    return msgspec.structs.replace(cart, total=cart.total + 9.5)


@processor
async def fan(cart: Cart, ctx: Context) -> Cart:
    if cart.depth:
        for key in ("a", "b"):
            await ctx.call(fan, Cart(depth=cart.depth - 1), key=key)
    return cart


def admin(runtime: Runtime, role: str = "admin", rules: Rules | None = None, **limits: Any) -> Admin:
    principal = Principal(name="ada@laptop", role=role, **limits)
    return Admin(runtime, principal=principal, face="test", redaction=rules)


@pytest.mark.anyio
async def test_what_a_job_has_changed_is_told_as_far_as_it_may_be_seen(make_runtime):
    async with make_runtime(state_history=5) as runtime:
        runtime.register(price)
        first = await runtime.submit(price, Cart(), session="alice")
        await first.result()
        second = await runtime.submit(price, session="alice")
        await second.result()
        (made,) = await admin(runtime).changes(first.id, reveal=True)
        assert (made.version.version, made.before, made.version.by.job) == (1, None, first.id)
        desk = admin(runtime, "viewer", Rules(show=("total",)))
        (seen,) = await desk.changes(second.id)
        assert [(one.path, one.before, one.after) for one in seen.changes] == [("total", "9.5", "19.0")]
        assert (seen.before, seen.version.version) == (1, 2)
        (unseen,) = await admin(runtime, "viewer").changes(second.id)
        assert (unseen.changes, unseen.value.hidden) == ([], 3)
        with pytest.raises(NotPermittedError):
            await desk.changes(second.id, reveal=True)
        with pytest.raises(JobNotFoundError):
            await admin(runtime, sessions=("bob",)).changes(second.id)


@pytest.mark.anyio
async def test_calls_are_told_from_the_outside_in_also_behind_their_end(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(fan)
        job = await runtime.submit(fan, Cart(depth=2))
        await job.result()
        desk = admin(runtime)
        top = await desk.calls(job.id)
        assert [row.level for row in top.rows] == [0, 1, 2, 2, 1, 2, 2]
        assert [row.asked for row in top.rows] == [True] + [False] * 6
        deepest = await desk.calls(top.rows[2].id)
        assert [row.id for row in deepest.rows] == [job.id, top.rows[1].id, top.rows[2].id]
        assert top.more == 0
        with pytest.raises(JobNotFoundError):
            await desk.calls("nobody")


@pytest.mark.anyio
async def test_many_jobs_are_explained_at_once_and_counted(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(price)
        await runtime.pause(price)
        jobs = [await runtime.submit(price, Cart()) for _ in range(3)]
        late = await runtime.submit(price, Cart(), options=JobOptions(delay=600))
        desk = admin(runtime)
        told = await desk.explain_some([*(job.id for job in jobs), late.id, "nobody"])
        assert [one.blocked_by for one in told.values()] == ["paused"] * 3 + ["due", ""]
        assert told["nobody"].status == ""
        counts = await desk.status_counts()
        assert (counts.waiting, counts.delayed, counts.completed) == (3, 1, 0)
        theirs = admin(runtime, queues=("other",))
        assert (await theirs.explain_some([late.id]))[late.id].status == ""
        assert (await theirs.status_counts()).waiting == 0


@pytest.mark.anyio
async def test_a_query_that_finds_nothing_says_what_it_would_find_without_each_term(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(price)
        await runtime.pause(price)
        for _ in range(2):
            await runtime.submit(price, Cart())
        desk = admin(runtime)
        assert await desk.loosened("queue:price status:waiting age>1d") == [
            Loosened(without="age>1d", query="queue:price status:waiting", found=2)
        ]
        assert await desk.loosened("age>1d") == []


@pytest.mark.anyio
async def test_a_job_as_a_test_takes_the_permission_to_reveal_and_is_written_down(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(price)
        await runtime.pause(price)
        job = await runtime.submit(price, Cart(total=3.0))
        text = await admin(runtime).as_test(job.id)
        assert "'total': 3.0" in text
        with pytest.raises(NotPermittedError):
            await admin(runtime, "viewer").as_test(job.id)
        page = await runtime.node.store.chronicle.audit_page()
        assert [(one.action, one.outcome) for one in reversed(page.entries)] == [
            ("reveal", ""),
            ("reveal", "done"),
            ("reveal", "refused"),
        ]
        await runtime.resume(price)
        with anyio.fail_after(PATIENCE):
            await job.result()
        with pytest.raises(JobNotFoundError, match="no longer kept"):
            await admin(runtime).as_test(job.id)
