"""A job that ends the node it runs on is lost with it: it cannot end one node after another."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import JobStalledError, QueueOptions, processor
from am2z_trio.engine.execution.executor import Executor
from am2z_trio.model.records import STALLED

from .conftest import MakeRuntime

pytestmark = pytest.mark.anyio

NODES = 2
"""That the job may end, before it is a dead letter."""

OPTIONS = QueueOptions(max_stalled_count=NODES - 1, stalled_interval=0.1)


def a_cluster(make_runtime: MakeRuntime, anyio_backend: str, interrupts: bool) -> Any:
    """Make one node after another; the processor `bad` fails the engine, or raises what Ctrl-C does."""
    begun: list[str] = []

    @processor(queue=OPTIONS)
    async def bad(n: int) -> int:
        begun.append("bad")
        with anyio.fail_after(20):
            while "beside" not in begun:
                await anyio.sleep(0.005)
        if interrupts:
            raise KeyboardInterrupt
        return n

    @processor(queue=QueueOptions(max_stalled_count=10, stalled_interval=0.1))
    async def beside(n: int) -> int:
        begun.append("beside")
        if begun.count("bad") < NODES:
            await anyio.sleep_forever()
        return n

    runtime = make_runtime()

    def node() -> Any:
        made = runtime if hasattr(runtime, "_server") else make_runtime()
        made.register(bad, beside)
        begun[:] = [one for one in begun if one != "beside"]
        return made

    return node, begun, bad, beside


@pytest.mark.parametrize("interrupts", [False, True], ids=["an error of the engine", "KeyboardInterrupt"])
async def test_it_becomes_a_dead_letter_and_its_neighbour_completes(
    make_runtime: MakeRuntime,
    anyio_backend: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    interrupts: bool,
):
    if interrupts and anyio_backend == "asyncio":
        # Asyncio itself lets it end the loop.
        return
    node, begun, bad, beside = a_cluster(make_runtime, anyio_backend, interrupts)
    run = Executor._run

    async def fails(self: Executor, claim: Any, *rest: Any) -> Any:
        settlement = await run(self, claim, *rest)
        if claim.grant.spec.processor == "bad" and not interrupts:
            raise KeyError("a mistake of the engine's own")
        return settlement

    async def unguarded(self: Executor, claim: Any, definition: Any, *, stored: Any = None) -> Any:
        return await fails(self, claim, definition, stored)

    run_plain = Executor.run_plain

    async def plainly_fails(self: Executor, claim: Any, *rest: Any) -> Any:
        settlement = await run_plain(self, claim, *rest)
        if claim.grant.spec.processor == "bad" and not interrupts:
            raise KeyError("a mistake of the engine's own")
        return settlement

    monkeypatch.setattr(Executor, "run", unguarded)
    monkeypatch.setattr(Executor, "run_plain", plainly_fails)
    with anyio.fail_after(60):
        for number in range(NODES):
            with pytest.raises(KeyboardInterrupt if interrupts else KeyError):
                async with node() as runtime:
                    if number == 0:
                        await runtime.submit(beside, 1, job_id="innocent")
                        await runtime.submit(bad, 0, job_id="guilty")
                    await anyio.sleep_forever()
            assert begun.count("bad") == number + 1
        async with node() as runtime:
            while not await runtime.dead_letters.count(bad):
                await anyio.sleep(0.05)
            assert isinstance((await runtime.dead_letters.show("guilty")).error, JobStalledError)
            assert (await runtime.execute(beside, 1, job_id="innocent")).unwrap() == 1
            # Its workers cannot say so any more.
            while not (told := [one for one in caplog.records if getattr(one, "code", "") == "JOB_STALLED"]):
                await anyio.sleep(0.01)
    (record,) = told
    assert (record.name, record.levelname) == ("am2z_trio.jobs", "WARNING")
    assert record.getMessage() == f"job guilty of 'bad' failed at attempt 1: {STALLED}"
    assert begun.count("bad") == NODES


async def test_a_block_that_fails_hands_its_jobs_back_unspent(make_runtime: MakeRuntime):
    """The host's own error is none of the node's."""
    runs: list[int] = []
    begun = anyio.Event()

    @processor(queue=QueueOptions(max_stalled_count=0))
    async def waits(n: int) -> int:
        runs.append(n)
        begun.set()
        if len(runs) == 1:
            await anyio.sleep_forever()
        return n

    runtime = make_runtime()
    runtime.register(waits)
    with anyio.fail_after(20):
        with pytest.raises(KeyError):
            async with runtime:
                await runtime.submit(waits, 1, job_id="one")
                await begun.wait()
                raise KeyError
        async with runtime:
            assert (await runtime.execute(waits, 1, job_id="one")).unwrap() == 1
