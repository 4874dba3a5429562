"""Whatever a job's code raises, and however what it raises behaves, is its own job's one error."""

# Nothing here is of the type it should be, which is what it is about.
# mypy: ignore-errors
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# pyright: reportAssignmentType=false, reportReturnType=false, reportGeneralTypeIssues=false
from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

import am2z_trio
from am2z_trio import (
    AM2ZError,
    CircuitBreaker,
    CircuitOpenError,
    Context,
    ParallelError,
    Processor,
    ProcessorExecutionError,
    QueueOptions,
    RetryPolicy,
    StepFailedError,
    ValidationError,
    processor,
)
from am2z_trio.engine.execution.attempt import Attempt
from am2z_trio.engine.execution.settlements import Settlements
from tests.support.waiting import until

from .conftest import LiveNode, the_error

pytestmark = pytest.mark.anyio

Raise = Callable[[], BaseException]


class OfItsOwn(BaseException):
    pass


class Bare(AM2ZError):
    """Does not call the constructor it inherits."""

    code = "TEST_BARE"

    def __init__(self, shelf: str, row: int) -> None:
        self.shelf, self.row = shelf, row


class Demanding(AM2ZError):
    """Cannot be made without its arguments."""

    code = "TEST_DEMANDING"

    def __new__(cls, shelf: str) -> Demanding:
        return super().__new__(cls, shelf)

    def __init__(self, shelf: str) -> None:
        super().__init__(f"nothing on {shelf}")


class ReadOnly(AM2ZError):
    """Has its message and its context made when they are read."""

    code = "TEST_READ_ONLY"

    def __init__(self) -> None:
        pass

    @property
    def message(self) -> str:
        return "made when it is read"

    @property
    def context(self) -> dict[str, Any]:
        raise OfItsOwn


class NoWords(AM2ZError):
    """Is all that an error should be, until it is printed."""

    code = "TEST_NO_WORDS"

    def __str__(self) -> str:
        raise SystemExit(7)

    def __repr__(self) -> str:
        return "no words"


class OwnWords(AM2ZError):
    code = "TEST_OWN_WORDS"
    category = 7
    severity = 11


class NumberedCode(AM2ZError):
    code = 404


class Mute(Exception):
    """Its texts raise."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised

    __repr__ = __str__


class NoText(Exception):
    def __str__(self) -> str:
        return 5  # noqa: PLE0307


class Shy(Exception):
    """Whatever is read of it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise OfItsOwn(name)


class Impostor(Exception):
    """Claims to be another class, and to be equal to nothing."""

    @property
    def __class__(self) -> Any:
        raise SystemExit(4)

    def __eq__(self, other: object) -> bool:
        raise OfItsOwn

    def __hash__(self) -> int:
        raise OfItsOwn

    def __bool__(self) -> bool:
        raise OfItsOwn


class Cause(Exception):
    """Has a cause that is none of Python's."""

    @property
    def __cause__(self) -> Any:
        raise OfItsOwn


class Group(ExceptionGroup[Exception]):
    """Does not say what it holds."""

    @property
    def exceptions(self) -> Any:
        raise OfItsOwn


class Truth:
    """Is neither true nor false."""

    def __bool__(self) -> bool:
        raise OfItsOwn


class Words:
    def __str__(self) -> str:
        raise SystemExit(5)

    __repr__ = __str__


class Endless(dict[str, str]):
    """A mapping that never ends."""

    def items(self) -> Iterator[tuple[str, str]]:
        while True:
            yield "x", "y"


def a_deep_group(depth: int = 1000) -> BaseException:
    group: Exception = ValueError("the innermost")
    for _ in range(depth):
        group = ExceptionGroup("one more", [group])
    return group


def chained(length: int) -> BaseException:
    error = ValueError("the last")
    before: BaseException = error
    for n in range(length):
        before.__context__ = OSError(n)
        before = before.__context__
    return error


def circular() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def noted(*notes: object) -> BaseException:
    error = ValueError("noted")
    error.__notes__ = list(notes)
    return error


def with_(error: BaseException, **attributes: Any) -> BaseException:
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def its_own_cause() -> BaseException:
    error = ParallelError("round and round")
    error.causes = [error]
    return error


def causes(count: int, depth: int = 0) -> BaseException:
    error = ParallelError("x" * 20_000)
    parts = [AM2ZError("y" * 20_000, context={"z": "z" * 20_000}) for _ in range(count)]
    error.causes = parts
    for _ in range(depth):
        inner, error = error, StepFailedError("a step")
        error.causes = [inner]
    return error


