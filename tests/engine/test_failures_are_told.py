"""What a person learns of a job that fails: from the log, from the error, and from events."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import am2z_trio
from am2z_trio import (
    AM2ZError,
    BusinessError,
    Composition,
    Context,
    ProcessorExecutionError,
    RetryPolicy,
    batch,
    chain,
    parallel,
    processor,
)
from am2z_trio.model.limits import MAX_REASON_BYTES
from am2z_trio.model.logs import Log, one_line
from am2z_trio.model.telling import OWN_ROOMS
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


def look_up(n: int) -> int:
    shelf: dict[int, int] = {}
    return shelf[n]


@processor
async def search(n: int) -> int:
    return look_up(n)


@processor
def search_in_thread(n: int) -> int:
    return look_up(n)


@processor
async def ask(n: int, ctx: Context) -> int:
    return await ctx.call(search, n)


@processor
async def search_all(n: int) -> int:
    async with anyio.create_task_group() as tasks:
        for wrong in (KeyError("shelf"), OSError("no lorry")):
            tasks.start_soon(_raise, wrong)
    return n


async def _raise(error: Exception) -> None:
    try:
        await anyio.lowlevel.checkpoint()
    finally:
        raise error


def told(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [one for one in caplog.records if one.name == "am2z_trio.jobs"]


async def test_a_refusal_is_one_line(make_runtime, caplog):
    @processor
    async def charge(n: int) -> int:
        try:
            return look_up(n)
        except KeyError as error:
            raise BusinessError("declined", code="DECLINED") from error

    async with make_runtime() as runtime:
        runtime.register(charge)
        result = await runtime.execute(charge, 7)
    assert result.error is not None
    assert "in charge" in result.error.remote_traceback
    (record,) = told(caplog)
    assert record.getMessage().endswith("failed at attempt 1: declined")
    assert (record.levelno, record.code) == (logging.WARNING, "DECLINED")


async def test_a_composition_that_fails_by_refusals_alone_is_one_line(make_runtime, caplog):
    @processor
    async def decline(n: int) -> int:
        raise BusinessError("declined", code="DECLINED")

    @processor
    async def breaks(n: int) -> int:
        raise ValueError("broken")

    refused = chain("refused", [chain("inner", [decline])])
    both = parallel("both", [refused, decline], collect=True)
    broken = chain("broken", [breaks])
    async with make_runtime() as runtime:
        runtime.register(both, broken)
        assert not (await runtime.execute(both, 7)).success
        assert len(told(caplog)) == 5
        assert "Traceback" not in caplog.text
        assert not (await runtime.execute(broken, 7)).success
    assert caplog.text.count("Traceback") == 2


@pytest.mark.parametrize("asked", [search, search_in_thread])
async def test_a_failed_job_is_logged_with_the_frames_of_the_users_code(make_runtime, caplog, asked):
    async with make_runtime() as runtime:
        runtime.register(asked)
        result = await runtime.execute(asked, 7, session="alice")
    assert not result.success
    (record,) = told(caplog)
    job = result.metadata.job_id
    assert record.levelno == logging.WARNING
    assert (record.job, record.processor, record.session, record.attempt, record.code) == (
        job,
        asked.name,
        "alice",
        1,
        "PROCESSOR_EXECUTION",
    )
    line, *trace = record.getMessage().split("\n")
    assert line == f"job {job} of {asked.name!r} in session 'alice' failed at attempt 1: {result.error}"
    places = [one.strip() for one in trace if one.lstrip().startswith("File ")]
    assert len(places) == 2, "the processor, and what it has called"
    assert all("test_failures_are_told.py" in place for place in places)
    assert trace[-1] == "  KeyError: 7"


async def test_every_attempt_is_logged_and_what_follows(make_runtime, caplog):
    @processor(retry=RetryPolicy(max_attempts=3, backoff=0.01))
    async def flaky(n: int, ctx: Context) -> int:
        if ctx.meta.attempt < n:
            raise OSError("no lorry")
        return n

    async with make_runtime() as runtime:
        runtime.register(flaky)
        assert (await runtime.execute(flaky, 2)).success
        (again,) = told(caplog)
        assert "failed at attempt 1, and is tried again in 0.0" in again.getMessage()
        caplog.clear()
        assert not (await runtime.execute(flaky, 9)).success
        lines = [one.getMessage().partition(":")[0].partition("failed ")[2] for one in told(caplog)]
    assert [line.partition(",")[0] for line in lines] == ["at attempt 1", "at attempt 2", "at attempt 3"]
    assert "tried again" not in lines[-1]


async def test_what_completes_or_is_cancelled_is_not_logged(make_runtime, caplog):
    @processor
    async def wait(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(search, wait)

        @processor
        async def fine(n: int) -> int:
            return n

        runtime.register(fine)
        assert (await runtime.execute(fine, 1)).success
        job = await runtime.submit(wait, 1)
        await job.cancel()
        with anyio.move_on_after(0.01):
            await runtime.execute(wait, 1)
        assert not (await job.result()).success
    assert told(caplog) == []


async def test_an_error_of_the_engines_own_is_logged_without_its_frames(make_runtime, caplog):
    @processor(timeout=0.01)
    async def slow(n: int) -> int:
        await anyio.sleep_forever()
        return n

    async with make_runtime() as runtime:
        runtime.register(search, slow)
        unfit = await runtime.execute(search.name, "not a number")
        late = await runtime.execute(slow, 1)
    assert [(one.code, one.getMessage().count("\n")) for one in told(caplog)] == [
        ("VALIDATION", 0),
        ("PROCESSOR_TIMEOUT", 0),
    ]
    for result in (unfit, late):
        with pytest.raises(AM2ZError) as raised:
            result.unwrap()
        assert not hasattr(raised.value, "__notes__")


async def test_unwrap_shows_where_the_error_was_raised(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(search)
        result = await runtime.execute(search, 7)
    for _ in range(2):
        with pytest.raises(ProcessorExecutionError) as raised:
            result.unwrap()
    shown = "".join(traceback.format_exception(raised.value))
    assert shown.count("in look_up") == 1
    (note,) = raised.value.__notes__
    assert note.startswith("Where it was raised:\n\nTraceback (most recent call last):\n")
    assert "am2z_trio/engine" not in note


async def test_an_error_that_went_through_other_jobs_shows_the_whole_way(make_runtime, caplog):
    whole = chain("whole", [ask])
    async with make_runtime() as runtime:
        runtime.register(whole, search)
        result = await runtime.execute(whole, 7)
    assert [one.processor for one in told(caplog)] == ["search", "ask", "whole"]
    with pytest.raises(AM2ZError) as raised:
        result.unwrap()
    (note,) = raised.value.__notes__
    way = [part for part in ("in look_up", "It was called here:", "in ask") if part in note]
    assert len(way) == 3
    assert note.count("Traceback") == 1
    assert len(note) < 2000


async def test_an_exception_group_tells_its_members(make_runtime, caplog):
    async with make_runtime() as runtime:
        runtime.register(search_all)
        result = await runtime.execute(search_all, 7)
    error = result.error
    assert error is not None
    said = {"KeyError: 'shelf'", "OSError: no lorry"}
    assert {cause.message for cause in error.causes} == said
    assert {cause.context["exception"] for cause in error.causes} == {"KeyError", "OSError"}
    assert all("in _raise" in cause.remote_traceback for cause in error.causes)
    assert isinstance(error.cause, ExceptionGroup)
    (record,) = told(caplog)
    line, _, trace = record.getMessage().partition("\n")
    for text in (error.message, line, trace):
        assert all(one in text for one in said), text
    with pytest.raises(ProcessorExecutionError):
        result.unwrap()
    assert all("in _raise" in cause.__notes__[0] for cause in error.causes)


async def test_a_group_of_very_many_tells_the_first_and_how_many_more(make_runtime, caplog):
    @processor
    async def hail(n: int) -> int:
        raise ExceptionGroup("hail", [ValueError("x" * 1000) for _ in range(n)])

    async with make_runtime() as runtime:
        runtime.register(hail)
        result = await runtime.execute(hail, 1000)
    assert result.error is not None
    assert "and 980 more" in result.error.message
    assert len(result.error.causes) == 20
    (record,) = told(caplog)
    assert len(record.getMessage()) < 24_000


async def test_a_text_cannot_pass_for_a_line_of_the_log_or_steer_a_terminal(make_runtime, caplog):
    forged = "x\nWARNING am2z_trio.jobs: all is well\r\x1b[2J\u2028\u202e\x85"

    @processor(name="sell\x1b[31m")
    async def sell(n: int) -> int:
        raise ValueError(forged)

    async with make_runtime() as runtime:
        runtime.register(sell)
        await runtime.execute(sell, 7, session="al\nice")
    (record,) = told(caplog)
    lines = record.getMessage().splitlines()
    assert lines[0].endswith(one_line(f"raised ValueError: {forged}"))
    assert all(line.startswith("  ") for line in lines[1:])
    assert all(char == "\n" or char.isprintable() for char in record.getMessage())


async def test_events_of_failures_say_what_was_raised(make_runtime):
    @processor(retry=RetryPolicy(max_attempts=2, backoff=0))
    async def sell(n: int) -> int:
        raise LookupError("x" * n)

    inline = chain("inline", [sell], inline=True)
    async with make_runtime() as runtime:
        runtime.register(sell, inline)
        for asked in (sell, inline):
            async with runtime.events("job:*") as stream:
                await runtime.execute(asked, 3000)
                told: dict[tuple[str, str], Any] = {}
                # Those of what is run inline come by another way.
                while not {(asked.name, "job:dead"), (sell.name, "job:failed")} <= told.keys():
                    event = await stream.next()
                    told[event.processor, event.name] = event.data
            if asked is inline:
                assert told["inline", "job:dead"]["code"] == "STEP_FAILED"
                assert told["inline", "job:dead"] == told["inline", "job:failed"]
            for name, attempt in (("job:retrying", 1), ("job:failed", 2)):
                data = told["sell", name]
                assert (data["attempt"], data["code"]) == (attempt, "PROCESSOR_EXECUTION")
                assert data["message"].startswith("'sell' raised LookupError: xxx")
                assert len(data["message"].encode()) <= MAX_REASON_BYTES


class Broken(logging.Handler):
    """A user's handler that raises, past what `logging` guards."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.called = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.called += 1
        raise self.error


