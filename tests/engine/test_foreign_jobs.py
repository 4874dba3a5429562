"""A job is asked for by its id, from any process, and whoever has submitted it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    JobCancelledError,
    JobNotFoundError,
    LocalRuntime,
    Processor,
    QueueRuntime,
    ValidationError,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.store.redis.keys import spell
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@dataclass
class Order:
    number: int
    note: str = ""


@processor
async def noted(order: Order) -> Order:
    return Order(order.number, "seen")


@processor
async def stuck(n: int, ctx: Context) -> int:
    await ctx.update_progress(0.5)
    await anyio.sleep_forever()
    return n


class World(NamedTuple):
    """Who works, and who asks: one and the same in memory, another one over Redis."""

    worker: Runtime
    asks: Runtime


OpenWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture(params=["local", "queue"])
def world(request: pytest.FixtureRequest) -> OpenWorld:
    url = None if request.param == "local" else request.getfixturevalue("redis_url")

    @asynccontextmanager
    async def open_world(*processors: Processor[Any]) -> AsyncIterator[World]:
        async with LocalRuntime() if url is None else QueueRuntime(url) as worker:
            worker.register(*processors)
            if url is None:
                yield World(worker, worker)
            else:
                async with QueueRuntime(url, workers=False) as asks:
                    yield World(worker, asks)

    return open_world


async def test_a_job_that_somebody_else_has_submitted_is_waited_for(world):
    async with world(noted) as (worker, asks):
        submitted = await worker.submit(noted, Order(7), session="alice")
        job = await asks.job(submitted.id, Order)
        assert (job.id, job.processor, job.session_id) == (submitted.id, "noted", "alice")
        result = await job.result()
        assert result.unwrap() == Order(7, "seen")
        assert result.metadata.session_id == "alice"
        assert await job.status() == "completed"
        assert not await job.cancel()
        # Its end was heard of; a handle that comes later reads it.
        assert (await (await asks.job(job.id, Order)).result()).unwrap() == Order(7, "seen")


async def test_without_a_type_it_is_what_the_processor_returns_where_that_is_registered(world):
    async with world(noted) as (worker, asks):
        submitted = await worker.submit(noted, Order(7))
        there = (await (await worker.job(submitted.id)).result()).unwrap()
        assert there == Order(7, "seen")
        if asks is not worker:
            here = (await (await asks.job(submitted.id)).result()).unwrap()
            assert here == {"number": 7, "note": "seen"}


async def test_a_result_of_another_type_is_a_failed_one(world):
    async with world(noted) as (worker, asks):
        submitted = await worker.submit(noted, Order(7))
        result = await (await asks.job(submitted.id, int)).result()
        assert isinstance(result.error, ValidationError)


async def test_what_runs_is_looked_at_heard_of_and_cancelled(world):
    async with world(stuck) as (worker, asks):
        submitted = await worker.submit(stuck, 1)
        job = await asks.job(submitted.id)

        with anyio.fail_after(PATIENCE):
            while await job.progress() != 0.5:
                await anyio.sleep(0.01)
        assert await job.status() == "active"
        async with job.events() as events:
            assert await job.cancel("no more of it")
            event = await anext(aiter(events))
        assert (event.name, event.job) == ("job:cancelled", job.id)
        error = (await job.result()).error
        assert isinstance(error, JobCancelledError)
        assert error.message == "no more of it"


async def test_who_ceases_to_wait_leaves_the_job_as_it_is(world):
    async with world(stuck) as (worker, asks):
        submitted = await worker.submit(stuck, 1)
        job = await asks.job(submitted.id)
        with anyio.move_on_after(0.05):
            await job.result()
        for _ in range(3):
            # However often it is asked for, it is waited for once.
            with anyio.move_on_after(0.01):
                await (await asks.job(submitted.id)).result()
        assert asks.get_stats().waiting_callers == 1
        assert await job.status() in ("active", "waiting")
        await job.cancel()
        assert isinstance((await job.result()).error, JobCancelledError)


async def test_an_id_that_was_chosen_is_asked_for_within_its_session(world):
    async with world(noted) as (worker, asks):
        await worker.submit(noted, Order(1), session="alice", job_id="order-1")
        job = await asks.job("order-1", Order, session="alice")
        assert job.id == "@alice/order-1"
        assert (await job.result()).unwrap().number == 1
        with pytest.raises(JobNotFoundError):
            await asks.job("order-1")


@pytest.mark.parametrize("id", ["nobody", "a/b", "{x}", "\r\n", "\u202eabc", "x" * 4000])
async def test_an_id_that_nobody_has_used_is_one_clear_error(world, id):
    async with world(noted) as (_, asks):
        with pytest.raises(JobNotFoundError, match="no record of job"):
            await asks.job(id)


async def test_no_id_and_no_type_are_refused(world):
    async with world(noted) as (_, asks):
        with pytest.raises(ConfigurationError, match="job_id"):
            await asks.job("")
        with pytest.raises(ConfigurationError, match="job_id"):
            await asks.job("x" * 5000)


async def forgotten(runtime: Runtime, id: str, request: pytest.FixtureRequest) -> None:
    """The job's record has had its time."""
    if isinstance(runtime, LocalRuntime):
        del runtime.node.store._server.ledger.jobs[id]  # type: ignore[attr-defined]
    else:
        request.getfixturevalue("redis_server").call("DEL", spell("am2z", "job", id))


async def test_a_job_whose_record_goes_before_it_is_asked_for_is_a_failed_result(world, request):
    async with world(noted) as (worker, asks):
        submitted = await worker.submit(noted, Order(1), job_id="o")
        await submitted.result()
        job = await asks.job("o")
        await forgotten(worker, "o", request)
        result = await job.result()
        assert isinstance(result.error, JobNotFoundError)
        assert "chosen" not in result.error.message
