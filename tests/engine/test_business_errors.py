"""What a user's processors refuse on purpose reaches the caller as what it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from am2z_trio import (
    AM2ZError,
    BusinessError,
    CircuitBreaker,
    ConfigurationError,
    Context,
    ProcessorExecutionError,
    ResourceError,
    RetryPolicy,
    StepFailedError,
    chain,
    processor,
)
from am2z_trio.model.error_records import error_of, record_of

pytestmark = pytest.mark.anyio

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
CONTEXT = {
    "sku": "A1",
    "left": 3,
    "price": 9.5,
    "gift": True,
    "note": None,
    "until": WHEN,
    "of": [1, {"a": 2}],
}


class SoldOutError(BusinessError):
    """Has a code of its own."""

    code = "SOLD_OUT"


class PlainError(BusinessError):
    """Has neither code nor constructor."""


class CardError(PlainError):
    """Has a constructor of its own, which is not called on the way."""

    code = "CARD"

    def __init__(self, number: str, *, reason: str) -> None:
        super().__init__(f"the card {number} was declined: {reason}", context={"number": number})
        self.reason = reason


class FullError(ResourceError):
    """A kind of another of the engine's errors."""

    severity = "critical"


RAISED: dict[str, AM2ZError] = {
    "plain": BusinessError("no more"),
    "with a code": BusinessError("no more", code="NO_STOCK", context=CONTEXT, retryable=True),
    "with a code of the engine's": BusinessError("no more", code="VALIDATION"),
    "of a class with a code": SoldOutError("no more", context={"left": 0}),
    "of a class with another code": SoldOutError("no more", code="SOLD_OUT_TODAY"),
    "of a class without": PlainError("no more"),
    "of a class with a constructor": CardError("4711", reason="stolen"),
    "of another kind": FullError("no room"),
}


@pytest.mark.parametrize("kind", RAISED)
async def test_it_reaches_its_caller_as_itself(make_runtime, kind):
    sent = RAISED[kind]

    @processor
    async def sell(n: int) -> int:
        raise sent

    async with make_runtime() as runtime:
        runtime.register(sell)
        result = await runtime.execute(sell, 1)
        with pytest.raises(type(sent)) as raised:
            result.unwrap()
    got = raised.value
    assert type(got) is type(sent)
    assert got is not sent
    for name in ("message", "code", "category", "severity", "retryable"):
        assert getattr(got, name) == getattr(sent, name), name
    assert got.context == sent.context
    assert str(got) == str(sent)
    assert "in sell" in got.remote_traceback


async def test_it_goes_up_through_calls_and_chains(make_runtime):
    @processor
    async def sell(n: int) -> int:
        raise SoldOutError("no more", context=CONTEXT)

    @processor
    async def order(n: int, ctx: Context) -> int:
        with pytest.raises(SoldOutError) as raised:
            await ctx.call(sell, n)
        assert raised.value.context["left"] == 3
        raise raised.value

    whole = chain("whole", [order])
    async with make_runtime() as runtime:
        runtime.register(sell, order, whole)
        error = (await runtime.execute(whole, 1)).error
    assert isinstance(error, StepFailedError)
    assert type(error.causes[0]) is SoldOutError
    assert error.causes[0].context == CONTEXT


async def test_where_its_class_is_not_known_the_nearest_one_above_it_stands_for_it(monkeypatch):
    record = record_of(CardError("4711", reason="stolen"))
    of_code = record_of(SoldOutError("no more"))
    full = record_of(FullError("no room"))
    monkeypatch.delitem(AM2ZError.by_code, "CARD")
    assert type(error_of(record)) is CardError, "by its name"
    monkeypatch.delitem(AM2ZError.by_name, f"{__name__}:CardError")
    assert type(error_of(record)) is PlainError
    monkeypatch.delitem(AM2ZError.by_name, f"{__name__}:PlainError")
    got = error_of(record)
    assert type(got) is BusinessError
    assert (got.code, got.category, got.context) == ("CARD", "business", {"number": "4711"})
    assert error_of(record_of(got)).code == "CARD"
    monkeypatch.delitem(AM2ZError.by_name, f"{__name__}:SoldOutError")
    assert type(error_of(of_code)) is SoldOutError, "by its code"
    monkeypatch.delitem(AM2ZError.by_name, f"{__name__}:FullError")
    assert type(error_of(full)) is ResourceError
    assert error_of(full).severity == "critical"


async def test_nobody_takes_a_code_of_the_engines():
    class MineError(AM2ZError):
        code = "VALIDATION"

    assert AM2ZError.by_code["VALIDATION"].__module__ == AM2ZError.__module__
    assert type(error_of(record_of(MineError("x")))) is MineError


async def test_it_is_retried_only_if_it_says_so(make_runtime):
    runs: list[int] = []

    @processor(retry=RetryPolicy(max_attempts=3, backoff=0))
    async def sell(n: int) -> int:
        runs.append(n)
        raise BusinessError("no more", retryable=n == 2)

    async with make_runtime() as runtime:
        runtime.register(sell)
        for n in (1, 2):
            assert type((await runtime.execute(sell, n)).error) is BusinessError
    assert runs == [1, 2, 2, 2]


async def test_a_circuit_breaker_does_not_count_it_and_a_fallback_answers_for_it(make_runtime):
    @processor
    async def plan_b(n: int) -> int:
        return -n

    @processor(breaker=CircuitBreaker(failures=1, recovery=60))
    async def sell(n: int) -> int:
        raise BusinessError("no more")

    @processor(fallback=plan_b)
    async def lend(n: int) -> int:
        raise BusinessError("no more")

    async with make_runtime() as runtime:
        runtime.register(sell, lend, plan_b)
        for _ in range(3):
            assert type((await runtime.execute(sell, 1)).error) is BusinessError
        assert (await runtime.execute(lend, 1)).unwrap() == -1


class Odd:
    def __repr__(self) -> str:
        return "an odd one"


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Odd(), "an odd one"),
        (2**70, str(2**70)),
        ({1, 2}, [1, 2]),
        ([Odd()], "[an odd one]"),
        ("x" * 3, "xxx"),
        (float("inf"), float("inf")),
    ],
    ids=["odd", "large number", "set", "odd within", "text", "infinity"],
)
async def test_what_cannot_travel_in_a_context_arrives_as_text(value: Any, arrives: Any):
    got = error_of(record_of(BusinessError("no", context={"it": value, "left": 3})))
    assert got.context == {"it": arrives, "left": 3}


async def test_a_large_context_is_bounded():
    context = {f"n{i}": list(range(1000)) for i in range(30)}
    got = error_of(record_of(BusinessError("no", context=context)))
    whole = [name for name, value in got.context.items() if value == list(range(1000))]
    assert 1 <= len(whole) <= 4
    assert all(isinstance(value, str) for name, value in got.context.items() if name not in whole)


@pytest.mark.parametrize("code", ["", "x" * 201, 3, ["A"]])
async def test_a_code_is_a_short_text(code):
    with pytest.raises(ConfigurationError, match=r"BusinessError\.code must be a text of 1 to 200 bytes"):
        BusinessError("no", code=code)


async def test_an_error_of_a_users_own_is_another_thing(make_runtime):
    @processor
    async def sell(n: int) -> int:
        raise ValueError("no more")

    async with make_runtime() as runtime:
        runtime.register(sell)
        assert type((await runtime.execute(sell, 1)).error) is ProcessorExecutionError
