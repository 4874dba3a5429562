"""Whether what one program has stored can be read by another: what is told of two types."""

from __future__ import annotations

import enum
import json
from datetime import datetime
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict, Union

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from am2z_trio import (
    ConfigurationError,
    Processor,
    StatesChange,
    StatesSnapshot,
    ValidationError,
    compare_states,
    snapshot_states,
)
from am2z_trio.model.codec import StateCodec, encode_state
from am2z_trio.model.forms import MOST_BYTES
from am2z_trio.model.unknown import shape_with_records, unknown_fields


async def same(state: Any) -> Any:
    return state


def snapshot(kind: Any, **options: Any) -> StatesSnapshot:
    taken = snapshot_states([Processor(same, name="price", state_type=kind, **options)])
    assert StatesSnapshot.read(taken.text()) == taken
    return taken


def told(old: Any, new: Any) -> list[tuple[str, str, str]]:
    """What is told, but that which is fine."""
    changes = compare_states(snapshot(old), snapshot(new))
    return [(one.severity, one.change, one.path) for one in changes if one.severity != "fine"]


def record(*fields: Any, **options: Any) -> Any:
    return msgspec.defstruct("Order", fields, **options)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Node(msgspec.Struct):
    n: int
    next: Node | None = None


class NewNode(msgspec.Struct):
    n: str
    next: NewNode | None = None


class Old(TypedDict):
    a: int
    b: NotRequired[int]


class New(TypedDict):
    a: int
    b: int


class Place(NamedTuple):
    x: int
    y: int


class Turned(NamedTuple):
    y: int
    x: int


class Model(pydantic.BaseModel):
    n: int = pydantic.Field(gt=0)
    inner: list[Model] = []


class Stricter(pydantic.BaseModel):
    n: int = pydantic.Field(gt=5)
    inner: list[Stricter] = []


class Laxer(pydantic.BaseModel):
    n: int = pydantic.Field(gt=0)
    inner: list[Laxer] = []
    note: str = ""


def tagged(name: str, tag: str, *fields: Any) -> Any:
    return msgspec.defstruct(name, fields, tag=tag)


CARD, CASH, CHEQUE = tagged("Card", "card", ("n", int)), tagged("Cash", "cash"), tagged("Cheque", "cheque")
CARD_OF_TEXT = tagged("Card", "card", ("n", str))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (record(("a", int)), record(("a", int)), []),
        (record(("a", int)), record(("a", int), ("b", int, 0)), []),
        (record(("a", int)), record(("a", int), ("b", int)), [("error", "required", "$.b")]),
        (record(("a", int, 0)), record(("a", int)), [("error", "required", "$.a")]),
        (record(("a", int)), record(("a", int, 0)), []),
        (record(("a", int), ("b", int)), record(("a", int)), [("error", "removed", "$.b")]),
        (record(("a", int)), record(("b", int)), [("error", "renamed", "$.a")]),
        (record(("a", int)), record(("b", int), rename={"b": "a"}), []),
        (record(("a", int)), record(("a", str)), [("error", "retyped", "$.a")]),
        (record(("a", list[int])), record(("a", list[str])), [("error", "retyped", "$.a[...]")]),
        (record(("a", int | None)), record(("a", int)), [("error", "narrowed", "$.a")]),
        (record(("a", int)), record(("a", int | None)), [("warning", "widened", "$.a")]),
        (record(("a", int)), record(("a", float)), [("warning", "widened", "$.a")]),
        (record(("a", float)), record(("a", int)), [("error", "retyped", "$.a")]),
        (Colour, Literal["red"], [("error", "narrowed", "$")]),
        (Literal["red"], Colour, [("warning", "widened", "$")]),
        (str, Colour, [("error", "narrowed", "$")]),
        (Colour, str, [("warning", "widened", "$")]),
        (dict, record(("a", int, 0)), [("error", "retyped", "$")]),
        (record(("a", int)), dict, [("warning", "widened", "$")]),
        (record(("a", int)), dict[str, str], [("warning", "widened", "$"), ("error", "retyped", "$.a")]),
        (dict[str, int], dict[str, str], [("error", "retyped", "$[...]")]),
        (dict[str, int], dict[int, int], [("error", "retyped", "$.key")]),
        (Any, int, [("error", "narrowed", "$")]),
        (int, Any, [("warning", "widened", "$")]),
        (list[int], set[int], [("error", "retyped", "$")]),
        (tuple[int, int], list[int], [("warning", "widened", "$")]),
        (tuple[int, int], tuple[int, int, int], [("error", "retyped", "$")]),
        (datetime, str, [("error", "retyped", "$")]),
        (Annotated[int, Meta(ge=3)], Annotated[int, Meta(ge=4)], [("error", "narrowed", "$")]),
        (Annotated[int, Meta(ge=3)], Annotated[int, Meta(ge=2)], [("warning", "widened", "$")]),
        (int, Annotated[int, Meta(le=3)], [("error", "narrowed", "$")]),
        (Node, NewNode, [("error", "retyped", "$.n")]),
        (Node, Node, []),
        (Old, New, [("error", "required", "$.b")]),
        (New, Old, []),
        (Place, Turned, [("error", "retyped", "$.y"), ("error", "retyped", "$.x")]),
        (record(("a", int), array_like=True), record(("b", int), array_like=True), []),
        (record(("a", int)), record(("a", int), array_like=True), [("error", "retyped", "$")]),
        (Union[CARD, CASH], Union[CARD, CASH, CHEQUE], [("warning", "widened", "$")]),  # noqa: UP007
        (Union[CARD, CASH], Union[CARD, CHEQUE], [("error", "narrowed", "$"), ("warning", "widened", "$")]),  # noqa: UP007
        (Union[CARD, CASH], Union[CARD_OF_TEXT, CASH], [("error", "retyped", "$.n")]),  # noqa: UP007
        (Model, Stricter, [("error", "narrowed", "$.n")]),
        (Model, Laxer, []),
        (Laxer, Model, [("error", "removed", "$.note")]),
    ],
)
def test_what_is_told_of_two_types(old, new, expected):
    assert told(old, new) == expected


