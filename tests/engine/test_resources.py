"""What processors are given beside their state: of the lifespan, and made for each run."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import (
    BusinessError,
    ConfigurationError,
    Context,
    LocalRuntime,
    Processor,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    Resource,
    RetryPolicy,
    chain,
    parallel,
    processor,
)
from am2z_trio.concurrency import current_host
from am2z_trio.engine.node import lifespan as lifespan_room
from tests.support.waiting import until

if TYPE_CHECKING:
    from elsewhere import Unknown  # type: ignore[import-not-found]

pytestmark = pytest.mark.anyio

T = TypeVar("T")


class Pool:
    def __init__(self, name: str = "pool") -> None:
        self.name = name
        self.log = list[str]()


class BigPool(Pool): ...


class Box(Generic[T]): ...


Shared = Annotated[Pool, Resource()]
"""As applications will name it, once."""


def giving(given: Any) -> Any:
    """A lifespan that provides that."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[Any]:
        yield given

    return lifespan


@asynccontextmanager
async def connection(pool: Shared) -> AsyncIterator[str]:
    await anyio.lowlevel.checkpoint()
    pool.log.append("open")
    try:
        yield f"connection of {pool.name}"
    finally:
        await anyio.lowlevel.checkpoint()
        pool.log.append("close")


Connection = Annotated[str, Resource(connection)]


@processor
async def name_of_pool(state: str, pool: Shared) -> str:
    return pool.name


@processor
async def connected(state: str, ctx: Context, *, pool: Shared, conn: Connection) -> str:
    pool.log.append("run")
    return conn


# --- the lifespan -----------------------------------------------------------------------------------


async def test_it_is_entered_before_the_first_claim_and_left_after_the_last_job(make_runtime):
    log, begun = list[str](), anyio.Event()

    @processor
    async def note(n: int) -> int:
        log.append(f"job {n}")
        begun.set()
        await anyio.sleep(0.001)
        return n

    async def lifespan(runtime: Any) -> AsyncIterator[None]:
        await runtime.state.set("alice", 5)
        log.append("entered")
        yield
        log.append(f"left, {(await runtime.state.get('alice')).state}")

    runtime = make_runtime(lifespan=lifespan)
    runtime.register(note)
    for number in (1, 2):
        async with runtime:
            (await runtime.execute(note, number)).unwrap()
            begun = anyio.Event()
            await runtime.submit(note, 7)
            await begun.wait()
        assert log == ["entered", f"job {number}", "job 7", "left, 5"]
        log.clear()


async def test_a_runtime_that_is_cancelled_leaves_it_in_peace(make_runtime):
    log, started = list[str](), anyio.Event()

    @processor
    async def forever(n: int, pool: Shared) -> int:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            log.append("job ended")
        return n

    async def lifespan(_: Any) -> AsyncIterator[Pool]:
        yield Pool()
        # Not in a `finally`: it never hears how the runtime ends.
        await anyio.sleep(0.001)
        log.append("left")

    async with anyio.create_task_group() as tasks:
        runtime = make_runtime(lifespan=lifespan)
        runtime.register(forever)
        await tasks.start(lambda *, task_status: runtime.run(task_status=task_status))
        await runtime.submit(forever, 1)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert log == ["job ended", "left"]


async def test_what_the_block_raises_is_no_affair_of_it(make_runtime):
    left = list[str]()

    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            left.append("it has heard")
        left.append("left")

    with pytest.raises(KeyError):
        async with make_runtime(lifespan=lifespan):
            raise KeyError("x")
    assert left == ["left"]


async def test_an_error_in_entering_it_is_that_of_the_start_and_nothing_is_served(make_runtime):
    async def broken(_: Any) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    runtime = make_runtime(lifespan=broken)
    runtime.register(name_of_pool)
    with pytest.raises(OSError, match="no database"):
        async with runtime:
            pytest.fail("it has begun")
    assert not runtime.is_entered
    with pytest.raises(OSError, match="no database"):
        await runtime.run()


async def test_a_start_that_is_cancelled_while_it_is_entered_ends(make_runtime):
    closed, entering = anyio.Event(), anyio.Event()

    async def slow(_: Any) -> AsyncIterator[None]:
        try:
            entering.set()
            await anyio.sleep_forever()
        finally:
            closed.set()
        yield

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make_runtime(lifespan=slow).run)
        await entering.wait()
        tasks.cancel_scope.cancel()
    assert closed.is_set()


