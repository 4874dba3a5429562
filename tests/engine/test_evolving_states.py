"""States say which version they are of: older ones are brought up, newer ones are left to newer nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import anyio
import msgspec
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    Processor,
    QueueOptions,
    QueueRuntime,
    StateMigrationError,
    StateVersionError,
    UnknownFieldsError,
    ValidationError,
    at_version,
    chain,
    processor,
)
from am2z_trio.model.codec import StateCodec, encode_state
from am2z_trio.model.evolution import Evolution
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


class OldOrder(msgspec.Struct):
    """As the program of yesterday has it."""

    amount: int


class Order(msgspec.Struct):
    """As the one of today."""

    total: int
    currency: str = "EUR"


class NewOrder(msgspec.Struct):
    """As the one of tomorrow."""

    cents: int
    currency: str


def renamed(form: Any) -> Any:
    return {"total": form["amount"]}


def in_cents(form: Any) -> Any:
    return {"cents": form["total"] * 100, "currency": form.get("currency", "EUR")}


async def raised_old(order: OldOrder) -> OldOrder:
    return OldOrder(order.amount + 1)


async def raised(order: Order) -> Order:
    return Order(order.total + 1, order.currency)


async def raised_new(order: NewOrder) -> NewOrder:
    return NewOrder(order.cents + 100, order.currency)


old = Processor(raised_old, name="raised")
today = Processor(raised, name="raised", state_version=2, migrate={1: renamed})
tomorrow = Processor(raised_new, name="raised", state_version=3, migrate={1: renamed, 2: in_cents})


# --- the codec -------------------------------------------------------------------------------------


def test_a_state_of_the_first_version_is_the_bytes_that_it_always_was():
    assert StateCodec(OldOrder).encode_exactly(OldOrder(3)) == encode_state(OldOrder(3))
    assert StateCodec(OldOrder).evolution.version == 1


@pytest.mark.parametrize("size", [0, 1, 10, 300, 70_000])
def test_a_state_of_a_later_version_is_read_back_whatever_its_size(size):
    codec: StateCodec[Any] = StateCodec(str, evolution=Evolution(2))
    data = codec.encode_exactly("x" * size)
    assert codec.decode(data) == "x" * size
    with pytest.raises(StateVersionError, match="version 2 is for a newer program: this one knows version 1"):
        StateCodec(str).decode(data)
    # Who merely looks at it sees what it is.
    assert StateCodec(Any, takes_any=True).decode(data) == "x" * size


@pytest.mark.parametrize("kind", [Any, dict, dict[str, Any], Order, object])
def test_no_type_takes_a_state_of_a_newer_version_for_one_of_its_own(kind):
    data = StateCodec(dict, evolution=Evolution(9)).encode({"total": 3})
    with pytest.raises(StateVersionError):
        StateCodec(kind, evolution=Evolution()).decode(data)


def test_older_versions_are_brought_up_one_after_the_other():
    codec: StateCodec[Any] = StateCodec(NewOrder)
    assert codec.evolution.version == 3
    assert codec.decode(encode_state({"amount": 3})) == NewOrder(300, "EUR")
    assert codec.decode(StateCodec(Order).encode(Order(3, "CHF"))) == NewOrder(300, "CHF")
    assert codec.decode(codec.encode(NewOrder(3, "CHF"))) == NewOrder(3, "CHF")


def test_a_state_may_be_as_large_as_the_limit_and_no_larger_whatever_its_version():
    codec: StateCodec[Any] = StateCodec(bytes, max_bytes=1000, evolution=Evolution(2))
    fits = b"x" * 997
    assert codec.decode(codec.encode_exactly(fits)) == fits
    with pytest.raises(ValidationError, match="limit is 1,000"):
        codec.encode_exactly(fits + b"x")
    with pytest.raises(ValidationError, match="limit is 1,000"):
        codec.decode(StateCodec(bytes, evolution=Evolution(2)).encode(fits + b"x"))


async def waits(form: Any) -> Any:
    return form


def breaks(form: Any) -> Any:
    raise KeyError("amount")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (breaks, "from version 1 to 2 raised KeyError: 'amount'"),
        (lambda form: None, "from version 1 to 2 returned None"),
        (waits, "from version 1 to 2 must be a plain function"),
        (lambda form: {"total": object()}, "to version 2 returned: the state cannot be encoded"),
        (lambda form: {"total": "much"}, "does not fit Order: Expected `int`, got `str`"),
    ],
)
def test_a_migration_that_cannot_be_made_names_the_version(step, told):
    codec: StateCodec[Any] = StateCodec(Order, evolution=Evolution(2, {1: step}))
    with pytest.raises(ValidationError, match=told):
        codec.decode(encode_state({"amount": 3}))


def test_a_state_that_is_older_than_every_migration_is_refused():
    codec: StateCodec[Any] = StateCodec(Order, evolution=Evolution(3, {2: renamed}))
    with pytest.raises(StateMigrationError, match="of version 1, and migrate has no way from 1 on"):
        codec.decode(encode_state({"amount": 3}))


# --- what a processor says ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"state_version": 0}, "state_version=0"),
        ({"state_version": 1.5}, "state_version=1.5"),
        ({"state_version": 65_536}, "state_version=65536"),
        ({"migrate": {1: renamed}}, "needs a state_version above 1"),
        ({"state_version": 2, "migrate": {2: renamed}}, "below state_version"),
        ({"state_version": 2, "migrate": {"1": renamed}}, "below state_version"),
        ({"state_version": 2, "migrate": [renamed]}, "must be functions by the version"),
        ({"state_version": 4, "migrate": {1: renamed, 3: renamed}}, r"no way from \[2\]"),
        ({"state_version": 2, "migrate": {1: waits}}, "must be a plain function"),
        ({"state_version": 2, "migrate": {1: lambda: None}}, r"migrate\[1\]"),
    ],
)
def test_what_leads_nowhere_is_refused_where_it_is_said(said, told):
    async def work(state: dict[str, Any]) -> dict[str, Any]:
        return state

    with pytest.raises(ConfigurationError, match=told):
        Processor(work, **said)


def test_a_class_has_one_version_whichever_processor_says_so():
    class Mine(msgspec.Struct):
        n: int

    async def work(state: Mine) -> Mine:
        return state

    Processor(work, name="a", state_type=Mine)
    Processor(work, name="b", state_type=Mine, state_version=2)
    assert StateCodec(Mine).evolution.version == 2
    with pytest.raises(
        ConfigurationError, match=r"'c' says that .*Mine is of version 3, and 'b' that it is of"
    ):
        Processor(work, name="c", state_type=Mine, state_version=3)
    # One that is defined again, as in a notebook, says it anew.
    Processor(work, name="b", state_type=Mine, state_version=4)
    assert StateCodec(Mine).evolution.version == 4


# --- jobs and sessions --------------------------------------------------------------------------------


async def test_a_job_that_waited_through_a_deployment_is_brought_up(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(old)
        await runtime.pause("raised")
        job = await runtime.submit(old, OldOrder(3))
        runtime.register(today)
        await runtime.resume("raised")
        with anyio.fail_after(PATIENCE):
            result = await (await runtime.job(job.id)).result()
        assert result.unwrap() == Order(4)
        # Who asked yesterday hears that the answer is not for it.
        assert isinstance((await job.result()).error, StateVersionError)


async def test_a_session_state_moves_on_and_what_is_newer_is_left_alone(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(old)
        (await runtime.execute(old, OldOrder(3), session="alice")).unwrap()
        runtime.register(tomorrow)
        assert (await runtime.execute(tomorrow, None, session="alice")).unwrap() == NewOrder(500, "EUR")
        stored = await runtime.state.get("alice", NewOrder)
        assert stored is not None
        assert stored.state == NewOrder(500, "EUR")
        # The rollback: nothing is dropped, no attempt is used, and it is told why.
        runtime.register(today)
        job = await runtime.submit("raised", None, session="alice")
        with anyio.fail_after(PATIENCE):
            while "it is left to a newer node" not in (await runtime.explain(job.id)).verdict:
                await anyio.sleep(0.01)
        verdict = (await runtime.explain(job.id)).verdict
        assert "a state of version 3 is for a newer program: this one knows version 2 of Order" in verdict
        runtime.register(tomorrow)
        with anyio.fail_after(PATIENCE):
            result = await (await runtime.job(job.id)).result()
        assert result.unwrap() == NewOrder(600, "EUR")
        assert result.metadata.attempt == 1
        assert not result.metadata.earlier_errors


async def test_many_jobs_that_are_left_to_others_are_told_once(make_runtime, caplog):
    async with make_runtime() as runtime:
        runtime.register(old)
        await runtime.pause("raised")
        runtime.register(today)
        left = [await runtime.submit(today, Order(n)) for n in range(5)]
        runtime.register(old)
        await runtime.resume("raised")
        with anyio.fail_after(PATIENCE):
            for job in left:
                while await job.status() != "delayed":
                    await anyio.sleep(0.01)
        told = [one.message for one in caplog.records if "left to newer nodes" in one.message]
        assert told == [
            "jobs of raised are left to newer nodes: a state of version 2 is for a newer program: "
            "this one knows version 1 of OldOrder"
        ]
        for job in left:
            await job.cancel()


async def test_a_migration_that_raises_fails_the_job_once_and_the_state_stays(make_runtime):
    @processor(name="raised", state_version=2, migrate={1: breaks})
    async def broken(order: dict[str, Any]) -> dict[str, Any]:
        return order

    async with make_runtime() as runtime:
        runtime.register(broken)
        await runtime.state.set("alice", {"amount": 3})
        result = await runtime.execute(broken, None, session="alice")
        assert isinstance(result.error, StateMigrationError)
        assert "from version 1 to 2 raised KeyError" in result.error.message
        assert (result.error.context["from"], result.metadata.attempt) == ("1", 1)
        stored = await runtime.state.get("alice")
        assert stored is not None
        assert stored.state == {"amount": 3}


@processor(name="orders-of-two", state_version=2, migrate={1: renamed})
async def by_the_key(order: dict[str, Any], ctx: Context) -> dict[str, Any]:
    before = await ctx.state.read()
    await ctx.state.update(lambda state: {"total": state["total"] + order["total"]})
    return {"total": before["total"]}


async def test_plain_data_has_the_version_of_its_processor_and_keeps_it(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(by_the_key)
        await runtime.state.set("alice", {"amount": 1})
        assert (await runtime.execute(by_the_key, {"total": 2}, session="alice")).unwrap() == {"total": 1}
        # Whoever reads it as plain data sees it as it is, and writes it back as what it was.
        await runtime.state.update("alice", lambda state: {**state, "total": state["total"] * 10})
        assert (await runtime.execute(by_the_key, {"total": 5}, session="alice")).unwrap() == {"total": 30}
        async with runtime.state.lock("alice") as lock:
            state = await lock.read()
            await lock.write({**state, "total": 7})
            await lock.write({**state, "total": 8})
        assert (await runtime.execute(by_the_key, {"total": 0}, session="alice")).unwrap() == {"total": 8}
        stored = await runtime.state.get("alice", dict)
        assert stored is not None
        assert stored.state == {"total": 8}


async def test_compositions_have_the_version_of_their_parts(make_runtime):
    async def twice(order: dict[str, Any]) -> dict[str, Any]:
        return {"total": order["total"] * 2}

    double = Processor(twice, name="double", state_version=2, migrate={1: renamed})
    both = chain("both", [double, double], inline=True)
    async with make_runtime() as runtime:
        runtime.register(both)
        await runtime.state.set("alice", {"amount": 3})
        assert (await runtime.execute(both, None, session="alice")).unwrap() == {"total": 12}
        assert (await runtime.execute(both, {"total": 3})).unwrap() == {"total": 12}


# --- fields that a type does not know -----------------------------------------------------------------


class Item(msgspec.Struct):
    sku: str


@dataclass
class Cart:
    items: list[Item]
    by_name: dict[str, Item]
    one: Item | None = None


MORE = {
    "items": [{"sku": "a"}, {"sku": "b", "gift": True}],
    "by_name": {"c": {"sku": "c", "size": 3}},
    "one": {"sku": "d"},
    "note": "by a newer program",
}
FIELDS = "$.by_name['c'].size, $.items[1].gift, $.note"


@pytest.mark.parametrize("kind", [Any, dict, dict[str, Any], dict[str, list[int]]])
def test_plain_data_keeps_whatever_there_is(kind):
    StateCodec(kind).require_whole(encode_state(MORE), MORE, "alice")


class Car(msgspec.Struct, tag=True):
    wheels: int


class Boat(msgspec.Struct, tag=True):
    sails: int


class Row(msgspec.Struct, array_like=True):
    x: int
    y: int = 0


class Typed(TypedDict):
    n: int


@pytest.mark.parametrize(
    ("kind", "form", "fields"),
    [
        (Cart, MORE, FIELDS),
        (Car | Boat, {"type": "Boat", "sails": 2, "wheels": 0}, "$.wheels"),
        (list[Row], [[1, 2], [1, 2, 3]], "$[1][2]"),
        (Typed, {"n": 1, "m": 2}, "$.m"),
        (tuple[int, Item], [1, {"sku": "", "n": 2}], "$[1].n"),
        (
            Item,
            {"sku": "", **{f"f{n:02}": n for n in range(12)}},
            ", ".join(f"$.f{n:02}" for n in range(10)) + ", …",
        ),
    ],
)
def test_what_would_be_lost_is_named_with_its_place(kind, form, fields):
    codec: StateCodec[Any] = StateCodec(kind)
    data = encode_state(form)
    with pytest.raises(UnknownFieldsError) as caught:
        codec.require_whole(data, codec.decode(data), "alice")
    assert caught.value.context["fields"] == fields
    known = codec.encode(codec.decode(data))
    codec.require_whole(known, codec.decode(known), "alice")


async def test_a_state_with_unknown_fields_is_read_and_not_written_over(make_runtime):
    async with make_runtime(state_history=5) as runtime:
        await runtime.state.set("alice", MORE)
        stored = await runtime.state.get("alice", Cart)
        assert stored is not None
        assert stored.state.one == Item("d")
        with pytest.raises(UnknownFieldsError, match="session 'alice' has fields that Cart does not know"):
            await runtime.state.update("alice", lambda cart: cart, type=Cart)
        async with runtime.state.lock("alice") as lock:
            cart = await lock.read(Cart)
            with pytest.raises(UnknownFieldsError):
                await lock.write(cart)
        assert ", ".join(sorted(stored.unknown)) == FIELDS
        assert [one.unknown for one in await runtime.state.history("alice", Cart)] == [stored.unknown]
        with pytest.raises(
            UnknownFieldsError, match="session 'alice' has fields that Cart does not know"
        ) as no:
            await runtime.state.set("alice", stored.state, expected=stored)
        assert no.value.context["fields"] == ", ".join(stored.unknown)
        untouched = await runtime.state.get("alice")
        assert untouched is not None
        assert (untouched.state, untouched.unknown) == (MORE, ())
        # Plain data has lost nothing.
        untouched = await runtime.state.set("alice", untouched.state, expected=untouched)
        # Who says that all of it is to be another one may.
        await runtime.state.set("alice", cart)
        await runtime.state.update("alice", lambda cart: cart, type=Cart)


@processor(queue=QueueOptions(concurrency=1))
async def emptied(cart: Cart) -> Cart:
    return Cart([], cart.by_name)


@processor
async def updates(n: int, ctx: Context) -> int:
    await ctx.state.update(lambda cart: cart, type=Cart)
    return n


async def test_a_job_waits_for_nodes_that_know_the_fields_and_fails_if_there_are_none(
    make_runtime, monkeypatch
):
    monkeypatch.setattr("am2z_trio.engine.execution.verdict.OTHERS", 1)
    async with make_runtime() as runtime:
        runtime.register(emptied, updates)
        await runtime.state.set("alice", MORE)
        with anyio.fail_after(PATIENCE):
            result = await runtime.execute(emptied, None, session="alice")
            other = await runtime.execute(updates, 1, session="alice")
        for error in (result.error, other.error):
            assert isinstance(error, UnknownFieldsError)
            assert error.context["fields"] == FIELDS
        assert result.metadata.attempt == 1
        stored = await runtime.state.get("alice")
        assert stored is not None
        assert stored.state == MORE


# --- who knows a processor by its name alone ----------------------------------------------------------


class Bill(msgspec.Struct):
    total: int
    currency: str = "EUR"


def total_of(form: dict[str, Any]) -> dict[str, Any]:
    return {"total": form["amount"]}


@processor(state_version=2, migrate={1: total_of})
async def billed(bill: Bill) -> Bill:
    return Bill(bill.total + 1, bill.currency)


async def test_a_client_by_name_says_which_version_it_sends(redis_url):
    async with QueueRuntime(redis_url) as worker, QueueRuntime(redis_url, workers=False) as client:
        worker.register(billed)
        await worker.sync_processors()
        said = at_version(2, {"total": 3, "currency": "CHF"})
        assert (await client.execute("billed", said)).unwrap() == {"total": 4, "currency": "CHF"}
        assert (await client.execute("billed", at_version(1, {"amount": 3}))).unwrap()["total"] == 4
        assert (await client.execute("billed", {"amount": 3})).unwrap()["total"] == 4
        # Asked for again it is the same job, and another state is not.
        one = await client.submit("billed", said, job_id="one")
        same = await client.submit("billed", said, job_id="one")
        assert (await same.result()).unwrap() == (await one.result()).unwrap()
        results = await client.execute_many("billed", [said, at_version(1, {"amount": 8})])
        assert [result.unwrap()["total"] for result in results] == [4, 9]


async def test_where_the_processor_is_registered_it_is_brought_up_at_once(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(billed)
        for told in (at_version(2, {"total": 3}), at_version(1, {"amount": 3})):
            for asked in (billed, "billed"):
                result = await runtime.execute(asked, told)
                assert result.unwrap() == Bill(4)
        failed = await runtime.execute("billed", at_version(3, {"sum": 3}))
        assert isinstance(failed.error, StateVersionError)
        failed = await runtime.execute("billed", at_version(2, {"total": "much"}))
        assert isinstance(failed.error, ValidationError)


@pytest.mark.parametrize("version", [0, -1, 65_536, 1.5, "2", None, True])
def test_a_version_that_is_none_is_refused(version):
    with pytest.raises(ConfigurationError, match=r"at_version\.version"):
        at_version(version, {})
