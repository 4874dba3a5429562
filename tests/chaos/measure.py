"""How fast and how surely the engine recovers, in figures: `python -m tests.chaos.measure [names]`.

* `kill` - a worker is killed (SIGKILL) while it runs a job: seconds until the job runs elsewhere, p50 and
  p99 over 50 kills, at default options
* `away` - a worker's connections are away for 3 s, 20 times, under the same jobs: what it costs them
* `grace` - the same with a `disconnect_grace` of 5 s: no job is taken away
* `always`, `none` - the server is killed 50 times under load and started anew, with each command written down
  before it is answered, or none: what is lost, and who is not answered

Each prints one line and what is wrong; the exit status says whether anything is. Takes minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from am2z_trio import QueueRuntime
from am2z_trio.store.redis.keys import spell
from tests.support.servers import RedisProcess

from .auditor import Outside, audit
from .faults import Refuse, open_fault_proxy
from .processes import Persistence, WorkerProcess, scratch
from .run import Plan, World, read_effects, run
from .worker import PROCESSORS

Figures = tuple[str, list[str]]
"""One line, and what is wrong."""

BINARY: Final = os.environ.get("AM2Z_TEST_REDIS") or None


async def _serving(worker: WorkerProcess) -> WorkerProcess:
    while not worker.serves():
        assert worker.alive, worker.log.read_text()
        await anyio.sleep(0.02)
    return worker


async def kill(times: int) -> Figures:
    """Two workers; the one that runs the job is killed, and another one takes its place."""
    directory, seconds = scratch(), list[float]()
    server = RedisProcess(BINARY)
    server.start()
    workers: list[WorkerProcess] = []

    async def start(name: str) -> WorkerProcess:
        worker = WorkerProcess(server.url, directory / name, options={"node": name})
        workers.append(worker)
        return await _serving(worker)

    try:
        async with QueueRuntime(server.url, workers=False) as client:
            client.register(*PROCESSORS)
            alive = {name: await start(name) for name in ("w0", "w1")}
            for number in range(times):
                job = await client.submit("hangs", ["it"])
                while not (node := _node_of(server, job.id)):
                    await anyio.sleep(0.01)
                await anyio.sleep(0.05)
                doomed = alive.pop(node.rpartition("-")[0])
                killed_at = time.time()
                doomed.kill()
                result = (await job.result()).unwrap()
                assert result is not None
                seconds.append(float(result[-1]) - killed_at)
                name = f"w{number + 2}"
                alive[name] = await start(name)
    finally:
        _end(workers, server, directory)
    seconds.sort()
    p50, p99 = statistics.median(seconds), seconds[int(len(seconds) * 0.99)]
    line = f"kill -9 to rerun, {times} kills: p50 {p50:.2f} s, p99 {p99:.2f} s"
    return line, [f"p99 is above 2 s: {p99:.2f}"] if p99 > 2 else []


async def away(times: int, *, jobs: int = 20, **options: Any) -> Figures:
    """One worker, whose connections are away for three seconds; another one that serves nothing looks for
    the dead."""
    directory = scratch()
    server = RedisProcess(BINARY)
    server.start()
    go, workers, outside = directory / "go", list[WorkerProcess](), Outside(effects=read_effects)
    deliveries: list[int] = []
    try:
        async with (
            open_fault_proxy(server.url) as proxy,
            QueueRuntime(server.url, workers=False, **options) as client,
        ):
            client.register(*PROCESSORS)
            workers += [
                WorkerProcess(proxy.url, directory / "worker", options=options),
                WorkerProcess(server.url, directory / "idle", options=options, idle=True),
            ]
            for worker in workers:
                await _serving(worker)
            async with anyio.create_task_group() as tasks:

                async def call(number: int) -> None:
                    result = await client.execute("patient", [f"it-{number}", str(go)], session=f"s{number}")
                    outside.outcomes[result.metadata.job_id] = "completed" if result.success else "failed"
                    if result.state is not None:
                        deliveries.append(int(result.state[-1]))

                for number in range(jobs):
                    tasks.start_soon(call, number)
                await anyio.sleep(1)
                for _ in range(times):
                    proxy.set(Refuse())
                    await proxy.reset_all()
                    await anyio.sleep(3)
                    proxy.heal()
                    await proxy.wait_connections(2)
                    await anyio.sleep(1)
                go.touch()
            dead = (await client.get_queue_stats())["patient"].dead
            taken = sum(deliveries) - len(deliveries)
            wrong = [f"{dead} dead letters"] if dead else []
            wrong += [f"{jobs - len(deliveries)} jobs failed"] if len(deliveries) != jobs else []
            stalls = 0
            with server.client() as connection:
                for id in outside.outcomes:
                    stalls += int(connection.hget(spell("am2z", "job", id), "stalls") or 0)
                effects = 0
                for number in range(jobs):
                    blob: Any = connection.hget(spell("am2z", "session", f"s{number}"), "blob")
                    effects += len(read_effects(blob)) if blob else 0
            wrong += [f"{stalls} stalls are left"] if stalls else []
            wrong += [f"{effects} effects of {jobs} jobs"] if effects != jobs else []
            for worker in workers:
                await anyio.to_thread.run_sync(worker.stop, 30.0)
        with server.client() as connection:
            wrong += [str(finding) for finding in audit(connection, outside, drained=True)]
    finally:
        _end(workers, server, directory)
    named = ", ".join(f"{name}={value:g}" for name, value in options.items()) or "default options"
    line = (
        f"away for 3 s, {times} times, {jobs} jobs, {named}: {dead} dead letters, {stalls} stalls left, "
        f"{effects} effects, {taken} times taken away"
    )
    if options and taken:
        wrong.append(f"jobs were taken away {taken} times")
    return line, wrong


class Killed(World):
    """Nothing happens but that the server is killed, under load."""

    times = 50

    def crash_plan(self) -> str:
        return ""

    async def disturb(self) -> None:
        for _ in range(self.times):
            await anyio.sleep(self.rng.uniform(0.2, 1.0))
            self.report.faults["server killed"] += 1
            await anyio.to_thread.run_sync(self.server.restart)
        self.enough = True


async def killed(times: int, persistence: Persistence) -> Figures:
    plan = Plan(jobs=10**9, persistence=persistence, lossy=0.0)
    kind = type("KilledSoOften", (Killed,), {"times": times})
    report = await run(plan, BINARY, kind)
    line = (
        f"server killed {report.faults['server killed']} times, {persistence}: {report.completed:,}"
        f" completed, {report.unanswered} unanswered, slowest {report.slowest:.1f} s"
    )
    return line, report.wrong


def _node_of(server: RedisProcess, job: str) -> str:
    node: Any = server.call("HGET", spell("am2z", "job", job), "node")
    return node.decode() if node else ""


def _end(workers: list[WorkerProcess], server: RedisProcess, directory: Path) -> None:
    for worker in workers:
        worker.kill()
    server.close()
    shutil.rmtree(directory, ignore_errors=True)


MEASURES: Final[dict[str, Callable[[float], Awaitable[Figures]]]] = {
    "kill": lambda part: kill(max(2, int(50 * part))),
    "away": lambda part: away(max(2, int(20 * part))),
    "grace": lambda part: away(max(2, int(20 * part)), disconnect_grace=5.0),
    "always": lambda part: killed(max(2, int(50 * part)), "always"),
    "none": lambda part: killed(max(2, int(50 * part)), "none"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.measure", description="How it recovers.")
    parser.add_argument("names", nargs="*", default=[*MEASURES], metavar="name", help=", ".join(MEASURES))
    parser.add_argument("--part", type=float, default=1.0, help="so much of each; 0.1 for a first look")
    chosen = parser.parse_args(arguments)
    status = 0
    for name in chosen.names:
        line, wrong = anyio.run(MEASURES[name], chosen.part, backend="trio")
        print(line, *(f"  WRONG: {what}" for what in wrong), sep="\n", flush=True)
        status = status or int(bool(wrong))
    return status


if __name__ == "__main__":
    sys.exit(main())