async def test_an_error_in_leaving_it_leaves_the_block_and_one_of_the_block_goes_before(make_runtime):
    async def broken(_: Any) -> AsyncIterator[None]:
        yield
        raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        async with make_runtime(lifespan=broken):
            pass
    with pytest.raises(KeyError) as caught:
        async with make_runtime(lifespan=broken):
            raise KeyError("x")
    assert "cannot close" in str(caught.value.__notes__)


async def test_a_task_of_it_that_fails_ends_the_runtime_and_hands_its_jobs_back(make_runtime):
    may_fail, ended = anyio.Event(), anyio.Event()

    async def background() -> None:
        await may_fail.wait()
        raise OSError("the pool is gone")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[Pool]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(background)
            yield Pool()

    @processor
    async def forever(n: int, pool: Shared) -> int:
        may_fail.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return n

    with pytest.raises(OSError, match="the pool is gone"):
        async with make_runtime(lifespan=lifespan) as runtime:
            runtime.register(forever)
            await runtime.submit(forever, 1)
            await anyio.sleep_forever()
    assert ended.is_set()


async def test_one_that_does_not_end_is_cancelled(make_runtime, monkeypatch, caplog):
    monkeypatch.setattr(lifespan_room, "LEAVES_WITHIN", 0.01)

    async def stays(_: Any) -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()

    async with make_runtime(lifespan=stays):
        pass
    assert "the lifespan has not ended within 0.01 s" in caplog.text


async def test_a_client_enters_none(make_runtime, request):
    if "queue" not in request.node.name:
        pytest.skip("a LocalRuntime always works")

    async def lifespan(_: Any) -> AsyncIterator[None]:
        pytest.fail("nothing runs here")
        yield

    async with make_runtime(workers=False, lifespan=lifespan) as runtime:
        runtime.register(name_of_pool)


def plainly_managed() -> Any:
    @contextmanager
    def plain(_: Any) -> Iterator[None]:
        yield

    return plain


@pytest.mark.parametrize("wrong", [5, "x", lambda: None, plainly_managed()])
async def test_what_is_no_lifespan_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="lifespan"):
        async with LocalRuntime(lifespan=wrong):
            pass


# --- what it provides -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        Pool("x"),
        {"pool": Pool("x")},
        {"pool": Pool("x"), "other": 5, "big": BigPool()},
        [Pool("x"), 5],
        (5, Pool("x")),
        {Pool: Pool("x"), "other": Pool("y")},
        BigPool("x"),
    ],
)
async def test_a_resource_is_found_by_its_type(given):
    async with LocalRuntime(lifespan=giving(given)) as runtime:
        runtime.register(name_of_pool)
        assert (await runtime.execute(name_of_pool, "")).unwrap() == "x"


async def test_a_resource_is_found_by_its_name_whatever_it_is(make_runtime):
    @processor
    async def two(
        state: str, main: Annotated[Pool, Resource("main")], *, spare: Annotated[Any, Resource("spare")]
    ) -> str:
        return f"{main.name} {spare}"

    async with make_runtime(lifespan=giving({"main": Pool("a"), "spare": 5, "more": Pool("b")})) as runtime:
        runtime.register(two)
        assert (await runtime.execute(two, "")).unwrap() == "a 5"


@pytest.mark.parametrize(
    ("given", "kind", "marker", "why"),
    [
        (None, Pool, Resource(), r"nothing of the type Pool \(there is: nothing"),
        ({"main": Pool()}, Pool, Resource("mian"), r"by the name 'mian' \(there is: 'main' \(Pool\)\)"),
        ([Pool("a"), Pool("b")], Pool, Resource(), "2 of the type Pool: ask for one by its name"),
        ([BigPool("a"), BigPool("b")], Pool, Resource(), "2 of the type Pool"),
        ([Box()], Box[int] | Pool, Resource(), "cannot tell what is a"),
        ([5], Any, Resource(), "ask for it by a name"),
    ],
)
async def test_a_resource_that_nobody_provides_is_one_clear_error_of_the_start(given, kind, marker, why):
    async def work(state: str, pool: Any) -> str:
        return state

    work.__annotations__["pool"] = Annotated[kind, marker]
    runtime = LocalRuntime(lifespan=giving(given))
    runtime.register(Processor(work))
    with pytest.raises(ConfigurationError, match=f"processor 'work', parameter 'pool': the lifespan .*{why}"):
        async with runtime:
            pytest.fail("it has begun")
    assert not runtime.is_entered


async def test_a_processor_whose_resource_is_not_there_is_not_registered_and_none_beside_it(make_runtime):
    @processor
    async def other(state: str) -> str:
        return state

    async with make_runtime() as runtime:
        with pytest.raises(ConfigurationError, match="'name_of_pool', parameter 'pool'"):
            runtime.register(other, name_of_pool)
        assert runtime.list_processors() == []
        with pytest.raises(ConfigurationError, match=r"parameter 'pool' of .*connection: the lifespan"):
            runtime.register(connected)


