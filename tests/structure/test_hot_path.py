"""What one job costs, in counts: no clock is asked, so nothing here depends on the machine.

Each figure is today's. It may shrink, and is then lowered here; what makes it grow has to be worth it.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
import trio
from trio.abc import Instrument
from trio.lowlevel import Task

import am2z_trio
from am2z_trio import LocalRuntime, Processor, QueueOptions, QueueRuntime, batch, chain, parallel, processor
from am2z_trio.concurrency._trio import TrioHost
from am2z_trio.engine.work.slots import SLICE
from am2z_trio.store.redis import scripts
from am2z_trio.wire.scripts import Script
from tests.structure.turns import Turns

PACKAGE: Final = str(Path(am2z_trio.__file__).parent)

JOBS: Final = 40
"""Lone jobs, of which the cheapest counts: the others met a service of the node at its own business."""


@processor
async def double(state: int) -> int:
    return state * 2


async def lone(runtime: Any) -> None:
    assert (await runtime.execute(double, 21)).unwrap() == 42


class Entered:
    """Counts the package's functions that are entered, a resumed coroutine as one more."""

    def __init__(self) -> None:
        self.functions = Counter[str]()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE):
            self.functions[f"{code.co_filename[len(PACKAGE) + 1 :]}:{code.co_qualname}"] += 1


async def cheapest(job: Callable[[], Awaitable[None]]) -> Counter[str]:
    """What the job enters that meets nothing else."""
    found = list[Counter[str]]()
    for _ in range(JOBS):
        entered = Entered()
        sys.setprofile(entered)
        try:
            await job()
        finally:
            sys.setprofile(None)
        found.append(entered.functions)
    return min(found, key=lambda functions: functions.total())


@pytest.mark.trio
@pytest.mark.parametrize(
    ("session", "most", "most_of_engine"),
    [(None, 221, 86), ("alice", 242, 99)],
    ids=["lone", "in a session"],
)
async def test_a_job_enters_few_functions(redis_url, session, most, most_of_engine):
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double)

        async def job() -> None:
            assert (await runtime.execute(double, 21, session=session)).unwrap() == 42

        for _ in range(5):
            await job()
        functions = await cheapest(job)
    of_engine = sum(count for name, count in functions.items() if name.startswith("engine/"))
    assert functions.total() <= most, sorted(functions.items())
    assert of_engine <= most_of_engine, sorted(functions.items())


@pytest.mark.trio
async def test_a_client_enters_few_functions_to_submit_a_job(redis_url):
    """Of a processor that is registered elsewhere: what reads and writes its states is made once."""
    async with QueueRuntime(redis_url, workers=False) as client:
        await client.submit(double, 21)

        async def job() -> None:
            await client.submit(double, 21)

        functions = await cheapest(job)
    assert "model/codec.py:StateCodec.__init__" not in functions
    assert functions.total() <= 95, sorted(functions.items())


@pytest.mark.trio
@pytest.mark.parametrize("composition", [double, chain("of two", [double, double])], ids=["job", "calls"])
async def test_a_job_of_a_node_without_a_tracer_tells_nobody(redis_url, composition):
    """Not one call: the figures above are those of such a node."""
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double, composition)

        async def job() -> None:
            (await runtime.execute(composition, 21)).unwrap()
            (await runtime.execute_many(composition, [21]))[0].unwrap()
            await (await runtime.submit_many(composition, [21]))[0].result()

        await job()
        functions = await cheapest(job)
    assert not [name for name in functions if "trac" in name.lower() or name.startswith("observe/")]


@pytest.mark.trio
async def test_the_deadline_of_a_caller_is_asked_for_once(redis_url, monkeypatch):
    """A host looks for it in each of the scopes around."""
    asked = list[None]()

    def effective_deadline() -> float:
        asked.append(None)
        return trio.current_effective_deadline()

    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double)
        await lone(runtime)
        monkeypatch.setattr(TrioHost, "effective_deadline", staticmethod(effective_deadline))
        await lone(runtime)
        assert len(asked) == 1
        assert len(await runtime.execute_many(double, range(10))) == 10
        assert len(asked) == 2
        await runtime.submit(double, 21)
        assert len(asked) == 2


@pytest.mark.trio
async def test_a_lone_job_asks_the_clock_for_the_time(redis_url, monkeypatch):
    """Not the host, which looks up first which clock that is."""
    asked = Counter[str]()

    def now() -> float:
        asked[sys._getframe(1).f_code.co_qualname] += 1
        return trio.current_time()

    monkeypatch.setattr(TrioHost, "now", staticmethod(now))
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double)
        for _ in range(5):
            await lone(runtime)
        found = list[Counter[str]]()
        for _ in range(JOBS):
            asked.clear()
            await lone(runtime)
            found.append(asked.copy())
        fewest = min(found, key=lambda counts: counts.total())
    assert not fewest, fewest


