"""What type checkers must say of users' programs: wrong chains, states and contexts are refused.

Each program is checked by mypy and by pyright. A line that must be refused ends in `# no`; one that
must not be, does not, so a signature that accepts too little fails as well as one that accepts too much.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import anyio
import msgspec
import am2z_trio as a
from am2z_trio import Context, LocalRuntime, Payload, QueueOptions, batch, chain, parallel, processor, route


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


# processors whose functions are wrong

@processor  # no
async def other_state(order: Order) -> Person:
    return Person("x")


@processor(timeout=5)  # no
def other_state_too(order: Order) -> Person:
    return Person("x")


@processor  # no
async def other_context(order: Order, ctx: str) -> Order:
    return order


@processor  # no
async def third_parameter(order: Order, ctx: Context, more: int) -> Order:
    return order


# compositions whose states fit, and do not

good = chain("good", [price, charge, stamp, note])
nested = chain("nested", [good, parallel("both", [price, stamp])])
wrong = chain("wrong", [price, greet])  # no
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


many = batch("many", price, payloads, merge=keep, state_type=Person)
few = batch("few", greet, payloads, merge=keep, state_type=Person)  # no


# calls

async def main() -> None:
    async with LocalRuntime() as runtime:
        runtime.register(good, price)
        runtime.register("good")  # no
        total: int = (await runtime.execute(good, Order(1))).unwrap().price
        await runtime.execute(good, Person("x"))  # no
        await runtime.execute("by name", Person("x"))
        person: Person = (await runtime.execute(price, Order(1))).unwrap()  # no
        job = await runtime.submit(charge, Order(1), session="s")
        text: str = (await job.result()).unwrap()  # no
        async with runtime.session("s", processors=[price]) as session:
            order: Order = (await session.execute(price)).unwrap()
            await session.execute(price, Person("x"))  # no
        versioned = await runtime.state.update("s", lambda n: 5)
        number: int = versioned.state
        word: str = versioned.state  # no
        again: Order = (await price(order))
        nothing: str = stamp(order)  # no
    print(total, person, text, number, word, again, nothing)


@processor
async def caller(order: Order, ctx: Context) -> Order:
    await ctx.call(price, Person("x"))  # no
    ctx.unknown  # no
    return await ctx.call(charge, order)


anyio.run(main)
"""


def refused(text: str) -> set[int]:
    return {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# no")}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_mypy(program: Path):
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output=json", str(program)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=program.parent)
    said = [json.loads(line) for line in run.stdout.splitlines()]
    lines = {message["line"] for message in said if message["severity"] == "error"}
    assert lines == refused(PROGRAM), run.stdout


def test_pyright(program: Path):
    config = program.with_name("pyrightconfig.json")
    config.write_text(json.dumps({"reportUnusedExpression": False}), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=program.parent)
    said = json.loads(run.stdout)["generalDiagnostics"]
    lines = {message["range"]["start"]["line"] + 1 for message in said if message["severity"] == "error"}
    assert lines == refused(PROGRAM), run.stdout