async def test_a_default_is_given_where_nobody_provides(make_runtime):
    @processor
    async def perhaps(state: str, pool: Annotated[Pool | None, Resource()] = None) -> str:
        return pool.name if pool else "none"

    @processor
    async def perhaps_too(state: str, *, pool: Shared | None = None) -> str:
        return pool.name if pool else "none"

    for given, expected in ((None, "none"), (Pool("x"), "x")):
        async with make_runtime(lifespan=giving(given)) as runtime:
            runtime.register(perhaps, perhaps_too)
            assert (await runtime.execute(perhaps, "")).unwrap() == expected
            assert (await runtime.execute(perhaps_too, "")).unwrap() == expected


async def test_a_mapping_by_something_else_is_refused():
    with pytest.raises(ConfigurationError, match="neither a name nor a type"):
        async with LocalRuntime(lifespan=giving({5: Pool()})):
            pass


# --- what is made for each run ----------------------------------------------------------------------


async def test_what_is_made_for_a_run_is_closed_after_it(make_runtime):
    pool = Pool("x")
    async with make_runtime(lifespan=giving(pool)) as runtime:
        runtime.register(connected)
        assert (await runtime.execute(connected, "")).unwrap() == "connection of x"
        assert pool.log == ["open", "run", "close"]


class Managed:
    """A class of context managers, which takes a resource itself."""

    def __init__(self, pool: Shared) -> None:
        self.pool = pool

    async def __aenter__(self) -> str:
        return f"managed {self.pool.name}"

    async def __aexit__(self, *_: object) -> None:
        self.pool.log.append("close")


async def yields(pool: Shared) -> AsyncIterator[str]:
    yield pool.name
    pool.log.append("close")


def plainly_yields(pool: Shared) -> Iterator[str]:
    yield pool.name
    pool.log.append("close")


@contextmanager
def plainly_manages(pool: Shared) -> Iterator[str]:
    yield pool.name
    pool.log.append("close")


def acquires(pool: Shared) -> AbstractAsyncContextManager[str]:
    return Managed(pool)


async def awaited(pool: Shared) -> str:
    return pool.name


def plain(pool: Shared) -> str:
    return pool.name


WAYS: Mapping[str, tuple[Any, str, list[str]]] = {
    "async generator": (yields, "x", ["close"]),
    "generator": (plainly_yields, "x", ["close"]),
    "made by contextlib": (plainly_manages, "x", ["close"]),
    "says that it returns a context manager": (acquires, "managed x", ["close"]),
    "class": (Managed, "managed x", ["close"]),
    "coroutine function": (awaited, "x", []),
    "function": (plain, "x", []),
    "lambda": (lambda: "x", "x", []),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "in a thread"])
async def test_all_that_makes_a_resource_serves(way, is_async):
    factory, expected, log = WAYS[way]
    pool = Pool("x")

    async def work(state: str, made: Annotated[Any, Resource(factory)]) -> str:
        return str(made)

    def plain_work(state: str, made: Annotated[Any, Resource(factory)]) -> str:
        return str(made)

    for one in (work, plain_work):
        one.__annotations__["made"] = Annotated[Any, Resource(factory)]
    made = Processor(work if is_async else plain_work)
    async with LocalRuntime(lifespan=giving(pool)) as runtime:
        runtime.register(made)
        assert (await runtime.execute(made, "")).unwrap() == expected
    assert pool.log == log


async def test_a_factory_asked_for_twice_is_called_once_a_run(make_runtime):
    calls = list[int]()

    def number() -> int:
        calls.append(1)
        return len(calls)

    def double(n: Annotated[int, Resource(number)]) -> int:
        return 2 * n

    async def work(
        state: int,
        one: Any,
        two: Any,
    ) -> int:
        return int(one * 100 + two)

    work.__annotations__ |= {
        "one": Annotated[int, Resource(number)],
        "two": Annotated[int, Resource(double)],
    }
    double.__annotations__["n"] = Annotated[int, Resource(number)]
    async with make_runtime() as runtime:
        made = Processor(work)
        runtime.register(made)
        assert (await runtime.execute(made, 0)).unwrap() == 102
        assert (await runtime.execute(made, 0)).unwrap() == 204


async def session_of(ctx: Context) -> AsyncIterator[str]:
    yield f"{ctx.processor} of {ctx.session_id}"


