"""Ten schedules, three nodes that race for every step, and a virtual year: each nominal time has one job, and
no other has any, held to a reading that looks at every minute.

`python -m tests.chaos.year` (or `nox -s schedules`) does that on both stores. Clocks are set in it, by an
hour and by half of one. Meanwhile nodes die before and after the store has done what they asked for, requests
are lost, answers are lost and asked for again, and old requests arrive late; all nodes are away for hours at
times, and are to catch up.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

import msgspec
import trio

from am2z_trio import Cron, Every
from am2z_trio.model.errors import NetworkError
from am2z_trio.model.records import FireAnswer, Firing, QueueInfo, ScheduleSpec, Settlement
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.policy.cron import Timing
from am2z_trio.policy.schedules import decide, first_after
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.memory.store import MemoryStore
from am2z_trio.store.ports import Store, StoreSettings
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import job
from tests.support.calendar import in_ms, minutes, utc
from tests.support.servers import RedisProcess

TIMINGS: Final[dict[str, Timing]] = {
    "nightly": Cron("30 2 * * *", "Europe/Berlin"),
    "thrice at night": Cron("0,30 1,2,3 * * *", "America/New_York"),
    "half hours": Cron("*/30 * * * *", "Australia/Lord_Howe"),
    "at two": Cron("*/20 2 * * *", "Australia/Lord_Howe"),
    "six hours": Cron("0 */6 * * *", "America/New_York"),
    "week": Cron("15 9 * * 1-5", "Asia/Kathmandu"),
    "month": Cron("45 1 L * *", "Europe/Berlin"),
    "first Sunday": Cron("0 3 * * SUN#1", "Europe/Berlin"),
    "hourly": Cron("@hourly"),
    "interval": Every(3 * 3600, phase=17 * 60),
}

NODES: Final = ("a", "b", "c")
SETTINGS: Final = StoreSettings(lease=10**6, result_ttl=10**6)


class Report(msgspec.Struct, kw_only=True):
    """What was found."""

    expected: int = 0
    missed: list[str] = []
    twice: list[str] = []
    unasked: list[str] = []
    faults: Counter[str] = Counter()
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        return not (self.missed or self.twice or self.unasked)

    def __str__(self) -> str:
        found = f"{len(self.missed)} missed, {len(self.twice)} twice, {len(self.unasked)} unasked"
        faults = ", ".join(f"{count:,} {what}" for what, count in sorted(self.faults.items()))
        return f"{self.expected:,} times: {found}; {faults}; {self.seconds:.0f} s"


class Clock:
    """Milliseconds, as the whole of it believes."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Nobody:
    """Hears nothing."""

    def on_message(self, message: object) -> None: ...

    def on_event(self, event: object) -> None: ...

    def on_reconnect(self) -> None: ...


class Faulty:
    """What may become of a request to fire. Over Redis it is sent again as the wire would: byte for byte."""

    def __init__(self, store: Store, random: Random, faults: Counter[str], rate: float) -> None:
        self._store = store
        self._random = random
        self._faults = faults
        self._rate = rate
        self._old: list[tuple[Any, ...]] = []
        if isinstance(store, RedisStore):
            link: Any = store.link
            self._eval = link.eval
            link.eval = self._send

    async def fire(self, firing: Firing) -> FireAnswer:
        chance = self._random.random()
        if chance < self._rate / 4:
            return self._fault("requests lost")
        answer = await self._store.schedules.fire(firing)
        if not answer.done:
            self._faults["races lost"] += 1
        if chance < self._rate / 2:
            return self._fault("nodes died after the step")
        return answer

    def _fault(self, what: str) -> FireAnswer:
        self._faults[what] += 1
        raise NetworkError(what)

    async def _send(self, script: Any, *arguments: Any) -> Any:
        answer = await self._eval(script, *arguments)
        if script is not scripts.FIRE:
            return answer
        if self._old and self._random.random() < self._rate:
            # Some request that was answered, or given up, long ago.
            self._faults["late duplicates"] += 1
            await self._eval(script, *self._random.choice(self._old))
        if self._random.random() < self._rate:
            self._faults["answers lost"] += 1
            again = await self._eval(script, *arguments)
            assert again[0] == b"stale" or again == answer
        self._old = [*self._old[-50:], arguments]
        return answer


