"""At which line a job's code is that runs in a process, in an inline call's process, or in a thread."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import LocalRuntime, ProcessOptions, Processor
from am2z_trio.cli.commands.tree import lines_of
from am2z_trio.concurrency import current_host
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.lines import MOST_FRAMES, MOST_TEXT
from am2z_trio.engine.execution.processes import whereabouts
from am2z_trio.engine.execution.processes.protocol import LENGTH, There, framed
from am2z_trio.engine.execution.processes.runs import ProcessRuns
from am2z_trio.engine.execution.processes.whereabouts import MOST_ANSWER, Looking
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.submission.job import Job
from am2z_trio.model.errors import JobCancelledError
from am2z_trio.model.telling import MOST_PATH
from am2z_trio.model.views.stack import Frame, JobStack, TaskStack
from tests.engine import computing
from tests.support.gates import Gate
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

DEEP = "time.sleep(0.001)  # deep down"
BESIDE = "await anyio.sleep(0.001)  # beside it"


async def stack_with(
    runtime: Runtime, job: Job[Any], fits: Callable[[list[TaskStack]], object]
) -> list[TaskStack]:
    """The stack of the job, as soon as it is so."""
    with anyio.fail_after(60):
        while True:
            stack = await runtime.control.stack(job)
            assert stack is not None
            if fits(stack.tasks):
                return stack.tasks
            await anyio.sleep(0.005)


def functions(task: TaskStack) -> list[str]:
    return [frame.function for frame in task.frames]


def all_at(*texts: str) -> Callable[[list[TaskStack]], bool]:
    """Whether all tasks but the node's own are at these lines."""

    def fits(tasks: list[TaskStack]) -> bool:
        return [task.frames[-1].text for task in tasks[1:] if task.frames] == [*texts]

    return fits


@pytest.mark.parametrize(
    ("job", "also", "kind"),
    [
        (computing.work_until_told, (), "process"),
        (computing.keep_the_loop_until_told, (), "process"),
        (computing.run_within, (computing.work_until_told,), "process"),
        (computing.wait_in_a_thread, (), "thread"),
        (computing.run_a_thread_within, (computing.wait_in_a_thread,), "thread"),
    ],
    ids=lambda value: value.name if isinstance(value, Processor) else "",
)
async def test_the_line_of_a_job_is_told_wherever_it_runs(
    make_runtime: Any, tmp_path: Path, job: Processor[str], also: tuple[Processor[str], ...], kind: str
):
    path = tmp_path / "job"
    async with make_runtime(processes=1) as runtime:
        runtime.register(job, *also)
        one = await runtime.submit(job, str(path))
        await until(path.exists)
        own, there = await stack_with(runtime, one, all_at(DEEP))
        inner = (*also, job)[0]
        assert functions(own) == ([job.name] if also else [])
        assert (there.name, there.kind, there.path, there.silent) == (inner.name, kind, "", False)
        assert functions(there) == [inner.name, "_until_told"]
        assert {frame.file for frame in there.frames} == {computing.__file__}
        line = own.frames[-1].text if also else DEEP
        with anyio.fail_after(60):
            found = await runtime.explain(one.id)
            while found.where is None or found.where.text != line:
                found = await runtime.explain(one.id)
        assert f"; at {computing.__file__}:{found.where.line} in " in found.verdict
        path.with_suffix(".go").touch()
        assert (await one.result()).unwrap() == str(path)


async def test_what_waits_in_a_process_is_told_with_the_tasks_of_its_nursery(
    make_runtime: Any, tmp_path: Path
):
    path = tmp_path / "job"
    async with make_runtime(processes=1) as runtime:
        runtime.register(computing.wait_until_told, computing.work_until_told)
        one = await runtime.submit(computing.wait_until_told, str(path))
        await until(path.exists)
        _, there, beside = await stack_with(runtime, one, all_at(BESIDE, BESIDE))
        assert (there.name, functions(there)) == ("wait_until_told", ["wait_until_told", "_look_for"])
        assert (beside.name, functions(beside)) == ("beside", ["_look_for"])
        path.with_suffix(".go").touch()
        (await one.result()).unwrap()
        # The next job of that process is told as it is, and nothing of the one before.
        path = tmp_path / "next"
        other = await runtime.submit(computing.work_until_told, str(path))
        await until(path.exists)
        await stack_with(runtime, other, all_at(DEEP))
        path.with_suffix(".go").touch()
        await other.result()