def a_loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def a_deep_list(depth: int = 100_000) -> list[Any]:
    deep: list[Any] = []
    for _ in range(depth):
        deep = [deep]
    return deep


def raised_deep() -> BaseException:
    def go(n: int) -> None:
        if n:
            return go(n - 1)
        raise ValueError("far down")

    try:
        go(800)
    except ValueError as error:
        return error
    raise AssertionError


def recursion() -> BaseException:
    def for_ever(n: int) -> int:
        return for_ever(n + 1) + 1

    try:
        for_ever(0)
    except RecursionError as error:
        return error
    raise AssertionError


def kept_cancelled() -> BaseException:
    """A `Cancelled` that was kept by somebody who should not have."""
    kept: list[BaseException] = []

    async def keep() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as cancelled:
                kept.append(cancelled)
                raise

    import threading

    thread = threading.Thread(target=trio.run, args=(keep,))
    thread.start()
    thread.join()
    return kept[0]


SPEECHLESS = type("Speechless", (Exception,), {"__module__": 5})
NAMED = type("An odd: name" + "x" * 100_000, (Exception,), {})

RAISED: dict[str, Raise] = {
    # errors of the engine's own, without what the engine reads
    "circuit open, bare": lambda: CircuitOpenError("not now"),
    "circuit open, no number": lambda: CircuitOpenError("not now", context={"wait": "soon"}),
    "circuit open, nan": lambda: CircuitOpenError("not now", context={"wait": float("nan")}),
    "circuit open, negative": lambda: CircuitOpenError("not now", context={"wait": -5}),
    "circuit open, no mapping": lambda: with_(CircuitOpenError("not now"), context=None),
    "constructor not called": lambda: Bare("shelf", 3),
    "constructor that demands": lambda: Demanding("shelf"),
    "read-only attributes": ReadOnly,
    "text of ours that exits": lambda: NoWords("odd"),
    "odd category and severity": lambda: OwnWords("odd"),
    "a code that is a number": lambda: NumberedCode("odd"),
    "message none": lambda: with_(AM2ZError("x"), message=None),
    "message bytes": lambda: AM2ZError(b"bytes"),
    "message that raises": lambda: AM2ZError(Words()),
    "message huge": lambda: AM2ZError("x" * 12_000_000),
    "context none": lambda: with_(AM2ZError("x"), context=None),
    "context a number": lambda: with_(AM2ZError("x"), context=5),
    "context that raises": lambda: AM2ZError("x", context={"a": Words(), Words(): 1}),
    "context endless": lambda: with_(AM2ZError("x"), context=Endless()),
    "context huge": lambda: AM2ZError("x", context={str(n): "x" * 1000 for n in range(5000)}),
    "causes none": lambda: with_(AM2ZError("x"), causes=None),
    "causes a number": lambda: with_(AM2ZError("x"), causes=5),
    "causes foreign": lambda: with_(ParallelError("x"), causes=[ValueError("y"), None, 3]),
    "causes itself": its_own_cause,
    "causes many": lambda: causes(3000),
    "causes deep": lambda: causes(1, depth=900),
    "retryable neither": lambda: with_(AM2ZError("x"), retryable=Truth()),
    "retryable text": lambda: with_(AM2ZError("x"), retryable="yes"),
    "partial state a loop": lambda: with_(StepFailedError("x"), partial_state=a_loop()),
    "partial state deep": lambda: with_(StepFailedError("x"), partial_state=a_deep_list()),
    "partial state an object": lambda: with_(StepFailedError("x"), partial_state=object()),
    "partial state huge": lambda: with_(StepFailedError("x"), partial_state="x" * 12_000_000),
    "remote traceback none": lambda: with_(AM2ZError("x"), remote_traceback=None),
    "remote traceback huge": lambda: with_(AM2ZError("x"), remote_traceback="x" * 12_000_000),
    # what Python's exceptions may be
    "text that exits": lambda: Mute(SystemExit(2)),
    "text that raises": lambda: Mute(OfItsOwn()),
    "text that raises itself": lambda: with_(m := Mute(OfItsOwn()), raised=m),
    "text that is a number": NoText,
    "text huge": lambda: ValueError("x" * 12_000_000),
    "text half a surrogate": lambda: ValueError("\ud800" * 100_000),
    "read of it raises": Shy,
    "claims another class": Impostor,
    "cause that raises": Cause,
    "cause a deep group": lambda: with_(ValueError("x"), __cause__=a_deep_group()),
    "cause itself": circular,
    "contexts, ten thousand": lambda: chained(10_000),
    "notes a number": lambda: with_(ValueError("x"), __notes__=5),
    "notes that raise": lambda: noted(Words(), None, 5),
    "notes huge": lambda: noted(*["x" * 1_000_000] * 20),
    "group, a thousand deep": a_deep_group,
    "group, wide": lambda: ExceptionGroup("wide", [ValueError("x" * 1000)] * 20_000),
    "group that does not say": lambda: Group("x", [ValueError()]),
    "group of base exceptions": lambda: BaseExceptionGroup("x", [SystemExit(1), GeneratorExit(), OfItsOwn()]),
    "raised far down": raised_deep,
    "recursion": recursion,
    "memory": MemoryError,
    "exit": lambda: SystemExit(1),
    "generator exit": GeneratorExit,
    "stop iteration": lambda: StopIteration(5),
    "stop async iteration": StopAsyncIteration,
    "timeout of another library": TimeoutError,
    "cancelled elsewhere, asyncio": asyncio.CancelledError,
    "cancelled elsewhere, trio": kept_cancelled,
    "a syntax error with odd places": lambda: SyntaxError("x", ("f", "a", None, 5)),
    "a name with odd suggestions": lambda: AttributeError("x", name="y", obj=Shy()),
    "a class of no module": lambda: SPEECHLESS("x"),
    "a class with an odd name": lambda: NAMED("x"),
    "assertion": AssertionError,
}

