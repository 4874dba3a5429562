"""Whatever a job returns or is given, and whatever its type does, is that job's own affair."""

# Nothing here is of the type it should be, which is what it is about.
# mypy: ignore-errors
# pyright: basic, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false
# pyright: reportAssignmentType=false, reportReturnType=false, reportGeneralTypeIssues=false

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

import msgspec
import pytest

from am2z_trio import (
    AM2ZError,
    Backoff,
    CircuitBreaker,
    ConfigurationError,
    Context,
    JobOptions,
    Processor,
    QueueOptions,
    RateLimit,
    RedisOptions,
    ResourceLimits,
    Retention,
    RetryPolicy,
    ValidationError,
    processor,
)
from tests.support.waiting import until

from .conftest import LiveNode, the_error

pytestmark = pytest.mark.anyio


class OfItsOwn(BaseException):
    pass


@dataclass
class Asserts:
    n: int = 0

    def __post_init__(self) -> None:
        assert self.n < 1, "too many"


@dataclass
class Exits:
    n: int = 0

    def __post_init__(self) -> None:
        if self.n:
            sys.exit(3)


class Raises(msgspec.Struct):
    n: int = 0

    def __post_init__(self) -> None:
        if self.n:
            raise OfItsOwn


class RaisesOurs(msgspec.Struct):
    n: int = 0

    def __post_init__(self) -> None:
        if self.n:
            raise AM2ZError(5)


class Long(msgspec.Struct):
    n: int = 0

    def __post_init__(self) -> None:
        if self.n:
            raise ValueError("x" * 12_000_000)


@dataclass
class Counts:
    """Is another one whenever it is read."""

    n: int = 0

    def __post_init__(self) -> None:
        self.n += 1


@dataclass(eq=False)
class Unequal:
    n: int = 0

    def __eq__(self, other: object) -> bool:
        raise OfItsOwn

    __hash__ = None


class Neither:
    def __bool__(self) -> bool:
        raise OfItsOwn


@dataclass(eq=False)
class Vague:
    n: int = 0

    def __eq__(self, other: object) -> Any:
        return Neither()

    __hash__ = None


@dataclass
class Speechless:
    n: int = 0

    def __post_init__(self) -> None:
        self.n += 1

    def __repr__(self) -> str:
        raise SystemExit(2)


class Shape(enum.Enum):
    ROUND = "round"


class Zone(tzinfo):
    def utcoffset(self, when: datetime | None) -> Any:
        raise OfItsOwn


class Shifty(dict[str, int]):
    def items(self) -> Any:
        raise OfItsOwn


class Unset(msgspec.Struct):
    n: int = 0


def unset() -> Unset:
    made = Unset()
    del made.n
    return made


def a_loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def a_deep_list() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


async def a_coroutine() -> None: ...


def yields(n: int) -> Any:
    yield n


async def yields_later(n: int) -> Any:
    yield n


def made(kind: type[Any], **fields: Any) -> Any:
    """One whose constructor has not been run."""
    value = kind.__new__(kind)
    for name, given in fields.items():
        setattr(value, name, given)
    return value


# What a processor of a state type returns. None of it can be kept.
RETURNED: dict[str, tuple[Any, Callable[[], Any]]] = {
    "asserts": (Asserts, lambda: made(Asserts, n=1)),
    "exits": (Exits, lambda: made(Exits, n=1)),
    "raises its own": (Raises, lambda: msgspec.structs.force_setattr(r := Raises(), "n", 1) or r),
    "raises ours": (RaisesOurs, lambda: msgspec.structs.force_setattr(r := RaisesOurs(), "n", 1) or r),
    "raises at length": (Long, lambda: msgspec.structs.force_setattr(r := Long(), "n", 1) or r),
    "changes itself": (Counts, Counts),
    "changes itself, speechless": (Speechless, Speechless),
    "a field is not set": (Unset, unset),
    "nan in a decimal": (Decimal, lambda: Decimal("NaN")),
    "nan in decimals": (set[Decimal], lambda: {Decimal("NaN")}),
    "signalling nan": (list[Decimal], lambda: [Decimal("sNaN")]),
    "nan": (float, lambda: float("nan")),
    "nan deep inside": (Any, lambda: {"a": [1, {"b": float("nan")}]}),
    "a set": (Any, lambda: {1, 2}),
    "beyond 64 bits": (Any, lambda: {"n": 2**64}),
    "a number with too many digits": (Any, lambda: 10**5000),
    "half a surrogate": (str, lambda: "\ud800"),
    "half a surrogate as a key": (Any, lambda: {"\udfff": 1}),
    "complex numbers as keys": (Any, lambda: {1j: 2}),
    "itself": (Any, a_loop),
    "deep": (Any, a_deep_list),
    "large": (str, lambda: "x" * 2_000_000),
    "of another type": (int, lambda: "five"),
    "a class": (Any, lambda: int),
    "a function": (Any, lambda: a_loop),
    "a coroutine": (Any, lambda: (c := a_coroutine()).close() or c),
    "a generator": (Any, lambda: (n for n in ())),
    "an exception": (Any, lambda: ValueError("returned")),
    "a module": (Any, lambda: sys),
    "an object": (Any, object),
    "a time of an odd zone": (datetime, lambda: datetime(2026, 1, 1, tzinfo=Zone())),
    "a complex number": (Any, lambda: 1j),
    "a fraction": (Any, lambda: Fraction(1, 3)),
    "a range": (Any, lambda: range(3)),
}

