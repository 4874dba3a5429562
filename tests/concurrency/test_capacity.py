"""Room for so many at a time is given on in the order of asking, to whoever takes it."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.concurrency.capacity import Capacity

pytestmark = pytest.mark.anyio

MANY = 3_000


async def test_room_goes_to_who_has_asked_first_and_to_nobody_past_them():
    capacity, served = Capacity(current_host(), 1), list[int]()

    def serve(n: int, takes: bool) -> bool:
        served.append(n)
        return takes

    assert capacity.take()
    for n, takes in enumerate([False, True, False, False]):
        capacity.line_up(partial(serve, n, takes))
    capacity.release()
    assert served == [0, 1]
    assert not capacity.take()
    capacity.release()
    assert served == [0, 1, 2, 3]
    assert capacity.take()


async def test_very_many_that_give_their_room_back_at_once_pass_it_on():
    capacity, served = Capacity(current_host(), 1), 0

    def taker() -> bool:
        # Such as a queue whose next job was cancelled while it stood in line: it ends in its turn.
        nonlocal served
        served += 1
        capacity.release()
        return True

    assert capacity.take()
    for _ in range(MANY):
        capacity.line_up(taker)
    capacity.release()
    assert served == MANY
    assert capacity.take()
    assert not capacity.take()


async def test_one_that_asks_again_in_its_turn_comes_after_those_that_wait():
    capacity, served = Capacity(current_host(), 1), list[str]()

    def serve(name: str) -> bool:
        served.append(name)
        return True

    def again() -> bool:
        served.append("again")
        capacity.release()
        assert not capacity.take()
        capacity.line_up(partial(serve, "last"))
        return True

    assert capacity.take()
    capacity.line_up(again)
    capacity.line_up(partial(serve, "next"))
    capacity.release()
    assert served == ["again", "next"]
    capacity.release()
    assert served == ["again", "next", "last"]


async def test_one_that_is_cancelled_leaves_the_line_and_first_is_before_all_others():
    capacity, order, scopes = Capacity(current_host(), 1), list[str](), dict[str, anyio.CancelScope]()
    assert capacity.take()

    async def wait(name: str) -> None:
        with anyio.CancelScope() as scopes[name]:
            await capacity.acquire(first=name == "first")
            order.append(name)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b", "first"):
                tasks.start_soon(wait, name)
                await anyio.wait_all_tasks_blocked()
            scopes["a"].cancel()
            await anyio.wait_all_tasks_blocked()
            capacity.release()
            await anyio.wait_all_tasks_blocked()
            assert order == ["first"]
            capacity.release()
    assert order == ["first", "b"]
    capacity.release()
    assert capacity.take()
