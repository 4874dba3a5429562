"""A session is a tenant: nothing that one of them chooses reads, stops or stands in for what is another's."""

from __future__ import annotations

import anyio
import pytest

from am2z_trio import ConfigurationError, Context, processor
from am2z_trio.model.events import OWN

on_both_hosts = pytest.mark.anyio


@on_both_hosts
@pytest.mark.parametrize("name", [*(f"{own}completed" for own in OWN), *OWN, "job:"])
async def test_nobody_but_the_engine_says_what_the_engine_says(make_runtime, name):
    @processor
    async def forger(n: int, ctx: Context) -> int:
        for emit in (ctx.emit, ctx.runtime.emit):
            with pytest.raises(ConfigurationError, match="must not begin as the engine's own"):
                emit(name, {"attempt": 1})
        return n

    @processor
    def in_a_thread(n: int, ctx: Context) -> int:
        ctx.emit(name)
        return n

    async with make_runtime() as runtime:
        runtime.register(forger, in_a_thread)
        assert (await runtime.execute(forger, 1)).unwrap() == 1
        error = (await runtime.execute(in_a_thread, 1)).error
        assert isinstance(error, ConfigurationError)
        with pytest.raises(ConfigurationError) as caught:
            runtime.emit(name)
    assert caught.value.context == {
        "field": "event",
        "value": repr(name),
        "rule": f"must not begin as the engine's own: {', '.join(OWN)}",
    }


@on_both_hosts
async def test_names_beside_the_engines_are_everybodys(make_runtime):
    async with make_runtime() as runtime, runtime.events("*") as stream:
        for name in ("jobs:done", "job", "my job:done", "Job:done", "order:session:opened"):
            runtime.emit(name)
            with anyio.fail_after(10):
                while (event := await stream.next()).name != name:
                    pass
            assert event.job == ""


@on_both_hosts
async def test_a_call_that_is_run_inline_tells_its_events_all_the_same(make_runtime):
    @processor
    async def inner(n: int) -> int:
        return n + 1

    @processor
    async def outer(n: int, ctx: Context) -> int:
        return await ctx.call(inner, n, inline=True)

    async with make_runtime() as runtime:
        runtime.register(inner, outer)
        heard: list[str] = []
        async with runtime.events("job:*") as stream:
            assert (await runtime.execute(outer, 1)).unwrap() == 2
            with anyio.fail_after(10):
                while heard.count("job:completed") < 2:
                    event = await stream.next()
                    heard.append(event.name)
                    if event.processor == "inner":
                        assert event.data == {"attempt": 1}
    assert heard.count("job:started") == 2
