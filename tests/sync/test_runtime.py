"""`SyncRuntime`: a runtime for programs without an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from am2z_trio import (
    ConfigurationError,
    Context,
    Every,
    LocalRuntime,
    NetworkError,
    QueueRuntime,
    RuntimeStateError,
    SyncRuntime,
    processor,
)
from am2z_trio.engine.runtime.runtime import Runtime
from tests.support.waiting import wait_until


@processor
async def double(n: int) -> int:
    return 2 * n


@processor
async def reports(n: int, ctx: Context) -> int:
    for step in range(1, n + 1):
        await ctx.update_progress(step / n)
    return n


class Held:
    """A processor that runs until it may end, seen from threads."""

    def __init__(self) -> None:
        self.began, self.go, self.cancelled = threading.Event(), threading.Event(), threading.Event()
        self.processor = processor(name="held")(self._run)

    async def _run(self, n: int) -> int:
        self.began.set()
        try:
            while not self.go.is_set():
                await trio.sleep(0.005)
        except BaseException:
            self.cancelled.set()
            raise
        return n


Make = Callable[..., Runtime]


@pytest.fixture(params=["local", "queue"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "local":
        return LocalRuntime
    url = request.getfixturevalue("redis_url")
    return lambda **options: QueueRuntime(url, **options)


@pytest.fixture
def runtime(make: Make) -> Iterator[SyncRuntime]:
    with SyncRuntime(make()) as runtime:
        runtime.register(double, reports)
        yield runtime


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_script_registers_executes_and_ends(make: Make, backend: Any):
    with SyncRuntime(make(), backend=backend) as runtime:
        runtime.register(double)
        assert runtime.execute(double, 21).unwrap() == 42
        assert [one.unwrap() for one in runtime.execute_many(double, range(3))] == [0, 2, 4]
        assert runtime.submit(double, 4).result(timeout=60).unwrap() == 8
        runtime.schedules.upsert("often", double, Every(3600), state=1)
        assert [one.id for one in runtime.schedules.list()] == ["often"]
        assert runtime.schedules.run_now("often").result().unwrap() == 2
        with runtime.session("alice") as session:
            assert session.execute(double, 1).unwrap() == 2
        runtime.drain()
        assert runtime.is_started
    assert not runtime.is_started
    assert not any(thread.name == "am2z runtime" for thread in threading.enumerate())
    with pytest.raises(RuntimeStateError, match="not started"):
        runtime.execute(double, 1)
    with runtime:
        assert runtime.execute(double, 2).unwrap() == 4


def test_a_job_tells_its_progress_as_it_goes(runtime: SyncRuntime):
    job = runtime.submit(reports, 3)
    seen = list(job.iter_progress())
    assert seen[-1] == 1.0
    assert seen == sorted(seen)
    assert list(job.iter_progress()) == [1.0]


def test_a_result_that_is_not_there_in_time_is_a_timeout_and_the_job_goes_on(runtime: SyncRuntime):
    held = Held()
    runtime.register(held.processor)
    job = runtime.submit(held.processor, 1)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.05 s"):
        job.result(timeout=0.05)
    held.go.set()
    assert job.result(timeout=60).unwrap() == 1
    assert not held.cancelled.is_set()


def test_a_job_is_cancelled(runtime: SyncRuntime):
    held = Held()
    runtime.register(held.processor)
    job = runtime.submit(held.processor, 1)
    assert held.began.wait(60)
    assert job.cancel("no more")
    assert not job.result().success
    assert held.cancelled.wait(60)


def test_events_are_iterated_over(runtime: SyncRuntime):
    with runtime.events("job:completed") as events:
        for n in range(3):
            runtime.submit(double, n)
        assert [next(events).name for _ in range(3)] == ["job:completed"] * 3


def test_any_number_of_threads_use_it(runtime: SyncRuntime):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: runtime.execute(double, n).unwrap(), range(40)))
    assert found == [2 * n for n in range(40)]


def test_it_works_where_a_loop_runs_in_the_calling_thread_as_in_a_notebook(make: Make):
    async def cells() -> None:
        runtime = SyncRuntime(make()).start()
        runtime.register(double)
        assert runtime.execute(double, 21).unwrap() == 42
        with runtime.events("*") as events:
            runtime.emit("said", 1)
            assert next(events).data == 1
        runtime.close()

    asyncio.run(cells())
    trio.run(cells)


def test_what_entering_raises_is_raised_by_start():
    runtime = SyncRuntime(QueueRuntime("redis://localhost:1"))
    with pytest.raises(NetworkError, match="localhost:1"):
        runtime.start()
    assert not runtime.is_started
    runtime.close()


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """As a program does that was started from a terminal: pytest's own workers ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_while_it_starts_leaves_no_thread_behind():
    entering = threading.Event()

    @asynccontextmanager
    async def never(runtime: Runtime) -> AsyncIterator[None]:
        entering.set()
        await trio.sleep_forever()
        yield

    def interrupt() -> None:
        entering.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    runtime = SyncRuntime(LocalRuntime(lifespan=never))
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        runtime.start()
    assert not any(thread.name == "am2z runtime" for thread in threading.enumerate())
    assert not runtime.is_started


