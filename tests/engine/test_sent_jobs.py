"""`ctx.submit`: a job submits another one and goes on; once for all of its runs."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    JobOptions,
    ProcessorNotFoundError,
    QueueRuntime,
    Retry,
    processor,
)
from am2z_trio.store.redis import keys
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


class Post:
    """A processor that notes what it is given."""

    def __init__(self) -> None:
        self.seen = list[int]()
        self.stacks = list[list[str]]()
        self.sessions = list[str | None]()

        @processor(name="post")
        async def post(n: int, ctx: Context) -> int:
            self.seen.append(n)
            self.stacks.append(ctx.debug.call_stack)
            self.sessions.append(ctx.session_id)
            return -n

        self.processor = post


@on_both_hosts
async def test_a_job_submits_another_and_does_not_wait(make_runtime):
    post, release, sent = Post(), anyio.Event(), list[str]()

    @processor
    async def slow(n: int) -> int:
        await release.wait()
        return 2 * n

    @processor
    async def order(n: int, ctx: Context) -> int:
        sent.append(await ctx.submit(slow, n, timeout=60))
        sent.append(await ctx.submit("post", n, key="bill", options=JobOptions(tags=["mail"])))
        sent.append(await ctx.submit(post.processor, n, session="books"))
        return n + 1

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(order, slow, post.processor)
            job = await runtime.submit(order, 1, session="alice")
            assert (await job.result()).unwrap() == 2
            slow_job, bill, in_books = [await runtime.job(id, int) for id in sent]
            assert await slow_job.status() in ("waiting", "active")
            assert (await bill.result()).unwrap() == -1
            assert (await in_books.result()).unwrap() == -1
            release.set()
            assert (await slow_job.result()).unwrap() == 2
            # What they return is theirs, but in a session of their own.
            states = [await runtime.state.get(session, int) for session in ("alice", "books")]
            assert [stored.state for stored in states if stored is not None] == [2, -1]
    assert [id.removeprefix(job.id).rpartition(":")[0] for id in sent] == ["/>#1", "/>bill", "/>#2"]
    assert post.stacks == [["order", "post"]] * 2
    assert sorted(map(str, post.sessions)) == ["alice", "books"]


@on_both_hosts
@pytest.mark.parametrize("key", [None, "bill"])
async def test_a_job_that_is_run_again_submits_nothing_twice(make_runtime, key: str | None):
    post, ids = Post(), list[str]()

    @processor
    async def order(n: int, ctx: Context) -> int:
        # By its key it is the same, whatever it is given.
        ids.append(await ctx.submit(post.processor, n if key is None else ctx.meta.attempt, key=key))
        if ctx.meta.attempt < 3:
            raise Retry(defer=0)
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(order, post.processor)
            assert (await runtime.execute(order, 1)).unwrap() == 1
            assert (await (await runtime.job(ids[0])).result()).unwrap() == -1
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert post.seen == [1]


@on_both_hosts
async def test_nor_does_it_when_what_it_has_submitted_has_gone_from_the_store(redis_url, redis_server):
    post = Post()

    @processor
    async def order(n: int, ctx: Context) -> int:
        id = await ctx.submit(post.processor, n, key="bill")
        await until(lambda: post.seen)
        if ctx.meta.attempt == 1:
            async with runtime.events("job:completed", job=id) as events:
                if await (await runtime.job(id)).status() != "completed":
                    await events.next()
            redis_server.call("DEL", keys.spell("am2z", "job", id))
            raise Retry(defer=0)
        return n

    with anyio.fail_after(20):
        async with QueueRuntime(redis_url) as runtime:
            runtime.register(order, post.processor)
            assert (await runtime.execute(order, 1)).unwrap() == 1
            assert (await runtime.get_queue_stats())["post"].completed == 1
    assert post.seen == [1]


@on_both_hosts
async def test_what_is_run_inline_and_what_is_different_are_jobs_of_their_own(make_runtime):
    post, ids = Post(), list[str]()

    @processor
    async def notify(n: int, ctx: Context) -> int:
        ids.append(await ctx.submit(post.processor, n, key="bill"))
        return n

    @processor
    async def order(n: int, ctx: Context) -> int:
        for number in range(3):
            ids.append(await ctx.submit(post.processor, number))
        ids.append(await ctx.submit(post.processor, n, key="bill"))
        ids.append(await ctx.submit(notify, n, key="bill"))
        # A call of the same key is another thing.
        await ctx.call(post.processor, n, key="bill")
        await ctx.call(post.processor, n, key=">bill")
        return await ctx.call(notify, n, inline=True)

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(order, notify, post.processor)
            assert (await runtime.execute(order, 7)).unwrap() == 7
            for id in [*ids]:
                assert (await (await runtime.job(id)).result()).success
            await until(lambda: len(ids) == 7)
            assert len(set(ids)) == 7
            assert (await (await runtime.job(ids[-1])).result()).success
    assert sorted(post.seen) == [0, 1, 2, 7, 7, 7, 7, 7]


@on_both_hosts
async def test_what_cannot_be_submitted_is_said(make_runtime):
    post, errors = Post(), list[Any]()

    @processor
    async def order(n: int, ctx: Context) -> int:
        wrong: list[dict[str, Any]] = [
            {"processor": "nobody", "state": 1},
            {"processor": post.processor},
            {"processor": post.processor, "state": 1, "key": ""},
            {"processor": post.processor, "state": 1, "timeout": -1},
            {"processor": post.processor, "state": 1, "options": JobOptions(wait_for_worker=1)},
        ]
        for arguments in wrong:
            try:
                await ctx.submit(**arguments)
            except Exception as error:
                errors.append(error)
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(order, post.processor)
            assert (await runtime.execute(order, 1)).unwrap() == 1
    assert [type(error) for error in errors] == [ProcessorNotFoundError, *[ConfigurationError] * 4]
    assert post.seen == []
