"""States of types that msgpack has no word for: pydantic's, numpy's, paths, and a user's own."""

from __future__ import annotations

import datetime
import decimal
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import msgspec
import numpy as np
import pydantic
import pytest

from am2z_trio import (
    Codec,
    ConfigurationError,
    Context,
    Processor,
    UnknownFieldsError,
    ValidationError,
    adapt,
    batch,
    chain,
    parallel,
    processor,
    use_codecs,
)
from am2z_trio.model.codec import StateCodec, encode_state

pytestmark = pytest.mark.anyio


class Line(pydantic.BaseModel):
    sku: str = pydantic.Field(alias="SKU")
    many: int = 1


class Basket(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    id: uuid.UUID
    at: datetime.datetime
    price: decimal.Decimal
    lines: list[Line]
    tags: frozenset[str] = frozenset()
    pair: tuple[int, bytes]
    where: Path | None = None


BASKET = Basket(
    id=uuid.UUID(int=7),
    at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
    price=decimal.Decimal("1.50"),
    lines=[Line(SKU="a"), Line(SKU="b", many=2)],
    tags=frozenset({"x", "y"}),
    pair=(1, b"\xff"),
    where=Path("/tmp/x"),
)


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


def cents_of(money: Money) -> int:
    return money.cents


MONEY = Codec(type=Money, encode=cents_of, decode=Money, schema={"type": "integer"})


@processor(codec=MONEY)
async def doubled(money: Money) -> Money:
    return Money(money.cents * 2)


@attrs.define
class Price:
    amount: Money
    file: Path


@dataclass
class Holder:
    basket: Basket | None
    prices: dict[str, Price]
    heat: np.float32
    paths: set[PurePosixPath]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (Basket, BASKET),
        (list[Basket], [BASKET]),
        (Line | None, Line(SKU="x")),
        (Line | None, None),
        (Path, Path("a/b")),
        (dict[PurePosixPath, int], {PurePosixPath("b"): 1, PurePosixPath("a"): 2}),
        (np.int64, np.int64(-3)),
        (np.uint8, np.uint8(200)),
        (np.float32, np.float32(0.1)),
        (np.bool_, np.bool_(True)),
        (Money, Money(3)),
        (tuple[Money, ...], (Money(1), Money(2))),
        (
            Holder,
            Holder(BASKET, {"a": Price(Money(3), Path("x"))}, np.float32(0.5), {PurePosixPath("x")}),
        ),
        # Where the type says a plain number, one of numpy's is read back as that.
        (float, np.float64(2.5)),
        (dict[str, int], {"n": np.int16(4)}),
    ],
)
def test_what_is_written_is_read_back(kind, state):
    codec: StateCodec[Any] = StateCodec(kind)
    data = codec.encode_exactly(state)
    again = codec.decode(data)
    assert again == state
    assert codec.encode_exactly(again) == data


@pytest.mark.parametrize(
    ("kind", "form", "told"),
    [
        (Line, {"many": 1}, "does not fit Line: .*sku"),
        (list[Line], [{"sku": "a", "many": "lots"}], r"does not fit.*\$\[0\]|many"),
        (Path, 5, "Expected `str`, got `int`"),
        (np.int64, 2.5, "Expected `integer`, got `float`"),
        (np.uint8, 300, "refused the state|does not fit"),
        (np.bool_, 1, "Expected `boolean`, got `int`"),
        (np.float64, True, "Expected `number`, got `bool`"),
    ],
)
def test_what_does_not_fit_is_one_error(kind, form, told):
    with pytest.raises(ValidationError, match=f"(?s){told}"):
        StateCodec(kind).decode(encode_state(form))


def test_a_subclass_where_the_type_says_its_base_is_refused():
    class More(Line):
        note: str = ""

    with pytest.raises(ValidationError, match="would be read back as"):
        StateCodec(list[Line]).encode_exactly([More(SKU="a", note="lost")])


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    line: Line | None = None


