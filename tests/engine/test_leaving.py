"""Callers that go away: their jobs are taken back, very many of them over several turns of the loop."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from am2z_trio import LocalRuntime, QueueOptions, processor
from am2z_trio.concurrency import current_host
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.submission.leaving import LEFT_AT_ONCE
from am2z_trio.engine.submission.waiter import Waiter
from am2z_trio.model.errors import AuthenticationError, ResourceError, UnknownOutcomeError
from am2z_trio.model.records import EnqueueAnswer
from am2z_trio.testing.conformance import job

pytestmark = pytest.mark.anyio


TWO_TURNS = 2
"""Tasks have their turns in any order: between two of the one that looks, another may have two."""


def most_between_turns(seen: list[int]) -> int:
    return max(after - before for before, after in pairwise(seen))


class Told:
    """A store that takes every job, and notes which ones are taken back."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.back: list[tuple[str, str]] = []

    async def lineage(self) -> str:
        return "one"

    async def enqueue(self, jobs: Any) -> list[EnqueueAnswer]:
        self.taken += [job.spec.id for job in jobs]
        return [EnqueueAnswer(status="queued") for _ in jobs]

    def cancel_nowait(self, job: str, reason: str) -> None:
        self.back.append((job, reason))


async def nothing() -> None:
    pass


async def submitted(in_flight: InFlight, *ids: str) -> list[Waiter]:
    waiters = [in_flight.submit(job(id)) for id in ids]
    for waiter in waiters:
        while not waiter.is_known:
            await current_host().checkpoint()
    return waiters


async def with_in_flight(told: Any, use: Any) -> None:
    host = current_host()
    async with host.open_nursery() as nursery:
        in_flight = InFlight(host, told, before_send=nothing, may_send=lambda: False)
        await nursery.start(in_flight.run)
        await use(in_flight)
        nursery.cancel_scope.cancel()


async def test_many_that_leave_together_are_taken_back_over_several_turns():
    told = Told()
    ids = [f"j{n}" for n in range(10 * LEFT_AT_ONCE)]

    async def use(in_flight: InFlight) -> None:
        for waiter in await submitted(in_flight, *ids):
            in_flight.leaving.abandon(waiter, "gone")
        assert len(told.back) == LEFT_AT_ONCE
        seen = [len(told.back)]
        while len(told.back) < len(ids):
            await current_host().checkpoint()
            seen.append(len(told.back))
        assert most_between_turns(seen) <= TWO_TURNS * LEFT_AT_ONCE
        assert told.back == [(id, "gone") for id in ids]
        assert len(in_flight) == 0
        # And the next one at once again, when whoever takes them back has had its turn.
        for _ in range(TWO_TURNS):
            await current_host().checkpoint()
        (waiter,) = await submitted(in_flight, "one more")
        in_flight.leaving.abandon(waiter, "gone")
        assert told.back[-1] == ("one more", "gone")

    await with_in_flight(told, use)


async def test_whoever_goes_on_elsewhere_takes_nothing_back():
    told = Told()

    async def use(in_flight: InFlight) -> None:
        survives = {"stays": True, "goes": False}
        for waiter in await submitted(in_flight, *survives):
            in_flight.leaving.leave(waiter, "gone", partial(survives.__getitem__, waiter.id))
        assert told.back == []
        await in_flight.leaving.let_go()
        assert told.back == [("goes", "gone")]
        assert len(in_flight) == 0

    await with_in_flight(told, use)


async def test_what_is_called_again_under_its_id_is_taken_back_first():
    told = Told()

    async def use(in_flight: InFlight) -> None:
        first, other = await submitted(in_flight, "a", "b")
        in_flight.leaving.leave(other, "gone", lambda: False)
        in_flight.leaving.leave(first, "gone", lambda: False)
        again = in_flight.submit(job("a"))
        assert told.back == [("a", "gone")]
        while not again.is_known:
            await current_host().checkpoint()
        await in_flight.leaving.let_go()
        assert told.back == [("a", "gone"), ("b", "gone")]
        assert told.taken == ["a", "b", "a"]

    await with_in_flight(told, use)