async def test_a_process_that_does_not_answer_is_silent_and_waited_for_once(
    make_runtime: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "job"
    async with make_runtime(processes=1) as runtime:
        runtime.register(computing.stop_and_go_on)
        one = await runtime.submit(computing.stop_and_go_on, str(path))
        await until(path.exists)
        _, there = await stack_with(runtime, one, lambda tasks: tasks[-1].silent)
        assert (there.name, there.kind, there.frames) == ("stop_and_go_on", "process", [])
        found = await runtime.explain(one.id)
        assert found.verdict.endswith("; its process does not say where")
        assert found.where is None
        # It is not asked anew, nor waited for.
        monkeypatch.setattr(whereabouts, "PATIENCE", 1000.0)
        assert (await runtime.explain(one.id)).verdict.endswith("; its process does not say where")
        os.kill(int(path.read_text()), signal.SIGCONT)
        await stack_with(runtime, one, all_at(DEEP))
        path.with_suffix(".go").touch()
        assert (await one.result()).unwrap() == str(path)


async def test_who_asks_hears_at_once_that_the_process_has_died(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(whereabouts, "PATIENCE", 1000.0)
    path = tmp_path / "job"
    async with LocalRuntime(processes=ProcessOptions(max_processes=1, cancel_grace=0)) as runtime:
        runtime.register(computing.stop_and_go_on)
        one = await runtime.submit(computing.stop_and_go_on, str(path))
        await until(path.exists)
        stat = Path(f"/proc/{path.read_text()}/stat")
        await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        control, asking = runtime.node.sites.processes, anyio.Event()
        claim = runtime.node.claims.get(one.id)
        assert claim is not None
        told: list[There] = []

        async def ask() -> None:
            asking.set()
            told.extend(await control.whereabouts(claim))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await asking.wait()
                await one.cancel()
        assert [task.silent for there in told for task in there.tasks] == [True]
        assert isinstance((await one.result()).error, JobCancelledError)


# --- what a process may say -----------------------------------------------------------------------


class Line(NamedTuple):
    looking: Looking
    end: socket.socket

    async def asked(self) -> None:
        """Wait for a question."""
        await anyio.wait_readable(self.end)
        self.end.recv(1000)

    async def say(self, data: bytes) -> None:
        while data:
            with suppress(BlockingIOError):
                data = data[self.end.send(data) :]
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def a_line(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    """To what passes for a process; nobody is silent by the clock."""
    monkeypatch.setattr(whereabouts, "PATIENCE", 1000.0)
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    host = current_host()
    looking = Looking(host, ours)
    with theirs, anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(looking.run)
            yield Line(looking, theirs)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "data",
    [
        LENGTH.pack(MOST_ANSWER + 1),
        LENGTH.pack(3) + b"\xc1\xc1\xc1",
        framed(There("token", [])).replace(b"there", b"other"),
        framed(There("token", [TaskStack(name="x")])).replace(b"\xa1x", b"\x01\xc0"),
        b"",
    ],
    ids=["too long", "nonsense", "another message", "another type", "hung up"],
)
async def test_a_process_that_says_what_is_no_answer_is_silent(
    monkeypatch: pytest.MonkeyPatch, data: bytes, caplog: pytest.LogCaptureFixture
):
    async with a_line(monkeypatch) as line, anyio.create_task_group() as tasks:
        found: list[There] = []

        async def ask() -> None:
            found.append(await line.looking.ask("paint", "token"))

        tasks.start_soon(ask)
        tasks.start_soon(ask)
        await line.asked()
        await line.say(data)
        if not data:
            line.end.shutdown(socket.SHUT_RDWR)
        await until(lambda: len(found) == 2)
        silent = TaskStack(name="paint", kind="process", silent=True)
        assert [there.tasks for there in found] == [[silent], [silent]]
        # It is not asked again.
        assert (await line.looking.ask("paint", "token")).tasks == [silent]
        assert ("was asked where it is has said" in caplog.text) == bool(data)


async def test_an_answer_is_no_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch):
    huge = Frame(file="f" * 5000, line=7, function="g" * 5000, text="t" * 5000)
    told = TaskStack(name="n" * 5000, path="1", kind="thread", frames=[huge] * 15 + [Frame(**_small())] * 15)
    async with a_line(monkeypatch) as line, anyio.create_task_group() as tasks:
        found: list[There] = []

        async def ask() -> None:
            found.append(await line.looking.ask("paint", "token"))

        tasks.start_soon(ask)
        await line.asked()
        await line.say(framed(There("token", [told], more=3)))
        await until(lambda: found)
        (task,) = found[0].tasks
        assert (task.kind, task.path, found[0].more, len(task.frames)) == ("process", "", 3, MOST_FRAMES)
        assert task.frames[-1] == Frame(**_small())
        assert all(len(frame.file) <= MOST_PATH for frame in task.frames)
        assert all(len(text) <= MOST_TEXT for frame in task.frames for text in (frame.function, frame.text))
        assert len(task.name) <= MOST_TEXT


def _small() -> dict[str, Any]:
    return {"file": "/x.py", "line": 1, "function": "f", "text": "pass"}


async def test_what_is_told_of_another_job_is_asked_again_and_then_left(monkeypatch: pytest.MonkeyPatch):
    async with a_line(monkeypatch) as line, anyio.create_task_group() as tasks:
        found: list[There] = []

        async def ask() -> None:
            found.append(await line.looking.ask("paint", "token"))

        for last in ("token", "another", ""):
            tasks.start_soon(ask)
            for token in ("another", last):
                await line.asked()
                await line.say(framed(There(token, [TaskStack(name=token)])))
            await until(lambda: found)
            (there,) = found
            assert [task.name for task in there.tasks] == (["token"] if last == "token" else [])
            found.clear()


async def test_a_file_that_a_process_names_is_not_read_by_its_node(
    make_runtime: Any, monkeypatch: pytest.MonkeyPatch
):
    async def named(self: ProcessRuns, claim: Claim) -> list[There]:
        frames = [Frame(file=__file__, line=1, function="f"), Frame(**_small())]
        return [There(claim.grant.token, [TaskStack(name="n", kind="process", frames=frames)], more=3)]

    monkeypatch.setattr(ProcessRuns, "whereabouts", named)
    async with make_runtime() as runtime:
        gate = Gate("slow")
        runtime.register(gate.processor)
        job = await runtime.submit(gate.processor, 1)
        await gate.began.wait()
        stack = await runtime.control.stack(job)
        assert stack is not None
        assert stack.more == 3
        assert [frame.text for frame in stack.tasks[1].frames] == ["", "pass"]
        gate.go.set()
        await job.result()


def test_who_is_silent_is_told_so():
    silent = TaskStack(name="paint", kind="process", silent=True)
    stack = JobStack(job="j", node="n", processor="paint", tasks=[TaskStack(name="paint"), silent])
    assert [*lines_of(stack, 1)] == ["   process paint does not say where it is"]