# What can be kept, though it looks odd.
KEPT: dict[str, tuple[Any, Callable[[], Any], Any]] = {
    "eq that raises": (Unequal, lambda: Unequal(3), 3),
    "eq that says neither": (Vague, lambda: Vague(3), 3),
    "a mapping of its own": (dict[str, int], lambda: Shifty(a=1), {"a": 1}),
    "sets of tuples": (set[Any], lambda: frozenset({(1,), (2,)}), {(1,), (2,)}),
    "an enum": (Shape, lambda: Shape.ROUND, Shape.ROUND),
    "a truth for a number": (float, lambda: 1, 1.0),
    "nothing": (int, lambda: None, 0),
    "nul": (str, lambda: "a\0b", "a\0b"),
    "a time": (datetime, lambda: datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
    "infinity": (float, lambda: float("-inf"), float("-inf")),
}


def returning(kind: Any, make: Callable[[], Any], name: str = "odd") -> Processor[Any]:
    async def odd(state: Any, ctx: Context) -> Any:
        return make()

    return Processor(odd, name=name, state_type=kind, retry=RetryPolicy(max_attempts=2, backoff=0))


EMPTY: dict[Any, Any] = {
    Decimal: Decimal(1),
    set[Decimal]: set(),
    list[Decimal]: [],
    float: 0.0,
    int: 0,
    str: "",
    set[Any]: set(),
    dict[str, int]: {},
    datetime: datetime(2026, 1, 1),
    Any: 0,
    Shape: Shape.ROUND,
}


def empty(kind: Any) -> Any:
    if kind in EMPTY:
        return EMPTY[kind]
    return kind.__new__(kind) if hasattr(kind, "__dataclass_fields__") else kind()


@pytest.mark.parametrize("name", RETURNED)
async def test_what_cannot_be_kept_is_the_jobs_one_error(live_node: LiveNode, name: str):
    kind, make = RETURNED[name]
    odd, stored = returning(kind, make), returning(kind, make, "stored")
    async with live_node(odd, stored) as runtime:
        for one, session in ((odd, None), (stored, "s")):
            error = the_error(await runtime.execute(one, empty(kind), session=session))
            assert isinstance(error, ValidationError), error
        assert not await runtime.state.exists("s")


@pytest.mark.parametrize("name", KEPT)
async def test_what_can_be_kept_is(live_node: LiveNode, name: str):
    kind, make, expected = KEPT[name]
    odd = returning(kind, make)
    async with live_node(odd) as runtime:
        state = (await runtime.execute(odd, empty(kind), session="s")).unwrap()
        assert getattr(state, "n", state) == expected


@pytest.mark.parametrize("kind", [Asserts, Exits, Raises, RaisesOurs, Long], ids=lambda kind: kind.__name__)
async def test_an_input_that_its_type_refuses_is_one_error(live_node: LiveNode, kind: Any):
    """The state was written as another type: the worker's is what refuses it."""
    odd = returning(kind, kind)
    async with live_node(odd) as runtime:
        await runtime.state.set("s", {"n": 1})
        error = the_error(await runtime.execute(odd, session="s"))
        assert isinstance(error, ValidationError)
        assert (await runtime.execute(odd, made(kind, n=0) if kind in (Asserts, Exits) else kind())).success


@pytest.mark.parametrize("name", RETURNED)
async def test_what_cannot_be_sent_is_the_callers_one_error(live_node: LiveNode, name: str):
    _kind, make = RETURNED[name]

    @processor
    async def takes(state: Any) -> Any:
        return 1

    async with live_node(takes) as runtime:
        result = await runtime.execute(takes, make())
        if result.error is not None:
            assert isinstance(the_error(result), ValidationError)


# --- exactly the plain types ----------------------------------------------------------------------


class Safe(str):
    """As template engines have them: whatever is done with it, it escapes."""

    def __str__(self) -> str:
        return Safe(f"<{str.__str__(self)}>")

    def __add__(self, other: str) -> str:
        return Safe("escaped")

    def __format__(self, spec: str) -> str:
        return Safe("escaped")

    def __eq__(self, other: object) -> bool:
        return False

    def encode(self, *_args: Any) -> bytes:
        raise OfItsOwn

    __hash__ = str.__hash__


class Level(enum.IntEnum):
    LOW = 5


class Word(enum.StrEnum):
    SHELF = "shelf"


class Whole(int):
    def __str__(self) -> str:
        return "whole"

    __repr__ = __str__


class Real(float):
    def __str__(self) -> str:
        return "real"

    __repr__ = __str__


class Scalar:
    """As numpy has them."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __index__(self) -> int:
        return Whole(self._n)


class RealScalar:
    def __init__(self, n: float) -> None:
        self._n = n

    def __float__(self) -> float:
        return Real(self._n)


TEXTS = {"safe": Safe("shelf"), "enum": Word.SHELF}
WHOLES = {"enum": Level.LOW, "subclass": Whole(5), "scalar": Scalar(5)}
NUMBERS = {**WHOLES, "real": Real(5.0), "real scalar": RealScalar(5.0), "decimal": Decimal(5)}


@pytest.mark.parametrize("name", TEXTS)
async def test_a_text_of_any_kind_is_a_text(live_node: LiveNode, name: str):
    text = TEXTS[name]

    @processor(name=text)
    async def named(n: int, ctx: Context) -> int:
        ctx.emit(text, {"n": n})
        await ctx.state.update(lambda _: n)
        return await ctx.call("called", n, key=text, session=text) if n == 0 else n

    @processor
    async def called(n: int) -> int:
        return n + 10

    heard: list[str] = []
    async with live_node(named, called) as runtime:
        runtime.on(text, lambda event: heard.append(event.name))
        options = JobOptions(debounce=text, backoff=Backoff(type=Safe("fixed"), delay=1))
        result = await runtime.execute(text, 0, session=text, job_id=text, options=options)
        assert result.unwrap() == 10
        runtime.emit(text)
        assert (await runtime.state.get("shelf")) is not None
        assert (await runtime.state.update(text, lambda n: n)).state == 0
        await runtime.state.set(text, 5)
        async with runtime.state.lock(text) as lock:
            await lock.write(6)
        async with runtime.session(text) as session:
            assert (await session.execute(named, 1)).success
        job = await runtime.submit(named, 1)
        await job.cancel(Safe("why"))
        await runtime.stop_session(text)
        with pytest.raises(AM2ZError):
            await runtime.dead_letters.retry(text)
        await until(lambda: len(heard) >= 2)
    assert [type(name) for name in heard[:2]] == [str, str]


@pytest.mark.parametrize("name", NUMBERS)
async def test_a_number_of_any_kind_is_a_number(live_node: LiveNode, name: str):
    number = NUMBERS[name]
    whole = WHOLES.get(name, 5)

    @processor(
        timeout=number,
        retry=RetryPolicy(max_attempts=whole, backoff=number, jitter=0, backoff_multiplier=number),
        queue=QueueOptions(concurrency=whole, priority=whole, limiter=RateLimit(max=whole, duration=number)),
        breaker=CircuitBreaker(failures=whole, recovery=number),
    )
    async def counted(n: int, ctx: Context) -> int:
        await ctx.update_progress(number)
        return n

    options = JobOptions(
        attempts=whole,
        priority=whole,
        backoff=number,
        remove_on_complete=whole,
        remove_on_fail=Retention(age=number),
    )
    limits = ResourceLimits(max_sessions=whole, max_queue_size=whole, max_memory_mb=Real(1e9))
    async with live_node(counted, shutdown_grace=number, result_ttl=number, limits=limits) as runtime:
        assert (await runtime.execute(counted, 1, timeout=number, options=options)).unwrap() == 1
        assert (await runtime.execute(counted, 1, session="s")).unwrap() == 1
        await runtime.state.set("s", 1, ttl=number)
        await runtime.state.update("s", lambda n: n + 1, max_conflicts=whole)
        async with runtime.state.lock("s", lease=number):
            pass
        await runtime.dead_letters.list(counted, limit=whole)
        await runtime.stop_session("s", grace=number)


@pytest.mark.parametrize("name", NUMBERS)
async def test_an_options_numbers_are_plain(name: str):
    number, whole = NUMBERS[name], WHOLES.get(name, 5)
    policy = RetryPolicy(max_attempts=whole, backoff=number, max_backoff=number)
    assert type(policy.max_attempts) is int
    assert type(policy.backoff) in (int, float)
    assert type(policy.max_backoff) in (int, float)
    assert policy == RetryPolicy(max_attempts=5, backoff=5.0, max_backoff=5)


def test_a_servers_texts_may_be_of_any_kind():
    made = RedisOptions(host=Safe("host"), password=Safe("secret"), port=Whole(5), call_timeout=Real(5))
    assert made == RedisOptions(host="host", password="secret", port=5, call_timeout=5.0)
    assert [type(made.host), type(made.password), type(made.port)] == [str, str, int]
    assert RedisOptions.from_url(Safe("redis://host:5")) == RedisOptions(host="host", port=5)


def with_method(name: str, method: Callable[[Any], Any]) -> Any:
    return type("Odd", (), {name: method})()


REFUSED: dict[str, Callable[[], Any]] = {
    "priority of a truth": lambda: JobOptions(priority=True),
    "priority of text": lambda: JobOptions(priority="1"),
    "priority of a real": lambda: JobOptions(priority=1.0),
    "priority too high": lambda: JobOptions(priority=2**21),
    "delay nan": lambda: JobOptions(delay=float("nan")),
    "delay nan, decimal": lambda: JobOptions(delay=Decimal("NaN")),
    "delay for ever": lambda: JobOptions(delay=float("inf")),
    "delay huge": lambda: JobOptions(delay=10**400),
    "delay of bytes": lambda: JobOptions(delay=b"1"),
    "delay complex": lambda: JobOptions(delay=1j),
    "attempts of what raises": lambda: JobOptions(attempts=with_method("__index__", lambda self: 1 / 0)),
    "backoff of what is no number": lambda: JobOptions(backoff=with_method("__float__", lambda self: "x")),
    "debounce of bytes": lambda: JobOptions(debounce=b"x"),
    "debounce long": lambda: JobOptions(debounce="é" * 600),
    "debounce half a surrogate": lambda: JobOptions(debounce="\ud800"),
    "debounce empty": lambda: JobOptions(debounce=Safe("")),
    "tag empty": lambda: JobOptions(tags=["a", ""]),
    "tag long": lambda: JobOptions(tags=["é" * 65]),
    "tags a mapping": lambda: JobOptions(tags=cast("Any", {"a": 1})),
    "keep fewer than none": lambda: JobOptions(remove_on_fail=Whole(-1)),
    "what says nothing": lambda: JobOptions(priority=with_method("__repr__", lambda self: sys.exit(1))),
    "what says much": lambda: JobOptions(debounce="x" * 1_000_000),
    "backoff of another type": lambda: Backoff(type="linear", delay=1),
    "jitter above one": lambda: RetryPolicy(jitter=Real(2)),
    "concurrency none": lambda: QueueOptions(concurrency=Level.LOW - 5),
    "name half a surrogate": lambda: Processor(lambda n: n, name="\ud800"),
    "name long": lambda: Processor(lambda n: n, name="\U0001f600" * 201),
    "a hook that would have to be awaited": lambda: RetryPolicy(should_retry=a_coroutine),
    "a generator": lambda: Processor(yields, name="x"),
    "an async generator": lambda: Processor(yields_later, name="x"),
    "timeout of text": lambda: Processor(lambda n: n, name="x", timeout="1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_option_is_refused_with_one_short_error(name: str):
    with pytest.raises(ConfigurationError) as raised:
        REFUSED[name]()
    assert "must be" in raised.value.message
    assert len(raised.value.message) < 500


ASKED: dict[str, dict[str, Any]] = {
    "session of bytes": {"session": b"s"},
    "session empty": {"session": ""},
    "session half a surrogate": {"session": "\ud800"},
    "session long": {"session": "x" * 20_000},
    "job id of a number": {"job_id": 5},
    "job id long": {"job_id": "x" * 201},
    "job id half a surrogate": {"job_id": "\ud800"},
    "timeout zero": {"timeout": 0},
    "timeout nan": {"timeout": float("nan")},
    "timeout of a truth": {"timeout": True},
    "options of another kind": {"options": {"priority": 1}},
}


@pytest.mark.parametrize("name", ASKED)
async def test_what_may_not_be_asked_is_the_callers_one_error(live_node: LiveNode, name: str):
    @processor
    async def echo(n: int) -> int:
        return n

    async with live_node(echo) as runtime:
        error = the_error(await runtime.execute(echo, 1, **ASKED[name]))
        assert isinstance(error, ConfigurationError)
        with pytest.raises(ConfigurationError):
            await runtime.submit(echo, 1, **ASKED[name])
        if "job_id" not in ASKED[name]:
            (result,) = await runtime.execute_many(echo, [1], **ASKED[name])
            assert isinstance(the_error(result), ConfigurationError)
