"""A node with neighbours, to which odd things are done: both stores, both hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import pytest

from am2z_trio import AM2ZError, LocalRuntime, Processor, ProcessorResult, QueueRuntime, processor
from am2z_trio.engine.runtime.runtime import Runtime

MakeRuntime = Callable[..., Runtime]
LiveNode = Callable[..., AbstractAsyncContextManager[Runtime]]

PATIENCE = 30.0


@pytest.fixture(params=["local", "queue"])
def make_runtime(request: pytest.FixtureRequest) -> MakeRuntime:
    """Make runtimes over one store: `make_runtime()`, with the runtime's own options."""
    if request.param == "local":
        return LocalRuntime
    url = request.getfixturevalue("redis_url")

    def queue(**options: Any) -> Runtime:
        return QueueRuntime(url, **options)

    return queue


@pytest.fixture
def live_node(make_runtime: MakeRuntime) -> LiveNode:
    """`async with live_node(processors) as runtime`: a node that must be none the worse after the block.

    A neighbour's job is under way all the time; after the block it completes, another one runs, the
    processors of the block are still served, and the node is healthy.
    """

    @asynccontextmanager
    async def open_node(*processors: Processor[Any], **options: Any) -> AsyncIterator[Runtime]:
        hold, holding = anyio.Event(), anyio.Event()

        @processor
        async def neighbour(n: int) -> int:
            if n == 7:
                holding.set()
                await hold.wait()
            return n

        async with make_runtime(**options) as runtime:
            runtime.register(neighbour, *processors)
            with anyio.fail_after(PATIENCE):
                beside = await runtime.submit(neighbour, 7)
                await holding.wait()
                yield runtime
                assert (await runtime.execute(neighbour, 1)).unwrap() == 1
                hold.set()
                assert (await beside.result()).unwrap() == 7
                health = await runtime.connection.check_health()
                assert health.healthy, health.reason
                assert all(runtime.workers.has_worker(one.name) for one in processors)

    return open_node


def the_error(result: ProcessorResult[Any]) -> AM2ZError:
    """The one clear error of a job that failed."""
    error = result.error
    assert isinstance(error, AM2ZError)
    assert type(error.message) is str
    assert error.message
    assert len(error.message) < 10_000
    assert len(error.remote_traceback) < 20_000
    return error