TWICE = RetryPolicy(max_attempts=2, backoff=0)


@pytest.mark.parametrize("name", RAISED)
async def test_what_a_job_raises_is_its_own_error(live_node: LiveNode, name: str):
    async def odd(n: int, ctx: Context) -> int:
        await anyio.lowlevel.checkpoint()
        if n == 0:
            raise RAISED[name]()
        return n

    odd_one = Processor(odd, name="odd", retry=TWICE)
    async with live_node(odd_one) as runtime:
        the_error(await runtime.execute(odd_one, 0))
        assert (await runtime.execute(odd_one, 1)).unwrap() == 1
        (letter,) = await runtime.dead_letters.list(odd_one)
        assert letter.error.message


ENGINE_ERRORS = [
    error
    for error in (getattr(am2z_trio, name) for name in am2z_trio.__all__)
    if isinstance(error, type) and issubclass(error, AM2ZError) and error is not am2z_trio.Retry
]
"""Those of which a job's end may be made: `Retry` asks for another run."""


async def test_every_exported_error_may_be_raised_with_a_message_alone(live_node: LiveNode):
    @processor(retry=TWICE, breaker=CircuitBreaker(failures=1000))
    async def raises(n: int) -> int:
        if n < len(ENGINE_ERRORS):
            raise ENGINE_ERRORS[n]("alone")
        return n

    async with live_node(raises) as runtime:
        results = await runtime.execute_many(raises, range(len(ENGINE_ERRORS) + 1))
    assert results.pop().success
    assert [type(result.error) for result in results] == ENGINE_ERRORS
    assert {the_error(result).message for result in results} == {"alone"}


@pytest.mark.parametrize(
    "name", ["text that exits", "exit", "cancelled elsewhere, trio", "constructor not called"]
)
async def test_so_is_what_a_plain_function_raises(live_node: LiveNode, name: str):
    def odd(n: int) -> int:
        raise RAISED[name]()

    plain = Processor(odd, retry=TWICE)
    async with live_node(plain) as runtime:
        the_error(await runtime.execute(plain, 0))


@pytest.mark.parametrize(
    "name", ["constructor not called", "read-only attributes", "text that exits", "text of ours that exits"]
)
async def test_so_is_what_a_called_job_raises(live_node: LiveNode, name: str):
    """Its error arrives at the job that called it, and goes on from there."""

    @processor
    async def callee(n: int) -> int:
        raise RAISED[name]()

    @processor(depends_on=[callee])
    async def inline(n: int, ctx: Context) -> int:
        return await ctx.call(callee, n, inline=n == 1)

    async with live_node(callee, inline) as runtime:
        for n in (0, 1):
            the_error(await runtime.execute(inline, n))


@pytest.mark.parametrize(
    "name", ["constructor not called", "read-only attributes", "text that exits", "text of ours that exits"]
)
async def test_so_is_what_a_fallback_raises(live_node: LiveNode, name: str):
    @processor
    async def other(n: int) -> int:
        raise RAISED[name]()

    @processor(fallback=other)
    async def first(n: int) -> int:
        raise RAISED[name]()

    async with live_node(first, other) as runtime:
        error = the_error(await runtime.execute(first, 0))
        assert error.causes, "both are told"


