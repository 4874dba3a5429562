"""Jobs in processes of their own: they compute beside all else, and are killed with all they have started."""

from __future__ import annotations

import gc
import os
import resource
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from am2z_trio import (
    ConfigurationError,
    Context,
    JobCancelledError,
    JobOptions,
    LocalRuntime,
    ProcessCrashedError,
    ProcessOptions,
    Processor,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    ResourceError,
    processor,
)
from tests.engine import computing, geometry
from tests.engine.computing import (
    OutOfPaintError,
    Picture,
    crash_once,
    look,
    paint,
    refuse,
    spin,
    spin_politely,
    take_long,
    take_long_too,
    use_all,
    use_all_async,
)
from tests.support.waiting import PATIENCE, until, wait_until

pytestmark = pytest.mark.anyio


def is_there(pid: int) -> bool:
    """Whether such a process is there, and is not dead and waiting to be reaped by whoever has it by now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def zombies() -> list[int]:
    """Processes of ours that have ended, and nobody has reaped."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if not is_there(int(pid))]


def descriptors() -> list[int]:
    """Those of ours that are open."""
    found = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
    # One was that of the folder.
    return [one for one in found if Path(f"/proc/self/fd/{one}").is_symlink()]


async def until_gone(pid: int) -> None:
    await until(lambda: not is_there(pid))


async def written(path: Path) -> list[int]:
    """The processes that a job has written down."""
    await until(lambda: path.exists() and path.read_text())
    return [int(pid) for pid in path.read_text().split()]


async def test_a_process_is_kept_for_the_next_job_and_gone_with_the_runtime(make_runtime, capfd):
    async with make_runtime(processes=2) as runtime:
        runtime.register(paint, look)
        first = (await runtime.execute(paint, Picture("a"))).unwrap()
        second = (await runtime.execute(paint, Picture("b"), session="alice")).unwrap()
        assert (first.name, second.name) == ("a", "b")
        assert first.pid == second.pid != os.getpid()
        assert (await runtime.state.get("alice", Picture)).state == second
        unchanged = await runtime.execute(look, Picture("c"))
        assert unchanged.unwrap() == Picture("c")
        touched = await runtime.execute(look, Picture("touch"))
        assert "changed its state in place" in str(touched.error)
        assert runtime.get_stats().processes == 1
        assert os.getpgid(first.pid) == first.pid
    assert not is_there(first.pid)
    assert zombies() == []
    # What it says is its node's to say.
    assert "painting a" in capfd.readouterr().out


async def test_what_is_out_of_time_is_killed_with_all_that_it_has_started(make_runtime, tmp_path):
    file = tmp_path / "pids"
    async with make_runtime(processes=1) as runtime:
        runtime.register(computing.spin_for_a_while, paint)
        result = await runtime.execute(computing.spin_for_a_while, str(file))
        assert type(result.error) is ProcessorTimeoutError
        for pid in await written(file):
            await until_gone(pid)
        assert zombies() == []
        assert runtime.get_stats().abandoned_threads == 0
        # Another one has its place.
        assert (await runtime.execute(paint, Picture())).unwrap().pid != int(file.read_text().split()[0])


@pytest.mark.parametrize("job", [spin, computing.spin_and_heed_nothing])
async def test_a_job_that_is_cancelled_ends_whatever_it_is_at(tmp_path, job: Processor[str]):
    file = tmp_path / "pids"
    async with LocalRuntime(processes=ProcessOptions(max_processes=1, cancel_grace=0)) as runtime:
        runtime.register(job)
        one = await runtime.submit(job, str(file))
        pids = await written(file)
        assert all(map(is_there, pids))
        await one.cancel()
        assert isinstance((await one.result()).error, JobCancelledError)
        for pid in pids:
            await until_gone(pid)