@contextmanager
def handled_by(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger("am2z_trio")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("error", [RuntimeError("the disk is full"), SystemExit(3)], ids=["error", "exit"])
async def test_a_log_handler_that_raises_harms_no_job(make_runtime, error, capsys):
    def raises(error: AM2ZError, attempt: int) -> bool:
        raise LookupError("no")

    @processor(retry=RetryPolicy(max_attempts=2, should_retry=raises))
    async def hooked(n: int) -> int:
        raise ValueError("five")

    def refuse(event: Any) -> None:
        raise ValueError("not now")

    broken = Broken(error)
    with handled_by(broken), anyio.fail_after(30):
        async with make_runtime() as runtime:
            runtime.register(search, hooked)
            runtime.on("job:*", refuse)
            for asked in (search, hooked):
                result = await runtime.execute(asked, 7)
                assert type(result.error) is ProcessorExecutionError
            assert (await runtime.connection.check_health()).healthy
            await until(lambda: broken.called >= 3 + 2)
    assert "am2z_trio: logging failed: " in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("the disk is full"), SystemExit(3)], ids=["error", "exit"])
async def test_a_log_handler_that_raises_does_not_fail_a_job_that_logs(make_runtime, error):
    @processor
    async def chatty(n: int, ctx: Context) -> int:
        ctx.log.error("%d of %s", n, "many")
        return n

    broken = Broken(error)
    with handled_by(broken):
        async with make_runtime() as runtime:
            runtime.register(chatty)
            assert (await runtime.execute(chatty, 7)).unwrap() == 7
    assert broken.called == 1


