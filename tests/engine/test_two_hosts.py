"""One runtime object, entered on one host and later on another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio.from_thread
import anyio.lowlevel
import pytest
import trio
import uvloop

from am2z_trio import Context, chain, processor
from tests.engine.conftest import MakeRuntime

Main = Callable[[], Coroutine[Any, Any, None]]


def on_trio(main: Main) -> None:
    trio.run(main)


def on_asyncio(main: Main) -> None:
    asyncio.run(main())


def on_asyncio_within_trio(main: Main) -> None:
    async def outer() -> None:
        await trio.to_thread.run_sync(on_asyncio, main)

    trio.run(outer)


def on_uvloop(main: Main) -> None:
    uvloop.run(main())


async def add(n: int) -> int:
    await anyio.lowlevel.checkpoint()
    return n + 1


@processor
def plain(n: int) -> int:
    """Back to the loop from its thread, whichever loop that is now."""
    anyio.from_thread.check_cancelled()
    return anyio.from_thread.run(add, n)


@processor
def gives_a_coroutine(n: int) -> Coroutine[Any, Any, int]:
    return add(n)


@processor
async def caller(n: int, ctx: Context) -> int:
    return await ctx.call(plain, n) + await ctx.call(plain, n, inline=True)


both = chain("both", [plain, gives_a_coroutine])


@pytest.mark.parametrize(
    "hosts",
    [
        (on_trio, on_asyncio, on_trio),
        (on_asyncio, on_trio, on_asyncio),
        (on_asyncio, on_asyncio),
        (on_asyncio_within_trio, on_trio),
        (on_uvloop, on_trio, on_uvloop, on_asyncio),
    ],
    ids=lambda hosts: " ".join(host.__name__ for host in hosts),
)
def test_plain_functions_run_wherever_it_is_entered(
    make_runtime: MakeRuntime, hosts: tuple[Callable[[Main], None], ...]
) -> None:
    runtime = make_runtime()
    runtime.register(plain, gives_a_coroutine, caller, both)
    heard: list[str] = []
    runtime.on("job:completed", lambda event: heard.append(event.name))

    async def main() -> None:
        async with runtime:
            assert (await runtime.execute(plain, 1)).unwrap() == 2
            assert (await runtime.execute(both, 1)).unwrap() == 3
            assert (await runtime.execute(caller, 1)).unwrap() == 4
            assert [r.unwrap() for r in await runtime.execute_many(plain, range(20))] == [*range(1, 21)]
            await runtime.state.set("s", 1)
            assert (await runtime.execute(plain, session="s")).unwrap() == 2

    for number, host in enumerate(hosts, start=1):
        heard.clear()
        host(main)
        assert heard, number