async def test_calls_that_one_caller_leaves_together_are_taken_back_over_several_turns():
    told = Told()
    ids = [f"j{n}" for n in range(10 * LEFT_AT_ONCE)]

    async def use(in_flight: InFlight) -> None:
        waiters = await submitted(in_flight, *ids, "alone")
        in_flight.leaving.leave(waiters.pop(), "gone", lambda: False)
        in_flight.leaving.leave_all({waiter.id: waiter for waiter in waiters}, "gone too")
        assert told.back == []
        seen = [0]
        while len(in_flight):
            await current_host().checkpoint()
            seen.append(len(told.back))
        assert most_between_turns(seen) <= TWO_TURNS * LEFT_AT_ONCE
        assert told.back == [("alone", "gone"), *((id, "gone too") for id in ids)]

    await with_in_flight(told, use)


async def test_whether_a_caller_of_very_many_goes_on_is_asked_once():
    told = Told()
    ids = [f"j{n}" for n in range(3 * LEFT_AT_ONCE)]
    answers = [True]

    async def use(in_flight: InFlight) -> None:
        waiters = await submitted(in_flight, *ids)
        in_flight.leaving.leave_all({waiter.id: waiter for waiter in waiters}, "gone", answers.pop)
        await in_flight.leaving.let_go()
        assert (told.back, answers, len(in_flight)) == ([], [], 0)

    await with_in_flight(told, use)


async def test_one_of_very_many_that_is_called_again_is_taken_back_first():
    told = Told()
    ids = [f"j{n}" for n in range(3 * LEFT_AT_ONCE)]

    async def use(in_flight: InFlight) -> None:
        waiters = await submitted(in_flight, *ids)
        in_flight.leaving.leave_all({waiter.id: waiter for waiter in waiters}, "gone")
        again = in_flight.submit(msgspec.structs.replace(job(ids[-1]), again=True))
        assert told.back == [(ids[-1], "gone")]
        while not again.is_known:
            await current_host().checkpoint()
        await in_flight.leaving.let_go()
        assert sorted(told.back) == sorted((id, "gone") for id in ids)
        assert len(in_flight) == 1

    await with_in_flight(told, use)


async def test_a_job_with_very_many_calls_that_is_cancelled_leaves_none_of_them():
    host = current_host()
    many = 4 * LEFT_AT_ONCE

    @processor(queue=QueueOptions(concurrency=2))
    async def child(state: int) -> int:
        await host.event().wait()
        return state

    @processor
    async def parent(state: int, ctx: Any) -> int:
        for n in range(many):
            ctx.nursery.start_soon(ctx.call, child, n)
        await host.event().wait()
        return state

    async with LocalRuntime() as runtime:
        runtime.register(child, parent)
        job = await runtime.submit(parent, 0)
        while (stats := (await runtime.get_queue_stats())["child"]).waiting + stats.active < many:
            await host.checkpoint()
        await job.cancel()
        while (stats := (await runtime.get_queue_stats())["child"]).cancelled < many:
            await host.checkpoint()
        assert (stats.waiting, stats.active, stats.completed) == (0, 0, 0)
        assert (await runtime.get_queue_stats())["parent"].cancelled == 1


async def test_a_refusal_after_an_unknown_outcome_leaves_it_unknown():
    """The first copy of the request may be applied later: whoever asks again would have the job twice."""

    class Full(Told):
        async def enqueue(self, jobs: Any) -> list[EnqueueAnswer]:
            if len(jobs) > 1:
                raise UnknownOutcomeError("the connection was lost")
            raise ResourceError("Redis has reached its maxmemory")

    async def use(in_flight: InFlight) -> None:
        waiters = [in_flight.submit(job(id)) for id in ("a", "b")]
        while any(waiter.outcome is None for waiter in waiters):
            await current_host().checkpoint()
        assert [type(waiter.outcome) for waiter in waiters] == [UnknownOutcomeError] * 2

    await with_in_flight(Full(), use)


async def test_a_refusal_of_what_was_sent_before_leaves_its_outcome_unknown():
    class Refusing(Told):
        def __init__(self, **context: Any) -> None:
            super().__init__()
            self.context = context

        async def enqueue(self, jobs: Any) -> list[EnqueueAnswer]:
            raise AuthenticationError("refused", context=self.context)

    async def outcomes(in_flight: InFlight) -> None:
        waiters = [in_flight.submit(job(id)) for id in ("a", "b")]
        while any(waiter.outcome is None for waiter in waiters):
            await current_host().checkpoint()
        heard.append({type(waiter.outcome) for waiter in waiters})

    heard: list[Any] = []
    await with_in_flight(Refusing(in_doubt=True), outcomes)
    await with_in_flight(Refusing(), outcomes)
    assert heard == [{UnknownOutcomeError}, {AuthenticationError}]
