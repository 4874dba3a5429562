"""What a processor returns is what is kept, whatever its keys and members; `None` changes nothing."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import anyio
import msgspec
import pytest

from am2z_trio import Context, Processor, QueueOptions, ValidationError, processor

pytestmark = pytest.mark.anyio


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Point(msgspec.Struct, frozen=True):
    x: int


class Board(msgspec.Struct):
    at: datetime
    by_number: dict[int, str] = {}
    by_color: dict[Color, int] = {}
    by_day: dict[date, int] = {}
    by_id: dict[UUID, int] = {}
    colors: set[Color] = set()
    points: frozenset[Point] = frozenset()


TWICE = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)


def a_board(at: datetime) -> Board:
    return Board(
        at,
        {2: "b", 1: "a"},
        {Color.RED: 1, Color.BLUE: 2},
        {date(2026, 3, 29): 1, date(2026, 3, 1): 2},
        {UUID(int=9): 1, UUID(int=1): 2},
        set(Color),
        frozenset({Point(2), Point(1)}),
    )


@processor
async def board(state: Board) -> Board:
    assert state == a_board(TWICE.astimezone(UTC))
    return a_board(TWICE)


async def test_states_of_any_keys_and_members_are_kept(make_runtime):
    expected = a_board(TWICE.astimezone(UTC))
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(board)
            result = await runtime.execute(board, a_board(TWICE), session="s")
            assert result.unwrap() == expected
            before = await runtime.state.get("s", type=Board)
            assert before is not None
            assert before.state == expected
            # It works on the stored state now, and returns one that is equal.
            assert (await runtime.execute(board, session="s")).unwrap() == expected
            after = await runtime.state.get("s", type=Board)
            assert after is not None
            assert (after.state, after.checksum) == (expected, before.checksum)


class Cart(msgspec.Struct):
    items: list[int] = []
    tags: set[str] = set()


def changed(cart: Cart) -> None:
    cart.items.append(1)


def left_alone(cart: Cart) -> None:
    cart.items.append(1)
    cart.items.pop()


async def changed_plainly(cart: Cart) -> None:
    changed(cart)


async def left_alone_plainly(cart: Cart) -> None:
    left_alone(cart)


async def changed_in_context(cart: Cart, ctx: Context) -> None:
    changed(cart)


async def left_alone_in_context(cart: Cart, ctx: Context) -> None:
    left_alone(cart)


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("fn", [changed, changed_plainly, changed_in_context])
async def test_none_after_a_change_in_place_is_an_error_that_says_so(
    make_runtime, fn: Any, session: str | None
):
    one = Processor[Any](fn, name="one", state_type=Cart)
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(one)
            result = await runtime.execute(one, Cart([5], {"a", "b"}), session=session)
            assert isinstance(result.error, ValidationError)
            assert "'one' has changed its state in place and returned None" in result.error.message


@pytest.mark.parametrize("session", [None, "s"])
@pytest.mark.parametrize("fn", [left_alone, left_alone_plainly, left_alone_in_context])
async def test_none_leaves_the_state_as_it_was(make_runtime, fn: Any, session: str | None):
    one = Processor[Any](fn, name="one", state_type=Cart)
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(one)
            state = Cart([5], {"a", "b"})
            assert (await runtime.execute(one, state, session=session)).unwrap() == state
            # A mapping will do, and what it leaves out.
            assert (await runtime.execute(one, {"items": [1]}, session=session)).unwrap() == Cart([1])


@processor(queue=QueueOptions(concurrency=1))
async def child(cart: Cart) -> None:
    changed(cart)


@pytest.mark.parametrize("inline", [True, False])
async def test_what_a_call_changes_in_place_is_told_to_its_caller(make_runtime, inline: bool):
    @processor
    async def parent(n: int, ctx: Context) -> int:
        with pytest.raises(ValidationError, match="'child' has changed its state in place"):
            await ctx.call(child, Cart([1]), inline=inline)
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(parent, child)
            assert (await runtime.execute(parent, 1)).unwrap() == 1