@pytest.mark.parametrize(
    ("kind", "form", "fields"),
    [
        (Line, {"sku": "a", "gift": True}, "$.gift"),
        (list[Open], [{"line": {"sku": "a", "gift": True}, "kept": 1}], "$[0].line.gift"),
    ],
)
def test_what_a_model_would_drop_is_named(kind, form, fields):
    codec: StateCodec[Any] = StateCodec(kind)
    data = encode_state(form)
    with pytest.raises(UnknownFieldsError) as caught:
        codec.require_whole(data, codec.decode(data), "alice")
    assert caught.value.context["fields"] == fields


async def takes(state: Any) -> Any:
    return state


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (np.ndarray, "ndarray is an array of numpy's: take a list, or give it a Codec"),
        (Path | int, "may not contain any additional types"),
        (complex, "or give it a Codec"),
        (np.datetime64, "datetime64 is no type that can be read back"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_defined(kind, told):
    with pytest.raises(ConfigurationError, match=told):
        Processor(takes, state_type=kind)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"type": int}, "is kept as it is, and needs no codec"),
        ({"type": Price}, "is kept as it is, and needs no codec"),
        ({"type": type("Id", (str,), {})}, "is a str, which is written as a plain one"),
        ({"type": "Money"}, "must be a class"),
        ({"encode": 5}, "Codec.encode"),
        ({"decode": lambda: None}, "Codec.decode"),
        ({"encode": takes}, "must be a plain function"),
        ({"schema": 5}, "Codec.schema"),
    ],
)
def test_a_codec_that_cannot_work_is_refused(said, told):
    with pytest.raises(ConfigurationError, match=told):
        given: dict[str, Any] = {"type": Money, "encode": cents_of, "decode": Money, **said}
        Codec(**given)


@pytest.mark.parametrize("given", [5, "codec", [5], Money])
def test_what_is_no_codec_is_refused(given):
    with pytest.raises(ConfigurationError, match="must be a Codec, or a list of them"):
        Processor(takes, codec=given)


def test_codecs_that_are_said_once_hold_for_all_that_is_defined_after_them():
    class Weight:
        def __init__(self, grams: int) -> None:
            self.grams = grams

    with pytest.raises(ConfigurationError, match=r"give it a Codec \(use_codecs\)"):
        Processor(takes, state_type=list[Weight])
    known = Codec(type=Weight, encode=lambda weight: weight.grams, decode=Weight)
    with pytest.raises(ConfigurationError, match="must be a Codec"):
        use_codecs(known, Weight)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        Processor(takes, state_type=list[Weight])  # none of them was taken
    use_codecs(known)
    assert Processor(takes, state_type=list[Weight]).state_type == list[Weight]
    assert StateCodec(Weight).decode(encode_state(7)).grams == 7


@pytest.mark.anyio
async def test_they_hold_where_no_processor_is(make_runtime):
    """A signal, and a session's state, in a process that only looks."""

    class Metres:
        def __init__(self, many: float) -> None:
            self.many = many

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Metres) and other.many == self.many

        __hash__ = None  # type: ignore[assignment]

    use_codecs(Codec(type=Metres, encode=lambda length: length.many, decode=Metres))

    @processor
    async def measured(lengths: list[float], ctx: Context) -> list[float]:
        return [*lengths, (await ctx.wait_for("length", Metres)).many]

    async with make_runtime() as runtime:
        await runtime.state.set("alice", {"to": Metres(2.5)}, type=dict[str, Metres])
        stored = await runtime.state.get("alice", dict[str, Metres])
        assert stored is not None
        assert stored.state == {"to": Metres(2.5)}
        runtime.register(measured)
        job = await runtime.submit(measured, [1.5])
        await job.signal("length", Metres(4.5))
        assert (await job.result()).unwrap() == [1.5, 4.5]


def test_a_codec_that_returns_something_else_is_one_error():
    class Odd:
        pass

    Processor(takes, codec=[Codec(type=Odd, encode=lambda odd: 1, decode=lambda form: form)])
    with pytest.raises(ValidationError, match=r"the codec of .*Odd returned a int"):
        StateCodec(Odd).decode(encode_state(1))


