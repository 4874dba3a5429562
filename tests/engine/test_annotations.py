"""Annotations that cannot be resolved hurt only where the state's own type is meant."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import pytest

from am2z_trio import ConfigurationError, Processor, processor

if TYPE_CHECKING:
    from collections import OrderedDict as Hidden

    from am2z_trio import Context

T = TypeVar("T")


class Order(msgspec.Struct):
    n: int


async def hidden_return(order: Order) -> Hidden[str, Any] | None:
    return None


async def hidden_context(order: Order, ctx: Context) -> Order:
    return order


async def hidden_option(order: Order, cache: Hidden[str, Any] | None = None) -> Order:
    return order


async def hidden_state(order: Hidden[str, Any], ctx: Context) -> None: ...


async def hidden_swapped(ctx: Context, order: Order) -> None: ...


@pytest.mark.parametrize("fn", [hidden_return, hidden_context, hidden_option])
@pytest.mark.parametrize("define", [processor, Processor, processor(timeout=5)])
def test_those_of_others_do_not_hurt(define: Any, fn: Any):
    made = define(fn)
    assert made.state_type is Order
    assert made.takes_context is (fn is hidden_context)


@pytest.mark.parametrize("define", [processor, Processor, processor(timeout=5)])
def test_that_of_the_state_names_the_parameter(define: Any):
    told = r"'hidden_state'.*its state 'order' cannot be resolved.*'Hidden'.*give state_type="
    with pytest.raises(ConfigurationError, match=told) as caught:
        define(hidden_state)
    assert caught.value.context == {"processor": "hidden_state", "parameter": "order"}
    assert Processor(hidden_state, state_type=dict).state_type is dict


def test_a_context_that_is_hidden_from_the_program_is_known_by_its_name():
    with pytest.raises(ConfigurationError, match="the state comes first"):
        Processor[Any](hidden_swapped)


@pytest.mark.parametrize(
    ("annotation", "told"),
    [("Order[", r"'Order\['"), ("Order.Inner", "'Inner'"), ("Order + 1", r"\+")],
)
def test_whatever_is_wrong_with_it_is_told(annotation: str, told: str):
    async def broken(order): ...

    broken.__annotations__["order"] = annotation
    with pytest.raises(ConfigurationError, match=rf"'order' cannot be resolved \(.*{told}"):
        Processor(broken)


def helper(fn: Any) -> Any:
    """A user's own decorator: `processor` is called in another function than the one around."""
    return processor(timeout=5)(fn)


@pytest.mark.parametrize("define", [processor, Processor, helper])
def test_local_types_are_found(define: Any):
    class Order(msgspec.Struct):  # in place of the module's
        local: int

    def inner():
        class Line(msgspec.Struct):
            n: int

        async def both(pair: tuple[Order, Line]) -> None: ...

        return define(both).state_type == tuple[Order, Line]

    async def outer(order: Order) -> None: ...

    assert define(outer).state_type is Order
    assert inner()


def test_types_of_a_function_that_has_returned_are_found_where_it_is_a_closure():
    def make():
        class Line(msgspec.Struct):
            n: int

        async def closure(line: Line) -> Line:
            return Line(line.n)

        return closure, Line

    closure, line = make()
    assert Processor(closure).state_type is line


def test_types_of_a_class_are_found():
    class Shop:
        class Line(msgspec.Struct):
            n: int

        @staticmethod
        async def sell(line: Line) -> None: ...

        made = processor(sell)

    assert Shop.made.state_type is Shop.Line


def test_somebody_elses_local_types_are_not_taken():
    class Hidden(msgspec.Struct):
        n: int

    assert Hidden(1)
    with pytest.raises(ConfigurationError, match="'order' cannot be resolved"):
        Processor(hidden_state)


def test_methods_and_objects_are_looked_up_where_they_are_written():
    class Order(msgspec.Struct):
        local: int

    class Service:
        async def price(self, order: Order) -> None: ...
        async def __call__(self, order: Order) -> None: ...

    assert Processor(Service().price).state_type is Order
    assert Processor(Service()).state_type is Order
    assert Processor(functools.partial(Service().price)).state_type is Order


GENERIC: dict[str, str] = {"old": "async def generic(state: T) -> T: ..."}
if sys.version_info >= (3, 12):
    GENERIC["new"] = "async def generic[U](state: U) -> U: ..."


@pytest.mark.parametrize("text", GENERIC.values(), ids=GENERIC)
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_a_generic_function_takes_any_state(text: str, future: str):
    names: dict[str, Any] = {"T": T}
    exec(future + text, names)
    assert Processor(names["generic"]).state_type is Any
