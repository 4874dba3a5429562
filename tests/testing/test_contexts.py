"""A processor's code alone, with a context that keeps what it does."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    JobCancelledError,
    ParallelError,
    Resource,
    ValidationError,
    batch,
    chain,
    parallel,
    processor,
)
from am2z_trio.testing.contexts import lone_context

on_both_hosts = pytest.mark.anyio


class Order(msgspec.Struct, frozen=True):
    cents: int
    items: tuple[str, ...] = ()


class Pool:
    def __init__(self, name: str) -> None:
        self.name = name


@processor
async def charge(order: Order) -> Order:
    raise AssertionError("only its fake is called")


@processor
async def pay(order: Order, ctx: Context) -> Order:
    ctx.log.info("pays %d", order.cents)
    await ctx.update_progress(0.5)
    ctx.emit("paying", {"cents": order.cents})
    visits = await ctx.state.read(dict[str, int])
    if visits is not None:
        await ctx.state.update(lambda state: {"visits": state["visits"] + 1}, dict[str, int])
    await ctx.submit("mail", order, key="mail")
    return await ctx.call(charge, order, key="charge")


@on_both_hosts
async def test_what_a_processor_does_with_its_context_is_kept(caplog):
    caplog.set_level("INFO", logger="am2z_trio.jobs")
    ctx = lone_context(
        session="alice",
        state={"visits": 1},
        calls={charge: lambda order: Order(cents=order.cents + 1, items=order.items)},
        job_id="order-17",
        attempt=2,
    )
    assert await ctx.run(pay, Order(100, ("a",))) == Order(101, ("a",))
    assert ctx.progress == [0.5]
    assert [(event.name, event.data) for event in ctx.emitted] == [("paying", {"cents": 100})]
    assert ctx.logged == [("INFO", "pays 100")]
    assert [record.message for record in caplog.records] == ["pays 100"]
    assert [(one.processor, one.state.cents, one.key) for one in ctx.called] == [("charge", 100, "charge")]
    assert [one.processor for one in ctx.submitted] == ["mail"]
    assert await ctx.state.read(dict) == {"visits": 2}
    assert (ctx.session_id, ctx.execution_id, ctx.meta.attempt) == ("alice", "order-17", 2)
    assert ctx.debug.call_stack == ["pay"]


@on_both_hosts
@pytest.mark.parametrize("answer", [Order(1), lambda _: Order(1)])
async def test_a_call_is_answered_by_what_was_given_for_it(answer):
    ctx = lone_context(calls={"charge": answer})

    @processor
    async def calls(n: int, ctx: Context) -> int:
        return (await ctx.call(charge, Order(5))).cents

    assert await ctx.run(calls, 0) == 1


@on_both_hosts
async def test_a_call_is_answered_by_an_error_an_async_function_or_the_processor_itself():
    @processor
    async def double(n: int, ctx: Context) -> int:
        assert ctx.processor == "double"
        return 2 * n

    @processor
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call(double, n)

    async def answers(n: int) -> int:
        return n + 1

    assert await lone_context(calls={double: double}).run(calls, 21) == 42
    assert await lone_context(calls={double: answers}).run(calls, 21) == 22
    with pytest.raises(OSError, match="away"):
        await lone_context(calls={double: OSError("away")}).run(calls, 21)
    with pytest.raises(AssertionError, match=r"'double' was called, .* no answer: calls=\{'double': …\}"):
        await lone_context().run(calls, 21)


@on_both_hosts
async def test_states_go_through_their_codec_and_none_leaves_them_as_they_are():
    @processor
    async def wrong(order: Order) -> Order:
        return "no order"  # type: ignore[return-value]

    @processor
    async def leaves(order: Order) -> None: ...

    ctx = lone_context()
    with pytest.raises(ValidationError):
        await ctx.run(wrong, Order(1))
    with pytest.raises(ValidationError, match=r"\$\.cents"):
        await ctx.run(cast(Any, leaves), {"cents": "x"})
    assert await ctx.run(leaves, Order(1)) == Order(1)


@on_both_hosts
async def test_resources_are_given_and_a_nursery_and_a_thread():
    ran: list[str] = []

    @processor
    async def uses(n: int, ctx: Context, *, pool: Annotated[Pool, Resource()]) -> int:
        async def note() -> None:
            ran.append(pool.name)

        ctx.nursery.start_soon(note)
        return n

    @processor
    def plain(n: int, ctx: Context) -> int:
        ctx.emit("from a thread")
        return n + 1

    ctx = lone_context(resources=[Pool("main")])
    assert await ctx.run(uses, 1) == 1
    assert ran == ["main"]
    assert await ctx.run(plain, 1) == 2
    assert [event.name for event in ctx.emitted] == ["from a thread"]
    with pytest.raises(ConfigurationError, match="provides nothing of the type Pool"):
        await lone_context().run(uses, 1)


@on_both_hosts
async def test_waits_take_no_time_and_are_answered_by_the_signals_that_were_given():
    @processor
    async def asks(n: int, ctx: Context) -> int:
        await ctx.sleep(3600)
        return n + await ctx.wait_for("more", int) + await ctx.wait_for("none", int, timeout=60, default=0)

    ctx = lone_context(signals={"more": 2})
    assert await ctx.run(asks, 1) == 3
    assert ctx.waited == [("", 3600), ("more", None), ("none", 60)]
    with pytest.raises(AssertionError, match="'more' is waited for"):
        await lone_context().run(asks, 1)


@on_both_hosts
async def test_compositions_run_with_their_parts_answered():
    @processor
    async def one(n: int) -> int:
        return n + 1

    line = chain("line", [one, one])
    assert await lone_context(calls={one: one}).run(line, 0) == 2
    squares = batch("squares", one, range, merge=lambda n, results: sum(results))
    assert await lone_context(calls={one: lambda n: n * n}).run(squares, 4) == 14
    both = parallel("both", [one], merge=lambda state, results: sum(results))
    with pytest.raises(ParallelError):
        await lone_context(calls={one: OSError("away")}).run(both, 1)


@on_both_hosts
async def test_a_processor_that_cancels_itself_is_cancelled():
    @processor
    async def ends(n: int, ctx: Context) -> int:
        ctx.cancel_scope.cancel()
        import anyio

        await anyio.lowlevel.checkpoint()
        return n

    with pytest.raises(JobCancelledError):
        await lone_context().run(ends, 1)


def test_a_bare_function_is_called_without_any_event_loop():
    @processor
    def plain(n: int, ctx: Context) -> int:
        ctx.emit("said", n)
        ctx.log.warning("said")
        return n

    ctx = lone_context()
    assert plain.fn(1, ctx) == 1
    assert [event.data for event in ctx.emitted] == [1]
    assert ctx.logged == [("WARNING", "said")]


def test_what_no_runtime_would_take_is_refused():
    ctx = lone_context()
    with pytest.raises(ConfigurationError, match="must not begin as the engine's own"):
        ctx.emit("job:completed")
    with pytest.raises(ConfigurationError, match="give the session, too"):
        lone_context(state=1)
    with pytest.raises(ConfigurationError, match="attempt"):
        lone_context(attempt=0)