# --- the hooks of a retry policy -------------------------------------------------------------------


def exits(*_args: Any) -> Any:
    sys.exit(3)


def raises_its_own(*_args: Any) -> Any:
    raise Mute(OfItsOwn())


def spoils(error: AM2ZError, attempt: int) -> bool:
    error.context = error.causes = error.message = None
    return True


HOOKS: dict[str, RetryPolicy] = {
    f"{hook} {fn.__name__}": RetryPolicy(max_attempts=2, backoff=0, **{hook: fn})
    for hook in ("should_retry", "on_retry", "on_exhausted")
    for fn in (exits, raises_its_own, spoils)
}
HOOKS["should_retry neither"] = RetryPolicy(max_attempts=2, backoff=0, should_retry=lambda e, n: Truth())
HOOKS["on_retry cancelled"] = RetryPolicy(
    max_attempts=2, backoff=0, on_retry=lambda e, n: (_ for _ in ()).throw(asyncio.CancelledError())
)


@pytest.mark.parametrize("name", HOOKS)
async def test_a_hook_that_raises_changes_nothing(live_node: LiveNode, name: str):
    @processor(retry=HOOKS[name])
    async def fails(n: int) -> int:
        raise CircuitOpenError("not now")

    async with live_node(fails) as runtime:
        the_error(await runtime.execute(fails, 0))


# --- what a job asks of its context ---------------------------------------------------------------


class Unset:
    def __getattr__(self, name: str) -> Any:
        raise OfItsOwn(name)


ASKED: dict[str, Callable[[Context], Any]] = {
    "emit a loop": lambda ctx: ctx.emit("said", a_loop()),
    "emit something deep": lambda ctx: ctx.emit("said", a_deep_list()),
    "emit an object": lambda ctx: ctx.emit("said", Unset()),
    "emit something large": lambda ctx: ctx.emit("said", "x" * 12_000_000),
    "emit beyond 64 bits": lambda ctx: ctx.emit("said", 2**70),
    "emit half a surrogate": lambda ctx: ctx.emit("said", "\ud800"),
    "emit without a name": lambda ctx: ctx.emit(""),
    "emit under no text": lambda ctx: ctx.emit(5),
    "emit under half a surrogate": lambda ctx: ctx.emit("\ud800"),
    "emit under a long name": lambda ctx: ctx.emit("x" * 100_000),
    "progress of text": lambda ctx: ctx.update_progress("half"),
    "progress nan": lambda ctx: ctx.update_progress(float("nan")),
    "progress of a truth": lambda ctx: ctx.update_progress(Truth()),
    "call by no text": lambda ctx: ctx.call(5, 1),
    "call under a long key": lambda ctx: ctx.call("odd", 1, key="x" * 100_000),
    "call under half a surrogate": lambda ctx: ctx.call("odd", 1, key="\ud800"),
    "call under a number": lambda ctx: ctx.call("odd", 1, key=5),
    "call with a loop": lambda ctx: ctx.call("odd", a_loop()),
    "call inline with a loop": lambda ctx: ctx.call("odd", a_loop(), inline=True),
    "call in a session of no text": lambda ctx: ctx.call("odd", 1, session=5),
    "call in half a surrogate": lambda ctx: ctx.call("odd", 1, session="\ud800"),
    "call with an odd timeout": lambda ctx: ctx.call("odd", 1, timeout="1"),
    "call inline with an odd timeout": lambda ctx: ctx.call("odd", 1, timeout=-1, inline=True),
    "call with odd options": lambda ctx: ctx.call("odd", 1, options=5, inline=True),
    "state with no function": lambda ctx: ctx.state.update(5),
    "state of no type": lambda ctx: ctx.state.read(5),
    "state a loop": lambda ctx: ctx.state.update(lambda _: a_loop()),
}


@pytest.mark.parametrize("name", ASKED)
async def test_what_a_job_may_not_ask_is_its_own_error(live_node: LiveNode, name: str):
    @processor
    async def odd(n: int, ctx: Context) -> int:
        if n == 0:
            answer = ASKED[name](ctx)
            if answer is not None:
                await answer
        return n

    async with live_node(odd) as runtime:
        error = the_error(await runtime.execute(odd, 0, session="s"))
        assert isinstance(error, AM2ZError)
        assert (await runtime.execute(odd, 1)).unwrap() == 1


