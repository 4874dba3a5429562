"""`runtime.explain`: the same words on both runtimes, for jobs that real workers take or leave."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from am2z_trio import Context, JobOptions, QueueOptions, ResourceLimits, RetryPolicy, processor
from am2z_trio.engine.node import memory_watch
from am2z_trio.engine.node.asking import Asking
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import BusinessError
from am2z_trio.model.records import Told
from tests.engine.conftest import MakeRuntime
from tests.support.gates import Gate

pytestmark = pytest.mark.anyio


@processor(name="double")
async def double(n: int) -> int:
    return 2 * n


@processor(name="pay", retry=RetryPolicy(max_attempts=2, backoff=60.0, jitter=0.0))
async def pay(n: int) -> int:
    raise BusinessError("the card was declined", code="DECLINED", retryable=n == 1)


@processor(name="calls")
async def calls(n: int, ctx: Context) -> int:
    return await ctx.call("double", n)


async def said(runtime: Runtime, id: str, text: str) -> None:
    """Wait until the verdict says so."""
    with anyio.fail_after(10):
        while text not in (await runtime.explain(id)).verdict:
            await anyio.sleep(0.005)


async def test_a_job_that_waits_says_for_what(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        runtime.register(double)
        delayed = await runtime.submit(double, 1, options=JobOptions(delay=60.0))
        found = await runtime.explain(delayed.id)
        assert (found.job, found.status, found.processor) == (delayed.id, "later", "double")
        assert (found.blocked_by, found.granted_next) == ("due", False)
        assert found.starts_in is not None
        assert 50 < found.starts_in <= 60
        await runtime.pause(double)
        paused = await runtime.submit(double, 1)
        found = await runtime.explain(paused.id)
        assert found.verdict.endswith(": double is paused")
        assert [remedy.text for remedy in found.remedies] == ["am2z queue resume double"]
        await runtime.resume(double)
        assert (await paused.result()).unwrap() == 2
        assert (await runtime.explain(paused.id)).verdict.startswith("has completed")


async def test_a_job_behind_others_says_which(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        gate = Gate("charge", queue=QueueOptions(concurrency=5, global_concurrency=1))
        runtime.register(gate.processor)
        first = await runtime.submit(gate.processor, 1)
        await gate.began.wait()
        second = await runtime.submit(gate.processor, 2)
        found = await runtime.explain(second.id)
        assert ": 1 job of charge is active, which is all that may be (global_concurrency=1)" in found.verdict
        assert f"am2z job cancel {first.id}" in [remedy.text for remedy in found.remedies]
        await said(runtime, first.id, f"runs on {runtime.node_id}")
        gate.go.set()
        await second.result()


async def test_a_job_that_runs_says_at_which_line(make_runtime: MakeRuntime):
    @processor(name="waits")
    async def waits(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(waits)
        job = await runtime.submit(waits, 1)
        await said(runtime, job.id, f"; at {__file__}:")
        found = await runtime.explain(job.id)
        assert found.where is not None
        assert (found.where.file, found.where.text) == (__file__, "await anyio.sleep_forever()")
        assert found.where.function.endswith("waits")
        unasked = await runtime.explain(job.id, ask_node=False)
        assert unasked.where is None
        assert " at " not in unasked.verdict
        await job.cancel()


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (None, "has not answered within a second where"),
        (Told(id="q", node="n", refusal="there are too many"), "does not say where: there are too many"),
        (Told(id="q", node="n", payload=msgspec.Raw(encode_record(None))), "has it no more"),
    ],
)
async def test_a_node_that_does_not_say_at_which_line_a_job_is_is_told_of(
    told: Told | None, says: str, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
):
    async def ask(_: object, nodes: list[str], verb: str, arguments: object) -> dict[str, Told | None]:
        assert verb == "stack"
        return dict.fromkeys(nodes, told)

    async with make_runtime() as runtime:
        gate = Gate("slow")
        runtime.register(gate.processor)
        job = await runtime.submit(gate.processor, 1)
        await gate.began.wait()
        await said(runtime, job.id, "; at ")
        monkeypatch.setattr(Asking, "ask", ask)
        found = await runtime.explain(job.id)
        assert found.verdict.endswith(f"; {runtime.node_id} {says}")
        assert found.where is None
        monkeypatch.undo()
        gate.go.set()
        await job.result()


async def test_a_node_over_its_memory_limit_is_why_a_job_waits(
    make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
):
    used_mb = 10.0
    monkeypatch.setattr(memory_watch, "resident_mb", lambda: used_mb)
    monkeypatch.setattr(memory_watch, "EVERY", 0.01)
    async with make_runtime(limits=ResourceLimits(max_memory_mb=1000)) as runtime:
        runtime.register(double)
        # It has been submitted before, as a full node takes none.
        await runtime.pause(double)
        job = await runtime.submit(double, 1)
        used_mb = 2000.0
        with anyio.fail_after(10):
            while (await runtime.connection.check_health()).healthy:
                await anyio.sleep(0.005)
        await runtime.resume(double)
        full = "its process uses 2,000 MB of memory, the limit is 1,000 (max_memory_mb)"
        await said(runtime, job.id, f": {runtime.node_id}, which serves it, claims no jobs for now: {full}")
        found = await runtime.explain(job.id)
        assert found.blocked_by == "slot"
        assert found.remedies[0].text == f"am2z node show {runtime.node_id}"
        used_mb = 10.0
        assert (await job.result()).unwrap() == 2


async def test_a_job_whose_node_is_full_says_so(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        gate = Gate("slow", queue=QueueOptions(concurrency=1))
        runtime.register(gate.processor)
        await runtime.submit(gate.processor, 1)
        await gate.began.wait()
        second = await runtime.submit(gate.processor, 2)
        await said(runtime, second.id, ": all slots are taken: 1/1")
        gate.go.set()
        await second.result()


async def test_a_job_that_fails_says_why_before_and_after_its_last_attempt(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        runtime.register(pay)
        again, never = await runtime.submit(pay, 1), await runtime.submit(pay, 2)
        await never.result()
        verdict = (await runtime.explain(never.id)).verdict
        assert verdict.endswith(": DECLINED: the card was declined")
        await said(runtime, again.id, "it backs off before attempt 2")
        assert (
            "; attempt 1 failed: DECLINED: the card was declined" in (await runtime.explain(again.id)).verdict
        )
        await again.cancel("no more of this")
        assert (await runtime.explain(again.id)).verdict.endswith(": no more of this")


async def test_a_job_that_waits_for_another_names_it(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        runtime.register(calls, double)
        await runtime.pause(double)
        job = await runtime.submit(calls, 1)
        await said(runtime, job.id, "and waits for 1 job that it has called")
        (child,) = [remedy.target for remedy in (await runtime.explain(job.id)).remedies]
        assert (await runtime.explain(child)).verdict.endswith(": double is paused")
        await runtime.resume(double)
        assert (await job.result()).unwrap() == 2


async def test_a_job_that_nobody_serves_any_more_says_so(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        runtime.register(double)
        job = await runtime.submit(double, 1, options=JobOptions(delay=0.05))
        runtime.unregister(double)
        await said(runtime, job.id, "no node has served double for")
        assert (await runtime.explain(job.id)).blocked_by in ("due", "served")
        runtime.register(double)
        assert (await job.result()).unwrap() == 2


async def test_a_job_that_never_was_is_said_to_be_unknown(make_runtime: MakeRuntime):
    async with make_runtime() as runtime:
        found = await runtime.explain("no such job")
        assert (found.status, found.gates, found.granted_next) == ("", [], None)
        assert found.verdict.startswith("there is no record of it")
