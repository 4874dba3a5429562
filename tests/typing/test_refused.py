"""What type checkers must say of users' programs: wrong chains, states, contexts and options are refused.

Each program is checked by mypy and by pyright. A line that must be refused ends in `# no`; one that
must not be, does not, so a signature that accepts too little fails as well as one that accepts too much.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import am2z_trio

STATES = """
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import Annotated, Any

import anyio
import msgspec
import am2z_trio as a
from am2z_trio import (
    Context, LocalRuntime, Payload, QueueOptions, Resource, adapt, batch, chain, parallel, processor, route
)


class Order(msgspec.Struct):
    price: int


class Person(msgspec.Struct):
    name: str


@processor
async def price(order: Order) -> Order:
    return order


@processor(timeout=5)
async def charge(order: Order, ctx: Context) -> Order | None:
    return None


@processor(queue=QueueOptions(concurrency=3))
def stamp(order: Order) -> Order:
    return order


@processor
def note(order: Order, ctx: Context) -> None:
    return None


@processor
async def greet(person: Person) -> Person:
    return person


@processor
def hands_on(order: Order) -> Awaitable[Order]:
    return price(order)


@processor(timeout=5)
def hands_on_later(order: Order, ctx: Context) -> Awaitable[Order | None]:
    return charge(order, ctx)


@processor
async def perhaps(order: Order, ctx: Context | None = None) -> Order:
    return order


