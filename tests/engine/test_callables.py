"""What may be a processor's function is judged as it is called, and what may not is refused at once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import msgspec
import pytest

from am2z_trio import ConfigurationError, Context, Processor, chain, processor


class Order(msgspec.Struct, frozen=True):
    n: int


def traced(fn: Callable[..., Any]) -> Callable[..., Any]:
    """An async wrapper around whatever it is."""

    @functools.wraps(fn)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        answer = fn(*args, **kwargs)
        return await answer if hasattr(answer, "__await__") else answer

    return wrapper


def noted(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A plain wrapper around whatever it is."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def finished(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A plain wrapper that runs an async function to its end, in a loop of its own."""

    @functools.wraps(fn)
    def wrapper(state: Order) -> Any:
        return anyio.run(fn, state)

    return wrapper


async def asynchronous(order: Order) -> Order:
    await anyio.lowlevel.checkpoint()
    return Order(order.n + 1)


async def asynchronous_with_context(order: Order, ctx: Context) -> Order:
    ctx.emit("seen")
    await ctx.update_progress(0.5)
    ctx.nursery.start_soon(anyio.lowlevel.checkpoint)
    assert ctx.processor == "it"
    return await asynchronous(order)


def plain(order: Order) -> Order:
    # Only a thread of a worker may do so.
    return anyio.from_thread.run(asynchronous, order)


def plain_with_context(order: Order, ctx: Context) -> Order:
    ctx.emit("seen")
    anyio.from_thread.run(ctx.update_progress, 0.5)
    return plain(order)


def no_loop(order: Order) -> Order:
    return Order(order.n + 1)


def hands_on(order: Order):
    return asynchronous(order)


def hands_on_with_context(order: Order, ctx: Context):
    ctx.emit("from the thread")
    return asynchronous_with_context(order, ctx)


def optional_context(order: Order, ctx: Context | None = None) -> Order:
    assert ctx is not None
    return plain(order)


async def option_of_its_own(order: Order, by: int = 1) -> Order:
    return Order(order.n + by)


class Service:
    async def asynchronous(self, order: Order) -> Order:
        return await asynchronous(order)

    def plain(self, order: Order, ctx: Context) -> Order:
        return plain(order)

    @traced
    def wrapped(self, order: Order) -> Order:
        return no_loop(order)

    @staticmethod
    async def static(order: Order) -> Order:
        return await asynchronous(order)

    @classmethod
    async def of_class(cls, order: Order) -> Order:
        return await asynchronous(order)


class AsyncCall:
    async def __call__(self, order: Order, ctx: Context) -> Order:
        return await asynchronous(order)


class PlainCall:
    def __call__(self, order: Order) -> Order:
        return plain(order)


class LateCall:
    def __call__(self, order: Order) -> Any:
        return asynchronous(order)


async def with_step(step: int, order: Order) -> Order:
    return Order(order.n + step)


CALLABLES: dict[str, Callable[..., Any]] = {
    "async": asynchronous,
    "async with context": asynchronous_with_context,
    "plain": plain,
    "plain with context": plain_with_context,
    "async around plain": traced(no_loop),
    "async around async": traced(asynchronous_with_context),
    "plain around plain": noted(plain_with_context),
    "plain around async": noted(asynchronous),
    "plain around async with context": noted(asynchronous_with_context),
    "plain around async around plain": noted(traced(no_loop)),
    "async around plain around async": traced(noted(asynchronous)),
    "plain that runs an async one": finished(asynchronous),
    "plain that returns an awaitable": hands_on,
    "plain with context that returns an awaitable": hands_on_with_context,
    "lambda": lambda order: Order(order.n + 1),
    "lambda that returns an awaitable": lambda order: asynchronous(Order(order.n)),
    "optional context": optional_context,
    "option of its own": option_of_its_own,
    "method": Service().asynchronous,
    "plain method": Service().plain,
    "wrapped method": Service().wrapped,
    "static method": Service.static,
    "class method": Service.of_class,
    "object": AsyncCall(),
    "plain object": PlainCall(),
    "object that returns an awaitable": LateCall(),
    "partial": functools.partial(with_step, 1),
    "partial of a method": functools.partial(Service.plain, Service()),
    "partial of an object": functools.partial(AsyncCall()),
    "partial of a wrapper": functools.partial(traced(no_loop)),
    "cached": functools.lru_cache(no_loop),
}


@pytest.mark.anyio
@pytest.mark.parametrize("fn", CALLABLES.values(), ids=CALLABLES)
async def test_it_is_called_as_it_is_written(make_runtime, fn):
    made = Processor(fn, name="it", state_type=Order)
    bare = processor(name="it", state_type=Order)(fn)
    inline = chain("inline", [made], inline=True)
    async with make_runtime() as runtime:
        runtime.register(inline)
        assert (await runtime.execute(made, Order(1))).unwrap() == Order(2)
        assert (await runtime.execute(inline, Order(1), session="alice")).unwrap() == Order(2)
        runtime.register(bare)
        assert (await runtime.execute(bare, Order(1))).unwrap() == Order(2)


