"""The chaos run: workers, callers and a server, and what can happen to them, until every caller has heard.

`python -m tests.chaos.run --jobs 20000 --seeds 1 2 3` (or `nox -s chaos`) starts a private Redis and three
worker processes, lets twenty callers run jobs with effects in fifty sessions, chains and durable calls among
them, and meanwhile kills workers (at named crash points, too), freezes them, kills the server, closes
connections by kind, pauses it, fills its memory, flushes its scripts, and loses, cuts and delays what goes
through a proxy. When every caller has heard, the faults end, the workers are stopped, and the verdict is the
auditor's, on the whole keyspace and on what the callers have heard: nothing lost, no effect twice, nobody
left waiting, no stray key.

With `--persistence everysec|rdb|none` the server may forget what it acknowledged, is emptied (FLUSHALL), and
a replica that lacks the last writes takes its place. Then every caller must be answered all the same, and no
effect be there twice; what was acknowledged may be gone with its history.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
import redis

from am2z_trio import QueueRuntime
from am2z_trio.model.errors import UnknownOutcomeError
from am2z_trio.store.redis.keys import spell
from tests.support.servers import RedisProcess
from tests.support.waiting import wait_until

from .auditor import Outside, audit
from .faults import (
    CutAfterReply,
    Delay,
    DropReply,
    DropRequest,
    Fault,
    FaultProxy,
    HoldRequest,
    open_fault_proxy,
)
from .processes import Persistence, WorkerProcess, scratch, server_with
from .worker import POINTS, PROCESSORS

WINDOW: Final = 10
"""Jobs that one caller has under way at a time."""
LEASE: Final = 3.0
STANDSTILL: Final = 90.0
"""Seconds without any outcome after which those who wait count as hanging."""
KINDS: Final = ("effect", "effect", "effect", "effect", "plain", "plain", "calling", "steps")
EFFECTS: Final = {"effect": ("",), "calling": ("", "-step")}
"""What each kind leaves in its session: its name, with these endings."""
PLAIN: Final = {"plain": 1, "calling": 1, "steps": 3}
"""How often `plain` has worked on what each kind returns."""
UNKNOWN: Final = "unknown"
"""What a caller may hear where the server forgets: the record is gone, and with it what became of the job."""
TRY_AGAIN: Final = frozenset({"ResourceError", "StepFailedError"})
"""What a full server leads to: nothing was accepted, or a step was not. No effect is left, so the caller asks
again."""

_MATCH: Final = spell("am2z", "guard").encode()
"""What every call of a script has, and nothing else."""
read_effects: Final = msgspec.msgpack.Decoder(list[str]).decode


def _info(server: RedisProcess) -> bytes:
    with server.client() as connection:
        connection.set_response_callback("INFO", lambda reply: reply)
        reply: Any = connection.execute_command("INFO", "replication")
        return bytes(reply)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    jobs: int = 20_000
    sessions: int = 50
    callers: int = 20
    workers: int = 3
    seed: int = 1
    every: float = 0.7
    """Seconds between two faults, on average."""
    persistence: Persistence = "always"
    lossy: float = 0.003
    """How many of the requests through the proxy meet a fault."""

    @property
    def forgets(self) -> bool:
        """Whether the server may lose what it has acknowledged."""
        return self.persistence != "always"


class Report(msgspec.Struct, kw_only=True):
    """What happened."""

    plan: Plan
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    """What callers were told other than a result."""
    completed: int = 0
    unanswered: int = 0
    """Jobs whose caller has not heard."""
    said: list[str] = []
    """The errors' own words."""
    wrong: list[str] = []
    """What is wrong; empty if all is well."""
    seconds: float = 0.0
    slowest: float = 0.0
    """Seconds until the last-served job was answered."""

    def lines(self) -> list[str]:
        plan = self.plan
        return [
            f"seed {plan.seed}, {plan.persistence}: {plan.jobs:,} jobs of {plan.callers} callers in"
            f" {plan.sessions} sessions, {plan.workers} workers, {self.seconds:.0f} s",
            f"  {sum(self.faults.values())} faults: "
            + ", ".join(f"{number} {name}" for name, number in sorted(self.faults.items())),
            f"  {self.completed:,} completed, {self.unanswered} unanswered, slowest {self.slowest:.1f} s; "
            + "told: "
            + (", ".join(f"{times} {name}" for name, times in sorted(self.errors.items())) or "no error"),
            *(f"  told {line}" for line in self.said[:5]),
            *(f"  WRONG: {line}" for line in self.wrong[:20]),
            f"  {len(self.wrong)} findings",
        ]


