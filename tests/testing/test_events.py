"""Waiting for events."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio import LocalRuntime, QueueRuntime, processor
from am2z_trio.testing.events import expect_event, wait_for_event

pytestmark = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


async def test_an_event_is_heard_although_it_came_before_it_was_waited_for():
    async with LocalRuntime() as runtime:
        runtime.register(plus_one)
        async with expect_event(runtime, "job:completed", session="b") as expected:
            await runtime.execute(plus_one, 1, session="a")
            await runtime.execute(plus_one, 1, session="b")
        event = await expected.wait()
        assert (event.name, event.session, event.processor) == ("job:completed", "b", "plus_one")
        assert [other.session for other in expected.seen] == ["a"]


async def test_leaving_the_block_waits_for_the_event(redis_url):
    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as client:
        worker.register(plus_one)
        async with expect_event(
            client, "job:*", where=lambda event: event.name == "job:completed"
        ) as expected:
            await client.submit(plus_one, 1)
        assert [event.name for event in expected.seen] == ["job:enqueued", "job:started"]


async def test_what_comes_instead_is_said():
    async with LocalRuntime() as runtime:
        runtime.register(plus_one)
        with pytest.raises(AssertionError, match=r"no 'job:\*' job='x' within 0\.1 s; there came: job:enq"):
            async with expect_event(runtime, "job:*", job="x", timeout=0.1):
                await runtime.execute(plus_one, 1)
        with pytest.raises(AssertionError, match="there came: nothing"):
            await wait_for_event(runtime, "never", timeout=0.01)


async def test_a_block_that_fails_fails_as_it_does():
    async with LocalRuntime() as runtime:
        with pytest.raises(KeyError):
            async with expect_event(runtime, "never"):
                raise KeyError


async def test_an_event_of_another_task_is_waited_for():
    async with LocalRuntime() as runtime, anyio.create_task_group() as tasks:
        runtime.register(plus_one)
        heard: list[str] = []

        async def wait() -> None:
            heard.append((await wait_for_event(runtime, "said", processor="")).data)

        tasks.start_soon(wait)
        with anyio.fail_after(10):
            while not heard:
                await anyio.sleep(0.001)
                runtime.emit("said", "hello")
    assert heard[0] == "hello"
