"""Ids that the engine makes: nobody is asked, and their order is that of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import LocalRuntime, processor
from am2z_trio.model.ids import chosen_id, is_made, made_at, made_prefix, made_within, maker

TIMES = st.integers(0, 2**45 - 1)


@given(TIMES, st.integers(1, 10**9))
def test_an_id_says_when_it_was_made(at, number):
    id = f"{made_prefix(at, maker())}{number:x}"
    assert is_made(id)
    assert made_at(id) == at
    assert chosen_id(id, None) == chosen_id(id, "alice") == id


@given(TIMES, TIMES)
def test_ids_are_in_the_order_in_which_they_were_made(one, other):
    before, after = sorted((one, other))
    if before < after:
        assert made_prefix(before, maker()) < made_prefix(after, maker())


@given(TIMES, st.integers(1, 25))
def test_what_an_id_begins_with_is_a_span_of_time(at, length):
    span = made_within(f"{made_prefix(at, maker())}2a"[:length])
    assert span is not None
    first, last = span
    assert first <= at <= last
    assert last - first == (32 ** (9 - length) - 1 if length < 9 else 0)


@pytest.mark.parametrize("beginning", ["", "@alice/", "w0", "order-17", "1k8-"])
def test_no_id_that_was_made_begins_as_others_do(beginning):
    assert made_within(beginning) is None


@pytest.mark.parametrize("id", ["", "order-17", "1f0c" * 5 + "-2a", "@alice/" + "1" * 19 + "-1", "1" * 19])
def test_other_ids_say_nothing_of_a_time(id):
    assert not is_made(id)
    assert made_at(id) is None


def test_no_two_nodes_make_the_same_ids():
    assert len({maker() for _ in range(1000)}) == 1000


@processor
async def nothing(state: int) -> int:
    return state


@pytest.mark.trio
async def test_jobs_get_their_ids_in_order():
    async with LocalRuntime() as runtime:
        runtime.register(nothing)
        jobs = [await runtime.submit(nothing, n) for n in range(5)]
        jobs += [*await runtime.submit_many(nothing, range(5))]
    times = [at for job in jobs if (at := made_at(job.id)) is not None]
    assert len(times) == 10
    assert times == sorted(times)
    assert len({job.id for job in jobs}) == 10
