"""How often a job is tried again: its attempts say so, and the error itself, in whatever nursery."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from am2z_trio import (
    AM2ZError,
    BusinessError,
    Context,
    JobOptions,
    ProcessorExecutionError,
    RetryPolicy,
    ValidationError,
    processor,
)
from am2z_trio.model.options import Backoff

pytestmark = pytest.mark.anyio

SOON: dict[str, Any] = {"seconds": 0.001, "a Backoff": Backoff(type="fixed", delay=0.001)}


@pytest.mark.parametrize("backoff", SOON.values(), ids=SOON)
async def test_a_backoff_alone_asks_for_no_further_attempt(make_runtime, backoff: Any):
    begun = list[str]()

    @processor
    async def fails(n: int) -> int:
        begun.append("fails")
        raise OSError

    @processor(retry=RetryPolicy(max_attempts=2, backoff=3600))
    async def tried_twice(n: int) -> int:
        begun.append("tried twice")
        raise OSError

    @processor
    async def calls(n: int, ctx: Context) -> int:
        await ctx.call(fails, n, options=JobOptions(backoff=backoff), inline=True)
        return n

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(fails, tried_twice, calls)
            options = JobOptions(backoff=backoff)
            assert (await runtime.execute(fails, 1, options=options)).metadata.attempt == 1
            assert not (await runtime.execute(calls, 1)).success
            assert begun == ["fails"] * 2
            assert (await runtime.execute(tried_twice, 1, options=options)).metadata.attempt == 2
            options = JobOptions(backoff=backoff, attempts=3)
            assert (await runtime.execute(fails, 1, options=options)).metadata.attempt == 3


class Refused(AM2ZError):
    """A failure of the user's own."""


RAISED: dict[str, tuple[BaseException, type[AM2ZError], str, bool]] = {
    "any error": (ValueError("sold out"), ProcessorExecutionError, "raised ValueError: sold out", True),
    "one of ours": (ValidationError("not so"), ValidationError, "not so", False),
    "a refusal": (BusinessError("sold out"), BusinessError, "sold out", False),
}


async def raises_in_tasks(error: BaseException, deep: int) -> None:
    async def fails() -> None:
        raise error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(raises_in_tasks, error, deep - 1) if deep else tasks.start_soon(fails)
        await anyio.sleep_forever()


@pytest.mark.parametrize("deep", [0, 2])
@pytest.mark.parametrize("with_context", [False, True])
@pytest.mark.parametrize(("error", "kind", "text", "retryable"), RAISED.values(), ids=RAISED)
async def test_an_error_that_is_alone_in_a_nursery_is_itself(
    make_runtime,
    error: BaseException,
    kind: type[AM2ZError],
    text: str,
    retryable: bool,
    with_context: bool,
    deep: int,
):
    asked = list[AM2ZError]()
    policy = RetryPolicy(max_attempts=2, backoff=0, on_retry=lambda error, _: asked.append(error))

    @processor(retry=policy)
    async def plain(n: int) -> int:
        await raises_in_tasks(error, deep)
        return n

    @processor(retry=policy)
    async def in_context(n: int, ctx: Context) -> int:
        await raises_in_tasks(error, deep)
        return n

    one: Any = in_context if with_context else plain
    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(one)
            result = await runtime.execute(one, 1)
            assert type(result.error) is kind
            assert text in result.error.message
            assert "Group" not in result.error.message
            assert result.metadata.attempt == (2 if retryable else 1)
            assert len(asked) == (1 if retryable else 0)


@pytest.mark.parametrize("last", [True, False], ids=["one of them must not be", "all of them may be"])
async def test_several_errors_are_retried_if_all_of_them_may_be(make_runtime, last: bool):
    @processor(retry=RetryPolicy(max_attempts=2, backoff=0))
    async def plain(n: int) -> int:
        raise ExceptionGroup("both", [OSError("one"), ValidationError("two") if last else OSError("two")])

    with anyio.fail_after(20):
        async with make_runtime() as runtime:
            runtime.register(plain)
            result = await runtime.execute(plain, 1)
            assert isinstance(result.error, ProcessorExecutionError)
            assert "one" in result.error.message
            assert "two" in result.error.message
            assert result.metadata.attempt == (1 if last else 2)
