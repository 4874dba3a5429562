"""Types that states cannot be kept as are refused where they are given, with what to do instead."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import numbers
import sys
import types
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, NoReturn, Protocol, Self, TypedDict, TypeVar

import msgspec
import pytest

from am2z_trio import ConfigurationError, LocalRuntime, Processor, ValidationError, processor
from am2z_trio.model.codec import StateCodec

T = TypeVar("T")


class Model:
    """As pydantic's."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    @classmethod
    def model_validate(cls, state: Any) -> Self:
        return cls(**state)

    def model_dump(self) -> dict[str, Any]:
        return self.fields


class UserId(str):
    __slots__ = ()


class Plain:
    pass


class Asked(Protocol):
    def ask(self) -> None: ...


class Order(msgspec.Struct):
    lines: list[Model]


class Box(msgspec.Struct, Generic[T]):
    item: T


class Tree(msgspec.Struct):
    children: list[Tree] = []
    model: Model | None = None


class Row(TypedDict):
    model: Model


class Pair(NamedTuple):
    first: int
    second: Model


@dataclasses.dataclass
class Record:
    by_name: dict[str, Model]


REFUSED: dict[str, tuple[Any, str]] = {
    "model": (Model, r"Model is a pydantic model.*take a dict, Model\.model_validate\(state\)"),
    "optional": (Model | None, "Model is a pydantic model"),
    "list": (list[Model], r"Model at \$\[\.\.\.\] is a pydantic model"),
    "dict": (dict[str, Model], r"Model at \$\[\.\.\.\] is a pydantic model"),
    "set": (frozenset[UserId], r"UserId at \$\[\.\.\.\]"),
    "key": (dict[UserId, int], r"UserId at \$\.key"),
    "tuple": (tuple[int, Model], r"Model at \$\[1\] is a pydantic model"),
    "field": (Order, r"Model at \$\.lines\[\.\.\.\] is a pydantic model"),
    "generic": (Box[Model], r"Model at \$\.item is a pydantic model"),
    "recursive": (Tree, r"Model at \$\.model is a pydantic model"),
    "TypedDict": (Row, r"Model at \$\.model is a pydantic model"),
    "NamedTuple": (Pair, r"Model at \$\.second is a pydantic model"),
    "dataclass": (Record, r"Model at \$\.by_name\[\.\.\.\] is a pydantic model"),
    "annotated": (Annotated[list[Model], "many"], r"Model at \$\[\.\.\.\] is a pydantic model"),
    "class": (Plain, "Plain is no type that can be read back: use a msgspec.Struct, a dataclass"),
    "text": (UserId, "UserId is a str that would be read back as a plain one"),
    "counter": (collections.Counter[str], "read back"),
    "complex": (complex, "complex is no type"),
    "fraction": (fractions.Fraction, "Fraction is no type"),
    "protocol": (Asked, "Asked is no type"),
    "function": (Callable[[], int], "is no type"),
}

KEPT: dict[str, Any] = {
    "any": Any,
    "object": object,
    "number": numbers.Number,
    "hashable": Hashable,
    "iterable": Iterable[int],
    "sequence": Sequence[int],
    "mapping": Mapping[str, int],
    "generic": Box[int],
    "open generic": Box,
    "variable": list[T],  # type: ignore[valid-type]
    "enum": enum.Enum("Kind", "A B"),
    "times": tuple[datetime.datetime, datetime.date, datetime.timedelta],
    "ids": dict[str, uuid.UUID | None],
    "decimal": decimal.Decimal,
    "bytes": bytes,
    "raw": msgspec.Raw,
    "bounded": Annotated[int, msgspec.Meta(ge=0)],
    "set": set[int],
    "path": Path,
}


@pytest.mark.parametrize(("kind", "told"), REFUSED.values(), ids=REFUSED)
def test_it_is_refused_at_definition(kind: Any, told: str):
    async def takes(state): ...

    takes.__annotations__["state"] = kind
    for define in (lambda: Processor(takes), lambda: processor(state_type=kind)(takes)):
        with pytest.raises(ConfigurationError, match=f"(?s)processor 'takes': .*{told}") as caught:
            define()
        assert caught.value.context == {"processor": "takes"}


@pytest.mark.parametrize("kind", KEPT.values(), ids=KEPT)
def test_what_can_be_kept_is_not(kind: Any):
    async def takes(state): ...

    takes.__annotations__ |= {"state": kind, "return": kind}
    LocalRuntime().register(Processor(takes))


@pytest.mark.parametrize(("kind", "told"), REFUSED.values(), ids=REFUSED)
def test_so_is_what_is_said_to_be_returned(kind: Any, told: str):
    for returns in (kind, Coroutine[Any, Any, kind], Awaitable[kind]):

        async def gives(state: int): ...

        gives.__annotations__["return"] = returns
        with pytest.raises(ConfigurationError, match=f"(?s)'gives': what it says it returns .*{told}"):
            processor(gives)


@pytest.mark.parametrize("returns", [NoReturn, None, T, asyncio.Future[int], "Nowhere", Self])
def test_a_return_that_says_nothing_of_a_state_is_none_of_ours(returns: Any):
    async def gives(state: int): ...

    gives.__annotations__["return"] = returns
    Processor(gives)


def test_a_generator_that_is_said_to_be_returned_is_refused():
    def gives(state: int) -> Iterator[int]:
        return iter([state])

    with pytest.raises(ConfigurationError, match="Iterator is no type that can be read back"):
        Processor[Any](gives)


def test_a_type_that_names_one_which_is_not_defined_yet_waits_for_registration(
    monkeypatch: pytest.MonkeyPatch,
):
    module = types.ModuleType("a_users_module")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = vars(module)
    exec(
        "import msgspec\n"
        "from am2z_trio import Processor\n"
        "class Early(msgspec.Struct):\n    late: 'Late'\n"
        "async def takes(early: Early): ...\n"
        "made = Processor(takes)\n",
        names,
    )
    with pytest.raises(
        ConfigurationError, match=r"processor 'takes': .* Early .*'Late' is not defined; define it in"
    ):
        LocalRuntime().register(names["made"])
    exec("class Late(msgspec.Struct):\n    n: int\n", names)
    LocalRuntime().register(names["made"])


@pytest.mark.trio
async def test_runtime_state_refuses_them_alike():
    async with LocalRuntime() as runtime:
        with pytest.raises(ValidationError, match="Model is a pydantic model"):
            await runtime.state.set("alice", Model(n=1))
        with pytest.raises(ValidationError, match="UserId is a str that"):
            await runtime.state.set("alice", UserId("a"))
        await runtime.state.set("alice", {"n": 1})
        with pytest.raises(ValidationError, match="Model is a pydantic model"):
            await runtime.state.get("alice", Model)


@pytest.mark.trio
async def test_values_of_such_types_say_where_they_are():
    @processor
    async def gives(state: dict[str, Any]) -> dict[str, Any]:
        return {"lines": [Model(n=1)]}

    async with LocalRuntime() as runtime:
        runtime.register(gives)
        for state in ({}, {"lines": [Model(n=1)]}):
            error = (await runtime.execute(gives, state)).error
            assert "cannot be encoded: Model is a pydantic model" in str(error)
            assert "(at $['lines'][0])" in str(error)


def test_a_type_that_was_refused_once_is_refused_again():
    for _ in range(2):
        with pytest.raises(ValidationError, match=r"Model at \$\.lines.* is a pydantic model"):
            StateCodec(Order)