class Steps(Instrument):
    """Counts how often a task is resumed, and how often the loop looks for what is ready."""

    def __init__(self) -> None:
        self.tasks = Counter[str]()
        self.turns = 0

    def before_task_step(self, task: Task) -> None:
        self.tasks[task.name] += 1

    def before_io_wait(self, timeout: float) -> None:
        self.turns += 1


async def fewest_steps(job: Callable[[], Awaitable[Any]]) -> Steps:
    """What the job takes that meets nothing else."""
    found = list[Steps]()
    for _ in range(JOBS):
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        try:
            await job()
        finally:
            trio.lowlevel.remove_instrument(steps)
        found.append(steps)
    return min(found, key=lambda steps: (steps.tasks.total(), steps.turns))


@pytest.mark.trio
async def test_a_lone_job_switches_tasks_seldom(redis_url):
    """Each switch is a turn of the loop that asks the kernel what is ready."""
    async with QueueRuntime(redis_url, workers=False) as client:
        for _ in range(5):
            await client.submit(double, 21)
        submitted = await fewest_steps(lambda: client.submit(double, 21))
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double)
        for _ in range(5):
            await lone(runtime)
        # Caller and worker are one node here.
        executed = await fewest_steps(lambda: lone(runtime))
    assert submitted.tasks.total() <= 2, submitted.tasks
    assert submitted.turns <= 2
    assert executed.tasks.total() <= 6, executed.tasks
    assert executed.turns <= 4


WAITING: Final = 20


@processor(queue=QueueOptions(concurrency=1))
async def wait_a_little(state: int) -> int:
    # Longer than a slot may keep the loop to itself.
    await trio.sleep(2 * SLICE)
    return state


@pytest.mark.trio
async def test_behind_a_job_that_has_waited_no_other_turn_is_let_pass():
    """Others have had theirs meanwhile: the place would be empty for a pass of the loop."""
    async with LocalRuntime() as runtime:
        runtime.register(wait_a_little)
        await runtime.pause(wait_a_little.name)
        jobs = [await runtime.submit(wait_a_little, 1) for _ in range(WAITING)]
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await runtime.resume(wait_a_little.name)
        for job in jobs:
            await job.result()
        trio.lowlevel.remove_instrument(steps)
    # Resumed as each is given to it, and as each has waited.
    assert WAITING < steps.tasks["wait_a_little worker"] <= 2 * WAITING + 2, steps.tasks


@pytest.mark.trio
async def test_a_job_of_a_session_has_no_scope_look_at_the_clock(redis_url):
    """Whether its session has been stopped is asked before every job."""
    looked = Counter[str]()

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_qualname == "CancelScope.cancel_called":
            assert frame.f_back is not None
            looked[frame.f_back.f_code.co_qualname] += 1

    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double)
        await runtime.execute(double, 21, session="alice")
        sys.setprofile(look)
        try:
            await runtime.execute(double, 21, session="alice")
        finally:
            sys.setprofile(None)
    assert not {name for name in looked if "Session" in name}, looked


@pytest.mark.trio
async def test_a_session_that_has_nothing_to_do_keeps_few_objects(redis_url):
    """Python's collector looks through all of them, and most are the host's: its task, nursery and scopes."""

    async def run(sessions: Iterable[int]) -> None:
        for number in sessions:
            await runtime.execute(double, 21, session=f"s{number}")

    async with QueueRuntime(redis_url, session_idle=inf) as runtime:
        runtime.register(double)
        found = list[int]()
        for first in range(0, 400, 100):
            await run(range(first, first + 100))
            gc.collect()
            found.append(len(gc.get_objects()))
    # What is imported meanwhile is of no session.
    assert min(after - before for before, after in pairwise(found)) <= 38.5 * 100