def test_a_processor_says_the_schema_of_its_states():
    assert doubled.json_schema() == {"type": "integer"}
    schema = Processor(takes, state_type=Holder).json_schema()
    assert "basket" in schema["$defs"]["Holder"]["properties"]
    assert {"Holder", "Line", "Price"} <= schema["$defs"].keys()


async def test_they_are_states_of_jobs_and_sessions_and_calls(make_runtime):
    @processor
    async def marked(basket: Basket, ctx: Context) -> Basket:
        stored = await ctx.state.read(Basket)
        lines = [*basket.lines, *(stored.lines if stored else [])]
        price = await ctx.call(doubled, Money(3))
        return basket.model_copy(update={"lines": lines, "price": decimal.Decimal(price.cents)})

    async with make_runtime() as runtime:
        runtime.register(marked, doubled)
        (await runtime.execute(marked, BASKET, session="alice")).unwrap()
        result = (await runtime.execute(marked, None, session="alice")).unwrap()
        assert [line.sku for line in result.lines] == ["a", "b"] * 2
        assert result.price == 6
        stored = await runtime.state.get("alice", Basket)
        assert stored is not None
        assert stored.state == result
        await runtime.state.update(
            "alice", lambda basket: basket.model_copy(update={"lines": []}), type=Basket
        )
        # By its name alone it takes plain data.
        assert (await runtime.execute("doubled", Money(5))).unwrap() == Money(10)


# --- adapters ------------------------------------------------------------------------------------------


class Order(msgspec.Struct):
    text: str
    amount: int = 0


@processor
async def parsed(order: Order) -> Order:
    return Order(order.text.strip(), order.amount)


async def amount_in(order: Order) -> Money:
    return Money(int(order.text))


def with_amount(order: Order, money: Money) -> Order:
    return Order(order.text, money.cents)


async def test_a_processor_of_another_state_is_a_step_of_a_chain(make_runtime):
    priced = adapt("priced", doubled, into=amount_in, back=with_amount)
    assert priced.state_type is Order
    orders = chain("orders", [parsed, priced, parallel("both", [priced, parsed])])
    async with make_runtime() as runtime:
        runtime.register(orders)
        assert (await runtime.execute(orders, Order(" 21 "))).unwrap() == Order("21", 42)
        failed = await runtime.execute(priced, Order("much"))
        assert failed.error is not None
        assert "ValueError" in failed.error.message
        inline = adapt("inline", doubled, into=amount_in, back=with_amount, inline=True)
        runtime.register(inline)
        assert (await runtime.execute(inline, Order("4"))).unwrap() == Order("4", 8)


async def test_an_adapter_that_says_no_type_has_that_of_the_parts_beside_it(make_runtime):
    """Lambdas have no annotations, and type checkers let them pass: they were given plain data."""

    def adapted(name: str) -> Processor[Order]:
        return adapt(
            name,
            doubled,
            into=lambda order: Money(int(order.text)),
            back=lambda order, money: Order(order.text, order.amount + money.cents),
        )

    most = batch(
        "most", parsed, lambda order: [order], merge=lambda order, found: Order(order.text, order.amount)
    )
    nested = parallel("nested", [chain("inner", [adapted("third"), adapted("fourth")])])
    orders = chain("orders", [adapted("first"), parsed, adapted("second"), most, nested])
    assert orders.state_type is nested.state_type is most.state_type is Order
    assert adapted("alone").state_type is Any
    async with make_runtime() as runtime:
        runtime.register(orders)
        assert (await runtime.execute(orders, Order("21"))).unwrap() == Order("21", 4 * 42)


def test_an_adapter_that_cannot_be_called_is_refused_where_it_is_defined():
    with pytest.raises(ConfigurationError, match=r"adapt\.into"):
        adapt("x", doubled, into=lambda: Money(1), back=with_amount)  # type: ignore[arg-type, misc]
    with pytest.raises(ConfigurationError, match=r"adapt\.back"):
        adapt("x", doubled, into=amount_in, back=lambda order: order)  # type: ignore[arg-type, misc]
    with pytest.raises(ConfigurationError, match=r"adapt\.processor"):
        adapt("x", amount_in, into=amount_in, back=with_amount)  # type: ignore[arg-type]