async def run(
    make: Callable[[str, Clock], Store], start: datetime, end: datetime, *, seed: int, rate: float = 0.15
) -> Report:
    """Let the time from `start` to `end` pass."""
    began, random, faults = time.perf_counter(), Random(seed), Counter[str]()
    clock = Clock(round(start.timestamp() * 1000))
    last, ran = round(end.timestamp() * 1000), Counter[str]()
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stores = [make(name, clock) for name in NODES]
        for store in stores:
            await nursery.start(_serve, store)
            await store.join()
        await stores[0].announce([QueueInfo(queue="q", processor="q")])
        for id, timing in TIMINGS.items():
            spec = spec_of(id, timing)
            next, due = first_after(spec, clock.now - 1)
            await stores[0].schedules.upsert(spec, next, due)
        nodes = [Faulty(store, Random(random.random()), faults, rate) for store in stores]
        while clock.now < last:
            await _fire_all(stores, nodes, faults, random)
            await _run_jobs(stores[0], ran)
            wait = (await stores[0].schedules.due(0, 1)).wait
            assert wait is not None
            clock.now += round(wait * 1000) + random.randrange(1_000)
            if random.random() < 0.01:
                # Nobody is there.
                faults["absences"] += 1
                clock.now += random.randrange(12 * 3_600_000)
        clock.now = last
        await _fire_all(stores, nodes, faults, random)
        await _run_jobs(stores[0], ran)
        nursery.cancel_scope.cancel()
    report = _compared(ran, start, end)
    report.faults, report.seconds = faults, time.perf_counter() - began
    return report


async def _serve(store: Store, *, task_status: Any) -> None:
    await store.run(Nobody(), task_status=task_status)


def spec_of(id: str, timing: Timing) -> ScheduleSpec:
    given: dict[str, Any] = {"overlap": "allow", "missed": "all", "catch_up": 1000, "job": job("-")}
    if isinstance(timing, Cron):
        return ScheduleSpec(id=id, cron=timing.text, tz=timing.tz, **given)
    return ScheduleSpec(id=id, every=float(timing.seconds), phase=float(timing.phase), **given)


async def _fire_all(
    stores: Sequence[Store], nodes: Sequence[Faulty], faults: Counter[str], random: Random
) -> None:
    """All nodes at once, each from its beginning after it has died, until nothing is due."""

    async def node(store: Store, faulty: Faulty) -> None:
        while True:
            due = await store.schedules.due(0, 20)
            if not due.found:
                return
            for record in due.found:
                for _ in range(random.randrange(3)):
                    await trio.lowlevel.checkpoint()
                firing = decide(record, due.now)
                if firing is None:
                    continue
                try:
                    await faulty.fire(firing)
                except NetworkError:
                    faults["nodes begun anew"] += 1
                    break

    async with trio.open_nursery() as nursery:
        for store, faulty in zip(stores, nodes, strict=True):
            nursery.start_soon(node, store, faulty)


async def _run_jobs(store: Store, ran: Counter[str]) -> None:
    """Jobs are granted and end; what ran is counted."""
    seq = ran["seq"]
    while True:
        seq += 1
        answer = await store.claim("q", seq, 100)
        for grant in answer.grants:
            ran[grant.spec.id] += 1
        settled = [
            Settlement(id=grant.spec.id, token=grant.token, outcome="completed") for grant in answer.grants
        ]
        if settled:
            await store.settle(settled)
        else:
            break
    ran["seq"] = seq


def _compared(ran: Counter[str], start: datetime, end: datetime) -> Report:
    del ran["seq"]
    expected = set[str]()
    for id, timing in TIMINGS.items():
        spec = spec_of(id, timing)
        expected |= {f"s/{spec.name}/{at}" for at in reference(timing, start, end)}
    return Report(
        expected=len(expected),
        missed=sorted(expected - {*ran}),
        twice=sorted(id for id, times in ran.items() if times > 1),
        unasked=sorted({*ran} - expected),
    )


def reference(timing: Timing, start: datetime, end: datetime) -> list[int]:
    """All that is to come, read another way."""
    end += timedelta(milliseconds=1)
    if isinstance(timing, Cron):
        return in_ms(minutes(timing.text, timing.tz, start, end))
    every, phase = timedelta(seconds=timing.seconds), timedelta(seconds=timing.phase)
    at, found = utc(1970, 1, 1) + phase, list[datetime]()
    at += (start - at) // every * every
    while at < end:
        if at >= start:
            found.append(at)
        at += every
    return in_ms(iter(found))


def in_memory() -> Callable[[str, Clock], Store]:
    server = MemoryServer(SETTINGS)
    return lambda node, clock: MemoryStore(node, server, clock=clock)


def on_redis(url: str) -> Callable[[str, Clock], Store]:
    options = RedisOptions.from_url(url)
    return lambda node, clock: RedisStore(node, options, settings=SETTINGS, clock=clock)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--rate", type=float, default=0.15, help="share of the steps to which something happens"
    )
    chosen = parser.parse_args(arguments)
    start = utc(2025, 1, 1)
    end = start + timedelta(days=chosen.days)
    server = RedisProcess(None)
    server.start()
    try:
        well = True
        for name, make in (("memory", in_memory()), (f"redis {server.version}", on_redis(server.url))):

            async def whole(make: Callable[[str, Clock], Store] = make) -> Report:
                return await run(make, start, end, seed=chosen.seed, rate=chosen.rate)

            report = trio.run(whole)
            well = well and report.is_well
            print(f"{name}: {report}", flush=True)
            for what in (report.missed, report.twice, report.unasked):
                print(*what[:10], sep="\n", end="\n" if what else "")
    finally:
        server.close()
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