async def test_what_a_job_logs_says_which_job_it_is_and_where(make_runtime, caplog):
    @processor
    async def chatty(n: int, ctx: Context) -> int:
        ctx.log.warning("%d of %s", n, "many", extra={"mine": 3})
        return n

    async with make_runtime() as runtime:
        runtime.register(chatty)
        result = await runtime.execute(chatty, 7, session="alice")
    (record,) = told(caplog)
    assert (record.job, record.processor, record.session) == (result.metadata.job_id, "chatty", "alice")
    assert (record.mine, record.funcName, record.getMessage()) == (3, "chatty", "7 of many")


async def test_the_record_names_the_place_that_has_something_to_say(caplog):
    Log("am2z_trio.here").warning("%s of %d: %r", "a\nb", 3, "c")
    (record,) = caplog.records
    assert (record.funcName, record.getMessage()) == (
        "test_the_record_names_the_place_that_has_something_to_say",
        "a\\nb of 3: 'c'",
    )


async def test_parts_of_a_batch_are_each_told(make_runtime, caplog):
    every: Composition[int] = batch("every", search, range, merge=lambda n, results: n)
    async with make_runtime() as runtime:
        runtime.register(every, search)
        result = await runtime.execute(every, 1)
    with pytest.raises(AM2ZError):
        result.unwrap()
    assert [one.processor for one in told(caplog)] == ["search", "every"]
    assert result.error is not None
    assert "in look_up" in result.error.causes[0].__notes__[0]


def test_every_room_of_the_engine_is_known_as_its_own():
    rooms = {path.parent.name for path in Path(am2z_trio.__file__).parent.glob("*/__init__.py")}
    assert set(OWN_ROOMS) == rooms - {"cli", "testing"}
