"""However a runtime is stopped, it can be left."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import RuntimeStateError, processor

pytestmark = pytest.mark.anyio


def _hang(running: anyio.Event) -> Any:
    @processor
    async def hang(n: int) -> int:
        running.set()
        await anyio.sleep_forever()
        return n

    return hang


async def test_a_runtime_whose_stop_was_cancelled_can_be_left(make_runtime):
    running = anyio.Event()
    hang = _hang(running)
    with anyio.fail_after(20):
        async with make_runtime(shutdown_grace=0.1) as runtime:
            runtime.register(hang)
            await runtime.submit(hang, 1)
            await running.wait()
            with anyio.move_on_after(0.05) as patience:
                await runtime.stop(grace=1000)
            assert patience.cancelled_caught
            assert not runtime.is_started


async def test_a_runtime_whose_stop_went_with_a_failing_group_can_be_left(make_runtime):
    running = anyio.Event()
    hang = _hang(running)
    with anyio.fail_after(20):
        async with make_runtime(shutdown_grace=0.1) as runtime:
            runtime.register(hang)
            await runtime.submit(hang, 1)
            await running.wait()
            with pytest.raises(BaseExceptionGroup) as raised:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(partial(runtime.stop, grace=1000))
                    await anyio.lowlevel.checkpoint()
                    raise ZeroDivisionError
            assert raised.group_contains(ZeroDivisionError)


async def test_of_several_stops_the_shortest_grace_counts(make_runtime):
    running = anyio.Event()
    hang = _hang(running)
    with anyio.fail_after(20):
        async with make_runtime(shutdown_grace=1000) as runtime, anyio.create_task_group() as tasks:
            runtime.register(hang)
            await runtime.submit(hang, 1)
            await running.wait()
            tasks.start_soon(partial(runtime.stop, grace=1000))
            await anyio.lowlevel.checkpoint()
            await runtime.stop(grace=0)


@pytest.mark.parametrize("shielded", [False, True])
async def test_a_job_may_stop_the_runtime_that_runs_it(make_runtime, monkeypatch, shielded: bool):
    monkeypatch.setattr("am2z_trio.engine.node.node.SIGN_OFF_TIMEOUT", 0.2)
    runtime = make_runtime()
    returned: list[int] = []

    @processor
    async def last(n: int) -> int:
        with anyio.CancelScope(shield=shielded):
            await runtime.stop(grace=0.05)
            returned.append(n)
        return n

    with anyio.fail_after(20):
        async with runtime:
            runtime.register(last)
            await runtime.submit(last, 1)
            await runtime.wait_stopped()
    # One that cannot be cancelled hears that it is waited for no longer.
    assert returned == ([1] if shielded else [])


async def test_who_waits_for_a_stop_hears_of_the_end_of_a_block_that_failed(make_runtime):
    heard: list[str] = []

    async def wait(runtime: Any) -> None:
        await runtime.wait_stopped()
        heard.append("stopped")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            with pytest.raises(ZeroDivisionError):
                async with make_runtime() as runtime:
                    tasks.start_soon(wait, runtime)
                    await anyio.lowlevel.checkpoint()
                    raise ZeroDivisionError
    assert heard == ["stopped"]
    with pytest.raises(RuntimeStateError):
        await runtime.stop()