def changes_of(kind: Any, of: dict[str, Any], new: Any, new_of: dict[str, Any]) -> list[StatesChange]:
    return compare_states(snapshot(kind, **of), snapshot(new, **new_of))


def form_of_next(form: Any) -> Any:
    return form


STEPS = {1: form_of_next, 2: form_of_next}


def test_a_higher_version_needs_a_migration_for_every_step():
    old, new = record(("a", int)), record(("a", str))
    (one,) = changes_of(old, {}, new, {"state_version": 3, "migrate": STEPS})
    assert (one.severity, one.change) == ("fine", "version")
    (one,) = changes_of(old, {}, new, {"state_version": 3, "migrate": {2: form_of_next}})
    assert (one.severity, one.change, one.remedy) == ("error", "migration", "give migrate={1: ...}")
    (one,) = changes_of(old, {}, new, {"state_version": 2})
    assert one.severity == "error"


def test_a_version_never_goes_down_and_a_lost_migration_is_told():
    kind = record(("a", int))
    (one,) = changes_of(
        kind, {"state_version": 3, "migrate": STEPS}, record(("a", int)), {"state_version": 2}
    )
    assert (one.severity, one.change) == ("error", "version")
    (one,) = changes_of(
        kind, {"state_version": 3, "migrate": STEPS}, record(("a", int)), {"state_version": 3}
    )
    assert (one.severity, one.change) == ("warning", "migration")


def test_what_to_do_is_said_and_processors_that_come_and_go_are_told():
    (one,) = compare_states(snapshot(record(("a", int))), snapshot(record(("a", str))))
    assert (one.processor, one.path) == ("price", "$.a")
    assert one.remedy == "raise state_version to 2, and give migrate={1: ...}"
    none = snapshot_states([])
    assert [one.change for one in compare_states(none, snapshot(int))] == ["new"]
    assert [one.change for one in compare_states(snapshot(int), none)] == ["gone"]


def test_a_snapshot_is_the_same_text_whatever_the_order_of_processors():
    a, b = Processor(same, name="a", state_type=Node), Processor(same, name="b", state_type=Colour)
    assert snapshot_states([a, b]).text() == snapshot_states([b, a]).text()


@pytest.mark.parametrize("odd", [None, 3, "price", [3], same])
def test_what_is_no_snapshot_and_no_processor_is_refused_by_its_name(odd):
    with pytest.raises(ConfigurationError, match=r"^(processors|register)="):
        snapshot_states(odd)
    with pytest.raises(ConfigurationError, match=r"^new="):
        compare_states(snapshot(int), odd)


def test_a_type_that_names_none_is_one_error_that_names_the_processor():
    with pytest.raises(ConfigurationError, match=r"processor 'price': .* name 'Nowhere' is not defined"):
        snapshot(record(("a", "Nowhere")))


GOOD = json.loads(snapshot(record(("a", list[int]))).text())


def deep() -> bytes:
    form: Any = {"kind": "int"}
    for _ in range(200):
        form = {"kind": "list", "of": [form]}
    return spoilt(form=form)