@pytest.mark.parametrize("job", [spin_politely, computing.wait])
async def test_a_job_that_ends_by_itself_when_it_is_to_keeps_its_process(tmp_path, job: Processor[str]):
    file = tmp_path / "said"
    async with LocalRuntime(processes=ProcessOptions(max_processes=1, cancel_grace=PATIENCE)) as runtime:
        runtime.register(job, paint)
        one = await runtime.submit(job, str(file))
        (pid,) = await written(file)
        await one.cancel()
        assert isinstance((await one.result()).error, JobCancelledError)
        assert file.read_text() == "cleaned up"
        assert (await runtime.execute(paint, Picture())).unwrap().pid == pid


async def test_a_process_that_dies_under_a_job_is_a_failed_attempt(make_runtime):
    async with make_runtime(processes=1) as runtime:
        runtime.register(crash_once)
        result = await runtime.execute(crash_once, "SIGSEGV")
        assert result.unwrap() == "attempt 2"
        (earlier,) = result.metadata.earlier_errors
        assert earlier.code == ProcessCrashedError.code
        assert "the process of 'crash_once' was ended under it by SIGSEGV" in earlier.message
    assert zombies() == []


@pytest.mark.parametrize(
    ("how", "told", "context"),
    [
        ("SIGKILL", "was ended under it by SIGKILL, as the kernel does where memory", {"signal": "SIGKILL"}),
        ("7", "has ended under it, with exit code 7", {"exit_code": 7}),
    ],
)
async def test_how_it_has_died_is_told(how: str, told: str, context: dict[str, Any]):
    async with LocalRuntime() as runtime:
        runtime.register(crash_once)
        error = (await runtime.execute(crash_once, how, options=JobOptions(attempts=1))).error
    assert type(error) is ProcessCrashedError
    assert error.retryable
    assert told in error.message
    assert {name: str(value) for name, value in context.items()}.items() <= {
        name: str(value) for name, value in error.context.items()
    }.items()


async def test_what_it_raises_arrives_as_from_a_thread():
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(refuse, computing.again, computing.return_nonsense)
        business = (await runtime.execute(refuse, "business")).error
        assert type(business) is OutOfPaintError
        assert (business.message, business.context["litres"]) == ("no blue", 0)
        other = (await runtime.execute(refuse, "five")).error
        assert type(other) is ProcessorExecutionError
        assert other.message == "'refuse' raised ValueError: five"
        assert "computing.py" in other.remote_traceback
        assert "in refuse" in other.remote_traceback
        for how in ("exit", "interrupt"):
            assert type((await runtime.execute(refuse, how)).error) is ProcessorExecutionError
        later = await runtime.execute(computing.again, 1)
        assert later.unwrap() == 2
        nonsense = (await runtime.execute(computing.return_nonsense, 1)).error
        assert "what 'return_nonsense' returned: the state does not fit int" in str(nonsense)
        assert runtime.get_stats().processes == 1


async def test_no_more_jobs_run_than_there_may_be_processes():
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(take_long, take_long_too)
        jobs = [
            await runtime.submit(job, Picture(f"{job.name} {n}"))
            for n in range(3)
            for job in (take_long, take_long_too)
        ]
        done = sorted([(await job.result()).unwrap() for job in jobs], key=lambda one: one.began)
        assert all(one.ended <= following.began for one, following in pairwise(done))
        assert len({one.pid for one in done}) == 1
        # No queue has all the turns before the other one has any.
        assert {one.name.split()[0] for one in done[:3]} == {"take_long", "take_long_too"}


