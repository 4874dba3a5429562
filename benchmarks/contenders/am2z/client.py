"""Our client, on the host that the first argument names. With `--sessions`, the jobs are those of so many."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from am2z_trio import JobOptions, QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime
from benchmarks.contenders import driver
from benchmarks.contenders.contender import CONCURRENCY
from benchmarks.jobs import COMPOSED, JOBS, Payload, make

APART: Final = JobOptions(commit=False)


class Client(driver.Client):
    """Many jobs of many sessions are enqueued by a call for each session, from as many tasks as there are
    callers."""

    def make_runtime(self) -> Runtime:
        return QueueRuntime(self.url, workers=False)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        self._turn = itertools.count()
        async with self.make_runtime() as self._runtime:
            if self.told.states == "stored":
                for number in range(self.told.sessions):
                    await self._runtime.state.set(f"s{number}", make(self.told.size))
            yield

    def payload(self, size: int) -> Payload:
        return make(size)

    @property
    def session(self) -> str | None:
        """Whose the next job is."""
        return f"s{next(self._turn) % self.told.sessions}" if self.told.sessions else None

    @property
    def options(self) -> JobOptions | None:
        return APART if self.told.sessions and self.told.states == "apart" else None

    async def submit(self, job: str, payload: Any) -> None:
        state = None if self.told.states == "stored" else payload
        await self._runtime.submit(JOBS[job], state, session=self.session, options=self.options)

    async def submit_many(self, job: str, payloads: list[Any]) -> None:
        if not self.told.sessions:
            await self._runtime.submit_many(JOBS[job], payloads)
            return
        given: dict[str | None, list[Any]] = {}
        for payload in payloads:
            given.setdefault(self.session, []).append(None if self.told.states == "stored" else payload)
        left = iter(given.items())

        async def some() -> None:
            for session, states in left:
                await self._runtime.submit_many(JOBS[job], states, session=session, options=self.options)

        await self.together(some, CONCURRENCY)

    async def call(self, job: str, payload: Any) -> Any:
        return (await self._runtime.execute(JOBS[job], payload, session=self.session)).unwrap()

    async def together(self, task: Callable[[], Coroutine[Any, Any, None]], many: int) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(many):
                tasks.start_soon(task)

    async def other(self) -> driver.Figures:
        """`compositions`: seconds of a plain call, and of a chain and a parallel whose parts are queued."""
        payload = self.payload(self.told.size)
        times: dict[str, list[float]] = {"round trip": [], **{name: [] for name in COMPOSED}}
        for number in range(driver.WARM + self.told.jobs):
            # In turns: what disturbs the machine meanwhile disturbs all of them.
            for name, found in times.items():
                began = time.perf_counter()
                result = await self._runtime.execute(COMPOSED.get(name, JOBS["noop"]), payload)
                if number >= driver.WARM:
                    found.append(time.perf_counter() - began)
                driver.check(result.unwrap(), payload)
        return {name: statistics.median(found) for name, found in times.items()}


if __name__ == "__main__":
    host = sys.argv.pop(1)

    def run(measure: Coroutine[Any, Any, driver.Figures]) -> driver.Figures:
        async def main() -> driver.Figures:
            return await measure

        return anyio.run(main, backend=host)

    driver.run(Client(driver.url()), run)
