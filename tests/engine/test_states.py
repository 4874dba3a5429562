"""`runtime.state`, its locks, and `ctx.state`, as their users see them."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from math import inf
from typing import Annotated, Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import (
    AM2ZError,
    ConfigurationError,
    Context,
    JobOptions,
    LockLostError,
    MemoryStateManager,
    PayloadTooLargeError,
    QueueOptions,
    QueueRuntime,
    RedisStateManager,
    RuntimeStateError,
    StateConflictError,
    StateIntegrityError,
    ValidationError,
    processor,
)
from am2z_trio.model.codec import StateCodec, checksum
from am2z_trio.model.records import plain_name
from am2z_trio.store.redis.keys import spell
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


class Cart(msgspec.Struct, frozen=True):
    items: list[str] = []
    total: float = 0.0


@processor
async def plus_one(n: int) -> int:
    return n + 1


async def test_a_state_is_written_read_and_taken_away_and_versions_only_grow(make_runtime):
    async with make_runtime() as runtime:
        state = runtime.state
        assert await state.get("s") is None
        assert (await state.exists("s"), await state.get_version("s")) == (False, 0)
        first = await state.set("s", Cart(["a"], 1.0))
        assert (first.state, first.version) == (Cart(["a"], 1.0), 1)
        found = await state.get("s", Cart)
        assert found == first
        assert found.created == found.updated
        assert (await state.get("s")).state == {"items": ["a"], "total": 1.0}
        second = await state.update("s", lambda cart: Cart([*cart.items, "b"], cart.total), type=Cart)
        assert (second.state.items, second.version) == (["a", "b"], 2)
        assert second.created == first.created
        assert await state.delete("s")
        assert not await state.delete("s")
        assert (await state.exists("s"), await state.get_version("s")) == (False, 3)
        assert (await state.set("s", 1)).version == 4
        assert await state.get("other") is None


async def test_a_job_that_does_not_commit_leaves_its_sessions_state_as_it_is(make_runtime):
    @processor
    async def twice(n: int, ctx: Context) -> int:
        return 2 * (await ctx.state.read() or n)

    @processor
    async def notes(n: int, ctx: Context) -> int:
        await ctx.state.update(lambda seen: (seen or 0) + n)
        return -1

    apart = JobOptions(commit=False)
    async with make_runtime() as runtime:
        for known in (plus_one, twice, notes):
            runtime.register(known)
        assert (await runtime.execute(plus_one, 1, session="s", options=apart)).unwrap() == 2
        assert not await runtime.state.exists("s")
        assert (await runtime.execute(plus_one, 1, session="s")).unwrap() == 2
        seen = await runtime.state.get("s")
        # On the stored state, which it reads; and one that writes for itself.
        assert (await runtime.execute(twice, session="s", options=apart)).unwrap() == 4
        assert await runtime.state.get("s") == seen
        assert (await runtime.execute(notes, 5, session="s", options=apart)).unwrap() == -1
        assert (await runtime.state.get("s")).state == 7


async def test_a_called_job_commits_what_it_returns_if_it_is_asked_to(make_runtime):
    @processor
    async def calls(n: int, ctx: Context) -> int:
        await ctx.call(plus_one, n, key="1")
        unseen = await runtime.state.exists("s")
        await ctx.call(plus_one, n, key="2", options=JobOptions(commit=True))
        assert not unseen
        assert (await runtime.state.get("s")).state == n + 1
        return n

    async with make_runtime() as runtime:
        for known in (plus_one, calls):
            runtime.register(known)
        assert (await runtime.execute(calls, 1, session="s")).unwrap() == 1
        assert (await runtime.state.get("s")).version == 2


async def test_a_queue_may_say_that_its_jobs_do_not_commit(make_runtime):
    @processor(queue=QueueOptions(default_job_options=JobOptions(commit=False)))
    async def increment(n: int) -> int:
        return n + 1

    async with make_runtime() as runtime:
        runtime.register(increment)
        assert (await runtime.execute(increment, 1, session="s")).unwrap() == 2
        assert not await runtime.state.exists("s")
        asked = await runtime.execute(increment, 1, session="s", options=JobOptions(commit=True))
        assert (asked.unwrap(), (await runtime.state.get("s")).state) == (2, 2)
    with pytest.raises(ConfigurationError, match=r"JobOptions\.commit=1: must be True or False"):
        JobOptions(commit=1)  # type: ignore[arg-type]


async def test_writing_may_expect_what_was_read(make_runtime):
    async with make_runtime() as runtime:
        seen = await runtime.state.set("s", 1)
        newer = await runtime.state.set("s", 2, expected=seen)
        with pytest.raises(StateConflictError, match="not version 1 any more: it is version 2"):
            await runtime.state.set("s", 3, expected=seen)
        assert (await runtime.state.get("s")).state == 2
        await runtime.state.set("s", 3, expected=newer)


async def test_a_hundred_updaters_all_succeed_in_the_order_they_came(make_runtime):
    order: list[int] = []
    async with make_runtime() as runtime:

        async def one(number: int) -> None:
            def add(n: int | None) -> int:
                order.append(number)
                return (n or 0) + 1

            await runtime.state.update("s", add, max_conflicts=0)

        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(one, number)
        assert (await runtime.state.get("s")).state == 100
    assert len(order) == 100
    assert sorted(order) == list(range(100))


async def test_an_update_is_made_again_on_what_others_wrote_meanwhile(make_runtime):
    seen: list[Any] = []
    async with make_runtime() as runtime:
        await runtime.state.set("s", 1)

        async def add(n: int) -> int:
            seen.append(n)
            if len(seen) < 4:
                await runtime.state.set("s", 10 * len(seen))
            return n + 1

        assert (await runtime.state.update("s", add)).state == 31
        assert seen == [1, 10, 20, 30]
        seen.clear()
        with pytest.raises(StateConflictError, match="max_conflicts"):
            await runtime.state.update("s", add, max_conflicts=1)


async def test_an_update_that_changes_the_state_in_place_and_returns_nothing_is_refused(make_runtime):
    async with make_runtime() as runtime:
        await runtime.state.set("alice", {"a": 1})
        # As everybody has written once: `update` of a dict returns nothing.
        with pytest.raises(ValidationError, match="changed it in place and returned None"):
            await runtime.state.update("alice", lambda state: state.update(a=2))
        assert (await runtime.state.update("alice", lambda state: None)).state == {"a": 1}

        @processor
        async def change(n: int, ctx: Context) -> int:
            await ctx.state.update(lambda state: state.update(a=2), dict)
            return n

        runtime.register(change)
        error = (await runtime.execute(change, 1, session="alice")).error
        assert isinstance(error, ValidationError)
        assert "changed it in place" in error.message
        assert (await runtime.state.get("alice")).state == {"a": 1}


async def test_a_state_is_read_as_a_type_that_has_no_hash(make_runtime):
    kind = Annotated[int, ["of no use"]]
    async with make_runtime() as runtime:
        await runtime.state.set("alice", 3, type=kind)
        assert (await runtime.state.get("alice", kind)).state == 3


async def test_what_an_update_may_do(make_runtime):
    async with make_runtime() as runtime:
        state = runtime.state
        with pytest.raises(ValidationError, match="made none"):
            await state.update("s", lambda n: None)
        await state.set("s", 1)
        assert (await state.update("s", lambda n: None)).version == 1
        with pytest.raises(ZeroDivisionError):
            await state.update("s", lambda n: n / 0)

        async def nested(n: int) -> int:
            await state.update("t", lambda m: (m or 0) + 1)
            with pytest.raises(RuntimeStateError, match="wait for itself"):
                await state.update("s", lambda m: m)
            return n + 1

        with anyio.fail_after(10):
            assert (await state.update("s", nested)).state == 2
        with anyio.move_on_after(0):
            await state.update("s", lambda n: n + 1)
        assert (await state.update("s", lambda n: n + 1)).state in (3, 4)


async def test_states_expire_after_their_last_write(make_runtime):
    async with make_runtime(state_ttl=0.15) as runtime:
        state = runtime.state
        await state.set("default", 1)
        await state.set("never", 1, ttl=inf)
        with anyio.fail_after(10):
            while await state.exists("default"):
                await anyio.sleep(0.01)
        assert await state.get_version("default") == 1
        assert (await state.get("never")).state == 1
        assert (await state.update("default", lambda n: (n or 0) + 5)).version == 2


async def test_history_keeps_the_newest(make_runtime):
    async with make_runtime(state_history=3) as runtime:
        for n in range(5):
            await runtime.state.set("s", n)
        assert [(v.version, v.state) for v in await runtime.state.history("s")] == [(5, 4), (4, 3), (3, 2)]
        await runtime.state.delete("s")
        assert await runtime.state.history("s") == []


async def test_each_version_says_who_wrote_it(make_runtime):
    async with make_runtime(state_history=3) as runtime:
        runtime.register(plus_one)
        written = await runtime.state.set("s", 1)
        job = await runtime.submit(plus_one, session="s")
        assert (await job.result()).unwrap() == 2
        newest, first = [version.by for version in await runtime.state.history("s")]
        assert (newest.job, first.job, first.token) == (job.id, "", "")
        assert newest.token
        assert newest.node == first.node == runtime.node_id
        assert (await runtime.state.get("s")).by == newest
        assert written.by == first


@pytest.mark.parametrize("what", ["blob", "sha", "no sha", "no blob", "neither"])
async def test_a_state_that_was_changed_from_outside_is_never_data(redis_url, redis_server, what):
    key = spell("am2z", "session", plain_name("s"))
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(plus_one)
        await runtime.state.set("s", 1)
        if what in ("blob", "sha"):
            redis_server.call("HSET", key, what, "0" * 64)
        else:
            fields = {"no sha": ["sha"], "no blob": ["blob"], "neither": ["sha", "blob"]}[what]
            redis_server.call("HDEL", key, *fields)
        with pytest.raises(StateIntegrityError, match="changed by something else"):
            await runtime.state.get("s")
        with pytest.raises(StateIntegrityError):
            await runtime.state.update("s", lambda n: n + 1)
        result = await runtime.execute(plus_one, session="s")
        assert isinstance(result.error, StateIntegrityError)
        await runtime.state.set("s", 7)
        assert (await runtime.execute(plus_one, session="s")).unwrap() == 8


@pytest.mark.parametrize("field", ["created", "updated"])
@pytest.mark.parametrize("spoilt", ["9007199254740000", "-99999999999999", "9" * 40, "0x10", "1e15", "x"])
async def test_a_time_that_no_calendar_knows_is_the_epoch_and_the_state_is_sound(
    redis_url, redis_server, field, spoilt
):
    key = spell("am2z", "session", plain_name("s"))
    async with QueueRuntime(redis_url, state_history=2) as runtime:
        runtime.register(plus_one)
        await runtime.state.set("s", 1)
        redis_server.call("HSET", key, field, spoilt)
        found = await runtime.state.get("s")
        assert found is not None
        assert (found.state, found.version) == (1, 1)
        assert getattr(found, field) <= dt.datetime.fromtimestamp(1, dt.UTC)
        await runtime.state.set("s", 2, expected=found)
        assert (await runtime.state.update("s", lambda n: n + 1)).state == 3
        assert (await runtime.execute(plus_one, session="s")).unwrap() == 4
        assert [one.state for one in await runtime.state.history("s")] == [4, 3]
        assert await runtime.state.delete("s")


async def test_bad_calls_and_large_states_are_refused_clearly(make_runtime, redis_url):
    runtime = make_runtime(max_state_bytes=200_000)
    with pytest.raises(RuntimeStateError, match="not running"):
        await runtime.state.get("s")
    async with runtime:
        for bad in ("", None, 3):
            with pytest.raises(ConfigurationError, match="session="):
                await runtime.state.get(bad)
        with pytest.raises(ConfigurationError, match="ttl="):
            await runtime.state.set("s", 1, ttl=-1)
        with pytest.raises(ValidationError, match="delete it"):
            await runtime.state.set("s", None)
        with pytest.raises(ValidationError, match=r"the set at \$\['tags'\]"):
            await runtime.state.set("s", {"tags": {1}})
        await runtime.state.set("s", {"tags": {1}}, type=dict[str, set[int]])
        assert (await runtime.state.get("s", dict[str, set[int]])).state == {"tags": {1}}
        await runtime.state.set("large", "x" * 100_000)
        assert len((await runtime.state.get("large")).state) == 100_000
        with pytest.raises(PayloadTooLargeError):
            await runtime.state.set("s", "x" * 300_000)
    for alone in (RedisStateManager(redis_url), MemoryStateManager()):
        async with alone as state:
            assert (await state.set("s", {"a": 1})).version == (await state.get_version("s"))


# --- encoding -------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Inner:
    when: dt.datetime
    day: dt.date
    price: Decimal
    id: uuid.UUID


class Cat(msgspec.Struct, frozen=True, tag=True):
    lives: int


class Dog(msgspec.Struct, frozen=True, tag=True):
    name: str


class Everything(msgspec.Struct):
    text: str
    number: float
    raw: bytes
    tags: set[int]
    frozen: frozenset[str]
    pair: tuple[int, str]
    colour: Colour
    inner: Inner
    pets: list[Cat | Dog]
    mapping: dict[str, str]
    maybe: int | None


TEXT = st.text(max_size=5)
EVERYTHING = st.builds(
    Everything,
    text=TEXT,
    number=st.floats(allow_nan=False) | st.integers(-1000, 1000),
    raw=st.binary(max_size=5),
    tags=st.sets(st.integers(-(2**40), 2**40), max_size=4),
    frozen=st.frozensets(TEXT, max_size=4),
    pair=st.tuples(st.integers(0, 9), TEXT),
    colour=st.sampled_from(Colour),
    inner=st.builds(
        Inner,
        when=st.datetimes(timezones=st.just(dt.UTC)) | st.datetimes(),
        day=st.dates(),
        price=st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-99, max_value=99),
        id=st.uuids(),
    ),
    pets=st.lists(st.builds(Cat, st.integers(0, 9)) | st.builds(Dog, TEXT), max_size=3),
    mapping=st.dictionaries(TEXT, TEXT, max_size=4),
    maybe=st.none() | st.integers(0, 9),
)
CODEC: StateCodec[Everything] = StateCodec(Everything)


@given(EVERYTHING)
def test_whatever_msgspec_decodes_comes_back_and_equal_states_have_equal_checksums(state):
    blob = CODEC.encode_exactly(state)
    again = CODEC.decode(blob)
    assert again == state
    assert checksum(CODEC.encode_exactly(again)) == checksum(blob)


@given(st.dictionaries(TEXT, st.integers(), max_size=5), st.randoms())
def test_the_order_of_a_dict_does_not_matter(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)
    codec: StateCodec[Any] = StateCodec(dict[str, float])
    try:
        blob = codec.encode_exactly(mapping)
    except ValidationError:
        return  # an integer too large for a double, or for 64 bits
    assert codec.encode_exactly({key: float(value) for key, value in items}) == blob


@pytest.mark.parametrize(
    "state", [object(), {"a": object()}, {7j: "a"}, [1, {2}], 2**70, float("nan"), "\ud800"]
)
def test_what_cannot_be_kept_is_refused(state):
    with pytest.raises(ValidationError):
        StateCodec(Any).encode_exactly(state)


# --- locks ----------------------------------------------------------------------------------------


async def test_a_lock_has_one_holder_and_grows_its_number(make_runtime):
    holders, numbers = 0, list[int]()
    async with make_runtime() as runtime:

        async def one() -> None:
            nonlocal holders
            async with runtime.state.lock("s") as lock:
                holders += 1
                assert holders == 1
                numbers.append(lock.fencing)
                value = await lock.read()
                await anyio.lowlevel.checkpoint()
                await lock.write((value or 0) + 1)
                holders -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(30):
                tasks.start_soon(one)
        assert (await runtime.state.get("s")).state == 30
    assert numbers == sorted(set(numbers))


async def test_a_lock_is_no_deadlock_for_its_own_holder_and_waits_no_longer_than_asked(make_runtime):
    async with make_runtime() as runtime, runtime.state.lock("s") as outer:
        with pytest.raises(RuntimeStateError, match="wait for itself"):
            async with runtime.state.lock("s"):
                pass
        async with runtime.state.lock("t"):
            pass

        async def other() -> None:
            with anyio.move_on_after(0.05) as scope:
                async with runtime.state.lock("s"):
                    raise AssertionError("two holders")
            assert scope.cancelled_caught

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
        await runtime.state.set("s", "behind its back")
        assert await outer.read() == "behind its back"
        await runtime.state.set("s", "again")
        with pytest.raises(StateConflictError, match="without the lock"):
            await outer.write("mine")


async def test_a_lock_is_owned_by_a_task_and_what_it_starts_waits_in_line(make_runtime):
    said: list[str] = []
    async with make_runtime() as runtime:

        async def child(*, task_status: Any) -> None:
            task_status.started()
            async with runtime.state.lock("s"):
                said.append("the child has it")
                with pytest.raises(RuntimeStateError, match="this task holds"):
                    async with runtime.state.lock("s"):
                        pass

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks, runtime.state.lock("s") as lock:
                await tasks.start(child)
                # Started within the block, and no owner of it: its turn comes.
                await lock.write(1)
                said.append("the parent has it")
            async with runtime.state.lock("s"):
                said.append("the parent has it again")
    assert said == ["the parent has it", "the child has it", "the parent has it again"]


async def test_a_job_that_is_run_inline_is_part_of_the_task_that_holds_the_lock(make_runtime):
    runtime = make_runtime()

    @processor
    async def inner(n: int) -> int:
        async with runtime.state.lock("s"):
            return n

    @processor(depends_on=[inner])
    async def outer(n: int, ctx: Context) -> int:
        async with runtime.state.lock("s"):
            with pytest.raises(AM2ZError, match="wait for itself"):
                await ctx.call(inner, n, inline=True)
        return await ctx.call(inner, n, inline=True)

    async with runtime:
        runtime.register(outer)
        with anyio.fail_after(20):
            assert (await runtime.execute(outer, 7)).unwrap() == 7


async def test_losing_the_lock_cancels_the_block(make_runtime):
    async with make_runtime() as runtime:
        entered, cancelled = False, False
        with pytest.raises(LockLostError, match="lost"), anyio.fail_after(20):
            async with runtime.state.lock("s", lease=0.2):
                entered = True
                try:
                    # Somebody takes it away behind the holder's back.
                    await runtime.stop_session("s")
                    await anyio.sleep_forever()
                finally:
                    cancelled = True
        assert entered
        assert cancelled
        async with runtime.state.lock("s"):
            pass


async def test_a_lock_is_renewed_while_its_block_runs_and_freed_by_an_exception(make_runtime):
    async with make_runtime() as runtime:
        with pytest.raises(ZeroDivisionError):
            async with runtime.state.lock("s", lease=1.5) as lock:
                first = lock.ends
                # It surely stands for longer than it would have without a renewal.
                await until(lambda: runtime.node.host.now() > first)
                await lock.write("after a lease")
                raise ZeroDivisionError
        with anyio.fail_after(20):
            async with runtime.state.lock("s") as lock:
                assert await lock.read() == "after a lease"


# --- ctx.state ------------------------------------------------------------------------------------


async def test_what_a_processor_updates_lands_with_its_result_or_not_at_all(make_runtime):
    @processor
    async def add_item(item: str, ctx: Context) -> str:
        await ctx.state.update(lambda cart: [*(cart or []), item], type=list[str])
        if item == "bad":
            raise OSError("no")
        assert (await ctx.state.read(list[str]))[-1] == item
        return f"added {item}"

    async with make_runtime() as runtime:
        runtime.register(add_item)
        assert (await runtime.execute(add_item, "a", session="s")).unwrap() == "added a"
        assert not (await runtime.execute(add_item, "bad", session="s")).success
        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(_add, runtime, add_item, str(n))
        found = await runtime.state.get("s", list[str])
        assert sorted(found.state) == ["0", "1", "2", "3", "4", "5", "6", "7", "a"]
        assert found.version == 9
        error = (await runtime.execute(add_item, "x")).error
        assert isinstance(error, RuntimeStateError)
        assert "no session" in str(error)


async def _add(runtime: Any, add_item: Any, item: str) -> None:
    (await runtime.execute(add_item, item, session="s")).unwrap()