async def test_all_that_ctx_gives_is_there(make_runtime, caplog):
    heard = list[Any]()
    async with make_runtime(processes=1) as runtime:
        runtime.register(use_all, use_all_async)
        runtime.register(paint)
        runtime.on("painted", heard.append)
        await runtime.state.set("alice", Picture("before"))
        job = await runtime.submit(use_all, Picture("x"), session="alice")
        result = (await job.result()).unwrap()
        names = ["before", "called", True, "by name", True, "use_all", "alice", 1, "from a thread"]
        assert result.seen == names
        assert (await runtime.state.get("alice", Picture)).state == Picture("updated")
        await until(lambda: heard)
        assert heard[0].data == {"pid": result.pid}
        assert heard[0].job == job.id
        (line,) = [record for record in caplog.records if record.getMessage() == "one of 2"]
        assert (line.processor, line.session) == ("use_all", "alice")
        other = (await runtime.execute(use_all_async, Picture("y"))).unwrap()
        assert other.seen == [["a", "b"], True]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("inline", "ctx.call(inline=True) is for processors that run in their node's own process"),
        ("event", "must not begin as the engine's own"),
        ("unknown", "nobody serves this"),
        ("depth", "no blue"),
    ],
)
async def test_what_ctx_refuses_is_raised_where_it_was_asked(how: str, told: str):
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(computing.misuse, refuse)
        error = (await runtime.execute(computing.misuse, how)).error
    assert told in str(error)


async def test_a_call_that_cannot_be_is_refused_as_in_the_loop_and_the_process_goes_on():
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(computing.call_with_a_misfit, computing.call_with_a_misfit_here, computing.fall)
        for which in range(len(computing.MISFITS)):
            there = await runtime.execute(computing.call_with_a_misfit, which)
            here = await runtime.execute(computing.call_with_a_misfit_here, which)
            assert type(there.error) is type(here.error) is ConfigurationError
            assert str(there.error) == str(here.error)


async def test_a_line_is_cut_that_is_larger_than_what_a_process_may_say(caplog):
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(computing.log_so_much)
        assert (await runtime.execute(computing.log_so_much, 8_000_000)).unwrap() == 8_000_000
    (told,) = [record.getMessage() for record in caplog.records if "xxx" in record.getMessage()]
    assert told.startswith("\\udcffx")
    assert len(told) <= 1024 * 1024
    assert told.endswith("[cut: it has 8,000,001 characters]")


async def test_a_process_finds_modules_where_its_node_does_whatever_else_is_there(monkeypatch):
    monkeypatch.setattr(sys, "path", [Path("/nowhere"), "/no/\udcff", 5, *sys.path])
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(paint)
        assert (await runtime.execute(paint, Picture("a"))).unwrap().name == "a"


@pytest.mark.parametrize("left", [0, 3])
async def test_where_no_descriptor_is_left_the_job_fails_as_for_any_limit_and_leaks_none(left: int):
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(paint)
        once = JobOptions(attempts=1)
        there = descriptors()
        limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The limit is one of numbers, so those below it are taken.
        fillers = [os.dup(0) for _ in range(max(there) + 1 - len(there))]
        try:
            taken = max(*there, *fillers)
            resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1 + left, most))
            result = await runtime.execute(paint, Picture(), options=once)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            for filler in fillers:
                os.close(filler)
        assert type(result.error) is ResourceError, result.error
        assert result.error.retryable
        assert "no process can be started: Too many open files" in str(result.error)
        gc.collect()
        assert descriptors() == there
        assert (await runtime.execute(paint, Picture("a"))).unwrap().name == "a"