async def test_a_factory_may_take_the_context_of_a_run_whose_code_takes_none(make_runtime):
    @processor
    async def work(state: str, who: Annotated[str, Resource(session_of)]) -> str:
        return who

    @processor
    def plain_work(state: str, who: Annotated[str, Resource(session_of)]) -> str:
        return who

    async with make_runtime() as runtime:
        runtime.register(work, plain_work)
        assert (await runtime.execute(work, "", session="alice")).unwrap() == "work of alice"
        assert (await runtime.execute(plain_work, "", session="bob")).unwrap() == "plain_work of bob"


async def test_a_factory_hears_the_error_of_its_job_which_may_not_be_kept_from_it(make_runtime):
    heard = list[str]()

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except ValueError as error:
            heard.append(f"rolled back: {error}")
            # Not raised again: the job has failed all the same.

    async def work(state: str, tx: Any) -> str:
        raise ValueError("x")

    def plain_work(state: str, tx: Any) -> str:
        raise ValueError("x")

    async with make_runtime() as runtime:
        for fn in (work, plain_work):
            fn.__annotations__["tx"] = Annotated[None, Resource(transaction)]
            made = Processor(fn)
            runtime.register(made)
            result = await runtime.execute(made, "")
            assert isinstance(result.error, ProcessorExecutionError)
            assert "ValueError: x" in str(result.error)
    assert heard == ["rolled back: x"] * 2


async def test_an_error_in_making_or_closing_one_fails_the_attempt_which_is_tried_again(make_runtime):
    tries = list[str]()

    async def moody() -> AsyncIterator[int]:
        tries.append("open")
        if len(tries) == 1:
            raise OSError("no connection")
        yield 5
        tries.append("close")
        if tries.count("close") == 1:
            raise OSError("cannot commit")

    async def work(state: int, n: Any) -> Any:
        return n

    work.__annotations__["n"] = Annotated[int, Resource(moody)]
    made = Processor(work, retry=RetryPolicy(max_attempts=3, backoff=0.001))
    async with make_runtime() as runtime:
        runtime.register(made)
        result = await runtime.execute(made, 0)
    assert result.unwrap() == 5
    assert tries == ["open", "open", "close", "open", "close"]
    said = [str(one) for one in result.metadata.earlier_errors]
    assert "no connection" in said[0]
    assert "cannot commit" in said[1]


async def test_an_error_of_closing_goes_before_that_of_the_code_as_in_a_block(make_runtime):
    async def translates() -> AsyncIterator[None]:
        try:
            yield
        except KeyError as error:
            raise BusinessError("there is no such thing", code="GONE") from error

    async def work(state: int, n: Any) -> int:
        raise KeyError("x")

    work.__annotations__["n"] = Annotated[None, Resource(translates)]
    made = Processor(work)
    async with make_runtime() as runtime:
        runtime.register(made)
        result = await runtime.execute(made, 0)
    assert isinstance(result.error, BusinessError)


async def test_the_timeout_of_a_job_counts_for_what_is_made_for_it(make_runtime):
    closed = list[str]()

    async def slow() -> AsyncIterator[None]:
        try:
            await anyio.sleep_forever()
        finally:
            closed.append("opening")
        yield

    async def held() -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.append("held")

    async def work(state: int, one: Any, two: Any) -> int:
        pytest.fail("its code was run")

    work.__annotations__ |= {"one": Annotated[None, Resource(held)], "two": Annotated[None, Resource(slow)]}
    made = Processor(work, timeout=0.05)
    async with make_runtime() as runtime:
        runtime.register(made)
        result = await runtime.execute(made, 0)
    assert isinstance(result.error, ProcessorTimeoutError)
    assert closed == ["opening", "held"]


async def test_tasks_of_a_job_end_before_what_they_use_is_closed(make_runtime):
    pool = Pool()

    @processor
    async def work(state: str, ctx: Context, conn: Connection, pool: Shared) -> str:
        async def late() -> None:
            await anyio.sleep(0.001)
            pool.log.append("task")

        ctx.nursery.start_soon(late)
        return state

    async with make_runtime(lifespan=giving(pool)) as runtime:
        runtime.register(work)
        (await runtime.execute(work, "x")).unwrap()
    assert pool.log == ["open", "task", "close"]


async def test_code_that_leaves_a_scope_open_is_told_so_and_what_it_was_given_is_closed(make_runtime):
    if not current_host().sees_scopes:
        pytest.skip("as the host does not see it")
    pool = Pool()

    @processor
    async def leaves_open(state: str, conn: Connection) -> str:
        anyio.CancelScope().__enter__()
        return state

    async with make_runtime(lifespan=giving(pool)) as runtime:
        runtime.register(leaves_open)
        result = await runtime.execute(leaves_open, "x")
    assert "left a cancel scope" in str(result.error)
    assert pool.log == ["open", "close"]


