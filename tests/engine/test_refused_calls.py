"""What an error reply to a batch says about its members, and to claims: nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from am2z_trio import JobOptions, QueueOptions, processor
from am2z_trio.engine.work import feeder
from am2z_trio.model.errors import ServerReplyError, UnknownOutcomeError
from am2z_trio.model.records import ClaimAnswer, Enqueue, EnqueueAnswer
from tests.engine.answering import answer_with
from tests.engine.conftest import MakeRuntime

pytestmark = pytest.mark.anyio


@processor(queue=QueueOptions(concurrency=50))
async def double(text: str) -> str:
    return text * 2


def replied(reply: str) -> ServerReplyError:
    return ServerReplyError(f"Redis answered: {reply}", context={"reply": reply})


@pytest.mark.parametrize(
    "error",
    [replied("NOPERM no"), replied("ERR too large"), UnknownOutcomeError("lost three times")],
    ids=["not allowed", "too large", "cut off"],
)
async def test_of_jobs_that_are_sent_together_only_the_refused_one_fails(
    error: Exception, make_runtime: MakeRuntime
) -> None:
    batches: list[int] = []
    async with make_runtime() as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, "")).unwrap() == ""
        store = runtime.node.store
        enqueue = store.enqueue

        async def refuse(jobs: Sequence[Enqueue], *at_rest: Any) -> list[EnqueueAnswer]:
            batches.append(len(jobs))
            if any(len(job.spec.state) > 5000 for job in jobs):
                raise error
            return await enqueue(jobs, *at_rest)

        answer_with(store, "enqueue", refuse)
        with anyio.fail_after(20):
            found = await runtime.execute_many(double, ["a", "x" * 6000, "b", "c"])
    assert [result.success for result in found] == [True, False, True, True]
    assert found[1].error is error
    assert max(batches) == 4


async def test_a_refused_claim_is_tried_again_and_told_once(
    make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feeder, "CLAIM_AGAIN_AFTER", 0.001)
    caplog.set_level(logging.WARNING, "am2z_trio.worker")
    async with make_runtime() as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, "")).unwrap() == ""
        store, refusals = runtime.node.store, 0
        claim = store.claim

        async def refuse(*arguments: Any) -> ClaimAnswer:
            nonlocal refusals
            refusals += 1
            if refusals <= 5:
                raise replied("NOPERM no")
            return await claim(*arguments)

        store.claim = refuse  # type: ignore[method-assign, assignment]
        with anyio.fail_after(20):
            # One with a priority is not given to a worker that waits: it has to be claimed.
            options = JobOptions(priority=1)
            assert (await runtime.execute(double, "a", options=options)).unwrap() == "aa"
    assert refusals > 5
    assert len([record for record in caplog.records if "NOPERM" in record.message]) == 1
