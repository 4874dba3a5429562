"""A runtime whose private server dies ends, with everything that waits for it."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio
import pytest

from am2z_trio import NetworkError, QueueRuntime, processor

pytestmark = pytest.mark.anyio


async def kill_server(runtime: QueueRuntime) -> None:
    """Kill the server as a crash would."""
    store: Any = runtime.node.store
    info = (await store.link.commands.call("INFO", "server")).decode()
    (pid,) = [line.partition(":")[2] for line in info.splitlines() if line.startswith("process_id:")]
    os.kill(int(pid), signal.SIGKILL)


@processor
async def wait(n: int) -> int:
    await anyio.sleep_forever()
    return n


async def test_its_block_ends_with_one_error_that_says_how_the_server_died():
    ended: list[BaseException | None] = []
    results: list[Any] = []

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            entered = anyio.Event()
            runtime = QueueRuntime(embedded=True, shutdown_grace=100)

            async def outside() -> None:
                """A task that is not cancelled with the runtime's block."""
                await entered.wait()
                results.append((await runtime.execute(wait, 1)).error)

            tasks.start_soon(outside)
            with pytest.raises(NetworkError, match=r"embedded Redis server has died \(SIGKILL\)") as caught:
                async with runtime:
                    runtime.register(wait)
                    job = await runtime.submit(wait, 2)
                    while await job.status() != "active":
                        await anyio.sleep(0.001)
                    entered.set()
                    await anyio.sleep(0.01)
                    await kill_server(runtime)
                    try:
                        while True:
                            await runtime.state.get("s")
                    except BaseException as error:
                        ended.append(error)
                        raise
            assert not isinstance(ended[0], Exception) or ended == [caught.value]
    (outcome,) = results
    assert isinstance(outcome, NetworkError)
    assert "has died (SIGKILL)" in str(outcome)
    assert not outcome.retryable
    assert not runtime.is_entered


async def test_a_runtime_at_rest_ends_too():
    with anyio.fail_after(30), pytest.raises(NetworkError, match="has died"):
        async with QueueRuntime(embedded=True, workers=False) as runtime:
            await kill_server(runtime)
            await anyio.sleep_forever()


async def test_a_runtime_that_is_run_by_a_supervisor_ends_too():
    runtime = QueueRuntime(embedded=True)
    with anyio.fail_after(30), pytest.raises(NetworkError, match="has died"):
        try:
            async with anyio.create_task_group() as tasks:

                async def serve(*, task_status: Any) -> None:
                    await runtime.run(task_status=task_status)

                await tasks.start(serve)
                await kill_server(runtime)
        except BaseExceptionGroup as group:
            (only,) = group.exceptions
            raise only from None


async def test_it_can_be_entered_again_with_a_new_server():
    @processor
    async def plus_one(n: int) -> int:
        return n + 1

    runtime = QueueRuntime(embedded=True)
    runtime.register(plus_one)
    with anyio.fail_after(30):
        with pytest.raises(NetworkError, match="has died"):
            async with runtime:
                await kill_server(runtime)
                await anyio.sleep_forever()
        async with runtime:
            assert (await runtime.execute(plus_one, 1)).unwrap() == 2
