"""Any text is a name: taken as it is wherever it goes, or refused where it is first given."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from am2z_trio import ConfigurationError, Context, JobOptions, processor
from am2z_trio.model.logs import one_line
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio

TAKEN = {
    "lines": "a\nWARNING am2z_trio.node: forged\r\n",
    "escapes": "\x1b[2J\x1b[31mred\x07",
    "C1": "\x9b2J\x85",
    "NUL": "\0",
    "one NUL after another": "a\0b\0" + "0",
    "bidirectional": "\u202egnp.exe\u2069",
    "key separators": "q:x:wait{am2z:0}:*",
    "queue separators": "p@alice:line",
    "paths": "../../a/b:0123456789abcdef",
    "patterns": "[*?]",
    "braces": "{0}%s%(x)d",
    "digest": "~" + "0" * 40,
    "800 bytes": "é" * 200,
}

REFUSED = {
    "half a surrogate pair": "a\ud800",
    "the other half": "\udfff",
    "10 KB": "x" * 10_240,
    "empty": "",
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("%(name)s %(session)s %(message)s", defaults={"session": "-", "job": "-"})
    )
    logger = logging.getLogger("am2z_trio")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


@on_both_hosts
@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN.keys())
async def test_a_name_is_taken_as_it_is_and_forges_nothing(make_runtime, log, text):
    heard: list[tuple[str, str, Any]] = []

    @processor(name=text)
    async def named(n: int, ctx: Context) -> int:
        ctx.log.warning("works")
        ctx.emit(text, n)
        return await ctx.call(inner, n + 1, key=text)

    @processor(name=f"{text[:100]} inner")
    async def inner(n: int) -> int:
        return n + 1

    async def on_event(event: Any) -> None:
        heard.append((event.name, event.session, event.data))
        raise ValueError(text)

    async with make_runtime() as runtime:
        runtime.register(named, inner)
        runtime.on(text, on_event)
        options = JobOptions(debounce=text)
        with anyio.fail_after(20):
            result = await runtime.execute(named, 1, session=text, options=options)
            assert result.unwrap() == 3
            assert result.metadata.session_id == text
            assert (await runtime.execute(text, session=text)).unwrap() == 5
            async with runtime.state.lock(text) as lock:
                assert await lock.read() == 5
            assert (await runtime.get_session_stats(text)).version == 2
            runtime.emit(text, 0)
            await until(lambda: len(heard) >= 3)
            await runtime.stop_session(text)
        assert heard == [(text, text, 1), (text, text, 3), (text, "", 0)]
        assert text in runtime.list_processors()
        assert text in await runtime.get_queue_stats()
    lines = log.getvalue().split("\n")
    assert sum(line.startswith("am2z_trio.jobs ") for line in lines) == 2
    # A record has a name; the lines of a traceback are set in.
    assert all(line.startswith(("am2z_trio.", "  ")) for line in lines if line)
    assert all(one_line(line) == line for line in lines)


@on_both_hosts
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_no_name_is_refused_where_it_is_given(make_runtime, text):
    async def fn(n: int, ctx: Context) -> int:
        for refused in (lambda: ctx.emit(text), lambda: ctx.runtime.emit(text, None)):
            with pytest.raises(ConfigurationError, match="event="):
                refused()
        with pytest.raises(ConfigurationError, match="key="):
            await ctx.call("works", n, key=text)
        return n

    with pytest.raises(ConfigurationError, match=r"Processor\.name="):
        processor(name=text)(fn)
    with pytest.raises(ConfigurationError, match=r"JobOptions\.debounce="):
        JobOptions(debounce=text)
    works = processor(fn)
    async with make_runtime() as runtime:
        runtime.register(works)
        assert (await runtime.execute(works, 1)).unwrap() == 1
        for refused in (
            lambda: runtime.emit(text),
            lambda: runtime.on(text, print),
            lambda: runtime.unregister(text),
        ):
            with pytest.raises(ConfigurationError, match=r"(event|pattern|processor)="):
                refused()
        with pytest.raises(ConfigurationError, match="processor="):
            await runtime.submit(text, 1)
        if text == "x" * 10_240:
            # A session may have a long name.
            assert (await runtime.execute(works, 1, session=text)).unwrap() == 1
            return
        error = (await runtime.execute(works, 1, session=text)).error
        assert isinstance(error, ConfigurationError)
        assert error.context["field"] == "session"
        with pytest.raises(ConfigurationError, match="session="):
            async with runtime.session(text):
                pass
