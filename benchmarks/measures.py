"""What is measured: each a function of a stage that gives figures by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from .contenders.contender import Contender
from .contenders.driver import rates_of_calls
from .stage import Figures, Stage


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One of the numbers that a measure gives."""

    unit: str = ""
    more_is_better: bool = True
    compared: bool = True
    """Whether ratios are made of it."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One thing that is measured, with everybody who can do it."""

    title: str
    says: str
    run: Callable[[Stage, int], Figures]
    jobs: int
    """In a full run, of a contender whose share is 1."""
    least: int = 0
    """Jobs that anybody runs, whatever the share and the mode."""
    figures: dict[str, Figure]
    rounds: int = 99
    """At most, where one takes long and hardly varies."""
    short: bool = False
    """Whether it is part of a short run."""
    takes: Callable[[Contender], bool]

    def jobs_of(self, contender: Contender, scale: float) -> int:
        """How many jobs that contender is given."""
        return max(int(self.jobs * contender.share * scale), self.least)


def everybody(contender: Contender) -> bool:
    """All that have a worker and a client."""
    return bool(contender.worker)


def also_alone(contender: Contender) -> bool:
    """And what is both in one process: in memory, and the floor."""
    return True


def in_bulk(contender: Contender) -> bool:
    return bool(contender.worker) and contender.bulk


def the_fastest(contender: Contender) -> bool:
    """Those that can be given a million jobs within a minute."""
    return contender.share == 1 and contender.bulk


def ours(contender: Contender) -> bool:
    return contender.own


def drain(
    stage: Stage,
    jobs: int,
    *,
    job: str = "noop",
    size: int = 100,
    workers: int = 1,
    watched: int | None = None,
    sessions: int = 0,
    states: str = "",
) -> Figures:
    """Enqueue, then start the workers: a rate from the first job's beginning to the last one's end."""
    if stage.contender.alone:
        return stage.alone(job, jobs)
    before = stage.redis()
    there = stage.fill(job, jobs, size=size, sessions=sessions, states=states)
    waiting = stage.redis()
    with stage.workers(workers) as running:
        first, last = running.drain(min(there, watched or there))
    # The first moment is looked at when some jobs have ended: what starting has cost is not in the rest.
    between = max(last.done.jobs - first.done.jobs, 1)
    figures = {
        "jobs/s": last.done.jobs / last.done.seconds,
        "worker µs/job": (last.workers.cpu - first.workers.cpu) / between * 1e6,
        "server µs/job": (last.redis.cpu - first.redis.cpu) / between * 1e6,
        "commands/job": (last.redis.commands - first.redis.commands) / between,
        "MB loaded": last.workers.peak,
        "bytes/waiting job": (waiting.memory - before.memory) / there,
    }
    if last.done.processes != workers:
        figures["workers that ran jobs"] = last.done.processes
    if last.done.jobs > there:
        figures["runs too many"] = last.done.jobs - there
    return figures


