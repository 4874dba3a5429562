"""Log lines say which job they are of, and none of them can be forged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import ConfigurationError, Context, RetryPolicy, processor
from am2z_trio.observe import logs
from am2z_trio.observe.logs import JobFields, JSONFormatter, LineFormatter, structlog_fields

FORGED = (
    "five\n2026-11-27T00:00:00.000Z ERROR am2z_trio.node: all is lost"
    "\r\x1b[2J\x9b1m\u202egnissim\x00\u2028\ud800"
)

app = logging.getLogger("app.orders")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    handlers, level = [*logging.root.handlers], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


class Kept(logging.Handler):
    """Records as a handler with the filter gets them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []
        self.addFilter(JobFields())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)
    yield handler
    logging.root.removeHandler(handler)


def of(record: Any) -> tuple[Any, ...]:
    return record.processor, record.session, record.attempt, record.node


@pytest.mark.anyio
async def test_what_any_library_logs_in_a_job_says_which_job_it_is(make_runtime, kept):
    async def in_nursery() -> None:
        app.info("in a task")

    @processor
    async def sell(n: int) -> int:
        app.info("here")
        return n

    @processor
    async def sell_more(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(in_nursery)
        await anyio.lowlevel.checkpoint()
        return n

    @processor
    def sell_in_thread(n: int) -> int:
        app.info("in a thread")
        return n

    app.info("outside")
    async with make_runtime() as runtime:
        runtime.register(sell, sell_more, sell_in_thread)
        node = runtime.node_id
        jobs = [
            (await runtime.execute(one, 5, session="alice")).metadata.job_id
            for one in (sell, sell_more, sell_in_thread)
        ]
    found = [record for record in kept.records if record.name == "app.orders"]
    assert [record.getMessage() for record in found] == ["outside", "here", "in a task", "in a thread"]
    assert of(found[0]) == ("", "", "", "")
    assert [of(record) for record in found[1:]] == [
        (one.name, "alice", 1, node) for one in (sell, sell_more, sell_in_thread)
    ]
    assert [record.job for record in found[1:]] == jobs


@pytest.mark.anyio
async def test_what_a_record_says_itself_stays(make_runtime, kept):
    @processor
    async def sell(n: int, ctx: Context) -> int:
        app.info("mine", extra={"job": "another"})
        ctx.log.info("own")
        return n

    async with make_runtime() as runtime:
        runtime.register(sell)
        result = await runtime.execute(sell, 5)
    mine = [record for record in kept.records if record.getMessage() in ("mine", "own")]
    assert [record.job for record in mine] == ["another", result.metadata.job_id]
    assert [record.attempt for record in mine] == [1, 1]
    assert mine[0].node == mine[1].node != ""


@pytest.mark.anyio
async def test_a_job_is_told_from_its_beginning_to_its_end(make_runtime, kept):
    @processor(retry=RetryPolicy(max_attempts=2, backoff=0.01))
    async def sell(n: int, ctx: Context) -> int:
        if n > ctx.meta.attempt:
            raise ValueError("five is not for sale")
        return n

    @processor
    async def plain(n: int) -> int:
        return n

    async with make_runtime() as runtime:
        runtime.register(sell, plain)
        await runtime.execute(sell, 2, session="alice")
        await runtime.execute(plain, 2)
    lines = [
        (record.levelname, record.getMessage().partition("\n")[0])
        for record in kept.records
        if record.name.startswith("am2z_trio.jobs")
    ]
    levels, texts = zip(*lines, strict=True)
    assert levels == ("INFO", "WARNING", "INFO", "INFO", "INFO", "INFO")
    told = [text.partition(" of ")[2] for text in texts]
    assert told[0] == "'sell' in session 'alice' started at attempt 1"
    assert "failed at attempt 1, and is tried again in " in told[1]
    assert told[2] == "'sell' in session 'alice' started at attempt 2"
    assert told[3].startswith("'sell' in session 'alice' completed in ")
    assert told[4] == "'plain' started at attempt 1"
    assert told[5].startswith("'plain' completed in ")
    assert all(record.job for record in kept.records if record.name.startswith("am2z_trio.jobs"))


@pytest.mark.anyio
@pytest.mark.parametrize("plain", [True, False])
async def test_a_cancelled_job_is_told_and_is_no_warning(make_runtime, kept, plain):
    begun = anyio.Event()

    @processor
    async def wait(n: int) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    @processor
    async def wait_with_context(n: int, ctx: Context) -> int:
        begun.set()
        await anyio.sleep_forever()
        return n

    asked = wait if plain else wait_with_context
    async with make_runtime() as runtime:
        runtime.register(asked)
        job = await runtime.submit(asked, 1)
        with anyio.fail_after(30):
            await begun.wait()
            await job.cancel("not wanted\nany more")
            await job.result()
    last = [record for record in kept.records if record.name == "am2z_trio.jobs.runs"][-1]
    assert last.levelname == "INFO"
    assert last.getMessage().endswith("was cancelled at attempt 1: not wanted\\nany more")


@pytest.mark.anyio
async def test_who_wants_no_line_per_job_says_so(make_runtime, kept):
    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.info("selling")
        return n

    runs = logging.getLogger("am2z_trio.jobs.runs")
    runs.setLevel(logging.WARNING)
    try:
        async with make_runtime() as runtime:
            runtime.register(sell)
            await runtime.execute(sell, 2)
    finally:
        runs.setLevel(logging.NOTSET)
    assert [record.getMessage() for record in kept.records if "am2z_trio.jobs" in record.name] == ["selling"]


@pytest.mark.anyio
async def test_structlog_gets_the_same_fields(make_runtime):
    found: list[dict[str, Any]] = []

    @processor
    async def sell(n: int) -> int:
        found.append(dict(structlog_fields(None, "info", {"event": "sold", "attempt": "mine"})))
        return n

    async with make_runtime() as runtime:
        runtime.register(sell)
        result = await runtime.execute(sell, 2)
    (event,) = found
    assert event.pop("node")
    assert event == {
        "event": "sold",
        "attempt": "mine",
        "job": result.metadata.job_id,
        "processor": "sell",
    }
    assert structlog_fields(None, "info", {"event": "outside"}) == {"event": "outside"}


# --- lines -----------------------------------------------------------------------------------


def written(formatter: logging.Formatter, message: object, *args: object, **extra: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(JobFields())
    logger = logging.getLogger("app.lines")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        logger.warning(message, *args, extra=extra)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    text = stream.getvalue()
    assert text.endswith("\n")
    return text[:-1]


def is_safe(text: str) -> bool:
    return not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202e\ufeff" for c in text)


@pytest.mark.parametrize("message", [FORGED, FORGED * 100, "\n" + FORGED, "x" * 100_000, "\n" * 5000])
def test_no_message_forges_a_line(message: str):
    first, *others = written(LineFormatter(), message, job=FORGED, mine=FORGED, session="a b=c").split("\n")
    assert " WARNING app.lines: " in first
    assert 'session="a b=c"' in first
    assert all(line.startswith("  ") for line in others if line)
    assert all(is_safe(line) for line in (first, *others))
    assert is_safe(written(LineFormatter(), "mine", **{FORGED: 1}))
    assert len(first) + sum(map(len, others)) < 100_000
    assert (first + "".join(others)).encode()


@given(st.text(), st.text(), st.text())
def test_whatever_is_logged_is_one_line_of_json(message: str, session: str, mine: str):
    line = written(JSONFormatter(), message, session=session, mine=mine)
    assert is_safe(line)
    assert len(line.encode().splitlines()) == 1
    told = json.loads(line)
    assert told["level"] == "WARNING"
    assert told["logger"] == "app.lines"
    datetime.fromisoformat(told["time"])


@pytest.mark.parametrize("message", [FORGED, FORGED * 100, "x" * 100_000])
def test_no_message_forges_a_line_of_json(message: str):
    line = written(JSONFormatter(), message, mine=FORGED)
    assert is_safe(line)
    assert json.loads(line)["message"].startswith(message[:4])
    assert len(line) < 200_000


class Odd:
    def __repr__(self) -> str:
        raise SystemExit(3)


class Circle(dict[str, object]):
    def __init__(self) -> None:
        super().__init__()
        self["self"] = self


@pytest.mark.parametrize(
    "value", [Odd(), Circle(), float("nan"), {1: {2}}, b"\xff", {"a": [1, None]}, 2**90, None]
)
@pytest.mark.parametrize("make", [LineFormatter, JSONFormatter])
def test_whatever_is_given_as_extra_loses_no_line(make, value):
    line = written(make(), "sold", mine=value)
    assert "sold" in line
    assert "mine" in line
    if make is JSONFormatter:
        told = json.loads(line)
        assert value != {"a": [1, None]} or told["mine"] == value


def test_arguments_that_do_not_fit_lose_no_line(capsys):
    assert "%d sold ('many',)" in written(LineFormatter(), "%d sold", "many")


def test_a_traceback_stands_below_its_line():
    stream = io.StringIO()
    handler = logs.handler_of(json=False, level="info", stream=stream)
    logger = logging.getLogger("app.traces")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("it broke")
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    first, *others = stream.getvalue()[:-1].split("\n")
    assert first.endswith("ERROR app.traces: it broke")
    assert others[0] == "  Traceback (most recent call last):"
    assert others[1].startswith('    File "')
    assert all(line.startswith("  ") and is_safe(line) for line in others)


# --- installation ----------------------------------------------------------------------------


def test_what_is_installed_twice_writes_once():
    first, second = io.StringIO(), io.StringIO()
    logs.install(stream=first)
    logs.install(json=True, level="warning", stream=second)
    app.info("quiet")
    app.warning("loud")
    assert first.getvalue() == ""
    assert [json.loads(line)["message"] for line in second.getvalue().splitlines()] == ["loud"]


@pytest.mark.parametrize("level", ["loud", "", None, True, -1, 5.5, [], 101])
def test_a_level_that_there_is_not_is_refused(level):
    with pytest.raises(ConfigurationError, match="level"):
        logs.install(level=level)


def test_a_format_that_there_is_not_is_refused():
    with pytest.raises(ConfigurationError, match="json"):
        logs.install(json="yes")  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_the_traceback_of_a_failed_job_is_that_of_the_users_code(make_runtime):
    @processor
    async def sell(n: int) -> int:
        raise ValueError(FORGED)

    stream = io.StringIO()
    logs.install(stream=stream, level="warning")
    async with make_runtime() as runtime:
        runtime.register(sell)
        await runtime.execute(sell, 2, session="alice")
    first, *others = stream.getvalue()[:-1].split("\n")
    assert "WARNING am2z_trio.jobs: job " in first
    assert "processor=sell attempt=1" in first
    assert "code=PROCESSOR_EXECUTION" in first
    assert others[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in others)
    assert not any("am2z_trio/engine" in line for line in others)