class World:
    """The processes of one run, and what was heard."""

    def __init__(self, plan: Plan, binary: str | None = None) -> None:
        self.plan = plan
        self.rng = Random(plan.seed)
        self.report = Report(plan=plan)
        self.directory = scratch()
        self.server = server_with(plan.persistence, self.directory / "data", binary, tcp=plan.forgets)
        self.spares: list[RedisProcess] = []
        self.proxy: FaultProxy | None = None
        self.workers: list[WorkerProcess] = []
        self.outside = Outside(effects=read_effects, acknowledged=not plan.forgets)
        self.heard: dict[str, str] = {}
        """Effect → what its caller heard: `completed`, or the error."""
        self.progress_at = time.monotonic()
        self.over = False
        self.enough = False
        """The callers ask for no more."""
        self._binary = binary
        self._started = 0

    # --- callers ----------------------------------------------------------------------------

    async def call(self, clients: Sequence[QueueRuntime]) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(self.plan.callers):
                tasks.start_soon(self._caller, clients[number % len(clients)], number)

    async def _caller(self, client: QueueRuntime, number: int) -> None:
        window = anyio.CapacityLimiter(WINDOW)
        async with anyio.create_task_group() as tasks:
            for n in range(number, self.plan.jobs, self.plan.callers):
                await window.acquire_on_behalf_of(n)
                if self.enough:
                    return
                tasks.start_soon(self._one, client, n, window)

    async def _one(self, client: QueueRuntime, n: int, window: anyio.CapacityLimiter) -> None:
        kind, began = KINDS[n % len(KINDS)], time.monotonic()
        session = None if kind in ("plain", "steps") else f"s{n % self.plan.sessions}"
        self.heard[f"{kind}-{n}"] = "unanswered"
        while True:
            result = await client.execute(kind, [f"{kind}-{n}"], session=session)
            if result.error is None:
                break
            name = type(result.error).__name__
            self.report.errors[name] += 1
            if name not in TRY_AGAIN:
                self.report.said.append(f"{kind}-{n}: {result.error}")
            if name not in TRY_AGAIN:
                break
            await anyio.sleep(0.1)
        window.release_on_behalf_of(n)
        self.progress_at = time.monotonic()
        self.report.slowest = max(self.report.slowest, self.progress_at - began)
        if result.error is None:
            expected = [f"{kind}-{n}"] + ["plain"] * PLAIN.get(kind, 0)
            if result.state != expected:
                self.report.wrong.append(f"{kind}-{n} gave {result.state!r}")
            self.report.completed += 1
        unknown = isinstance(result.error, UnknownOutcomeError)
        heard = "completed" if result.error is None else UNKNOWN if unknown else repr(result.error)
        self.heard[f"{kind}-{n}"] = heard
        if result.metadata.job_id and not unknown:
            self.outside.outcomes[result.metadata.job_id] = "completed" if result.error is None else "failed"

    async def watch(self, callers: anyio.CancelScope) -> None:
        """Let the callers go if nobody hears anything any more."""
        while not self.over:
            await anyio.sleep(0.2)
            if time.monotonic() - self.progress_at > STANDSTILL:
                callers.cancel()
                return

    # --- workers ----------------------------------------------------------------------------

    def start_worker(self, crash: str = "") -> WorkerProcess:
        self._started += 1
        through = self.proxy is not None and (self.plan.forgets or self._started % 2 == 0)
        url = self.proxy.url if through and self.proxy is not None else self.server.url
        log = self.directory / f"worker-{self._started}.log"
        options = {"lease": LEASE, "max_conflicts": 10_000, "shutdown_grace": 30}
        return WorkerProcess(url, log, crash=crash, options=options)

    def crash_plan(self) -> str:
        """Where a new worker dies; most do nowhere."""
        if self.over or self.rng.random() < 0.4:
            return ""
        return f"{self.rng.choice(POINTS)} {self.rng.randint(1, 40)}"

    async def keep_workers(self) -> None:
        """Replace who has died, thaw who has been frozen for long enough."""
        while not self.over:
            await anyio.sleep(0.05)
            for place, worker in enumerate(self.workers):
                if not worker.alive:
                    if worker.crash and worker.status == -9:
                        self.report.faults["died at a crash point"] += 1
                    elif not worker.serves():
                        self.report.faults["worker that found no server"] += 1
                    elif worker.status != -9:
                        text = worker.log.read_text(encoding="utf-8", errors="replace")
                        self.report.wrong.append(f"a worker ended by itself ({worker.status}): {text[-800:]}")
                    self.workers[place] = self.start_worker(self.crash_plan())
                elif worker.frozen_until and time.monotonic() > worker.frozen_until:
                    worker.thaw()

    # --- faults -----------------------------------------------------------------------------

    async def disturb(self) -> None:
        faults: list[tuple[int, str, Callable[[], Awaitable[None]]]] = [
            (6, "worker killed", self._kill_worker),
            (3, "worker frozen", self._freeze_worker),
            (2, "server killed", self._kill_server),
            (2, "server frozen", self._freeze_server),
            (2, "SCRIPT FLUSH", lambda: self._ask("SCRIPT", "FLUSH")),
            (2, "CLIENT KILL TYPE normal", lambda: self._ask("CLIENT", "KILL", "TYPE", "normal")),
            (2, "CLIENT KILL TYPE pubsub", lambda: self._ask("CLIENT", "KILL", "TYPE", "pubsub")),
            (2, "CLIENT PAUSE", lambda: self._ask("CLIENT", "PAUSE", self.rng.randint(100, 1500))),
            (2, "memory full", self._fill_memory),
            (2, "proxied connections reset", self._reset),
            (2, "proxy delays", self._delay),
        ]
        if self.plan.forgets:
            faults += [(1, "FLUSHALL", lambda: self._ask("FLUSHALL")), (1, "replica promoted", self._promote)]
        while not self.over:
            await anyio.sleep(self.rng.expovariate(1 / self.plan.every))
            ((_, name, fault),) = self.rng.choices(faults, [weight for weight, _, _ in faults])
            self.report.faults[name] += 1
            await fault()

    async def _ask(self, *command: str | int) -> None:
        def ask() -> None:
            try:
                self.server.call(*command)
            except redis.RedisError:
                return  # such as its own connection among those killed

        await anyio.to_thread.run_sync(ask)

    async def _kill_worker(self) -> None:
        self.rng.choice(self.workers).kill()

    async def _freeze_worker(self) -> None:
        self.rng.choice(self.workers).freeze(self.rng.choice([0.3, 1.5, LEASE + 1.5]))

    async def _kill_server(self) -> None:
        def kill() -> None:
            self.server.kill()
            time.sleep(self.rng.choice([0.0, 0.3, 1.5]))
            self.server.start()

        await anyio.to_thread.run_sync(kill)

    async def _freeze_server(self) -> None:
        self.server.pause()
        try:
            await anyio.sleep(self.rng.choice([0.2, 1.0]))
        finally:
            self.server.resume()

    async def _fill_memory(self) -> None:
        await self._ask("CONFIG", "SET", "maxmemory", "1")
        await anyio.sleep(self.rng.uniform(0.1, 0.6))
        await self._ask("CONFIG", "SET", "maxmemory", "0")

    async def _reset(self) -> None:
        if self.proxy is not None:
            await self.proxy.reset_all()

    async def _delay(self) -> None:
        if self.proxy is not None:
            self.proxy.set(Delay(seconds=self.rng.choice([0.01, 0.1])))
            await anyio.sleep(0.5)
            self.proxy.set()

    async def _promote(self) -> None:
        """A replica that has stopped following takes the server's place, where everybody comes by proxy."""
        if self.proxy is None:
            return
        replica = RedisProcess(self._binary, config={"save": ""}, tcp=True)
        self.spares.append(replica)

        def follow() -> None:
            replica.start()
            replica.call("REPLICAOF", "127.0.0.1", self.server.port)
            wait_until(lambda: b"master_link_status:up" in _info(replica), "the replica to follow")
            # What is written from here on is the tail that gets lost.
            replica.call("REPLICAOF", "NO", "ONE")

        await anyio.to_thread.run_sync(follow)
        await anyio.sleep(self.rng.uniform(0.0, 0.5))
        old, self.server = self.server, replica
        self.proxy.lead_to(replica.url)
        await self.proxy.reset_all()
        await anyio.to_thread.run_sync(old.close)

    # --- the end ----------------------------------------------------------------------------

    async def settle_down(self) -> None:
        """No more faults: let what is under way end, then the workers."""
        self.over = True
        await self._ask("CONFIG", "SET", "maxmemory", "0")
        if self.proxy is not None:
            self.proxy.heal()
        for worker in self.workers:
            worker.thaw()
        if not any(worker.alive and not worker.crash for worker in self.workers):
            self.workers.append(self.start_worker())
        await self._wait_for_rest()
        # Who may still die at a crash point goes first: the others notice it, and nobody would after them.
        for worker in sorted(self.workers, key=lambda worker: not worker.crash):
            if not worker.crash:
                await self._wait_for_rest()
            served = worker.alive and worker.serves()
            if not await anyio.to_thread.run_sync(worker.stop, 40.0) and served and not worker.crash:
                text = worker.log.read_text(encoding="utf-8", errors="replace")
                self.report.wrong.append(
                    f"a worker did not end in good order ({worker.status}): {text[-800:]}"
                )

    async def _wait_for_rest(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not await anyio.to_thread.run_sync(self._at_rest):
            await anyio.sleep(0.2)

    def _at_rest(self) -> bool:
        """Whether nothing waits or runs, and the dead are gone."""
        with self.server.client() as connection:
            for one in PROCESSORS:
                counts = connection.hmget(spell("am2z", "meta", one.name), "waiting", "later", "active")
                if any(int(count or 0) for count in counts):
                    return False
            # One that has only just begun is no node yet, and stands for no dead one.
            alive = sum(worker.alive and worker.serves() for worker in self.workers)
            return bool(connection.zcard(spell("am2z", "nodes")) <= alive)

    def judge(self) -> None:
        report, plan = self.report, self.plan
        with self.server.client() as connection:
            report.wrong += map(str, audit(connection, self.outside, drained=True))
            there: Counter[str] = Counter()
            for number in range(plan.sessions):
                blob: Any = connection.hget(spell("am2z", "session", f"s{number}"), "blob")
                there.update(read_effects(blob) if blob else [])
        for name, outcome in self.heard.items():
            for ending in EFFECTS.get(name.partition("-")[0], ()):
                times = there[name + ending]
                if outcome == "completed" and times != 1 and (times > 1 or not plan.forgets):
                    report.wrong.append(f"{name} completed; the effect {name}{ending} is there {times} times")
                elif outcome not in ("completed", "unanswered", UNKNOWN) and times and not ending:
                    report.wrong.append(f"{name} ended with {outcome}, and its effect is there")
        report.unanswered = sum(outcome == "unanswered" for outcome in self.heard.values())
        if not self.enough:
            report.unanswered += plan.jobs - len(self.heard)
        if report.unanswered:
            report.wrong.append(f"{report.unanswered} jobs are unanswered")
        answers = {"completed", "unanswered", *([UNKNOWN] if plan.forgets else [])}
        failed = [f"{name}: {outcome}" for name, outcome in self.heard.items() if outcome not in answers]
        if failed:
            report.wrong += [f"{len(failed)} jobs failed", *failed[:5]]

    def close(self) -> None:
        for worker in self.workers:
            worker.thaw()
            worker.kill()
        for server in {self.server, *self.spares}:
            server.close()
        shutil.rmtree(self.directory, ignore_errors=True)


async def run(plan: Plan, binary: str | None = None, kind: type[World] = World) -> Report:
    """One run, from nothing to the verdict."""
    world = kind(plan, binary)
    began = time.monotonic()
    try:
        await anyio.to_thread.run_sync(world.server.start)
        async with AsyncExitStack() as stack:
            world.proxy = await stack.enter_async_context(open_fault_proxy(world.server.url))
            faults: list[Fault] = [
                DropReply(match=_MATCH),
                DropRequest(match=_MATCH),
                CutAfterReply(match=_MATCH),
                HoldRequest(match=_MATCH, after=30),
            ]
            world.proxy.chance(plan.lossy, faults, Random(plan.seed))
            world.workers = [world.start_worker(world.crash_plan()) for _ in range(plan.workers)]
            urls = [world.proxy.url, world.proxy.url if plan.forgets else world.server.url]
            clients = [QueueRuntime(url, workers=False, lease=LEASE) for url in urls]
            for client in clients:
                client.register(*PROCESSORS)
                await stack.enter_async_context(client)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(world.keep_workers)
                with anyio.CancelScope() as callers:
                    tasks.start_soon(world.watch, callers)
                    async with anyio.create_task_group() as disturbed:
                        disturbed.start_soon(world.disturb)
                        await world.call(clients)
                        disturbed.cancel_scope.cancel()
                world.over = True
            for name, number in world.proxy.hits.items():
                world.report.faults[f"proxy: {name}"] += number
            await world.settle_down()
        await anyio.to_thread.run_sync(world.judge)
    finally:
        world.report.seconds = time.monotonic() - began
        world.close()
    return world.report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds one after the other; the exit status says whether all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description="The chaos run.")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--every", type=float, default=0.7, help="seconds between two faults, on average")
    parser.add_argument("--persistence", default="always", choices=["always", "everysec", "rdb", "none"])
    chosen = parser.parse_args(arguments)
    status = 0
    for seed in chosen.seeds:
        plan = Plan(jobs=chosen.jobs, seed=seed, every=chosen.every, persistence=chosen.persistence)
        report: Any = anyio.run(run, plan, os.environ.get("AM2Z_TEST_REDIS") or None, backend="trio")
        print("\n".join(report.lines()), flush=True)
        status = status or int(bool(report.wrong))
    return status


if __name__ == "__main__":
    sys.exit(main())