def enqueue(stage: Stage, jobs: int) -> Figures:
    """Each job by a call of its own: by one caller, and by 100 at a time."""
    alone = stage.client("enqueue", jobs=max(jobs // 5, 10), callers=1)
    stage.clear()
    many = stage.client("enqueue", jobs=jobs)
    return {
        "one caller/s": alone["jobs"] / alone["seconds"],
        "100 callers/s": many["jobs"] / many["seconds"],
        "client µs/job": many["cpu"] / many["jobs"] * 1e6,
    }


def bulk(stage: Stage, jobs: int) -> Figures:
    found = stage.client("bulk", jobs=jobs)
    return {"jobs/s": found["jobs"] / found["seconds"]}


def calls(stage: Stage, jobs: int) -> Figures:
    """One caller after the other, then 100; the worker is there before."""
    if stage.contender.alone:
        return stage.alone("calls", jobs)
    with stage.workers():
        return rates_of_calls(stage.client("calls", jobs=jobs))


def idle(stage: Stage, jobs: int) -> Figures:
    """A worker that has run a few jobs and has nothing more to do; `jobs` is how many seconds."""
    with stage.workers() as running:
        stage.client("calls", jobs=10)
        return running.idle(jobs)


def compositions(stage: Stage, jobs: int) -> Figures:
    """One caller; every part is queued, and run by a worker in another process."""
    with stage.workers():
        found = stage.client("compositions", jobs=jobs)
    trip = found.pop("round trip")
    figures = {"round trip ms": trip * 1000}
    for name, seconds in found.items():
        figures[f"{name} ms"] = seconds * 1000
        figures[f"{name} / round trip"] = seconds / trip
    return figures


RATE: Final = Figure(unit="/s")
TIME: Final = Figure(unit="ms", more_is_better=False)
COST: Final = Figure(more_is_better=False)
NOTED: Final = Figure(more_is_better=False, compared=False)
DRAIN: Final = {
    "jobs/s": RATE,
    "worker µs/job": Figure(unit="µs", more_is_better=False),
    "server µs/job": Figure(unit="µs", more_is_better=False),
    "commands/job": NOTED,
    "MB loaded": NOTED,
}
RATE_ALONE: Final = {"jobs/s": RATE}

MEASURES: Final[dict[str, Measure]] = {
    "noop": Measure(
        title="Jobs that do nothing",
        says="Enqueued before one worker process starts. Commands: those inside scripts included.",
        run=drain,
        jobs=20_000,
        figures=DRAIN,
        short=True,
        takes=also_alone,
    ),
    "sleep": Measure(
        title="Jobs that sleep 10 ms",
        says="Enqueued before one worker process starts; 100 at a time would make 10,000 a second.",
        run=partial(drain, job="nap"),
        jobs=8_000,
        figures=RATE_ALONE,
        short=True,
        takes=also_alone,
    ),
    "calls": Measure(
        title="Callers that wait for the result",
        says="The worker is another process. One call after the other, and 100 callers at a time.",
        run=calls,
        jobs=10_000,
        figures={"p50 ms": TIME, "p99 ms": TIME, "100 callers/s": RATE},
        short=True,
        takes=also_alone,
    ),
    "enqueue": Measure(
        title="Enqueue one by one",
        says="Each job by a call of its own; nobody runs them.",
        run=enqueue,
        jobs=10_000,
        figures={
            "one caller/s": RATE,
            "100 callers/s": RATE,
            "client µs/job": Figure(unit="µs", more_is_better=False),
        },
        short=True,
        takes=everybody,
    ),
    "bulk": Measure(
        title="Enqueue in bulk",
        says="By the library's call for many jobs, 1,000 a call; those without one are left out.",
        run=bulk,
        jobs=50_000,
        figures=RATE_ALONE,
        short=True,
        takes=in_bulk,
    ),
    "idle": Measure(
        title="At rest",
        says="One worker process with nothing to do. Commands that it sends; CPU as a share of one core.",
        run=idle,
        jobs=10,
        least=5,
        figures={
            "commands/s": COST,
            "worker CPU %": COST,
            "server CPU %": NOTED,
            "MB at rest": COST,
        },
        rounds=3,
        short=True,
        takes=everybody,
    ),
    "compositions": Measure(
        title="Compositions whose parts are queued",
        says="One caller, the worker another process; times in turns with a plain call's.",
        run=compositions,
        jobs=1_000,
        figures={
            "round trip ms": TIME,
            "chain of 3 ms": TIME,
            "chain of 3 / round trip": COST,
            "parallel of 3 ms": TIME,
            "parallel of 3 / round trip": COST,
        },
        short=True,
        takes=ours,
    ),
    **{
        f"sessions-{number}": Measure(
            title=f"Jobs that do nothing, in {number:,} session{'s' if number > 1 else ''}",
            says="As without; what they return is not their session's state.",
            run=partial(drain, sessions=number, states="apart"),
            jobs=20_000,
            figures=DRAIN,
            short=number > 1,
            takes=ours,
        )
        for number in (1, 100, 10_000)
    },
    "committed": Measure(
        title="Jobs that commit the state of 100 sessions",
        says="What each returns is its session's state from then on.",
        run=partial(drain, sessions=100, states="committed"),
        jobs=20_000,
        figures=DRAIN,
        takes=ours,
    ),
    "stored": Measure(
        title="Jobs on the stored state of 100 sessions",
        says="Each reads its session's state and commits another, as a transaction.",
        run=partial(drain, sessions=100, states="stored"),
        jobs=20_000,
        figures=DRAIN,
        takes=ours,
    ),
    **{
        f"payload-{size // 1000}k": Measure(
            title=f"Jobs of {size // 1000} KB that do nothing",
            says="Enqueued before one worker process starts.",
            run=partial(drain, size=size),
            jobs=jobs,
            least=100,
            figures=DRAIN,
            rounds=3,
            takes=everybody,
        )
        for size, jobs in ((10_000, 8_000), (100_000, 2_000))
    },
    **{
        f"workers-{number}": Measure(
            title=f"Jobs that do nothing, {number} worker processes",
            says="Enqueued before; all workers begin together.",
            run=partial(drain, workers=number),
            jobs=40_000,
            figures=DRAIN,
            rounds=3,
            takes=everybody,
        )
        for number in (2, 4)
    },
    **{
        f"backlog-{number}": Measure(
            title=f"A backlog of {number:,} jobs",
            says="Enqueued before one worker process starts; the first 20,000 at most are timed.",
            run=partial(drain, watched=20_000),
            jobs=number,
            least=number,
            # Of a few, what the scripts themselves need would be more than they.
            figures={"jobs/s": RATE, "server µs/job": COST}
            | ({"bytes/waiting job": COST} if number > 1_000 else {}),
            rounds=3 if number < 1_000_000 else 1,
            takes=in_bulk if number == 1_000 else the_fastest,
        )
        for number in (1_000, 100_000, 1_000_000)
    },
}