def spoilt(**fields: Any) -> bytes:
    state = {**GOOD["processors"]["price"], **fields}
    return json.dumps({**GOOD, "processors": {"price": state}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b'{"am2z_states": 2, "processors": {}}',
        b'{"am2z_states": 1, "processors": {"a": {}}}',
        b'{"am2z_states": 1, "processors": {}, "more": 1}',
        spoilt(version=0),
        spoilt(version=10**30),
        spoilt(form={"kind": "record", "name": "Nobody"}),
        spoilt(form={"kind": "list"}),
        spoilt(form={"kind": "dict", "of": [{"kind": "int"}]}),
        spoilt(form={"kind": "odd"}),
        deep(),
        b" " * (MOST_BYTES + 1),
    ],
    ids=range(18),
)
def test_what_is_no_snapshot_is_one_error(data):
    with pytest.raises(ValidationError, match=r"no snapshot of states|at most 8,000,000 bytes"):
        StatesSnapshot.read(data)


# --- what is told to fit does fit -------------------------------------------------------------------

ATOMS: dict[Any, Any] = {
    int: st.integers(-5, 5),
    float: st.floats(-2, 2),
    str: st.sampled_from(["a", "b", "c"]),
    bool: st.booleans(),
    NoneType: st.none(),
    Any: st.sampled_from([1, "a", None, [1], {"a": 1}]),
    Colour: st.sampled_from(["red", "blue"]),
    Literal["a", "b"]: st.sampled_from(["a", "b"]),
    Literal["a"]: st.just("a"),
    Literal[1, 2]: st.sampled_from([1, 2]),
    Annotated[int, Meta(ge=1)]: st.integers(1, 5),
    Annotated[int, Meta(ge=2, le=4)]: st.integers(2, 4),
    int | str: st.sampled_from([1, "a"]),
    float | None: st.sampled_from([1.5, None]),
}

Evolved = tuple[Any, Any, Any]
"""An older type, values of it as they are stored, and a newer type."""

HOW = ("same", "other", "list", "dict", "tuple", "record", "record")


@st.composite
def evolved(draw: Any, depth: int = 2) -> Evolved:
    how = draw(st.sampled_from(HOW if depth else HOW[:2]))
    if how in ("same", "other"):
        kind = draw(st.sampled_from([*ATOMS]))
        return kind, ATOMS[kind], kind if how == "same" else draw(st.sampled_from([*ATOMS]))
    inside: Evolved = draw(evolved_record(depth) if how == "record" else evolved(depth - 1))
    if how == "record":
        return inside
    # Types are made here, by the functions that their brackets stand for.
    old, values, new = inside
    lists, dicts, tuples = (kind.__class_getitem__ for kind in (list, dict, tuple))
    if how == "list":
        return (
            lists(old),
            st.lists(values, max_size=2),
            draw(st.sampled_from([lists(new), lists(old) | None])),
        )
    if how == "tuple":
        newer = draw(st.sampled_from([tuples((new, int)), lists(new)]))
        return tuples((old, int)), st.tuples(values, st.integers(0, 3)), newer
    return dicts((str, old)), st.dictionaries(st.sampled_from("ab"), values), dicts((str, new))


@st.composite
def evolved_record(draw: Any, depth: int) -> Evolved:
    old, new = list[Any](), list[Any]()
    required, optional = dict[str, Any](), dict[str, Any]()
    for name in "abc":
        before, values, after = draw(evolved(depth - 1))
        was, has = draw(st.sampled_from([(True, True), (True, True), (True, False), (False, True)]))
        if was:
            is_required = draw(st.booleans())
            old.append((name, before) if is_required else (name, before, None))
            (required if is_required else optional)[name] = values
        if has:
            new.append((name, after) if draw(st.booleans()) else (name, after, None))
    newer: Any = draw(st.sampled_from([None, None, None, dict[str, Any]]))
    newer = newer or msgspec.defstruct("New", new, kw_only=True)
    values = st.fixed_dictionaries(required, optional=optional)
    return msgspec.defstruct("Old", old, kw_only=True), values, newer


@settings(max_examples=300)
@given(st.data())
def test_what_is_told_to_fit_is_read_and_loses_nothing(data):
    old, values, new = data.draw(evolved())
    if any(one.severity == "error" for one in compare_states(snapshot(old), snapshot(new))):
        return
    stored = data.draw(values)
    blob = encode_state(stored)
    StateCodec(old).decode(blob)
    StateCodec(new).decode(blob)
    shape = shape_with_records(new)
    assert shape is None or not [*unknown_fields(shape, msgspec.msgpack.decode(blob))]
