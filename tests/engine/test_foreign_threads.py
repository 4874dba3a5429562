"""A runtime lives in one event loop: used from another thread or loop it is one error, with nothing done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio

from am2z_trio import Event, LocalRuntime, MemoryStateManager, RuntimeStateError, processor
from am2z_trio.engine.runtime.runtime import Runtime

on_both_hosts = pytest.mark.anyio


@processor
async def plus_one(n: int) -> int:
    return n + 1


@processor
async def other(n: int) -> int:
    return n


def handler(event: Event) -> None: ...


async def enter_events(runtime: Runtime) -> None:
    async with runtime.events():
        raise AssertionError("entered")


async def enter_session(runtime: Runtime) -> None:
    async with runtime.session("s", processors=[other]):
        raise AssertionError("entered")


async def enter_lock(runtime: Runtime) -> None:
    async with runtime.state.lock("s"):
        raise AssertionError("entered")


ASYNC: dict[str, Callable[[Runtime], Any]] = {
    "execute": lambda runtime: runtime.execute(plus_one, 1),
    "execute_many": lambda runtime: runtime.execute_many(plus_one, [1]),
    "submit": lambda runtime: runtime.submit(plus_one, 1),
    "stop": lambda runtime: runtime.stop(),
    "wait_stopped": lambda runtime: runtime.wait_stopped(),
    "leave": lambda runtime: runtime.__aexit__(None, None, None),
    "pause": lambda runtime: runtime.pause(plus_one),
    "stop_session": lambda runtime: runtime.stop_session("s"),
    "session": enter_session,
    "events": enter_events,
    "lock": enter_lock,
    "state.set": lambda runtime: runtime.state.set("s", 1),
    "state.get": lambda runtime: runtime.state.get("s"),
    "forget_processor": lambda runtime: runtime.forget_processor(other),
    "get_queue_stats": lambda runtime: runtime.get_queue_stats(),
    "dead_letters.list": lambda runtime: runtime.dead_letters.list(plus_one),
    "workers.stop_worker": lambda runtime: runtime.workers.stop_worker(plus_one),
    "check_health": lambda runtime: runtime.connection.check_health(),
}
SYNC: dict[str, Callable[[Runtime], Any]] = {
    "register": lambda runtime: runtime.register(other),
    "register_many": lambda runtime: runtime.register_many([other]),
    "register anew": lambda runtime: runtime.register(processor(name="plus_one")(other.fn)),
    "unregister": lambda runtime: runtime.unregister(plus_one),
    "on": lambda runtime: runtime.on("*", handler),
    "off": lambda runtime: runtime.off("kept"),
    "emit": lambda runtime: runtime.emit("something", 1),
    "get_stats": lambda runtime: runtime.get_stats(),
    "create_session_worker": lambda runtime: runtime.workers.create_session_worker(plus_one, "s"),
}


async def unharmed(runtime: Runtime) -> None:
    """Nothing has been done, and all goes on."""
    with anyio.fail_after(20):
        assert runtime.is_started
        assert runtime.list_processors() == ["plus_one"]
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2
        assert await runtime.state.get("s") is None
        assert runtime.off("*") == 0
        assert runtime.off("kept") == 1
        runtime.on("kept", handler)
        assert await runtime.sync_processors() == ["plus_one"]


@on_both_hosts
async def test_what_is_called_from_a_foreign_thread_is_one_error_and_does_nothing(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(plus_one)
        runtime.on("kept", handler)
        for call in SYNC.values():
            with pytest.raises(RuntimeStateError, match="was used from"):
                await anyio.to_thread.run_sync(call, runtime)
        await unharmed(runtime)


@on_both_hosts
@pytest.mark.parametrize("foreign", ["trio", "asyncio"])
async def test_what_is_awaited_in_a_loop_of_another_thread_is_one_error_and_does_nothing(
    make_runtime, foreign
):
    def call_all() -> dict[str, Any]:
        async def call() -> dict[str, Any]:
            said: dict[str, Any] = {}
            for name, one in (ASYNC | SYNC).items():
                try:
                    with anyio.fail_after(10):
                        answer = one(runtime)
                        said[name] = await answer if hasattr(answer, "__await__") else answer
                except Exception as error:
                    said[name] = type(error)
            return said

        return anyio.run(call, backend=foreign)

    async with make_runtime() as runtime:
        runtime.register(plus_one)
        runtime.on("kept", handler)
        said = await anyio.to_thread.run_sync(call_all)
        assert said == dict.fromkeys(ASYNC | SYNC, RuntimeStateError)
        await unharmed(runtime)


@on_both_hosts
async def test_handles_belong_to_the_loop_of_their_runtime_too(make_runtime):
    async with (
        make_runtime() as runtime,
        runtime.events("nothing") as stream,
        runtime.state.lock("t") as lock,
    ):
        runtime.register(plus_one)
        job = await runtime.submit(plus_one, 1)
        calls: list[Callable[[], Any]] = [
            *(job.result, job.status, job.progress, job.cancel),
            *(stream.next, stream.__anext__, lock.read, lambda: lock.write(1)),
        ]

        def call_all() -> list[type[Exception]]:
            async def call() -> list[type[Exception]]:
                said: list[type[Exception]] = []
                for one in calls:
                    with pytest.raises(RuntimeStateError) as refused:
                        await one()
                    said.append(type(refused.value))
                return said

            return asyncio.run(call())

        assert await anyio.to_thread.run_sync(call_all) == [RuntimeStateError] * len(calls)
        assert (await job.result()).unwrap() == 2


@on_both_hosts
async def test_a_plain_processor_comes_back_to_the_loop_by_from_thread(make_runtime):
    runtime = make_runtime()
    said: list[str] = []

    @processor
    def plain(n: int) -> int:
        try:
            runtime.emit("not like this")
        except RuntimeStateError as error:
            said.append(str(error))
        anyio.from_thread.run_sync(runtime.emit, "but", n)
        result = anyio.from_thread.run(runtime.execute, plus_one, n)
        return int(result.unwrap())

    async with runtime:
        runtime.register(plain, plus_one)
        with anyio.fail_after(20):
            assert (await runtime.execute(plain, 1)).unwrap() == 2
    (words,) = said
    assert "from_thread" in words


@pytest.mark.trio
async def test_a_runtime_may_be_furnished_anywhere_before_it_is_entered_and_after():
    runtime = LocalRuntime()
    await trio.to_thread.run_sync(runtime.register, plus_one)
    await trio.to_thread.run_sync(runtime.on, "*", handler)
    async with runtime:
        assert runtime.node_id == await trio.to_thread.run_sync(lambda: runtime.node_id)
        assert (await runtime.execute(plus_one, 1)).unwrap() == 2
    assert await trio.to_thread.run_sync(runtime.unregister, plus_one)
    assert await trio.to_thread.run_sync(runtime.off, "*") == 1


def test_a_runtime_is_not_used_while_its_loop_stands_still_nor_in_another_of_the_thread():
    runtime = LocalRuntime()
    one, two = asyncio.new_event_loop(), asyncio.new_event_loop()

    async def hold(entered: asyncio.Event, leave: asyncio.Event) -> None:
        async with runtime:
            runtime.register(plus_one)
            entered.set()
            await leave.wait()

    entered, leave = asyncio.Event(), asyncio.Event()
    try:
        task = one.create_task(hold(entered, leave))
        one.run_until_complete(entered.wait())
        with pytest.raises(RuntimeStateError, match="while that did not run"):
            runtime.register(other)
        with pytest.raises(RuntimeStateError, match="another event loop"):
            two.run_until_complete(runtime.execute(plus_one, 1))
        assert runtime.list_processors() == ["plus_one"]
        assert one.run_until_complete(runtime.execute(plus_one, 1)).unwrap() == 2
        leave.set()
        one.run_until_complete(task)
    finally:
        one.close()
        two.close()


@on_both_hosts
async def test_a_state_manager_belongs_to_its_loop_too():
    async with MemoryStateManager() as states:
        await states.set("s", 1)

        def call() -> None:
            asyncio.run(states.set("s", 2))

        with pytest.raises(RuntimeStateError, match="was used from"):
            await anyio.to_thread.run_sync(call)
        found = await states.get("s")
        assert found is not None
        assert found.state == 1