@pytest.mark.parametrize("fn", [*CALLABLES.values()][:15], ids=[*CALLABLES][:15])
def test_the_state_type_is_that_of_what_is_wrapped(fn):
    assert Processor(fn).state_type is (Order if "lambda" not in fn.__name__ else Any)


def test_a_wrapper_takes_what_it_says():
    def give(fn):
        @functools.wraps(fn)
        async def wrapper(state):
            return await fn(state, 5)

        return wrapper

    @give
    async def needs(order: Order, by: int) -> Order:
        return Order(order.n + by)

    made = Processor(needs)
    assert (made.is_async, made.takes_context, made.state_type) == (True, False, Order)


def test_names_of_what_has_none():
    assert Processor(functools.partial(with_step, 1)).name == "with_step"
    assert Processor(AsyncCall()).name == "AsyncCall"
    assert Processor(Service().plain).name == "plain"


@pytest.mark.anyio
async def test_an_awaitable_of_a_thread_ends_with_its_job(make_runtime):
    began, ended = anyio.Event(), anyio.Event()

    async def sleeps(n: int) -> int:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return n

    def hands_over(n: int):
        return sleeps(n)

    made = Processor(hands_over)
    async with make_runtime() as runtime:
        runtime.register(made)
        job = await runtime.submit(made, 1)
        with anyio.fail_after(5):
            await began.wait()
            await job.cancel()
            await ended.wait()
            assert (await job.result()).error.code == "JOB_CANCELLED"


async def yields(order: Order):
    yield order


def yields_too(order: Order):
    yield order


class Yields:
    async def __call__(self, order: Order):
        yield order


async def swapped(ctx, order: Order): ...
async def swapped_and_annotated(ctx: Context, order: Order): ...
async def swapped_by_name(context, order): ...
async def swapped_to_a_dict(a, order: dict[str, int]): ...
async def context_alone(ctx: Context): ...
async def three(a, b, c): ...
async def none(): ...
async def needs_keyword(order, *, by): ...


@functools.wraps(no_loop)
def lying(): ...


def in_a_loop(*args: Any): ...


in_a_loop.__wrapped__ = in_a_loop  # type: ignore[attr-defined]


class NoSignature:
    __call__ = asynchronous

    @property
    def __signature__(self) -> Any:
        raise RuntimeError("none")


@contextlib.asynccontextmanager
async def manager(order: Order):
    yield order


@contextlib.contextmanager
def plain_manager(order: Order):
    yield order


async def context_by_name(order: Order, *, ctx: Context | None = None) -> None: ...


async def anything(*args: Any): ...


class Decorated:
    price: Any

    async def method(self, order: Order) -> Order:
        return order


REFUSED: dict[str, tuple[Any, str]] = {
    "async generator": (yields, "yields none"),
    "generator": (yields_too, "yields none"),
    "object that yields": (Yields(), "yields none"),
    "partial that yields": (functools.partial(yields), "yields none"),
    "plain wrapper's generator": (Yields().__call__, "yields none"),
    "context first": (swapped, "the state comes first, and then ctx"),
    "context first, annotated": (swapped_and_annotated, "the state comes first, and then ctx"),
    "context first, by name": (swapped_by_name, "the state comes first, and then ctx"),
    "state second": (swapped_to_a_dict, "its second parameter is the context"),
    "context alone": (context_alone, "the state comes first, and then ctx"),
    "unbound method": (Service.plain, "a method without its object"),
    "unbound method with one parameter": (Service.asynchronous, "a method without its object"),
    "partial of an unbound method": (functools.partial(Service.plain), "a method without its object"),
    "three": (three, r"must take \(state\) or \(state, ctx\)"),
    "none": (none, r"must take \(state\) or \(state, ctx\)"),
    "lying": (lying, r"must take \(state\) or \(state, ctx\)"),
    "anything": (anything, r"must take \(state\) or \(state, ctx\); give a wrapper.*functools\.wraps"),
    "keyword": (needs_keyword, r"must take \(state\) or \(state, ctx\)"),
    "wrapper of itself": (in_a_loop, "no readable signature"),
    "odd signature": (NoSignature(), "no readable signature"),
    "async context manager": (manager, "yields none"),
    "context manager": (plain_manager, "yields none"),
    "context by name": (context_by_name, "the context is given as its second parameter, without a name"),
    "class": (Order, "is a class"),
    "processor": (processor(asynchronous), "is a processor already"),
    "coroutine": (5, "must be a function"),
    "builtin without a signature": (print, "must take|no readable signature"),
}


@pytest.mark.parametrize(("fn", "why"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("define", [Processor, processor, processor(timeout=5)])
def test_it_is_refused_where_it_is_defined(define: Any, fn, why):
    with pytest.raises(ConfigurationError, match=why):
        define(fn)


def test_a_method_that_is_decorated_in_its_class_is_refused():
    define: Any = processor
    with pytest.raises(ConfigurationError, match="a method without its object"):

        class _Shop:  # pyright: ignore[reportUnusedClass]
            @define
            async def price(self, order: Order) -> Order:
                return order