async def test_a_job_that_cancels_its_own_nursery_has_failed(live_node: LiveNode):
    @processor
    async def cancels(n: int, ctx: Context) -> int:
        ctx.nursery.cancel_scope.cancel()
        await anyio.sleep(10)
        return n

    async with live_node(cancels) as runtime:
        error = the_error(await runtime.execute(cancels, 0))
    assert isinstance(error, ProcessorExecutionError)
    assert "ctx.nursery" in error.message


async def test_a_task_of_a_job_may_raise_what_it_likes(live_node: LiveNode):
    @processor
    async def odd(n: int, ctx: Context) -> int:
        async def raises() -> None:
            raise list(RAISED.values())[n]()

        ctx.nursery.start_soon(raises)
        await anyio.sleep(30)
        return n

    async with live_node(odd) as runtime:
        results = await runtime.execute_many(odd, range(len(RAISED)))
    for result in results:
        the_error(result)


async def test_a_task_of_a_job_may_be_started_and_waited_for(live_node: LiveNode):
    @processor
    async def starts(n: int, ctx: Context) -> int:
        async def task(more: int, *, task_status: Any = None) -> None:
            if n == 0:
                raise Mute(SystemExit(8))
            task_status.started(n + more)

        return await ctx.nursery.start(task, 10)

    async with live_node(starts) as runtime:
        assert (await runtime.execute(starts, 1)).unwrap() == 11
        the_error(await runtime.execute(starts, 0))


async def test_whatever_else_goes_wrong_the_job_ends_with_an_error_of_constant_size(
    live_node: LiveNode, monkeypatch: pytest.MonkeyPatch
):
    """The last resort: what cannot be described is told by its class's name alone."""

    def fails(*_args: Any, **_named: Any) -> Any:
        raise with_(Mute(OfItsOwn()), __cause__=a_deep_group(), big="x" * 1_000_000)

    @processor(retry=TWICE)
    async def odd(n: int, ctx: Context) -> int:
        return n

    @processor
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call(odd, n, inline=n == 1)

    async with live_node(odd, calls) as runtime:
        with monkeypatch.context() as patch:
            completed = Settlements.completed

            def fails_for_odd(self: Settlements, attempt: Attempt, output: Any) -> Any:
                return (fails if attempt.processor.name == "odd" else completed)(self, attempt, output)

            patch.setattr(Settlements, "completed", fails_for_odd)
            results = [await runtime.execute(odd, 1), *await runtime.execute_many(calls, [0, 1])]
        for result in results:
            assert the_error(result).message == "an error that cannot be described: Mute"
        assert (await runtime.execute(odd, 1)).unwrap() == 1


@pytest.mark.parametrize("asks", ["call", "state", "runtime"])
async def test_a_job_may_ask_at_the_edge_of_the_stack(live_node: LiveNode, asks: str):
    """It fails, or what it asks is done; nothing is left half done."""
    limit = sys.getrecursionlimit()

    @processor(queue=QueueOptions(concurrency=2))
    async def leaf(n: int) -> int:
        return n

    @processor(queue=QueueOptions(concurrency=2))
    async def edge(n: int, ctx: Context) -> int:
        async def deep(k: int) -> int:
            if k:
                return await deep(k - 1)
            ctx.emit("said", [n])
            await ctx.update_progress(0.5)
            if asks == "call":
                return await ctx.call(leaf, n)
            if asks == "state":
                await ctx.state.update(lambda _: n)
                return n
            await runtime.state.set("other", n)
            return (await runtime.execute(leaf, n)).unwrap()

        return await deep(n)

    async with live_node(leaf, edge) as runtime:
        results = await runtime.execute_many(edge, range(limit - 290, limit, 7), session="s")
        assert 0 < sum(result.success for result in results) < len(results)
        assert {type(result.error) for result in results if result.error} == {ProcessorExecutionError}
        again = await runtime.execute_many(edge, range(8), session="s")
        assert all(result.success for result in again)


async def test_an_event_handler_may_raise_what_it_likes(live_node: LiveNode):
    heard = 0

    def handler(event: Any) -> None:
        nonlocal heard
        heard += 1
        raise list(RAISED.values())[heard - 1]()

    async with live_node() as runtime:
        runtime.on("said", handler)
        for _ in RAISED:
            runtime.emit("said")
        await until(lambda: heard >= len(RAISED))


async def test_the_error_says_what_was_wrong_with_the_state(live_node: LiveNode):
    @processor
    async def echoes(n: list[Any], ctx: Context) -> list[Any]:
        return a_loop()

    async with live_node(echoes) as runtime:
        error = the_error(await runtime.execute(echoes, []))
    assert isinstance(error, ValidationError)
    assert "contains itself" in error.message