class Counted(dict[str, Any]):
    """Names by which it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = list[str]()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return super().get(name, default)


@pytest.mark.trio
async def test_a_job_looks_its_processor_up_seldom():
    """By name: its caller does, once; a worker knows its own."""
    runtime, names = LocalRuntime(), Counted()
    runtime._registry._by_name = names
    async with runtime:
        runtime.register(double)
        await lone(runtime)
        names.asked.clear()
        await lone(runtime)
    assert len(names.asked) <= 1, names.asked


def commands(admin: Any) -> Counter[str]:
    stats = admin.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): int(found["calls"]) for name, found in stats.items()})


async def fewest_commands(redis_server: Any, job: Callable[[], Awaitable[None]]) -> Counter[str]:
    """What the job costs Redis that meets nothing else."""
    found = list[Counter[str]]()
    with redis_server.client() as admin:
        for _ in range(JOBS):
            before = commands(admin)
            await job()
            found.append(commands(admin) - before)
    fewest = min(found, key=lambda counts: counts.total())
    fewest.pop("info", None)
    return fewest


def calls_of(fewest: Counter[str]) -> int:
    return sum(count for name, count in fewest.items() if name in ("evalsha", "fcall"))


@pytest.mark.trio
async def test_a_job_costs_redis_few_commands(redis_url, redis_server):
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(double)
        for _ in range(5):
            await lone(runtime)
        fewest = await fewest_commands(redis_server, lambda: lone(runtime))
    assert calls_of(fewest) <= 2, sorted(fewest.items())
    assert fewest.total() <= 30, sorted(fewest.items())


DRAINED: Final = 400


@pytest.mark.trio
@pytest.mark.parametrize(("sessions", "most"), [(0, 9.0), (1, 9.3), (50, 10.3)])
async def test_a_backlog_costs_redis_few_commands_a_job(redis_url, redis_server, sessions, most):
    """What the jobs of one session have in common is done once a call, not once a job."""
    async with QueueRuntime(redis_url, workers=False) as client:
        jobs = [
            await client.submit(double, 21, session=f"s{n % sessions}" if sessions else None)
            for n in range(DRAINED)
        ]
        with redis_server.client() as admin:
            before = commands(admin)
            async with QueueRuntime(redis_url) as runtime:
                runtime.register(double)
                for job in jobs:
                    assert (await job.result()).unwrap() == 42
                done = commands(admin) - before
    assert done.total() <= most * DRAINED, sorted(done.items())


MANY: Final = 1000


@pytest.mark.trio
@pytest.mark.parametrize(
    ("session", "most"), [(None, 1.032), ("alice", 1.044)], ids=["without a session", "of a session"]
)
async def test_jobs_that_are_submitted_together_share_what_they_cost(redis_url, redis_server, session, most):
    async with QueueRuntime(redis_url, workers=False) as runtime:

        async def submit() -> None:
            assert len(await runtime.submit_many(double, range(MANY), session=session)) == MANY

        def received() -> int:
            with redis_server.client() as admin:
                return int(admin.info("stats")["total_net_input_bytes"])

        await submit()
        functions, bytes_before = await cheapest(submit), received()
        await submit()
        bytes_sent = received() - bytes_before
        fewest = await fewest_commands(redis_server, submit)
    # A job's record is written, and what else is done is done for hundreds at once.
    assert calls_of(fewest) <= MANY / 250, sorted(fewest.items())
    assert fewest.total() <= most * MANY, sorted(fewest.items())
    assert functions.total() <= 6 * MANY, sorted(functions.items())
    # Its state and how long that is, and a share of what is said once.
    assert bytes_sent <= 15 * MANY


def named(name: str) -> Processor[int]:
    @processor(name=name)
    async def part(state: int) -> int:
        return state + 1

    return part


A, B, C = named("a"), named("b"), named("c")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("composition", "most"),
    [
        # Each of its own costs what a lone job does, one after the other.
        (chain("of three", [A, B, C]), 8),
        # Those that are side by side go in one call, are claimed in one per queue, and settled in one.
        (parallel("side by side", [A, B, C], merge=lambda _, results: sum(results)), 4),
        (parallel("side by side in one queue", [A, A, A], merge=lambda _, results: sum(results)), 4),
        (batch("of many in one queue", A, range(20), merge=lambda _, results: sum(results)), 5),
    ],
    ids=lambda given: getattr(given, "name", None),
)
async def test_the_parts_of_a_composition_share_their_calls(
    redis_url, redis_server, monkeypatch, composition, most
):
    Turns(monkeypatch, redis_server)
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(composition)

        async def job() -> None:
            (await runtime.execute(composition, 1)).unwrap()

        for _ in range(5):
            await job()
        fewest = await fewest_commands(redis_server, job)
    assert calls_of(fewest) <= most, sorted(fewest.items())


def adding(name: str) -> Processor[dict[str, int]]:
    @processor(name=name)
    async def part(state: dict[str, int]) -> dict[str, int]:
        return {**state, name: 1}

    return part


D, E, F = adding("d"), adding("e"), adding("f")


@pytest.mark.trio
@pytest.mark.parametrize(
    ("composition", "most"),
    [(chain("one after the other", [D, E, F]), 142), (parallel("of what each adds", [D, E, F]), 120)],
    ids=["chain", "parallel"],
)
async def test_a_composition_costs_redis_few_commands(redis_url, redis_server, composition, most):
    """Beside what each job of it costs: nothing is published of its parts, which this very node is given by
    the answer that accepts them, and whose outcomes it knows."""
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(composition)

        async def job() -> None:
            (await runtime.execute(composition, {})).unwrap()

        for _ in range(5):
            await job()
        fewest = await fewest_commands(redis_server, job)
    assert fewest["publish"] <= 2, sorted(fewest.items())
    assert fewest.total() <= most, sorted(fewest.items())


SCRIPT_BYTES: Final = {"CLAIM": 49_354, "ENQUEUE": 47_605, "SETTLE": 43_753}
"""Each call makes a script's functions anew, so what a script carries is paid for by every call of it."""


@pytest.mark.parametrize("name", sorted(SCRIPT_BYTES))
def test_a_hot_script_is_short(name):
    script: Script = getattr(scripts, name)
    assert len(script.source) <= SCRIPT_BYTES[name]