async def test_within_another_job_and_as_a_fallback_it_has_its_process(make_runtime):
    @processor(depends_on=[paint])
    async def within(n: int, ctx: Context) -> int:
        async with anyio.create_task_group() as tasks:
            for _ in range(n):
                tasks.start_soon(paint_one, ctx)
        return n

    @processor(depends_on=[computing.falls_there])
    async def inline(n: int, ctx: Context) -> int:
        return await ctx.call(computing.falls_there, n, inline=True)

    @processor(depends_on=[computing.call_there])
    async def calls(n: int, ctx: Context) -> int:
        return await ctx.call(computing.call_there, n, inline=True)

    async def paint_one(ctx: Context) -> None:
        assert (await ctx.call(paint, Picture("within"), inline=True)).name == "within"

    @processor(fallback=computing.fall)
    def falls(n: int) -> int:
        raise ValueError("no")

    async with make_runtime(processes=1, max_running=1) as runtime:
        runtime.register(within, falls, computing.falls_there, inline, calls)
        with anyio.fail_after(PATIENCE):
            assert (await runtime.execute(within, 3)).unwrap() == 3
            # From a thread, from a process, and from one that is run within a job.
            assert (await runtime.execute(falls, 3)).unwrap() == 3 + 1
            assert (await runtime.execute(computing.falls_there, 3)).unwrap() == 3 + 1
            assert (await runtime.execute(inline, 3)).unwrap() == 3 + 1
            # A job within another one that calls a third, which needs the only process, too.
            assert (await runtime.execute(calls, 3)).unwrap() == 3 + 1


async def test_a_process_is_replaced_after_so_many_jobs():
    async with LocalRuntime(processes=ProcessOptions(max_processes=1, max_jobs=2)) as runtime:
        runtime.register(paint)
        pids = [(await runtime.execute(paint, Picture())).unwrap().pid for _ in range(3)]
        assert pids[0] == pids[1] != pids[2]
        await until(lambda: not is_there(pids[0]))


async def test_a_processor_that_is_made_of_a_function_is_found_by_either():
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(computing.made)
        assert (await runtime.execute(computing.made, 1)).unwrap() != os.getpid()


async def test_what_no_other_process_could_find_is_refused_at_registration():
    def local(n: int) -> int:
        return n

    async with LocalRuntime() as runtime:
        for fn in (local, lambda n: n):
            one = Processor(fn, name="one", run_in="process", state_type=int)
            with pytest.raises(ConfigurationError, match="cannot be found by that name"):
                runtime.register(one)
        # It is there, but nobody there says of which type its states are.
        code: Any = geometry.area
        one = Processor(code, name="one", run_in="process", state_type=dict[str, Any])
        with pytest.raises(
            ConfigurationError, match=r"knows nothing of state_type=dict\[str, typing.Any\]: annotate"
        ):
            runtime.register(one)
        assert runtime.list_processors() == []


PROGRAM = """
import os, sys
import anyio
from am2z_trio import LocalRuntime, processor

@processor(run_in="process")
def pid(n: int) -> int:
    return os.getpid()

async def main() -> None:
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(pid)
        assert (await runtime.execute(pid, 1)).unwrap() != os.getpid()
        print("done", flush=True)

if __name__ == "__main__":
    anyio.run(main, backend="trio")
"""


@pytest.mark.parametrize("how", ["by its file", "as a module"])
def test_a_program_is_found_by_its_own_file(tmp_path, how: str):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [str(tmp_path / "program.py")] if how == "by its file" else ["-m", "program"]
    ended = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.stdout == "done\n", ended.stderr


def test_a_program_without_a_file_is_told(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "this program has no file: put it into a module" in ended.stderr


KILLED = """
import sys
import anyio
from am2z_trio import LocalRuntime
from tests.engine.computing import spin

async def main() -> None:
    async with LocalRuntime(processes=1) as runtime:
        runtime.register(spin)
        await runtime.execute(spin, sys.argv[1])

anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.parametrize("host", ["trio", "asyncio"])
def test_processes_and_what_they_have_started_die_with_a_node_that_is_killed(tmp_path, host: str):
    file = tmp_path / "pids"
    node = subprocess.Popen([sys.executable, "-c", KILLED, str(file), host], cwd=Path(__file__).parents[2])
    try:
        wait_until(file.exists, "the job to begin")
        pids = [int(pid) for pid in file.read_text().split()]
        assert len(pids) == 2
        assert all(map(is_there, pids))
        os.kill(node.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_there, pids)), "its processes to end")
    finally:
        node.kill()
        node.wait()
