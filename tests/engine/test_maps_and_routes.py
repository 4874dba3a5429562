"""Batches over lists and without a merge, and routes whose keys are any, by plain and async functions."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import (
    ConfigurationError,
    Payload,
    Processor,
    RouteNotFoundError,
    ValidationError,
    batch,
    parallel,
    processor,
    route,
)
from am2z_trio.model.limits import MAX_CALLS


class Order(msgspec.Struct, frozen=True):
    price: int


class Kind(enum.Enum):
    BIG = "big"
    SMALL = "small"


@processor
async def square(n: int) -> int:
    return n * n


@processor
async def double(order: Order) -> Order:
    return Order(2 * order.price)


# Without their types: they are called as a type checker would not let one.
make_batch: Any = batch
make_route: Any = route
make_parallel: Any = parallel


async def slowly(value: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return value


@pytest.mark.anyio
@pytest.mark.parametrize("inline", [False, True])
async def test_a_batch_takes_a_list(make_runtime, inline):
    listed = batch("listed", square, [1, 2, 3], merge=lambda n, squares: n + sum(squares), inline=inline)
    ranged = batch("ranged", square, range(4), inline=inline)
    empty = batch("empty", square, [], inline=inline)
    apart = batch("apart", square, (5, Payload(6, "alice")), inline=inline)
    async with make_runtime() as runtime:
        runtime.register(listed, ranged, empty, apart)
        assert (await runtime.execute(listed, 100)).unwrap() == 114
        assert (await runtime.execute(ranged, [])).unwrap() == [0, 1, 4, 9]
        assert (await runtime.execute(empty, [7])).unwrap() == []
        assert (await runtime.execute(apart, [])).unwrap() == [25, 36]
        assert (await runtime.state.get("alice")).state == 36


@pytest.mark.anyio
async def test_a_list_is_that_of_the_definition(make_runtime):
    numbers = [1, 2]
    listed = batch("listed", square, numbers)
    numbers.append(3)
    async with make_runtime() as runtime:
        runtime.register(listed)
        assert (await runtime.execute(listed, [])).unwrap() == [1, 4]


@pytest.mark.anyio
async def test_without_a_merge_the_results_are_the_state(make_runtime):
    each = batch("each", double, lambda orders: orders)
    counted = batch("counted", double, lambda n: [Order(i) for i in range(n)])
    words = batch("words", square, lambda words: [len(word) for word in words])
    orders = [Order(1), Order(2)]
    async with make_runtime() as runtime:
        runtime.register(each, counted, words)
        assert (await runtime.execute(each, orders, session="alice")).unwrap() == [Order(2), Order(4)]
        assert (await runtime.execute(each, session="alice")).unwrap() == [Order(4), Order(8)]
        assert (await runtime.state.get("alice")).state == [{"price": 4}, {"price": 8}]
        assert (await runtime.execute(counted, 3)).unwrap() == [Order(0), Order(2), Order(4)]
        assert (await runtime.execute(words, ["a", "bcd"])).unwrap() == [1, 9]
        told = (await runtime.execute("counted", ["a"])).error
    assert isinstance(told, ValidationError)
    assert "$[0]" in str(told)


@pytest.mark.anyio
async def test_payloads_merges_and_keys_may_be_async_or_yield(make_runtime):
    async def numbers(n: int) -> list[int]:
        await anyio.lowlevel.checkpoint()
        return [*range(n)]

    def one_by_one(n: int) -> Iterator[int]:
        yield from range(n)

    async def add(n: int, results: list[int]) -> int:
        await anyio.lowlevel.checkpoint()
        return sum(results)

    class Sums:
        async def __call__(self, n: int, results: list[int]) -> int:
            return await add(n, results)

    parts: list[Processor[int]] = [
        batch("async payloads", square, numbers, merge=add),
        batch("yielded payloads", square, one_by_one, merge=Sums()),
        batch("lambda", square, lambda n: numbers(n + 0), merge=add),
    ]
    both = parallel("both", parts, merge=add)
    async with make_runtime() as runtime:
        runtime.register(both)
        for part in parts:
            assert (await runtime.execute(part, 4)).unwrap() == 14
        assert (await runtime.execute(both, 4)).unwrap() == 42


@pytest.mark.anyio
@pytest.mark.parametrize("given", [5, None, "abc"])
async def test_payloads_that_are_no_list_are_told(make_runtime, given):
    broken = make_batch("broken", square, lambda n: given, merge=lambda n, results: n)
    async with make_runtime() as runtime:
        runtime.register(broken)
        error = (await runtime.execute(broken, 1)).error
    assert isinstance(error, ValidationError)
    assert str(error) == f"the payloads of 'broken' are {given!r}, and no list of states"


KEYS: dict[str, Any] = {
    "int": 1,
    "bool": False,
    "None": None,
    "enum": Kind.BIG,
    "tuple": (1, "b"),
    "float": 0.5,
    "bytes": b"k",
    "type": Order,
    "text": "k",
}


@pytest.mark.anyio
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_a_key_may_be_of_any_type(make_runtime, key):
    def plain(order: Order) -> Any:
        return key if order.price < 5 else "other"

    async def later(order: Order) -> Any:
        return await slowly(plain(order))

    same = Processor(double.fn, name="same")
    routes = {key: double, ("another", 2): same, 17: same}
    by_plain, by_async = route("by plain", plain, routes), route("by async", later, routes)
    async with make_runtime() as runtime:
        runtime.register(by_plain, by_async)
        for made in (by_plain, by_async):
            assert (await runtime.execute(made, Order(1))).unwrap() == Order(2)
            error = (await runtime.execute(made, Order(5))).error
            assert isinstance(error, RouteNotFoundError)
            shown = f"has no route 'other' and no fallback (routes: {key!r}, ('another', 2), 17)"
            assert shown in str(error)


@pytest.mark.anyio
async def test_what_can_be_no_key_names_no_route(make_runtime):
    found = make_route("found", lambda order: [order.price], {(1,): double}, fallback=double)
    lost = make_route("lost", lambda order: [order.price], {(1,): double})
    async with make_runtime() as runtime:
        runtime.register(found, lost)
        assert (await runtime.execute(found, Order(1))).unwrap() == Order(2)
        error = (await runtime.execute(lost, Order(1))).error
    assert isinstance(error, RouteNotFoundError)
    assert "has no route [1]" in str(error)


async def yields(n: int):
    yield n


def nothing() -> list[int]:
    return []


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: make_batch("b", square, 5), r"batch\.payloads=5: must be a list of states, or a function"),
        (lambda: make_batch("b", square, "abc"), r"batch\.payloads='abc': must be a list of states"),
        (lambda: make_batch("b", square, {"a": 1}), r"batch\.payloads=\{'a': 1\}: must be a list"),
        (lambda: make_batch("b", square, range(MAX_CALLS + 1)), r"batch\.payloads=range.*100,000 states"),
        (
            lambda: make_batch("b", square, yields),
            r"batch\.payloads=<.*must be a function \(state\), and yields",
        ),
        (lambda: make_batch("b", square, nothing), r"batch\.payloads=<.*and takes \(\)"),
        (lambda: make_batch("b", square, [1], merge=0), r"batch\.merge=0: must be a function"),
        (lambda: make_batch("b", square, [1], merge=lambda n: n), r"batch\.merge=<.*and takes \(n\)"),
        (lambda: make_batch("b", "square", [1]), r"batch\.processor=.*must be processors"),
        (lambda: make_parallel("p", [square], merge=nothing), r"parallel\.merge=<.*and takes \(\)"),
        (lambda: make_route("r", yields, {1: square}), r"route\.key=<.*yields none"),
        (lambda: make_route("r", nothing, {1: square}), r"route\.key=<.*and takes \(\)"),
        (lambda: make_route("r", str, {1: "square"}), r"route\.routes=.*must be processors"),
        (lambda: make_route("r", str, [square]), r"route\.routes=.*must be processors by their keys"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_defined(make, told):
    with pytest.raises(ConfigurationError, match=told):
        make()