def test_nor_does_ctrl_c_before_it_waits_for_the_thread(monkeypatch: pytest.MonkeyPatch):
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "am2z runtime":
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    runtime = SyncRuntime(LocalRuntime())
    with pytest.raises(KeyboardInterrupt):
        runtime.start()
    assert not any(thread.name == "am2z runtime" for thread in threading.enumerate())
    assert not runtime.is_started


def test_what_is_registered_before_it_is_started_is_served_then_and_after_a_new_start(make: Make):
    runtime = SyncRuntime(make())
    runtime.register(double)
    for n in (1, 2):
        with runtime:
            assert runtime.execute(double, n).unwrap() == 2 * n
    with pytest.raises(ConfigurationError):
        runtime.register(5)  # type: ignore[arg-type]


def test_it_is_started_once_and_closed_as_often_as_one_likes():
    runtime = SyncRuntime(LocalRuntime())
    runtime.close()
    with runtime, pytest.raises(RuntimeStateError, match="started already"):
        runtime.start()
    runtime.close()


def test_one_that_an_error_has_ended_is_started_anew(make: Make):
    @processor
    async def ends_its_node(n: int) -> int:
        raise KeyboardInterrupt

    runtime = SyncRuntime(make()).start()
    runtime.register(double, ends_its_node)
    for _ in range(2):
        runtime.submit(ends_its_node, 1)
        wait_until(lambda: not runtime.is_started, "the end of the runtime")
        with pytest.raises(RuntimeStateError, match="the runtime has ended"):
            runtime.execute(double, 21)
        runtime.start()
        assert runtime.execute(double, 21).unwrap() == 42
    runtime.close()
    assert not any(thread.name == "am2z runtime" for thread in threading.enumerate())


def test_what_is_no_runtime_is_refused():
    with pytest.raises(ConfigurationError, match="must be a LocalRuntime or a QueueRuntime"):
        SyncRuntime("redis://localhost")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="must be one of trio, asyncio"):
        SyncRuntime(LocalRuntime(), backend="curio")  # type: ignore[arg-type]


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_interrupts_a_call_and_cancels_its_job(make: Make):
    held = Held()
    with SyncRuntime(make()) as runtime:
        runtime.register(held.processor, double)

        def interrupt() -> None:
            held.began.wait(60)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            runtime.execute(held.processor, 1)
        assert held.cancelled.wait(60)
        assert runtime.execute(double, 1).unwrap() == 2


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_ctrl_c_within_a_session_ends_that_and_the_runtime_goes_on(make: Make, backend: Any):
    def work(runtime: SyncRuntime) -> None:
        with runtime.session("alice") as session:
            assert session.execute(double, 1).unwrap() == 2
            raise KeyboardInterrupt

    with SyncRuntime(make(), backend=backend) as runtime:
        runtime.register(double)
        stopped: list[str] = []
        runtime.call(runtime.runtime.on, "session:closed", lambda event: stopped.append(event.session))
        with pytest.raises(KeyboardInterrupt):
            work(runtime)
        wait_until(lambda: stopped == ["alice"], "the session's block was left")
        assert runtime.execute(double, 1, session="alice").unwrap() == 2


def test_from_within_a_job_it_refuses_to_wait_for_itself(runtime: SyncRuntime):
    @processor
    async def nested(n: int) -> int:
        with pytest.raises(RuntimeStateError, match="would wait for itself"):
            runtime.execute(double, n)
        return n

    runtime.register(nested)
    assert runtime.execute(nested, 1).unwrap() == 1


def test_in_a_fork_each_call_is_one_error_and_closing_does_nothing():
    with SyncRuntime(LocalRuntime()) as runtime:
        runtime.register(double)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                try:
                    runtime.execute(double, 1)
                except RuntimeStateError as error:
                    os.write(write, str(error).encode())
                runtime.close()
                os.write(write, b" closed")
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as said:
            words = said.read()
        os.waitpid(child, 0)
        assert b"was forked from" in words
        assert words.endswith(b" closed")
        assert runtime.execute(double, 1).unwrap() == 2


def program(text: str, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = directory / "script.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "raise KeyError('mine')"])
def test_a_script_that_does_not_close_it_ends_all_the_same(ending: str, redis_url: str, tmp_path: Path):
    done = program(
        f"""
        import os
        from am2z_trio import QueueRuntime, SyncRuntime, processor

        @processor
        async def double(n: int) -> int:
            return 2 * n

        runtime = SyncRuntime(QueueRuntime(os.environ["URL"])).start()
        runtime.register(double)
        print(runtime.execute(double, 21).unwrap())
        {ending}
        """,
        tmp_path,
        URL=redis_url,
    )
    assert done.stdout == "42\n"
    assert ("KeyError: 'mine'" in done.stderr) == ("KeyError" in ending), done.stderr
    assert done.returncode == (3 if "SystemExit" in ending else 1 if ending else 0)
    with SyncRuntime(QueueRuntime(redis_url)) as runtime:
        # It has signed off.
        assert len(runtime.call(runtime.runtime.control.nodes)) == 1


def test_a_closing_runtime_drains():
    ended = threading.Event()

    @processor
    async def slow(n: int) -> int:
        await trio.sleep(0.2)
        ended.set()
        return n

    with SyncRuntime(LocalRuntime()) as runtime:
        runtime.register(slow)
        runtime.submit(slow, 1)
        wait_until(lambda: runtime.get_queue_stats()["slow"].active, "it to run")
    assert ended.is_set()