def untyped(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


class Service:
    async def price(self, order: Order, ctx: Context) -> Order:
        return order

    def __call__(self, order: Order) -> Order:
        return order


wrapped = processor(untyped(charge))
bound = processor(timeout=5)(Service().price)
made = a.Processor(Service())
unlike = chain("unlike", [bound, greet])  # no
alike = chain("alike", [bound, made, hands_on, hands_on_later, perhaps])


# processors whose functions are wrong

@processor  # no
def hands_on_another(order: Order) -> Awaitable[Person]:
    return greet(Person("x"))


@processor  # no
async def other_state(order: Order) -> Person:
    return Person("x")


@processor(timeout=5)  # no
def other_state_too(order: Order) -> Person:
    return Person("x")


# resources: what takes one is a processor of its state, and can be called with it

class Pool: ...


async def lines(pool: Annotated[Pool, Resource()]) -> AsyncIterator[str]:
    yield "line"


@processor
async def pooled(order: Order, pool: Annotated[Pool, Resource()]) -> Order:
    return order


@processor(timeout=5)
async def lined(
    order: Order,
    ctx: Context,
    *,
    pool: Annotated[Pool, Resource("main")],
    line: Annotated[str, Resource(lines)],
) -> Order | None:
    return None


@processor
def pooled_person(person: Person, *, pool: Annotated[Pool, Resource()]) -> None:
    return None


@processor  # no
async def pooled_other(order: Order, *, pool: Annotated[Pool, Resource()]) -> Person:
    return Person("x")


with_resources = chain("with resources", [price, pooled, lined])
with_others = chain("with others", [pooled, pooled_person])  # no


@a.processor
async def calls_it(order: Order, ctx: Context, pool: Annotated[Pool, Resource()]) -> Order:
    pooled_person(Person("x"), pool=pool)
    await pooled(order, pool)
    await pooled(order)  # no
    await pooled(order, pool="pool")  # no
    await lined(order, ctx, pool=pool)  # no
    await lined(order, ctx, pool=pool, line=5)  # no
    await ctx.call(lined, Person("x"))  # no
    done: Person | None = await lined(order, ctx, pool=pool, line="x")  # no
    return await pooled(order, pool=pool) if done is None else order


@asynccontextmanager
async def lifespan(runtime: LocalRuntime) -> AsyncIterator[dict[str, Pool]]:
    yield {"main": Pool()}


async def bare(runtime: LocalRuntime) -> AsyncIterator[Pool]:
    yield Pool()


async def unentered(runtime: LocalRuntime) -> Pool:
    return Pool()


LocalRuntime(lifespan=lifespan)
LocalRuntime(lifespan=bare)
LocalRuntime(lifespan=unentered)  # no
LocalRuntime(lifespan=5)  # no


# compositions whose states fit, and do not

good = chain("good", [price, charge, stamp, note])
nested = chain("nested", [good, parallel("both", [price, stamp])])
wrong = chain("wrong", [price, greet])  # no


def buyer(order: Order) -> Person:
    return Person("x")


def bought(order: Order, person: Person) -> Order:
    return order


adapted = adapt("greet buyer", greet, into=buyer, back=bought)
chained = chain("adapted", [price, adapted, charge])
one_way = adapt("one way", greet, into=buyer, back=lambda order, person: person)  # no
of_another = adapt("of another", price, into=buyer, back=bought)  # no
elsewhere = chain("elsewhere", [greet, adapted])  # no
crossed = parallel("crossed", [charge, greet])  # no
merged = parallel("merged", [price, stamp], merge=lambda order, results: results[0])
unmerged = parallel("unmerged", [price, stamp], merge=lambda order, results: results)  # no
routed = route("routed", lambda order: "a" if order.price < 5 else "b", {"a": price, "b": charge})
misrouted = route("misrouted", lambda order: order.price, {"cheap": price})  # no
astray = route("astray", lambda order: "a", {"a": price, "b": greet})  # no


def payloads(person: Person) -> list[Order]:
    return [Order(1)]


def keep(person: Person, orders: list[Order]) -> Person:
    return person


async def keep_later(person: Person, orders: list[Order]) -> Person:
    return person


async def payloads_later(person: Person) -> list[Order]:
    return [Order(1)]


many = batch("many", price, payloads, merge=keep, state_type=Person)
later = batch("later", price, payloads_later, merge=keep_later, state_type=Person)
few = batch("few", greet, payloads, merge=keep, state_type=Person)  # no
listed = batch("listed", price, [Order(1), Payload(Order(2), "alice")], merge=keep)
mislisted = batch("mislisted", price, [Person("x")], merge=keep)  # no
unmerged_list = batch("unmerged list", price, [Order(1)])
unmerged_function = batch("unmerged function", price, payloads)
unmerged_wrong = batch("unmerged wrong", price, [Person("x")])  # no


# routes of any key


class Kind(Enum):
    BIG = 1
    SMALL = 2


def kind_of(order: Order) -> Kind:
    return Kind.BIG


async def pair_of(order: Order) -> tuple[int, str]:
    return (1, "b")


def price_of(order: Order) -> int:
    return order.price


by_kind = route("by kind", kind_of, {Kind.BIG: price, Kind.SMALL: charge})
by_pair = route("by pair", pair_of, {(1, "b"): price})
by_flag = route("by flag", lambda order: order.price > 5, {True: price, False: charge})
by_price = route("by price", price_of, {1: price, 2: charge}, fallback=stamp)
misnamed = route("misnamed", price_of, {"cheap": price})  # no
mismatched = route("mismatched", pair_of, {1: price})  # no


# calls

async def main() -> None:
    async with LocalRuntime() as runtime:
        runtime.register(good, price)
        runtime.register("good")  # no
        total: int = (await runtime.execute(good, Order(1))).unwrap().price
        orders: list[Order] = (await runtime.execute(unmerged_list, [])).unwrap()
        names: list[str] = (await runtime.execute(unmerged_list, [])).unwrap()  # no
        await runtime.execute(good, Person("x"))  # no
        await runtime.execute("by name", Person("x"))
        person: Person = (await runtime.execute(price, Order(1))).unwrap()  # no
        job = await runtime.submit(charge, Order(1), session="s")
        text: str = (await job.result()).unwrap()  # no
        jobs = await runtime.submit_many(charge, (Order(n) for n in range(9)), job_ids=["x"])
        several: str = (await jobs[0].result()).unwrap()  # no
        first: Order = (await jobs[:3][0].result()).unwrap()
        await runtime.submit_many(charge, [Person("x")])  # no
        await runtime.submit_many(charge, [Order(1)], wait_for_worker=1)  # no
        async with runtime.session("s", processors=[price]) as session:
            await session.submit_many(price, [Person("x")])  # no
            order: Order = (await session.execute(price)).unwrap()
            await session.execute(price, Person("x"))  # no
            await session.execute(price, tiemout=1)  # no
            await session.state.set(Order(1), ttl=60)
            await session.state.set(Order(1), tll=60)  # no
            await session.state.update(lambda order: Order(2), type=Order, max_conflicts=3)
            await session.state.update(lambda order: Order(2), max_conflict=3)  # no
            read = await session.state.get(Order)
            assert read is not None
            cost: str = read.state.price  # no
        versioned = await runtime.state.update("s", lambda n: 5)
        number: int = versioned.state
        word: str = versioned.state  # no
        again: Order = (await price(order))
        nothing: str = stamp(order)  # no
    print(total, orders, names, person, text, several, first, cost, number, word, again, nothing)


@processor
async def caller(order: Order, ctx: Context) -> Order:
    await ctx.call(price, Person("x"))  # no
    ctx.unknown  # no
    return await ctx.call(charge, order)


anyio.run(main)
"""


BEFORE = """
from typing import Any

import am2z_trio as a
from am2z_trio.engine.processors.plans import ChainPlan


async def double(n: int) -> int:
    return 2 * n


def halve(n: int, results: list[int]) -> int:
    return n


step = a.Processor(double)


def check(given: Any) -> None:
"""

ERROR = "'it failed', context={}, cause=None, retryable=False"

CALLS = {
    "Backoff": "type='fixed', delay=1",
    "CircuitBreaker": "failures=3",
    "Composition": "'both', ChainPlan(steps=(step,), inline=False), [step], state_type=int",
    "Event": "'paid', 0",
    "JobOptions": "delay=1, debounce='key'",
    "LocalRuntime": "max_running=3, state_ttl=None",
    "MemoryStateManager": "state_history=3",
    "Payload": "1, 'alice'",
    "Processor": "double, name='p', timeout=5",
    "QueueOptions": "concurrency=3",
    "QueueRuntime": "'redis://localhost', workers=False, lease=5",
    "RateLimit": "max=3, duration=1",
    "RedisOptions": "host='localhost', db=1",
    "RedisStateManager": "'redis://localhost', prefix='p'",
    "Resource": "'main'",
    "ResourceLimits": "max_sessions=3",
    "Retention": "age=60",
    "RetryPolicy": "max_attempts=3",
    "RuntimeOptions": "workers=False",
    "batch": "'many', step, lambda n: [n], merge=halve, state_type=int",
    "chain": "'chain', [step], timeout=None",
    "parallel": "'parallel', [step], collect=True",
    "processor": "name='p', timeout=5",
    "route": "'route', str, {'1': step}, inline=True",
}
"""A right call of everything that users call, but for errors."""


def call_of(name: str) -> str:
    """A right call of anything public; the engine's objects and records are given whatever they need."""
    if name.endswith("Error"):
        return ERROR
    if name in CALLS:
        return CALLS[name]
    parameters = inspect.signature(getattr(am2z_trio, name)).parameters.values()
    needed = [p for p in parameters if p.default is p.empty]
    return ", ".join(f"{p.name}=given" if p.kind is p.KEYWORD_ONLY else "given" for p in needed)


def options_program() -> str:
    """Everything public that can be called: as it may be, and with an option that there is not."""
    lines = [BEFORE]
    for name in am2z_trio.__all__:
        arguments = call_of(name)
        more = f"{arguments}, misspelt=1" if arguments else "misspelt=1"
        lines += [f"    a.{name}({arguments})", f"    a.{name}({more})  # no"]
    return "\n".join([*lines, ""])


PROGRAMS = {"states.py": STATES, "options.py": options_program()}


def refused() -> set[tuple[str, int]]:
    return {
        (file, number)
        for file, text in PROGRAMS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if line.endswith("# no")
    }


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for file, text in PROGRAMS.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    return tmp_path


def test_mypy(programs: Path):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output=json", *PROGRAMS]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=programs)
    said = [json.loads(line) for line in run.stdout.splitlines()]
    found = {(message["file"], message["line"]) for message in said if message["severity"] == "error"}
    assert found == refused(), run.stdout


def test_pyright(programs: Path):
    config = programs / "pyrightconfig.json"
    config.write_text(json.dumps({"reportUnusedExpression": False}), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *PROGRAMS]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=programs)
    said = json.loads(run.stdout)["generalDiagnostics"]
    found = {
        (Path(message["file"]).name, message["range"]["start"]["line"] + 1)
        for message in said
        if message["severity"] == "error"
    }
    assert found == refused(), run.stdout