async def test_in_a_thread_plain_factories_are_called_where_the_code_is(make_runtime):
    threads = list[int]()

    def local() -> Iterator[int]:
        threads.append(threading.get_ident())
        yield threading.get_ident()
        threads.append(threading.get_ident())

    def work(state: bool, thread: Any) -> bool:
        return bool(thread == threading.get_ident())

    work.__annotations__["thread"] = Annotated[int, Resource(local)]
    made = Processor(work)
    async with make_runtime() as runtime:
        runtime.register(made)
        assert (await runtime.execute(made, False)).unwrap()
    assert threads[0] == threads[1] != threading.get_ident()


async def test_a_thread_that_is_left_behind_closes_what_is_its_own_when_it_returns(make_runtime):
    may_return, log = threading.Event(), list[str]()

    def local() -> Iterator[None]:
        yield
        log.append("closed")

    def work(state: int, one: Any) -> int:
        may_return.wait(20)
        log.append("returned")
        return state

    work.__annotations__["one"] = Annotated[None, Resource(local)]
    made = Processor(work, timeout=0.05)
    try:
        async with make_runtime() as runtime:
            runtime.register(made)
            assert isinstance((await runtime.execute(made, 0)).error, ProcessorTimeoutError)
            assert log == []
            may_return.set()
            await until(lambda: log == ["returned", "closed"], "the thread's end")
    finally:
        may_return.set()


async def test_parts_of_compositions_are_given_what_they_ask_for(make_runtime):
    pool = Pool("x")
    both = parallel("both", [name_of_pool, name_of_pool], merge=lambda _, results: " ".join(results))
    for inline in (False, True):
        all_of_it = chain("all", [connected, both], inline=inline)
        async with make_runtime(lifespan=giving(pool)) as runtime:
            runtime.register(all_of_it)
            assert (await runtime.execute(all_of_it, "")).unwrap() == "x x"
    assert pool.log == ["open", "run", "close"] * 2


# --- how it is asked for ----------------------------------------------------------------------------


async def test_a_processor_can_be_called_with_what_it_asks_for():
    assert await name_of_pool("", pool=Pool("fake")) == "fake"
    assert await name_of_pool("", Pool("fake")) == "fake"


def takes_what_nobody_gives(dsn: str) -> str:
    return dsn


def asks_for_itself(one: Any) -> Any:
    return one


asks_for_itself.__annotations__["one"] = Annotated[Any, Resource(asks_for_itself)]


async def resource_first(pool: Shared, state: str) -> None: ...


async def resource_before_context(state: str, pool: Shared, ctx: Context) -> None: ...


async def nothing_but_a_resource(pool: Shared) -> None: ...


async def twice(state: str, pool: Annotated[Pool, Resource(), Resource("main")]) -> None: ...


async def not_called(state: str, pool: Annotated[Pool, Resource]) -> None: ...


async def positional(state: str, pool: Shared, /) -> None: ...


async def unknown_type(state: str, pool: Annotated[Unknown, Resource()]) -> None: ...


async def badly_made(state: str, dsn: Annotated[str, Resource(takes_what_nobody_gives)]) -> None: ...


async def in_a_circle(state: str, one: Annotated[Any, Resource(asks_for_itself)]) -> None: ...


async def something_else(state: str, pool: Shared, more: int) -> None: ...


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (resource_first, "resources come after the state"),
        (resource_before_context, "resources come after the state"),
        (nothing_but_a_resource, r"must take \(state\)"),
        (twice, "'pool': say which resource it is once"),
        (not_called, r"by Resource\(\)"),
        (positional, "given by its parameter's name"),
        (unknown_type, "'pool': its annotation .* cannot be resolved .*Unknown"),
        (badly_made, "takes_what_nobody_gives: nobody gives it its parameter 'dsn'"),
        (in_a_circle, "in a circle: asks_for_itself -> asks_for_itself"),
        (something_else, "its second parameter is the context"),
    ],
)
def test_a_function_that_asks_wrongly_is_refused_where_it_is_decorated(fn, why):
    with pytest.raises(ConfigurationError, match=f"processor '{fn.__name__}'.*{why}"):
        processor(fn)


@pytest.mark.parametrize("wrong", [5, "", b"x", [], {}, "x" * 5_000])
def test_what_is_no_name_and_no_function_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="Resource"):
        Resource(wrong)
